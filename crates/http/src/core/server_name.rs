//! `server_name`: the names that a virtual server answers to.

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::named_pattern::NamedPattern;
use daemun_core::setting::Own;
use daemun_core::{directives, settings};

use crate::module::HttpModule;

/// One name of a server.
pub enum ServerName {
    /// In lower case; may be empty, for requests without a host.
    Exact(Vec<u8>),
    /// `*.example.com`, kept as `.example.com`; `with_apex` is `.example.com`, which takes `example.com` as well.
    Suffix {
        suffix: Vec<u8>,
        with_apex: bool,
    },
    /// `www.example.*`, kept as `www.example.`.
    Prefix(Vec<u8>),
    Pattern(Box<NamedPattern>),
    /// A wildcard elsewhere, or two dots in a row: no name, which is refused where a name chooses the server.
    Malformed,
}

impl ServerName {
    /// Whether this name alone would take a host, which is in lower case.
    pub fn answers_to(&self, host: &[u8]) -> bool {
        match self {
            ServerName::Exact(name) => name == host,
            ServerName::Suffix { suffix, with_apex } => {
                host.ends_with(suffix) || *with_apex && host == &suffix[1..]
            }
            ServerName::Prefix(prefix) => host.starts_with(prefix),
            ServerName::Pattern(pattern) => pattern.pattern.is_match(host) == Ok(true),
            ServerName::Malformed => false,
        }
    }
}

/// A name with the word it came from.
pub struct Named {
    pub name: ServerName,
    pub word: conf::Word,
}

settings! {
    pub struct Settings {
        names: Own<Vec<Named>>,
        /// The first name, for the log and `$server_name`.
        first: Own<Option<Vec<u8>>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "server_name" in SERVER, AtLeast(1), "\"\"", Action::Set(server_name),
                "Names of a virtual server: exact, with a wildcard at either end, or a pattern after \"~\".";
        },
    },
    ..HttpModule::EMPTY
};

fn server_name(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    for word in &directive.args {
        let name = read(loader, word)?;
        let settings = loader.settings(&SETTINGS);
        settings.first.0.get_or_insert_with(|| first_name(&word.text));
        settings.names.0.push(Named { name, word: word.clone() });
    }
    Ok(())
}

fn read(loader: &mut Loader<'_>, word: &conf::Word) -> Result<ServerName, Fault> {
    let fault = |sentence: String| Fault::from(sentence).at(word.span);
    if word.text.contains(&b'/') && !word.text.starts_with(b"~") {
        let message = format!("server name \"{word}\" has suspicious symbols");
        loader.warn(word.span, message);
    }
    let text = word.text.to_ascii_lowercase();
    match &*text {
        text if is_incomplete(text) => Err(fault(format!("server name \"{word}\" is invalid"))),
        [b'~'] => Err(fault(format!("empty regex in server name \"{word}\""))),
        [b'~', ..] => {
            let caseless = word.text.iter().any(u8::is_ascii_uppercase);
            loader.pattern(word, &word.text[1..], caseless).map(ServerName::Pattern)
        }
        b"$hostname" => Ok(ServerName::Exact(hostname())),
        _ => Ok(host_name(&text)),
    }
}

/// A wildcard in front needs a dot and a name behind it, a dot a name.
fn is_incomplete(text: &[u8]) -> bool {
    match text {
        [b'*', rest @ ..] => !matches!(rest, [b'.', _, ..]),
        _ => text == b".",
    }
}

/// A name in lower case, with or without a wildcard.
fn host_name(text: &[u8]) -> ServerName {
    let is_plain =
        |name: &[u8]| !name.contains(&b'*') && !name.windows(2).any(|pair| pair == b"..");
    match text {
        [b'*', rest @ ..] if is_plain(rest) => {
            ServerName::Suffix { suffix: rest.to_vec(), with_apex: false }
        }
        [b'.', ..] if is_plain(text) => {
            ServerName::Suffix { suffix: text.to_vec(), with_apex: true }
        }
        [rest @ .., b'*'] if rest.ends_with(b".") && is_plain(rest) => {
            ServerName::Prefix(rest.to_vec())
        }
        _ if is_plain(text) => ServerName::Exact(text.to_vec()),
        _ => ServerName::Malformed,
    }
}

/// As `$server_name` shows it: a leading dot is dropped.
fn first_name(text: &[u8]) -> Vec<u8> {
    match text {
        b"$hostname" => hostname(),
        [b'.', rest @ ..] => rest.to_vec(),
        _ => text.to_vec(),
    }
}

/// The machine's name in lower case.
pub fn hostname() -> Vec<u8> {
    daemun_sys::identity::hostname().to_ascii_lowercase().into_bytes()
}
