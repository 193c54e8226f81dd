//! `sticky`: requests of one session go to one server of a group.
//!
//! ```nginx
//! upstream backend {
//!     server 127.0.0.1:8081 route=a;
//!     server 127.0.0.1:8082 route=b;
//!     sticky cookie srv_id expires=1h domain=.example.com path=/ httponly samesite=lax;
//! }
//! upstream routed {
//!     server 127.0.0.1:8081 route=a;
//!     server 127.0.0.1:8082 route=b;
//!     sticky route $cookie_route $arg_route;
//! }
//! upstream learning {
//!     server 127.0.0.1:8081;
//!     server 127.0.0.1:8082;
//!     sticky learn create=$sent_http_session lookup=$cookie_session zone=sessions:1m timeout=1h;
//! }
//! ```

use std::sync::Arc;
use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::directives;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::Module;
use daemun_core::script::{Script, Session, VariableId};
use daemun_core::zones::{self, Purpose, ZoneRef};
use daemun_http::date;
use daemun_http::module::HttpModule;
use daemun_shm::Zone;
use daemun_upstream::{Learn, Sticky, Tell};

use crate::shared::upstream::set_sticky;

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_upstream_sticky_module",
        settings: None,
        directives: directives! {
            "sticky" in UPSTREAM, AtLeast(2), "", Action::Set(sticky),
                "Sends the requests of a session to one server: told by a cookie, a route, or learned.";
        },
    },
    ..HttpModule::EMPTY
};

/// Sessions outlive their configuration.
const PURPOSE: Purpose = Purpose { user: "upstream_sticky", fresh: false };

fn sticky(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let (kind, parameters) = directive.args.split_first().ok_or("invalid value")?;
    let sticky = match &*kind.text {
        b"cookie" => cookie(loader, parameters)?,
        b"route" => route(loader, parameters)?,
        b"learn" => learn(loader, parameters)?,
        _ => return Err(Fault::from(format!("unknown parameter \"{kind}\"")).at(kind.span)),
    };
    set_sticky(loader, sticky)
}

/// What a cookie says besides its value.
struct Cookie {
    name: Box<[u8]>,
    expires: Option<Expires>,
    domain: Option<Script>,
    path: Vec<u8>,
    httponly: bool,
    secure: bool,
    samesite: Option<Script>,
}

/// Seconds: the end of the year 9999.
const LAST_DATE: u64 = 253_402_300_799;

enum Expires {
    Max,
    /// Seconds.
    After(u64),
}

impl Cookie {
    /// The value of `Set-Cookie`, in nginx's spelling.
    fn append(&self, session: &mut dyn Session, id: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name);
        out.push(b'=');
        out.extend_from_slice(id.as_bytes());
        match self.expires {
            None => {}
            Some(Expires::Max) => {
                out.extend_from_slice(b"; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000")
            }
            Some(Expires::After(seconds)) => {
                let at = date::seconds(daemun_event::wall_clock()).saturating_add(seconds);
                let at = date::cookie_date(at.min(LAST_DATE));
                out.extend_from_slice(format!("; expires={at}; max-age={seconds}").as_bytes());
            }
        }
        append_unless_empty(out, b"; domain=", self.domain.as_ref(), session);
        if self.httponly {
            out.extend_from_slice(b"; httponly");
        }
        if self.secure {
            out.extend_from_slice(b"; secure");
        }
        if let Some(samesite) = &self.samesite {
            let value = samesite.value(session);
            match () {
                () if value.is_empty() => {}
                () if is_samesite(&value) => {
                    out.extend_from_slice(b"; samesite=");
                    out.extend_from_slice(&value);
                }
                () => out.extend_from_slice(b"; samesite=strict"),
            }
        }
        out.extend_from_slice(&self.path);
    }
}

fn append_unless_empty(
    out: &mut Vec<u8>,
    name: &[u8],
    value: Option<&Script>,
    session: &mut dyn Session,
) {
    let value = value.map(|value| value.value(session)).unwrap_or_default();
    if !value.is_empty() {
        out.extend_from_slice(name);
        out.extend_from_slice(&value);
    }
}

fn is_samesite(value: &[u8]) -> bool {
    ["strict", "lax", "none"].iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
}

fn cookie(loader: &mut Loader<'_>, words: &[conf::Word]) -> Result<Sticky, Fault> {
    let (name, parameters) = words.split_first().ok_or("invalid value")?;
    if name.text.is_empty() {
        return Err("empty cookie name".into());
    }
    let mut cookie = Cookie {
        name: name.text.clone(),
        expires: None,
        domain: None,
        path: Vec::new(),
        httponly: false,
        secure: false,
        samesite: None,
    };
    for word in parameters {
        read_attribute(loader, &mut cookie, word)?;
    }
    let variable = format!("cookie_{}", name.to_str_lossy());
    let lookup = vec![loader.variables.refer(&variable, name.span)];
    let tell = Tell(Arc::new(move |session, id, out| cookie.append(session, id, out)));
    Ok(Sticky::Told { lookup, tell: Some(tell) })
}

fn read_attribute(
    loader: &mut Loader<'_>,
    cookie: &mut Cookie,
    word: &conf::Word,
) -> Result<(), Fault> {
    let (name, value) = split(&word.text);
    let value_word =
        conf::Word { text: value.unwrap_or_default().into(), quoted: word.quoted, span: word.span };
    match (name, value) {
        (b"domain", Some(b"")) => return Err("no value for \"domain\"".into()),
        (b"domain", Some(_)) => {
            let domain = loader.script(&value_word)?;
            once(&mut cookie.domain, domain, "parameter \"domain\" is duplicate")?;
        }
        (b"path", Some(_)) if !cookie.path.is_empty() => {
            return Err("parameter \"path\" is duplicate".into());
        }
        (b"path", Some(b"")) => return Err("no value for \"path\"".into()),
        (b"path", Some(path)) => cookie.path = [b"; path=", path].concat(),
        (b"expires", Some(time)) => {
            let expires = match time {
                b"max" => Expires::Max,
                time => Expires::After(
                    units::seconds(time).ok_or("invalid \"expires\" parameter value")?,
                ),
            };
            once(&mut cookie.expires, expires, "parameter \"expires\" is duplicate")?;
        }
        (b"httponly", None) if cookie.httponly => {
            return Err("parameter \"httponly\" is duplicate".into());
        }
        (b"httponly", None) => cookie.httponly = true,
        (b"secure", None) if cookie.secure => {
            return Err("parameter \"secure\" is duplicate".into());
        }
        (b"secure", None) => cookie.secure = true,
        (b"samesite", Some(value)) => {
            let samesite = loader.script(&value_word)?;
            if samesite.as_literal().is_some() && !is_samesite(value) {
                return Err("invalid \"samesite\" parameter value".into());
            }
            once(&mut cookie.samesite, samesite, "parameter \"samesite\" is duplicate")?;
        }
        _ => return Err(Fault::from(format!("unknown parameter \"{word}\"")).at(word.span)),
    }
    Ok(())
}

fn route(loader: &mut Loader<'_>, words: &[conf::Word]) -> Result<Sticky, Fault> {
    let variable = |word: &conf::Word| {
        let fault = || Fault::from(format!("invalid variable name \"{word}\"")).at(word.span);
        refer(loader, &word.text, word).ok_or_else(fault)
    };
    let lookup = words.iter().map(variable).collect::<Result<_, _>>()?;
    Ok(Sticky::Told { lookup, tell: None })
}

/// The parameters of `learn`, as they come.
#[derive(Default)]
struct Learning {
    lookup: Vec<VariableId>,
    create: Vec<VariableId>,
    zone: Option<ZoneRef>,
    timeout: Option<Duration>,
    at_head: bool,
}

fn learn(loader: &mut Loader<'_>, words: &[conf::Word]) -> Result<Sticky, Fault> {
    let mut learning = Learning::default();
    for word in words {
        read_learning(loader, &mut learning, word)?;
    }
    if learning.lookup.is_empty() {
        return Err("\"lookup\" parameter is not specified".into());
    }
    if learning.create.is_empty() {
        return Err("\"create\" parameter is not specified".into());
    }
    Ok(Sticky::Learned(Learn {
        lookup: learning.lookup,
        create: learning.create,
        zone: learning.zone.ok_or("\"zone\" parameter is not specified")?,
        timeout: learning.timeout.unwrap_or(Duration::from_secs(600)),
        at_head: learning.at_head,
    }))
}

fn read_learning(
    loader: &mut Loader<'_>,
    learning: &mut Learning,
    word: &conf::Word,
) -> Result<(), Fault> {
    match split(&word.text) {
        (b"zone", Some(_)) if learning.zone.is_some() => return Err("duplicate zone".into()),
        (b"zone", Some(zone)) => learning.zone = Some(sessions(loader, zone, word)?),
        (b"timeout", Some(_)) if learning.timeout.is_some() => {
            return Err("duplicate timeout".into());
        }
        (b"timeout", Some(time)) => {
            let time = units::milliseconds(time).filter(|time| *time > 0);
            learning.timeout = Some(Duration::from_millis(time.ok_or("invalid timeout")?));
        }
        (b"create", Some(name)) => learning
            .create
            .push(refer(loader, name, word).ok_or("missing variable in the \"create\" parameter")?),
        (b"lookup", Some(name)) => learning
            .lookup
            .push(refer(loader, name, word).ok_or("missing variable in the \"lookup\" parameter")?),
        (b"header", None) => learning.at_head = true,
        _ => return Err(Fault::from(format!("unknown parameter \"{word}\"")).at(word.span)),
    }
    Ok(())
}

/// `NAME:SIZE`.
fn sessions(loader: &mut Loader<'_>, text: &[u8], word: &conf::Word) -> Result<ZoneRef, Fault> {
    let colon = text.iter().position(|byte| *byte == b':').ok_or("zone size is not specified")?;
    if colon == 0 {
        return Err("zone name is not specified".into());
    }
    let name = String::from_utf8_lossy(&text[..colon]);
    let size = units::size(&text[colon + 1..]).ok_or("invalid zone size")?;
    if size < Zone::LEAST {
        return Err("zone is too small".into());
    }
    zones::declare(loader, &name, word.span, Some(size), PURPOSE)
}

/// The variable in `$name`.
fn refer(loader: &mut Loader<'_>, text: &[u8], word: &conf::Word) -> Option<VariableId> {
    let name = std::str::from_utf8(text.strip_prefix(b"$")?).ok()?;
    Some(loader.variables.refer(name, word.span))
}

/// Name and value of `NAME=VALUE`.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'=') {
        Some(equals) => (&text[..equals], Some(&text[equals + 1..])),
        None => (text, None),
    }
}

fn once<T>(place: &mut Option<T>, value: T, reason: &'static str) -> Result<(), Fault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(reason.into()),
    }
}

#[cfg(test)]
mod tests {
    use crate::http::upstream::tests::load;

    #[test]
    fn mistakes_are_told_in_nginx_words() {
        for (parameters, sentence) in [
            ("cookie \"\"", "\"sticky\" directive empty cookie name"),
            ("cookie a domain=", "\"sticky\" directive no value for \"domain\""),
            (
                "cookie a domain=b domain=c",
                "\"sticky\" directive parameter \"domain\" is duplicate",
            ),
            ("cookie a path=", "\"sticky\" directive no value for \"path\""),
            ("cookie a path=/ path=/", "\"sticky\" directive parameter \"path\" is duplicate"),
            ("cookie a expires=x", "\"sticky\" directive invalid \"expires\" parameter value"),
            ("cookie a secure secure", "\"sticky\" directive parameter \"secure\" is duplicate"),
            ("cookie a samesite=x", "\"sticky\" directive invalid \"samesite\" parameter value"),
            ("cookie a nonsense", "unknown parameter \"nonsense\""),
            ("nonsense a", "unknown parameter \"nonsense\""),
            ("route a", "invalid variable name \"a\""),
            ("learn lookup=$a", "\"sticky\" directive \"create\" parameter is not specified"),
            ("learn create=$a", "\"sticky\" directive \"lookup\" parameter is not specified"),
            (
                "learn create=$a lookup=$a",
                "\"sticky\" directive \"zone\" parameter is not specified",
            ),
            ("learn create=a", "\"sticky\" directive missing variable in the \"create\" parameter"),
            ("learn zone=a", "\"sticky\" directive zone size is not specified"),
            ("learn zone=:1m", "\"sticky\" directive zone name is not specified"),
            ("learn zone=a:x", "\"sticky\" directive invalid zone size"),
            ("learn zone=a:1k", "\"sticky\" directive zone is too small"),
            ("learn timeout=0", "\"sticky\" directive invalid timeout"),
        ] {
            let text = format!("upstream u {{ server 127.0.0.1; sticky {parameters}; }}");
            let messages = load(&text);
            assert!(
                messages.iter().any(|message| message == sentence),
                "{parameters}: {messages:?}"
            );
        }
        let twice = "upstream u { server 127.0.0.1; sticky route $a; sticky route $a; }";
        assert_eq!(load(twice), ["\"sticky\" directive is duplicate"]);
        let sessions = "sticky learn create=$a lookup=$a zone=z:1m;";
        let twice = format!(
            "upstream u {{ server 127.0.0.1; {sessions} }} upstream v {{ server 127.0.0.1; {sessions} }}"
        );
        let sentence = "sticky zone \"z\" is already used in upstream \"u\"";
        assert_eq!(load(&twice), [sentence]);
    }
}
