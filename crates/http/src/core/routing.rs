//! `http`, `server` and `location`: the blocks that a request is routed through.

use std::sync::Arc;
use std::time::Duration;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Action, Contexts, Module, SettingsKey};
use daemun_core::named_pattern::NamedPattern;
use daemun_core::setting::Own;
use daemun_core::{directives, set, settings, values};

use crate::core::{resolving, upstreams};
use crate::module::HttpModule;

/// What a location's header says about the URIs it takes.
pub enum Match {
    Exact(Vec<u8>),
    /// `rank` is `^~`: no regular expression is tried after it.
    Prefix {
        name: Vec<u8>,
        rank: bool,
    },
    Pattern {
        text: Vec<u8>,
        pattern: Box<NamedPattern>,
    },
    Named(Vec<u8>),
}

impl Match {
    /// The name as nginx's messages spell it.
    pub fn name(&self) -> &[u8] {
        match self {
            Match::Exact(name) | Match::Named(name) | Match::Prefix { name, .. } => name,
            Match::Pattern { text, .. } => text,
        }
    }
}

/// How several access modules agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Satisfy {
    All,
    Any,
}

settings! {
    pub struct Settings {
        /// The header of this location, or of the one around an `if`; `None` in other blocks.
        location: Own<Option<Arc<Match>>>,
        internal: Own<bool>,
        /// CONNECT is no mistake here (`tunnel_pass`).
        takes_connect: Own<bool>,
        satisfy: Satisfy = Satisfy::All,
        auth_delay: Duration = Duration::ZERO,
        merge_slashes: bool = true,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "http" in MAIN, Block(0, 0), "", Action::Set(http),
                "Holds everything about HTTP.";
            "server" in HTTP, Block(0, 0), "", Action::Set(server),
                "Configures a virtual server.";
            "location" in SERVER | LOCATION, Block(1, 2), "", Action::Set(location),
                "Configures the requests whose URI matches.";
            "internal" in LOCATION, Exactly(0), "", Action::Set(internal),
                "Answers 404 unless an internal redirect led here.";
            "satisfy" in HTTP_SERVER_LOCATION, Exactly(1), "all", set!(SETTINGS.satisfy, satisfy),
                "Whether all access modules must allow a request, or any one.";
            "auth_delay" in HTTP_SERVER_LOCATION, Exactly(1), "0s",
                set!(SETTINGS.auth_delay, values::milliseconds),
                "How long a refusal with status 401 is held back, against guessing.";
            "merge_slashes" in HTTP_SERVER, Flag, "on", set!(SETTINGS.merge_slashes, values::flag),
                "Takes adjacent slashes in a URI for one.";
            "server_names_hash_max_size" in HTTP, Exactly(1), "512", GROWS,
                "Accepted: the tables grow by themselves.";
            "server_names_hash_bucket_size" in HTTP, Exactly(1), "64", GROWS,
                "Accepted: the tables grow by themselves.";
            "variables_hash_max_size" in HTTP, Exactly(1), "1024", GROWS,
                "Accepted: the tables grow by themselves.";
            "variables_hash_bucket_size" in HTTP, Exactly(1), "64", GROWS,
                "Accepted: the tables grow by themselves.";
        },
    },
    ..HttpModule::EMPTY
};

const GROWS: Action = Action::Checked(
    |directive| values::integer::<i64>(directive).map(drop),
    "the tables grow by themselves",
);

fn http(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if loader.block().children.iter().any(|block| block.context == Contexts::HTTP) {
        return Err("is duplicate".into());
    }
    loader.enter(Contexts::HTTP, directive);
    let look_ups = upstreams::look_ups(loader.entered());
    let groups = daemun_upstream::settle(loader, look_ups);
    loader.entered().settings.of_mut(&upstreams::SETTINGS).groups.0 = groups;
    let zones = daemun_resolver::status_zones(loader);
    loader.entered().settings.of_mut(&resolving::SETTINGS).status_zones.0 = zones;
    Ok(())
}

fn server(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    loader.enter(Contexts::SERVER, directive);
    Ok(())
}

fn internal(loader: &mut Loader<'_>, _: &conf::Directive) -> Result<(), Fault> {
    loader.settings(&SETTINGS).internal = Own(true);
    Ok(())
}

fn satisfy(directive: &conf::Directive) -> Result<Satisfy, Fault> {
    values::choice(directive, &[("all", Satisfy::All), ("any", Satisfy::Any)])
}

fn location(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let header = read_header(loader, directive)?;
    check_nesting(loader, &header)?;
    loader.enter_with(Contexts::LOCATION, directive, |settings| {
        settings.of_mut(&SETTINGS).location = Own(Some(Arc::new(header)));
    });
    Ok(())
}

fn read_header(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Match, Fault> {
    if let [modifier, name] = &*directive.args {
        return match &*modifier.text {
            b"=" => Ok(Match::Exact(name.text.to_vec())),
            b"^~" => Ok(Match::Prefix { name: name.text.to_vec(), rank: true }),
            b"~" => read_pattern(loader, name, &name.text, false),
            b"~*" => read_pattern(loader, name, &name.text, true),
            _ => Err(Fault::from(format!("invalid location modifier \"{modifier}\""))
                .at(modifier.span)
                .help("a location takes =, ^~, ~ or ~* before its name")),
        };
    }
    let word = &directive.args[0];
    match &*word.text {
        [b'=', name @ ..] => Ok(Match::Exact(name.to_vec())),
        [b'^', b'~', name @ ..] => Ok(Match::Prefix { name: name.to_vec(), rank: true }),
        [b'~', b'*', text @ ..] => read_pattern(loader, word, text, true),
        [b'~', text @ ..] => read_pattern(loader, word, text, false),
        [b'@', ..] => Ok(Match::Named(word.text.to_vec())),
        name => Ok(Match::Prefix { name: name.to_vec(), rank: false }),
    }
}

fn read_pattern(
    loader: &mut Loader<'_>,
    word: &conf::Word,
    text: &[u8],
    caseless: bool,
) -> Result<Match, Fault> {
    let pattern = loader.pattern(word, text, caseless)?;
    Ok(Match::Pattern { text: text.to_vec(), pattern })
}

fn check_nesting(loader: &mut Loader<'_>, inner: &Match) -> Result<(), Fault> {
    if loader.context() != Contexts::LOCATION {
        return Ok(());
    }
    let Some(outer) = &loader.settings(&SETTINGS).location.0 else {
        return Ok(());
    };
    let (outer_name, name) =
        (String::from_utf8_lossy(outer.name()), String::from_utf8_lossy(inner.name()));
    match (&**outer, inner) {
        (Match::Exact(_), _) => {
            Err(format!("location \"{name}\" cannot be inside the exact location \"{outer_name}\"")
                .into())
        }
        (Match::Named(_), _) => {
            Err(format!("location \"{name}\" cannot be inside the named location \"{outer_name}\"")
                .into())
        }
        (_, Match::Named(_)) => {
            Err(format!("named location \"{name}\" can be on the server level only").into())
        }
        (
            // A pattern's text counts as its name, as in nginx.
            Match::Prefix { name: prefix, .. } | Match::Pattern { text: prefix, .. },
            Match::Prefix { name: inner, .. } | Match::Exact(inner),
        ) if !inner.starts_with(prefix) => {
            Err(format!("location \"{name}\" is outside location \"{outer_name}\"").into())
        }
        _ => Ok(()),
    }
}
