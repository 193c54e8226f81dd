//! For whom responses are compressed: what `gzip`, `gzip_static` and `gunzip` have in common.

use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::named_pattern::NamedPattern;
use daemun_core::{directives, set, settings, values};
use daemun_proto::http1::Version;

use crate::date;
use crate::head::Known;
use crate::module::HttpModule;
use crate::request::{Request, Text};
use crate::user_agent;

bitflags::bitflags! {
    /// Which responses are compressed for proxies, that is requests with a Via header.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Proxied: u16 {
        const OFF = 1;
        const EXPIRED = 1 << 1;
        const NO_CACHE = 1 << 2;
        const NO_STORE = 1 << 3;
        const PRIVATE = 1 << 4;
        const NO_LAST_MODIFIED = 1 << 5;
        const NO_ETAG = 1 << 6;
        const AUTH = 1 << 7;
        const ANY = 1 << 8;
    }
}

/// `gzip_disable`: browsers that claim more than they can.
#[derive(Clone, Default)]
pub struct Disabled {
    msie6: bool,
    agents: Vec<Arc<NamedPattern>>,
}

settings! {
    pub struct Settings {
        vary: bool = false,
        http_version: Version = Version::HTTP_11,
        proxied: Proxied = Proxied::OFF,
        disabled: Disabled = Disabled::default(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "gzip_vary" in HTTP_SERVER_LOCATION, Flag, "off", set!(SETTINGS.vary, values::flag),
                "Whether Vary tells caches that responses differ by Accept-Encoding.";
            "gzip_http_version" in HTTP_SERVER_LOCATION, Exactly(1), "1.1",
                set!(SETTINGS.http_version, http_version),
                "The version of HTTP that a request needs at least for a compressed response.";
            "gzip_proxied" in HTTP_SERVER_LOCATION, AtLeast(1), "off", Action::Set(gzip_proxied),
                "Which responses are compressed for proxies.";
            "gzip_disable" in HTTP_SERVER_LOCATION, AtLeast(1), "", Action::Set(gzip_disable),
                "Patterns of the user agents for which nothing is compressed, or msie6.";
        },
    },
    ..HttpModule::EMPTY
};

/// Whether the client, and any proxy on its side, may get the response compressed with `coding`.
pub fn may_encode(request: &Request, coding: &[u8]) -> bool {
    let settings = request.settings(&SETTINGS);
    !request.is_subrequest()
        && request.header(Known::AcceptEncoding).is_some_and(|list| accepts(list, coding))
        && !(settings.disabled.msie6
            && request.header(Known::UserAgent).is_some_and(user_agent::is_msie6))
        && request.head.version() >= *settings.http_version
        && (request.header(Known::Via).is_none() || suits_proxies(request, *settings.proxied))
        && !is_disabled(request, &settings.disabled)
}

/// Whether Accept-Encoding names a coding without a weight of 0.
fn accepts(list: &[u8], coding: &[u8]) -> bool {
    let places = (0..=list.len().saturating_sub(coding.len())).filter(|at| {
        list[*at..].get(..coding.len()).is_some_and(|part| part.eq_ignore_ascii_case(coding))
            && (*at == 0 || matches!(list[at - 1], b',' | b' '))
    });
    let Some(start) = places.map(|at| at + coding.len()).next() else {
        return false;
    };
    let rest = list[start..].split(|byte| *byte == b',').next().unwrap_or_default();
    let rest = trim(rest);
    let Some(weight) = rest.strip_prefix(b";") else {
        return rest.is_empty();
    };
    let weight = trim(weight);
    match weight {
        [] => true,
        [b'q' | b'Q', b'=', quantity @ ..] => is_positive(quantity),
        _ => false,
    }
}

fn trim(text: &[u8]) -> &[u8] {
    let blank = text.iter().take_while(|byte| **byte == b' ').count();
    &text[blank..]
}

/// A weight between 0.001 and 1.000 (RFC 9110, section 12.4.2).
fn is_positive(quantity: &[u8]) -> bool {
    let end = quantity.iter().position(|byte| *byte == b' ').unwrap_or(quantity.len());
    match &quantity[..end] {
        [b'1'] => true,
        [whole @ (b'0' | b'1'), b'.', digits @ ..] => {
            let has_value = digits.iter().any(|digit| matches!(digit, b'1'..=b'9'));
            digits.len() <= 3
                && digits.iter().all(u8::is_ascii_digit)
                && if *whole == b'1' { !has_value } else { has_value }
        }
        _ => false,
    }
}

fn suits_proxies(request: &Request, proxied: Proxied) -> bool {
    let response = &request.response;
    if proxied.contains(Proxied::OFF) {
        return false;
    }
    if proxied.contains(Proxied::ANY)
        || proxied.contains(Proxied::AUTH) && request.header(Known::Authorization).is_some()
    {
        return true;
    }
    if let Some(expires) = response.values(b"Expires").next() {
        let now = date::seconds(daemun_event::wall_clock()) as i64;
        let date = match response.values(b"Date").next() {
            Some(text) => date::parse(text),
            None => Some(now),
        };
        return proxied.contains(Proxied::EXPIRED)
            && date::parse(expires).is_some_and(|at| date.is_some_and(|date| at < date));
    }
    if response.values(b"Cache-Control").next().is_some() {
        let says = |word: &[u8], mask| proxied.contains(mask) && controls_cache(request, word);
        return says(b"no-cache", Proxied::NO_CACHE)
            || says(b"no-store", Proxied::NO_STORE)
            || says(b"private", Proxied::PRIVATE);
    }
    !(proxied.contains(Proxied::NO_LAST_MODIFIED) && response.last_modified.is_some()
        || proxied.contains(Proxied::NO_ETAG) && response.etag.is_some())
}

fn controls_cache(request: &Request, word: &[u8]) -> bool {
    let mut items = request
        .response
        .values(b"Cache-Control")
        .flat_map(|value| value.split(|byte| matches!(byte, b',' | b';')));
    items.any(|item| {
        let name = item.split(|byte| *byte == b'=').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(word)
    })
}

fn is_disabled(request: &Request, disabled: &Disabled) -> bool {
    let Some(agent) = request.header(Known::UserAgent) else {
        return false;
    };
    disabled.agents.iter().any(|agents| match agents.pattern.is_match(agent) {
        Ok(found) => found,
        Err(_) => {
            let text = Text(&agents.text);
            log!(request.log(), Alert, *request, "pcre2_match() failed: -47 using \"{}\"", text);
            false
        }
    })
}

fn http_version(directive: &conf::Directive) -> Result<Version, Fault> {
    values::choice(directive, &[("1.0", Version::HTTP_10), ("1.1", Version::HTTP_11)])
}

fn gzip_proxied(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let mut proxied = Proxied::empty();
    for word in &directive.args {
        let mask = match &*word.text {
            b"off" => Proxied::OFF,
            b"expired" => Proxied::EXPIRED,
            b"no-cache" => Proxied::NO_CACHE,
            b"no-store" => Proxied::NO_STORE,
            b"private" => Proxied::PRIVATE,
            b"no_last_modified" => Proxied::NO_LAST_MODIFIED,
            b"no_etag" => Proxied::NO_ETAG,
            b"auth" => Proxied::AUTH,
            b"any" => Proxied::ANY,
            _ => return Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span)),
        };
        if proxied.contains(mask) {
            loader.warn(word.span, format!("duplicate value \"{word}\""));
        }
        proxied |= mask;
    }
    let setting = &mut loader.settings(&SETTINGS).proxied;
    let earlier = if setting.is_set() { **setting } else { Proxied::empty() };
    setting.replace(earlier | proxied);
    Ok(())
}

fn gzip_disable(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    for word in &directive.args {
        if word == "msie6" {
            loader.settings(&SETTINGS).disabled.modify().msie6 = true;
            continue;
        }
        let pattern = loader.pattern(word, &word.text, true)?;
        loader.settings(&SETTINGS).disabled.modify().agents.push(pattern.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_is_accepted_unless_its_weight_is_nothing() {
        for list in [
            "gzip",
            "gzip, deflate",
            "deflate,GZip",
            "br;q=1.0, gzip;q=0.001",
            "gzip ; q=1",
            "gzip;",
            "xgzip, gzip",
            "gzip;q=1.000",
        ] {
            assert!(accepts(list.as_bytes(), b"gzip"), "{list}");
        }
        for list in [
            "",
            "gzi",
            "xgzip",
            "gzipx",
            "gzip;q=0",
            "gzip;q=0.000",
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.0001",
            "gzip;x=1",
            "*",
        ] {
            assert!(!accepts(list.as_bytes(), b"gzip"), "{list}");
        }
    }
}
