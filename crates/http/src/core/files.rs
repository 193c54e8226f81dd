//! Where files are found: `root`, `alias`, and how they are opened.

use std::path::PathBuf;
use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Contexts, Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::setting::Inherit;
use daemun_core::{directives, set, settings, values};

use crate::module::HttpModule;

/// The folder that URIs are looked up in.
#[derive(Clone, Debug)]
pub enum Root {
    /// The URI is appended to it.
    Root(Script),
    /// It takes the place of the location's name; of the whole URI where the location is a pattern.
    Alias(Script),
}

/// The root of a block: the location that an alias belongs to hands it on to the blocks inside.
#[derive(Clone, Debug, Default)]
pub struct RootSetting {
    pub root: Option<Root>,
    /// The length of the location's name that an alias replaces; `None`: the whole URI.
    pub alias_of: Option<usize>,
    is_set_here: bool,
}

impl Inherit for RootSetting {
    fn inherit(&mut self, outer: &Self) {
        if self.root.is_none() {
            *self = RootSetting { is_set_here: false, ..outer.clone() };
        }
    }
}

/// `disable_symlinks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisableSymlinks {
    Off,
    On { from: Option<Script> },
    IfNotOwner { from: Option<Script> },
}

/// `open_file_cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFileCache {
    pub max: usize,
    pub inactive: Duration,
}

settings! {
    pub struct Settings {
        root: RootSetting,
        log_not_found: bool = true,
        disable_symlinks: DisableSymlinks = DisableSymlinks::Off,
        open_file_cache: Option<OpenFileCache> = None,
        open_file_cache_valid: Duration = Duration::from_secs(60),
        open_file_cache_min_uses: u32 = 1,
        open_file_cache_errors: bool = false,
        content_cache: usize = 16 << 20,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "root" in HTTP_SERVER_LOCATION | LOCATION_IF, Exactly(1), "html", Action::Set(root),
                "The folder to which a request's URI is appended.";
            "alias" in LOCATION, Exactly(1), "", Action::Set(alias),
                "The folder that takes the place of the location's name.";
            "log_not_found" in HTTP_SERVER_LOCATION, Flag, "on",
                set!(SETTINGS.log_not_found, values::flag),
                "Whether the error log tells of files that are not found.";
            "disable_symlinks" in HTTP_SERVER_LOCATION, Between(1, 2), "off",
                Action::Set(disable_symlinks),
                "Whether files are opened by way of symbolic links.";
            "open_file_cache" in HTTP_SERVER_LOCATION, Between(1, 2), "off",
                set!(SETTINGS.open_file_cache, open_file_cache),
                "How many open files, and what is known of others, to remember.";
            "open_file_cache_valid" in HTTP_SERVER_LOCATION, Exactly(1), "60s",
                set!(SETTINGS.open_file_cache_valid, values::seconds),
                "How long what is remembered of a file is trusted.";
            "open_file_cache_min_uses" in HTTP_SERVER_LOCATION, Exactly(1), "1",
                set!(SETTINGS.open_file_cache_min_uses, values::integer),
                "How often a file is used before it stays open.";
            "open_file_cache_errors" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.open_file_cache_errors, values::flag),
                "Whether to remember files that could not be opened.";
            "open_file_cache_events" in HTTP_SERVER_LOCATION, Flag, "off",
                Action::Checked(|directive| values::flag(directive).map(drop), "files are looked at again by time, not by kernel events"),
                "Accepted: files are looked at again by time.";
            "content_cache" in HTTP, Exactly(1), "16m",
                set!(SETTINGS.content_cache, values::size),
                "How much of small files' content a worker keeps in memory; 0 turns it off.";
        },
    },
    ..HttpModule::EMPTY
};

fn root(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    set_root(loader, directive, Root::Root)
}

fn alias(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    set_root(loader, directive, Root::Alias)
}

fn set_root(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    make: fn(Script) -> Root,
) -> Result<(), Fault> {
    use super::routing::{self, Match};
    let word = &directive.args[0];
    for forbidden in
        [&b"$document_root"[..], b"${document_root}", b"$realpath_root", b"${realpath_root}"]
    {
        if memchr::memmem::find(&word.text, forbidden).is_some() {
            return Err(Fault::from(format!(
                "the ${} variable cannot be used in the \"{}\" directive",
                String::from_utf8_lossy(forbidden).trim_matches(['$', '{', '}']),
                directive.name
            ))
            .at(word.span));
        }
    }
    let root = make(script_of_path(loader, word)?);
    let alias_of = match (&root, loader.context()) {
        (Root::Alias(_), Contexts::LOCATION) => {
            match loader.settings(&routing::SETTINGS).location.0.as_deref() {
                Some(Match::Exact(name) | Match::Prefix { name, .. }) => Some(name.len()),
                Some(Match::Named(_)) => {
                    let message =
                        "the \"alias\" directive cannot be used inside the named location";
                    return Err(message.to_owned().into());
                }
                _ => None,
            }
        }
        _ => None,
    };
    let setting = &mut loader.settings(&SETTINGS).root;
    match &setting.root {
        Some(before) if setting.is_set_here => {
            let same = std::mem::discriminant(before) == std::mem::discriminant(&root);
            let before = if matches!(before, Root::Alias(_)) { "alias" } else { "root" };
            return Err(match same {
                true => "is duplicate".into(),
                false => format!(
                    "\"{}\" directive is duplicate, \"{before}\" directive was specified earlier",
                    directive.name
                )
                .into(),
            });
        }
        _ => *setting = RootSetting { root: Some(root), alias_of, is_set_here: true },
    }
    Ok(())
}

/// A path without its trailing slashes, relative ones below the prefix.
fn script_of_path(loader: &mut Loader<'_>, word: &conf::Word) -> Result<Script, Fault> {
    let mut text = word.text.to_vec();
    if text.starts_with(b"$") {
        return loader.script(word);
    }
    if !text.starts_with(b"/") {
        let mut path = loader.paths.prefix.as_os_str().as_encoded_bytes().to_vec();
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.append(&mut text);
        text = path;
    }
    let absolute = conf::Word { text: text.into(), ..word.clone() };
    loader.script(&absolute)
}

/// The folder where no `root` is given.
pub fn default_root(prefix: &std::path::Path) -> PathBuf {
    prefix.join("html")
}

fn disable_symlinks(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let mut from = None;
    let mut mode = None;
    for word in &directive.args {
        match &*word.text {
            [b'f', b'r', b'o', b'm', b'=', path @ ..] => {
                let path = conf::Word { text: path.into(), ..word.clone() };
                from = Some(loader.script(&path)?);
            }
            b"off" | b"on" | b"if_not_owner" => mode = Some(&word.text),
            _ => return Err(Fault::from(format!("invalid parameter \"{word}\"")).at(word.span)),
        }
    }
    let value = match mode.map(|mode| &**mode) {
        Some(b"on") => DisableSymlinks::On { from },
        Some(b"if_not_owner") => DisableSymlinks::IfNotOwner { from },
        Some(_) if from.is_none() => DisableSymlinks::Off,
        Some(_) => {
            return Err(Fault::from("\"from=\" cannot be used with \"off\" parameter".to_owned()));
        }
        None => {
            return Err(Fault::from(
                "\"disable_symlinks\" must have \"off\", \"on\" or \"if_not_owner\" parameter"
                    .to_owned(),
            ));
        }
    };
    loader.settings(&SETTINGS).disable_symlinks.set(value)?;
    Ok(())
}

fn open_file_cache(directive: &conf::Directive) -> Result<Option<OpenFileCache>, Fault> {
    let mut max = None;
    let mut inactive = Duration::from_secs(60);
    for word in &directive.args {
        let invalid = || {
            Fault::from(format!("invalid \"open_file_cache\" parameter \"{word}\"")).at(word.span)
        };
        match &*word.text {
            b"off" => return Ok(None),
            [b'm', b'a', b'x', b'=', count @ ..] => {
                let count = units::integer(count).and_then(|count| usize::try_from(count).ok());
                max = Some(count.filter(|count| *count > 0).ok_or_else(invalid)?);
            }
            [b'i', b'n', b'a', b'c', b't', b'i', b'v', b'e', b'=', time @ ..] => {
                inactive = Duration::from_secs(units::seconds(time).ok_or_else(invalid)?);
            }
            _ => return Err(invalid()),
        }
    }
    match max {
        Some(max) => Ok(Some(OpenFileCache { max, inactive })),
        None => Err(Fault::from("\"open_file_cache\" must have the \"max\" parameter".to_owned())),
    }
}
