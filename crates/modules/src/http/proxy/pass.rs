//! `proxy_pass`: where requests go, and what becomes of their URIs.

use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::Contexts;
use daemun_core::setting::Inherit;
use daemun_http::core::routing::{self, Match};
use daemun_http::upstream::registry;
use daemun_upstream::Group;

/// `proxy_pass` of a block.
pub struct Pass {
    pub group: Arc<Group>,
    /// `http://backend:8080`, with the URI behind it: what `proxy_redirect default` replaces.
    pub url: Vec<u8>,
    /// `$proxy_host`: with the port unless that is the scheme's own.
    pub host: Vec<u8>,
    pub port: Vec<u8>,
    /// The URI in the directive; empty where there is none.
    pub uri: Vec<u8>,
    /// The location's name, which the URI replaces.
    pub location: Vec<u8>,
}

/// A block's own `proxy_pass`, or that of the blocks around it. An `if` goes on with that of its location.
#[derive(Default)]
pub struct PassSetting {
    own: Option<Arc<Pass>>,
    outer: Option<Arc<Pass>>,
}

impl PassSetting {
    pub fn is_here(&self) -> bool {
        self.own.is_some()
    }

    pub fn value(&self) -> Option<&Pass> {
        self.own.as_deref().or(self.outer.as_deref())
    }

    pub fn own(&self) -> Option<&Pass> {
        self.own.as_deref()
    }
}

impl Inherit for PassSetting {
    fn inherit(&mut self, outer: &Self) {
        self.outer = outer.own.clone().or_else(|| outer.outer.clone());
    }
}

pub fn proxy_pass(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if loader.settings(&super::SETTINGS).pass.is_here() {
        return Err("is duplicate".into());
    }
    let word = &directive.args[0];
    let url = word.text.to_vec();
    let Some(rest) = strip_scheme(&url) else {
        return Err(Fault::from("invalid URL prefix".to_owned()).at(word.span));
    };
    let (authority, uri) = split_uri(rest);
    let authority = String::from_utf8_lossy(authority).into_owned();
    let group = registry::request_group(&authority, 80).map_err(|fault| fault.at(word.span))?;
    let location = match location_name(loader) {
        Some(name) => name,
        None if uri.is_empty() => Vec::new(),
        None => {
            let sentence = "\"proxy_pass\" cannot have URI part in location given by regular expression, \
                            or inside named location, or inside \"if\" statement, or inside \
                            \"limit_except\" block";
            return Err(Fault::from(sentence.to_owned()).at(word.span));
        }
    };
    let (host, port) = host_and_port(&authority);
    let pass = Pass { group, host, port, uri: uri.to_vec(), location, url: url.clone() };
    loader.settings(&super::SETTINGS).pass.own = Some(Arc::new(pass));
    Ok(())
}

fn strip_scheme(url: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = url.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"http://").then_some(rest)
}

/// Splits host and port from the URI behind them. A path of a UNIX socket ends at a colon.
fn split_uri(rest: &[u8]) -> (&[u8], &[u8]) {
    if let Some(path) = rest.strip_prefix(b"unix:") {
        return match memchr::memchr(b':', path) {
            Some(colon) => (&rest[..5 + colon], &path[colon + 1..]),
            None => (rest, b""),
        };
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    rest.split_at(end.unwrap_or(rest.len()))
}

/// `Host` as the servers get it, and the port.
fn host_and_port(authority: &str) -> (Vec<u8>, Vec<u8>) {
    if authority.starts_with("unix:") {
        return (b"localhost".to_vec(), Vec::new());
    }
    let colon = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
    match colon.map(|colon| (&authority[..colon], &authority[colon + 1..])) {
        None => (authority.into(), b"80".to_vec()),
        Some((host, "80")) => (host.into(), b"80".to_vec()),
        Some((_, port)) => (authority.into(), port.into()),
    }
}

/// The name that a URI in the directive replaces; `None` where the block has none.
fn location_name(loader: &mut Loader<'_>) -> Option<Vec<u8>> {
    if loader.context() != Contexts::LOCATION {
        return None;
    }
    match loader.settings(&routing::SETTINGS).location.0.as_deref() {
        Some(Match::Exact(name) | Match::Prefix { name, .. }) => Some(name.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_uris() {
        let split = |text: &'static str| {
            let (authority, uri) = split_uri(text.as_bytes());
            (str::from_utf8(authority).unwrap(), str::from_utf8(uri).unwrap())
        };
        assert_eq!(split("a:80/b?c"), ("a:80", "/b?c"));
        assert_eq!(split("a"), ("a", ""));
        assert_eq!(split("unix:/run/a.sock:/b"), ("unix:/run/a.sock", "/b"));
        assert_eq!(split("unix:/run/a.sock"), ("unix:/run/a.sock", ""));
    }

    #[test]
    fn the_usual_port_is_not_named() {
        let of = |text: &str| {
            let (host, port) = host_and_port(text);
            (String::from_utf8(host).unwrap(), String::from_utf8(port).unwrap())
        };
        assert_eq!(of("a"), ("a".into(), "80".into()));
        assert_eq!(of("a:80"), ("a".into(), "80".into()));
        assert_eq!(of("a:8080"), ("a:8080".into(), "8080".into()));
        assert_eq!(of("[::1]"), ("[::1]".into(), "80".into()));
        assert_eq!(of("unix:/a"), ("localhost".into(), String::new()));
    }
}
