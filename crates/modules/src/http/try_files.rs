//! `try_files`: the first of several files that exists, or a place to go instead.
//!
//! ```nginx
//! location / {
//!     try_files $uri $uri/ /index.php?$args;
//! }
//! location /images/ {
//!     try_files $uri =404;
//! }
//! ```

use std::io;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::setting::Own;
use daemun_core::{debug, directives, log, settings};
use daemun_http::core::files::{self as file_settings, Root};
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::{files, phases};

/// A file, or with a slash at its end a folder, to look for.
struct Candidate {
    name: Name,
    is_folder: bool,
}

/// A name as it is written, and whether it holds variables.
struct Name {
    script: Script,
    is_computed: bool,
}

enum Fallback {
    Status(Status),
    /// A URI or a named location.
    To(Name),
}

struct Tries {
    candidates: Vec<Candidate>,
    fallback: Fallback,
}

settings! {
    pub struct Settings {
        tries: Own<Option<Tries>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_try_files_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "try_files" in SERVER | LOCATION, AtLeast(2), "", Action::Set(try_files),
                "Files to look for, in order, and the URI, named location or =code where there is none.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::PreContent,
        applies: |settings| settings.of(&SETTINGS).tries.0.is_some(),
        handler: Handler::Now(find),
    }],
    ..HttpModule::EMPTY
};

/// How the location's folder and the URI belong together.
#[derive(Clone, Copy)]
enum Mapping {
    /// `root`.
    Root,
    /// `alias` in place of that many bytes of the URI.
    Prefix(usize),
    /// `alias` in a location that is a pattern.
    Whole,
}

fn find(request: &mut Request) -> Step {
    let Some(tries) = &request.settings(&SETTINGS).tries.0 else {
        return Step::Declined;
    };
    let mapping = mapping(request);
    let mut path = Vec::with_capacity(128);
    let root = files::map_uri(request, &mut path);
    for candidate in &tries.candidates {
        path.truncate(root);
        append_name(request, &candidate.name, mapping, &mut path);
        debug!(
            request.log(),
            Http,
            *request,
            "trying to use {}: \"{}\" \"{}\"",
            if candidate.is_folder { "dir" } else { "file" },
            Text(&path[root..]),
            Text(&path)
        );
        match files::test(request, &path) {
            Ok(info) if info.is_directory == candidate.is_folder => {
                use_name(request, &path[root..], mapping, candidate.is_folder);
                return Step::Declined;
            }
            Ok(_) => {}
            Err(error) => log_failure(request, &path, error),
        }
    }
    match &tries.fallback {
        Fallback::Status(status) => Step::Status(*status),
        Fallback::To(name) => {
            path.truncate(root);
            append_name(request, name, mapping, &mut path);
            match &path[root..] {
                name @ [b'@', ..] => Step::Named(name.to_vec()),
                uri => {
                    let step = phases::redirect_to(request, uri);
                    request.has_args = true;
                    step
                }
            }
        }
    }
}

fn mapping(request: &Request) -> Mapping {
    let setting = &request.settings(&file_settings::SETTINGS).root;
    match (&setting.root, setting.alias_of) {
        (Some(Root::Alias(_)), Some(length)) => Mapping::Prefix(length),
        (Some(Root::Alias(_)), None) => Mapping::Whole,
        _ => Mapping::Root,
    }
}

/// Below an alias a computed name, such as `$uri`, leaves the location's part out.
fn append_name(request: &mut Request, name: &Name, mapping: Mapping, path: &mut Vec<u8>) {
    let start = path.len();
    name.script.append(request, path);
    if let Mapping::Prefix(length) = mapping
        && name.is_computed
        && path[start..].starts_with(&request.uri[..length])
    {
        path.drain(start..start + length);
    }
}

/// Makes the file that was found the one that the request asks for.
fn use_name(request: &mut Request, name: &[u8], mapping: Mapping, is_folder: bool) {
    match mapping {
        Mapping::Root => request.uri.clear(),
        Mapping::Prefix(length) => request.uri.truncate(length),
        Mapping::Whole if is_folder => return,
        Mapping::Whole => {
            request.uri.clear();
            request.adds_uri_to_alias = true;
        }
    }
    request.uri.extend_from_slice(name);
}

fn log_failure(request: &Request, path: &[u8], error: io::Error) {
    use io::ErrorKind::*;
    if !matches!(error.kind(), NotFound | NotADirectory | InvalidFilename) {
        log!(request.log(), Crit, *request, "stat() \"{}\" failed", Text(path); error);
    }
}

fn try_files(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if loader.settings(&SETTINGS).tries.0.is_some() {
        return Err("is duplicate".into());
    }
    let (last, rest) = directive.args.split_last().expect("two arguments at least");
    let mut candidates = Vec::with_capacity(rest.len());
    for word in rest {
        let (text, is_folder) = match &*word.text {
            [text @ .., b'/'] => (text, true),
            text => (text, false),
        };
        let name = read_name(loader, &conf::Word { text: text.into(), ..word.clone() })?;
        candidates.push(Candidate { name, is_folder });
    }
    let fallback = match last.text.strip_prefix(b"=") {
        Some(code) => Fallback::Status(read_code(last, code)?),
        None => Fallback::To(read_name(loader, last)?),
    };
    loader.settings(&SETTINGS).tries = Own(Some(Tries { candidates, fallback }));
    Ok(())
}

fn read_name(loader: &mut Loader<'_>, word: &conf::Word) -> Result<Name, Fault> {
    let script = loader.script(word)?;
    let is_computed = script.as_literal().is_none();
    Ok(Name { script, is_computed })
}

fn read_code(word: &conf::Word, digits: &[u8]) -> Result<Status, Fault> {
    units::integer(digits)
        .and_then(|code| u16::try_from(code).ok())
        .filter(|code| *code <= 999)
        .map(Status)
        .ok_or_else(|| Fault::from(format!("invalid code \"{word}\"")).at(word.span))
}
