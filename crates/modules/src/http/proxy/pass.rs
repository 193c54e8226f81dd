//! `proxy_pass`: where requests go, and what becomes of their URIs.

use std::borrow::Cow;
use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::Contexts;
use daemun_core::script::Script;
use daemun_core::setting::Inherit;
use daemun_http::core::routing::{self, Match};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::upstream::Target;
use daemun_upstream::{GroupId, Url};

/// `proxy_pass` of a block.
pub enum Pass {
    Fixed(Fixed),
    /// It has variables.
    Computed(Script),
}

/// An address that stands in the configuration.
pub struct Fixed {
    group: GroupId,
    /// `http://backend:8080`, with the URI behind it: what `proxy_redirect default` replaces.
    pub url: Vec<u8>,
    place: Place,
    /// The location's name, which the URI replaces.
    pub location: Vec<u8>,
    is_tls: bool,
}

/// Where a request goes.
#[derive(Clone)]
pub struct Place {
    /// `$proxy_host`: with the port unless that is the scheme's own.
    pub host: Vec<u8>,
    pub port: Vec<u8>,
    /// The URI; empty where there is none.
    pub uri: Vec<u8>,
    /// What names it in the keys of caches.
    pub cache_key: Vec<u8>,
}

/// A request's way: whom it goes to, and as what.
pub struct Way {
    pub target: Target,
    pub place: Cow<'static, Place>,
    /// The part of the request's URI that the place's replaces; `None`: the place's is used as it is.
    pub location: Option<&'static [u8]>,
    /// The server speaks TLS.
    pub is_tls: bool,
}

impl Pass {
    /// The way for this request. The error is the client's answer.
    pub fn way(&'static self, request: &mut Request) -> Result<Way, Status> {
        match self {
            Pass::Fixed(fixed) => Ok(Way {
                target: Target::Group(fixed.group),
                place: Cow::Borrowed(&fixed.place),
                location: Some(&fixed.location),
                is_tls: fixed.is_tls,
            }),
            Pass::Computed(script) => {
                let url = script.value(request);
                computed(&url).map_err(|reason| {
                    log!(request.log(), Error, *request, "{}", reason);
                    Status::INTERNAL_SERVER_ERROR
                })
            }
        }
    }
}

impl Pass {
    /// The group that all requests go to.
    pub fn group(&self) -> Option<GroupId> {
        match self {
            Pass::Fixed(fixed) => Some(fixed.group),
            Pass::Computed(_) => None,
        }
    }
}

impl Fixed {
    pub fn has_uri(&self) -> bool {
        !self.place.uri.is_empty()
    }
}

fn computed(text: &[u8]) -> Result<Way, String> {
    // As nginx has it, a scheme alone is no prefix.
    let Some((is_tls, rest)) = strip_scheme(text).filter(|(_, rest)| !rest.is_empty()) else {
        return Err(format!("invalid URL prefix in \"{}\"", Text(text)));
    };
    let usual = usual_port(is_tls);
    let mut url = Url::parse(rest, Some(usual))
        .map_err(|reason| format!("{reason} in upstream \"{}\"", Text(rest)))?;
    if url.uri.first() == Some(&b'?') {
        url.uri.insert(0, b'/');
    }
    let location = if url.uri.is_empty() { Some(&b""[..]) } else { None };
    let place = Cow::Owned(Place::of(&url, usual));
    Ok(Way { target: Target::Address(Box::new(url)), place, location, is_tls })
}

impl Place {
    fn of(url: &Url, usual: u16) -> Place {
        let (host, port) = match url.port {
            None => (b"localhost".to_vec(), Vec::new()),
            Some(port) if port == usual => (url.host.clone().into_bytes(), port.to_string().into()),
            Some(port) => (format!("{}:{port}", url.host).into(), port.to_string().into()),
        };
        let scheme = if usual == usual_port(true) { "https://" } else { "http://" };
        let named = match url.port {
            None => format!("unix:{}:", url.host).into_bytes(),
            Some(_) => host.clone(),
        };
        let cache_key = [scheme.as_bytes(), &named].concat();
        Place { host, port, uri: url.uri.clone(), cache_key }
    }
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

    /// The `proxy_pass` that counts here.
    pub fn value(&self) -> Option<&Pass> {
        self.own.as_deref().or(self.outer.as_deref())
    }

    /// The block's own, where it has one without variables.
    pub fn fixed(&self) -> Option<&Fixed> {
        match self.own.as_deref() {
            Some(Pass::Fixed(fixed)) => Some(fixed),
            _ => None,
        }
    }

    /// Servers may have to be spoken to over TLS.
    pub fn may_speak_tls(&self) -> bool {
        match self.value() {
            Some(Pass::Fixed(fixed)) => fixed.is_tls,
            Some(Pass::Computed(_)) => true,
            None => false,
        }
    }

    pub fn is_computed(&self) -> bool {
        matches!(self.own.as_deref(), Some(Pass::Computed(_)))
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
    let script = loader.script(word)?;
    let pass = match script.as_literal() {
        None => Pass::Computed(script),
        Some(_) => Pass::Fixed(fixed(loader, word)?),
    };
    loader.settings(&super::SETTINGS).pass.own = Some(Arc::new(pass));
    Ok(())
}

fn fixed(loader: &mut Loader<'_>, word: &conf::Word) -> Result<Fixed, Fault> {
    let Some((is_tls, rest)) = strip_scheme(&word.text) else {
        return Err(Fault::from("invalid URL prefix".to_owned()).at(word.span));
    };
    let usual = usual_port(is_tls);
    let url = Url::parse(rest, Some(usual)).map_err(|reason| {
        Fault::from(format!("{reason} in upstream \"{}\"", Text(rest))).at(word.span)
    })?;
    let group = daemun_upstream::request_group(loader, &url, word.span)?;
    let location = match location_name(loader) {
        Some(name) => name,
        None if url.uri.is_empty() => Vec::new(),
        None => {
            let sentence = "\"proxy_pass\" cannot have URI part in location given by regular expression, \
                            or inside named location, or inside \"if\" statement, or inside \
                            \"limit_except\" block";
            return Err(Fault::from(sentence.to_owned()).at(word.span));
        }
    };
    let place = Place::of(&url, usual);
    Ok(Fixed { group, url: word.text.to_vec(), place, location, is_tls })
}

/// Whether it is `https`, and what follows.
fn strip_scheme(url: &[u8]) -> Option<(bool, &[u8])> {
    let after = |scheme: &[u8]| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let plain = after(b"http://").map(|rest| (false, rest));
    plain.or_else(|| after(b"https://").map(|rest| (true, rest)))
}

fn usual_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
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
    fn the_usual_port_is_not_named() {
        let of = |text: &str| {
            let place = Place::of(&Url::parse(text.as_bytes(), Some(80)).unwrap(), 80);
            (String::from_utf8(place.host).unwrap(), String::from_utf8(place.port).unwrap())
        };
        assert_eq!(of("a/b"), ("a".into(), "80".into()));
        assert_eq!(of("a:80"), ("a".into(), "80".into()));
        assert_eq!(of("a:8080"), ("a:8080".into(), "8080".into()));
        assert_eq!(of("[::1]"), ("[::1]".into(), "80".into()));
        assert_eq!(of("unix:/a"), ("localhost".into(), String::new()));
    }
}
