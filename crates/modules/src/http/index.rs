//! `index`: the file that stands for a folder.
//!
//! ```nginx
//! location / {
//!     index index.$geo.html index.html /fallback;
//! }
//! ```

use std::io;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::{directives, settings};
use daemun_http::core::files as file_settings;
use daemun_http::files;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step, always};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_proto::http1::Method;

settings! {
    pub struct Settings {
        names: Vec<Script> = vec![Script::literal(b"index.html")],
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_index_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "index" in HTTP_SERVER_LOCATION, AtLeast(1), "index.html", Action::Set(index),
                "The files that are looked for when a folder is asked for, in order.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Content,
        applies: always,
        handler: Handler::Now(find),
    }],
    ..HttpModule::EMPTY
};

fn find(request: &mut Request) -> Step {
    let method = request.head.method();
    if request.uri.last() != Some(&b'/')
        || !matches!(method, Method::Get | Method::Head | Method::Post)
    {
        return Step::Declined;
    }
    let mut path = Vec::with_capacity(128);
    let mut folder = None;
    for name in request.settings(&SETTINGS).names.iter() {
        let length = *folder.get_or_insert_with(|| {
            files::map_uri(request, &mut path);
            path.len()
        });
        path.truncate(length);
        name.append(request, &mut path);
        if path.get(length) == Some(&b'/') {
            return redirect(request, &path[length..]);
        }
        match files::test(request, &path) {
            Ok(_) => {
                let mut uri = request.uri.clone();
                uri.extend_from_slice(&path[length..]);
                return redirect(request, &uri);
            }
            Err(error) => {
                if let Some(status) = refusal(request, &path, length, error) {
                    return Step::Status(status);
                }
            }
        }
    }
    Step::Declined
}

fn redirect(request: &mut Request, uri: &[u8]) -> Step {
    let args = std::mem::take(&mut request.args);
    request.redirect(uri, &args)
}

/// What it means that an index file could not be looked at; `None`: try the next.
fn refusal(request: &mut Request, path: &[u8], folder: usize, error: io::Error) -> Option<Status> {
    use io::ErrorKind::*;
    match error.kind() {
        _ if files::is_forbidden_link(&error) => Some(Status::FORBIDDEN),
        NotADirectory | InvalidFilename | PermissionDenied => Some(missing(request, path, &error)),
        kind => {
            if let Some(status) = check_folder(request, path, folder) {
                return Some(status);
            }
            if kind == NotFound {
                return None;
            }
            log!(request.log(), Crit, *request, "stat() \"{}\" failed", Text(path); error);
            Some(Status::INTERNAL_SERVER_ERROR)
        }
    }
}

/// A folder that is missing is told apart from one without an index.
fn check_folder(request: &mut Request, path: &[u8], folder: usize) -> Option<Status> {
    let folder = match &path[..folder] {
        [path @ .., b'/'] if !path.is_empty() => path,
        path => path,
    };
    match files::test(request, folder) {
        Ok(info) if info.is_directory => None,
        Ok(_) => {
            log!(request.log(), Alert, *request, "\"{}\" is not a directory", Text(folder));
            Some(Status::INTERNAL_SERVER_ERROR)
        }
        Err(error) if files::is_forbidden_link(&error) => Some(Status::FORBIDDEN),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Some(missing(request, path, &error)),
            io::ErrorKind::PermissionDenied => None,
            _ => {
                log!(request.log(), Crit, *request, "stat() \"{}\" failed", Text(folder); error);
                Some(Status::INTERNAL_SERVER_ERROR)
            }
        },
    }
}

fn missing(request: &Request, path: &[u8], error: &io::Error) -> Status {
    if error.kind() == io::ErrorKind::PermissionDenied {
        log!(request.log(), Error, *request, "\"{}\" is forbidden", Text(path); *error);
        return Status::FORBIDDEN;
    }
    if *request.settings(&file_settings::SETTINGS).log_not_found {
        log!(request.log(), Error, *request, "\"{}\" is not found", Text(path); *error);
    }
    Status::NOT_FOUND
}

fn index(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let is_first = !loader.settings(&SETTINGS).names.is_set();
    let mut names = Vec::with_capacity(directive.args.len());
    for (position, word) in directive.args.iter().enumerate() {
        if word.text.is_empty() {
            let sentence = format!("index \"{word}\" in \"index\" directive is invalid");
            return Err(Fault::from(sentence).at(word.span));
        }
        if word.text.starts_with(b"/") && position + 1 < directive.args.len() {
            let message = "only the last index in \"index\" directive should be absolute";
            loader.warn(word.span, message.to_owned());
        }
        names.push(loader.script(word)?);
    }
    let list = loader.settings(&SETTINGS).names.modify();
    if is_first {
        list.clear();
    }
    list.append(&mut names);
    Ok(())
}
