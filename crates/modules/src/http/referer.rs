//! `valid_referers`: tells whether a request comes from a page of one's own.
//!
//! ```nginx
//! location /pictures/ {
//!     valid_referers none blocked server_names *.example.com www.example.org/galleries/ ~\.google\.;
//!     if ($invalid_referer) {
//!         return 403;
//!     }
//! }
//! ```

use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::setting::Inherit;
use daemun_core::{directives, settings};
use daemun_http::config::Server;
use daemun_http::core::server_name;
use daemun_http::head::Known;
use daemun_http::module::{HttpModule, Variable};
use daemun_http::request::{Request, Text};
use daemun_pattern::Pattern;

use crate::shared::GROWS;
use crate::shared::hostnames::Hostnames;

/// Where requests may come from.
#[derive(Clone, Default)]
struct Referers {
    is_set: bool,
    /// With the beginning of the path, where one is wanted.
    names: Arc<Hostnames<Box<[u8]>>>,
    /// For what follows the scheme.
    patterns: Arc<Vec<Pattern>>,
    takes_none: bool,
    takes_blocked: bool,
    takes_server_names: bool,
}

impl Inherit for Referers {
    /// As in nginx a block with referers of its own keeps the patterns from outside, unless it has some.
    fn inherit(&mut self, outer: &Self) {
        if !self.is_set {
            *self = Referers { is_set: false, ..outer.clone() };
        } else if self.patterns.is_empty() {
            self.patterns = Arc::clone(&outer.patterns);
        }
    }
}

settings! {
    pub struct Settings {
        referers: Referers,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_referer_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "valid_referers" in SERVER | LOCATION, AtLeast(1), "", Action::Set(valid_referers),
                "The pages, by host, path or pattern, for which $invalid_referer is empty.";
            "referer_hash_max_size" in SERVER | LOCATION, Exactly(1), "2048", GROWS,
                "Accepted: the tables grow by themselves.";
            "referer_hash_bucket_size" in SERVER | LOCATION, Exactly(1), "64", GROWS,
                "Accepted: the tables grow by themselves.";
        },
    },
    variables: &[Variable::changeable("invalid_referer", |request, _, out| {
        if !is_valid(request) {
            out.push(b'1');
        }
        true
    })],
    check,
    ..HttpModule::EMPTY
};

fn check(settings: &SettingsSet) -> Result<(), String> {
    let referers = &settings.of(&SETTINGS).referers;
    let has_names = referers.takes_server_names || !referers.names.is_empty();
    if referers.is_set && (referers.takes_none || referers.takes_blocked) && !has_names {
        return Err(
            "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" \
                    directive without any valid referer"
                .to_owned(),
        );
    }
    Ok(())
}

/// No shorter referer names a page.
const SHORTEST: usize = "http://i.ru".len();

const LONGEST_HOST: usize = 256;

fn is_valid(request: &Request) -> bool {
    let referers = &request.settings(&SETTINGS).referers;
    if referers.is_empty() {
        return true;
    }
    let Some(referer) = request.header(Known::Referer) else {
        return referers.takes_none;
    };
    let Some(page) = without_scheme(referer).filter(|_| referer.len() >= SHORTEST) else {
        return referers.takes_blocked;
    };
    let end = memchr::memchr2(b'/', b':', page).unwrap_or(page.len());
    if end > LONGEST_HOST {
        return false;
    }
    let host = page[..end].to_ascii_lowercase();
    if referers.takes_server_names && has_name(request.server, &host) {
        return true;
    }
    if let Some(path) = referers.names.find(&host) {
        let rest = &page[end..];
        let rest = &rest[memchr::memchr(b'/', rest).unwrap_or(rest.len())..];
        return rest.starts_with(path);
    }
    referers.patterns.iter().any(|pattern| {
        pattern.is_match(page).unwrap_or_else(|error| {
            let page = Text(page);
            log!(request.log(), Alert, *request, "matching \"{}\" failed: {}", page, error);
            false
        })
    })
}

fn without_scheme(referer: &[u8]) -> Option<&[u8]> {
    let after = |scheme: &[u8]| {
        let (start, rest) = referer.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    after(b"http://").or_else(|| after(b"https://"))
}

fn has_name(server: &Server, host: &[u8]) -> bool {
    let names = &server.settings().of(&server_name::SETTINGS).names.0;
    names.iter().any(|named| named.name.answers_to(host))
}

impl Referers {
    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.patterns.is_empty() && !self.takes_server_names
    }
}

fn valid_referers(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let referers = &mut loader.settings(&SETTINGS).referers;
    referers.is_set = true;
    for word in &directive.args {
        let fault = |sentence: String| Fault::from(sentence).at(word.span);
        match &*word.text {
            b"" => return Err(fault(format!("invalid referer \"{word}\""))),
            b"none" => referers.takes_none = true,
            b"blocked" => referers.takes_blocked = true,
            b"server_names" => referers.takes_server_names = true,
            b"~" => return Err(fault(format!("empty regex in \"{word}\""))),
            [b'~', pattern @ ..] => {
                let pattern = Pattern::compile(pattern, true);
                let pattern = pattern.map_err(|error| fault(error.to_string()))?;
                Arc::get_mut(&mut referers.patterns).expect("not shared yet").push(pattern);
            }
            text => {
                let slash = memchr::memchr(b'/', text).unwrap_or(text.len());
                let (host, path) = text.split_at(slash);
                let names = Arc::get_mut(&mut referers.names).expect("not shared yet");
                let added = names.add(host, path.into());
                added.map_err(|refusal| fault(refusal.sentence(host)))?;
            }
        }
    }
    Ok(())
}
