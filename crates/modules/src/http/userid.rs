//! `userid`: tells visitors apart by a cookie.
//!
//! ```nginx
//! userid         on;
//! userid_name    uid;
//! userid_domain  example.com;
//! userid_expires 365d;
//! ```

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::{Session, VariableId};
use daemun_core::{directives, set, settings, values};
use daemun_http::body::Body;
use daemun_http::date;
use daemun_http::module::{Apply, Filter, HttpModule, Variable};
use daemun_http::request::{Request, Text};
use daemun_http::response::Header;
use daemun_http::status::Status;

/// Who sets cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Off,
    /// Cookies are read, and set elsewhere.
    Log,
    /// The words of numbers in the machine's order.
    V1,
    /// In the network's.
    V2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expires {
    Never,
    Max,
    /// Seconds from now.
    After(u64),
}

settings! {
    pub struct Settings {
        mode: Mode = Mode::Off,
        service: Option<u32> = None,
        name: Vec<u8> = b"uid".to_vec(),
        /// As they stand in the cookie, with what goes before.
        domain: Vec<u8> = Vec::new(),
        path: Vec<u8> = b"; path=/".to_vec(),
        expires: Expires = Expires::Never,
        flags: Vec<&'static str> = Vec::new(),
        p3p: Vec<u8> = Vec::new(),
        mark: Option<u8> = None,
        /// `$uid_reset`.
        reset: Option<VariableId> = None,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_userid_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "userid" in HTTP_SERVER_LOCATION, Exactly(1), "off", Action::Set(userid),
                "Sets a cookie that tells visitors apart, of version 1 or 2 (v1, on), or only reads it (log).";
            "userid_service" in HTTP_SERVER_LOCATION, Exactly(1), "",
                set!(SETTINGS.service, |directive| values::integer(directive).map(Some)),
                "The number of the server that gives a cookie.";
            "userid_name" in HTTP_SERVER_LOCATION, Exactly(1), "uid", set!(SETTINGS.name, values::bytes),
                "The cookie's name.";
            "userid_domain" in HTTP_SERVER_LOCATION, Exactly(1), "none", set!(SETTINGS.domain, domain),
                "The domain for which the cookie is set.";
            "userid_path" in HTTP_SERVER_LOCATION, Exactly(1), "/", set!(SETTINGS.path, path),
                "The path for which the cookie is set.";
            "userid_expires" in HTTP_SERVER_LOCATION, Exactly(1), "off", set!(SETTINGS.expires, expires),
                "How long the browser keeps the cookie.";
            "userid_flags" in HTTP_SERVER_LOCATION, Between(1, 3), "off", Action::Set(userid_flags),
                "Attributes of the cookie: secure, httponly, samesite=strict, lax or none.";
            "userid_p3p" in HTTP_SERVER_LOCATION, Exactly(1), "none", set!(SETTINGS.p3p, p3p),
                "The value of the P3P header that goes with the cookie.";
            "userid_mark" in HTTP_SERVER_LOCATION, Exactly(1), "off", set!(SETTINGS.mark, mark),
                "A sign in the cookie: whoever comes without it gets a cookie again.";
        },
    },
    variables: &[
        Variable::new("uid_got", uid_got),
        Variable::new("uid_set", uid_set),
        Variable::changeable("uid_reset", |_, _, _| true),
    ],
    filters: &[Filter {
        applies: |settings| sets(*settings.of(&SETTINGS).mode),
        apply: Apply::Now(filter),
    }],
    ..HttpModule::EMPTY
};

fn sets(mode: Mode) -> bool {
    matches!(mode, Mode::V1 | Mode::V2)
}

/// Four words; the last is 0 where there is no number.
type Uid = [u32; 4];

/// What is known of the visitor.
#[derive(Clone, Default)]
struct Visitor {
    is_read: bool,
    cookie: Vec<u8>,
    got: Uid,
    set: Uid,
    is_reset: bool,
}

/// Cookies end in what old software made of the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Digits that carry a number; two signs follow.
const DIGITS: usize = 22;

fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    if request.is_subrequest() {
        return Ok(body);
    }
    let visitor = decide(request);
    if visitor.set[3] != 0 {
        set_cookie(request, &visitor);
    }
    Ok(body)
}

fn uid_got(request: &mut Request, _: &str, out: &mut Vec<u8>) -> bool {
    let settings = request.settings(&SETTINGS);
    if *settings.mode == Mode::Off {
        return false;
    }
    let got = read(request).got;
    append_uid(&settings.name, got, out)
}

fn uid_set(request: &mut Request, _: &str, out: &mut Vec<u8>) -> bool {
    let settings = request.settings(&SETTINGS);
    if !sets(*settings.mode) {
        return false;
    }
    let set = decide(request).set;
    append_uid(&settings.name, set, out)
}

fn append_uid(name: &[u8], uid: Uid, out: &mut Vec<u8>) -> bool {
    if uid[3] == 0 {
        return false;
    }
    out.extend_from_slice(name);
    out.push(b'=');
    out.extend_from_slice(spelt(uid).as_bytes());
    true
}

fn spelt([a, b, c, d]: Uid) -> String {
    format!("{a:08X}{b:08X}{c:08X}{d:08X}")
}

/// Reads the visitor's cookie.
fn read(request: &mut Request) -> Visitor {
    let known: &mut Visitor = request.context(&SETTINGS);
    if known.is_read {
        return known.clone();
    }
    let mut visitor = Visitor { is_read: true, ..Visitor::default() };
    let settings = request.settings(&SETTINGS);
    if let Some((cookie, line)) = cookie(request, &settings.name) {
        let bytes = cookie.get(..DIGITS).map(|digits| BASE64.decode(digits));
        match bytes {
            None => {
                let line = Text(line);
                log!(
                    request.log(),
                    Error,
                    *request,
                    "client sent too short userid cookie \"{}\"",
                    line
                );
            }
            Some(Err(_)) => {
                let line = Text(line);
                log!(
                    request.log(),
                    Error,
                    *request,
                    "client sent invalid userid cookie \"{}\"",
                    line
                );
            }
            Some(Ok(bytes)) => visitor.got = words(&bytes),
        }
        visitor.cookie = cookie.to_vec();
    }
    *request.context(&SETTINGS) = visitor.clone();
    visitor
}

/// The value of a cookie, and the field that it stands in.
fn cookie<'r>(request: &'r Request, name: &[u8]) -> Option<(&'r [u8], &'r [u8])> {
    let fields = request.head.fields().filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"));
    fields.map(|(_, line)| line).find_map(|line| {
        line.split(|byte| *byte == b';').find_map(|pair| {
            let pair = pair.trim_ascii_start();
            let sign = memchr::memchr(b'=', pair)?;
            let is_it = pair[..sign].trim_ascii_end().eq_ignore_ascii_case(name);
            is_it.then(|| (pair[sign + 1..].trim_ascii_start(), line))
        })
    })
}

fn words(bytes: &[u8]) -> Uid {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes(bytes.try_into().unwrap_or_default());
    }
    words
}

/// Whether the visitor gets a cookie, and which.
fn decide(request: &mut Request) -> Visitor {
    let mut visitor = read(request);
    if visitor.set[3] != 0 {
        return visitor;
    }
    let settings = request.settings(&SETTINGS);
    if visitor.got[3] != 0 {
        let mut wish = Vec::new();
        if let Some(reset) = *settings.reset {
            request.variable(reset, &mut wish);
        }
        if matches!(&*wish, b"" | b"0") {
            let is_marked = match *settings.mark {
                None => true,
                Some(mark) => {
                    visitor.cookie.get(DIGITS..).is_some_and(|rest| rest.starts_with(&[mark, b'=']))
                }
            };
            if !is_marked {
                visitor.set = visitor.got;
                *request.context(&SETTINGS) = visitor.clone();
            }
            return visitor;
        }
        visitor.is_reset = true;
        if wish == b"log" {
            let (name, uid) = (Text(&settings.name), spelt(visitor.got));
            log!(request.log(), Notice, *request, "userid cookie \"{}={}\" was reset", name, uid);
        }
    }
    visitor.set = new_uid(request, settings);
    *request.context(&SETTINGS) = visitor.clone();
    visitor
}

/// Server, second, process and a number of its own.
fn new_uid(request: &mut Request, settings: &Settings) -> Uid {
    static NUMBER: AtomicU32 = AtomicU32::new(0x0303_0302);
    let number = NUMBER.fetch_add(0x100, Ordering::Relaxed).max(0x0303_0302);
    let now = date::seconds(daemun_event::wall_clock()) as u32;
    let process = process_number();
    if *settings.mode == Mode::V1 {
        return [settings.service.unwrap_or(0), now, process, number];
    }
    let server = match *settings.service {
        Some(service) => service.to_be(),
        None => match request.local_address().map(|address| address.ip()) {
            Some(IpAddr::V4(v4)) => u32::from_ne_bytes(v4.octets()),
            Some(IpAddr::V6(v6)) => words(&v6.octets())[3],
            None => 0,
        },
    };
    [server, now.to_be(), process.to_be(), number.to_be()]
}

/// The process's id and, above it, a part of the second in which it was first asked.
fn process_number() -> u32 {
    static BEGAN: AtomicU32 = AtomicU32::new(0);
    let mut began = BEGAN.load(Ordering::Relaxed);
    if began == 0 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        began = (now.subsec_micros() / 20) << 16 | std::process::id() & 0xffff;
        BEGAN.store(began, Ordering::Relaxed);
    }
    began
}

fn set_cookie(request: &mut Request, visitor: &Visitor) {
    let settings = request.settings(&SETTINGS);
    let mut cookie = [&**settings.name, b"="].concat();
    if visitor.got[3] == 0 || visitor.is_reset {
        let bytes: Vec<u8> = visitor.set.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let digits = base64::engine::general_purpose::STANDARD.encode(bytes);
        cookie.extend_from_slice(digits.as_bytes());
        if let Some(mark) = *settings.mark {
            let place = cookie.len() - 2;
            cookie[place] = mark;
        }
    } else {
        cookie.extend_from_slice(&visitor.cookie[..DIGITS]);
        cookie.extend(settings.mark.iter());
        cookie.push(b'=');
    }
    match *settings.expires {
        Expires::Never => {}
        Expires::Max => cookie.extend_from_slice(b"; expires=Thu, 31-Dec-37 23:55:55 GMT"),
        Expires::After(time) => {
            let at = date::seconds(daemun_event::wall_clock()) + time;
            cookie.extend_from_slice(b"; expires=");
            cookie.extend_from_slice(date::cookie_date(at).as_bytes());
        }
    }
    cookie.extend_from_slice(&settings.domain);
    cookie.extend_from_slice(&settings.path);
    for flag in settings.flags.iter() {
        cookie.extend_from_slice(b"; ");
        cookie.extend_from_slice(flag.as_bytes());
    }
    request.response.add("Set-Cookie", cookie);
    if !settings.p3p.is_empty() {
        let name = Bytes::from_static(b"P3P");
        request.response.headers.push(Header { name, value: Bytes::from_static(&settings.p3p) });
    }
}

fn userid(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    use Mode::*;
    let modes = [("off", Off), ("log", Log), ("v1", V1), ("on", V2)];
    let mode = values::choice(directive, &modes)?;
    let reset = loader.variables.refer("uid_reset", directive.name.span);
    let settings = loader.settings(&SETTINGS);
    settings.mode.set(mode)?;
    settings.reset.replace(Some(reset));
    Ok(())
}

fn domain(directive: &conf::Directive) -> Result<Vec<u8>, Fault> {
    Ok(match &*directive.args[0].text {
        b"none" => Vec::new(),
        domain => [b"; domain=", domain].concat(),
    })
}

fn path(directive: &conf::Directive) -> Result<Vec<u8>, Fault> {
    Ok([b"; path=", &*directive.args[0].text].concat())
}

fn expires(directive: &conf::Directive) -> Result<Expires, Fault> {
    let word = &directive.args[0];
    match &*word.text {
        b"max" => Ok(Expires::Max),
        b"off" => Ok(Expires::Never),
        time => match units::seconds(time) {
            Some(0) => Ok(Expires::Never),
            Some(seconds) => Ok(Expires::After(seconds)),
            None => Err("invalid value".into()),
        },
    }
}

/// In the order in which they are sent.
const FLAGS: [&str; 5] = ["secure", "httponly", "samesite=strict", "samesite=lax", "samesite=none"];

fn userid_flags(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    for word in &directive.args {
        if word != "off" && !FLAGS.iter().any(|flag| word == flag) {
            return Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span));
        }
    }
    let given = |flag: &&str| directive.args.iter().any(|word| word == flag);
    let flags = FLAGS.into_iter().filter(given).collect();
    loader.settings(&SETTINGS).flags.set(flags)?;
    Ok(())
}

fn p3p(directive: &conf::Directive) -> Result<Vec<u8>, Fault> {
    Ok(match &*directive.args[0].text {
        b"none" => Vec::new(),
        value => value.to_vec(),
    })
}

fn mark(directive: &conf::Directive) -> Result<Option<u8>, Fault> {
    match &*directive.args[0].text {
        b"off" => Ok(None),
        [mark] if mark.is_ascii_alphanumeric() || *mark == b'=' => Ok(Some(*mark)),
        _ => Err("value must be \"off\" or a single letter, digit or \"=\"".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_cookie() {
        let uid: Uid = [0x0100_007f, 0x6923_1234, 0x1234_5678, 0x0303_0302];
        let bytes: Vec<u8> = uid.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let cookie = base64::engine::general_purpose::STANDARD.encode(bytes);
        assert_eq!(words(&BASE64.decode(&cookie[..DIGITS]).unwrap()), uid);
        assert_eq!(spelt(uid), "0100007F692312341234567803030302");
    }
}
