//! `health_check`: the servers of a group are asked from time to time how they are, and those that are unwell get no
//! requests. One process does it for all.
//!
//! ```nginx
//! upstream checked {
//!     zone checked 64k;
//!     server 127.0.0.1:8081 slow_start=30s;
//!     server 127.0.0.1:8082;
//! }
//! match welcome {
//!     status 200-399;
//!     header Content-Type = text/html;
//!     body !~ "maintenance mode";
//! }
//! server {
//!     location / {
//!         proxy_pass http://checked;
//!         health_check interval=10s jitter=1s fails=3 passes=2 uri=/health match=welcome;
//!     }
//! }
//! ```

mod http2;
mod probe;
mod tests_of_match;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::{Diagnostics, Span, units};
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::{directives, settings};
use daemun_http::config::{HttpConfig, Location};
use daemun_http::module::HttpModule;
use daemun_http::upstream::settings::Settings as Common;
use daemun_proto::http1::Version;
use daemun_upstream::{Caretaker, CheckStart, Group, GroupId, MOST_CHECKS};

use super::{fastcgi, grpc, memcached, proxy, scgi, uwsgi};
use tests_of_match::Tests;

settings! {
    pub struct Settings {
        /// Of a location.
        checks: Own<Vec<Arc<Spec>>>,
        /// Of the `http` block.
        tests: Own<Vec<Arc<Tests>>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_upstream_hc_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "health_check" in LOCATION, Between(0, 12), "", Action::Set(health_check),
                "Asks the servers of the location's group from time to time how they are.";
            "match" in HTTP, Block(1, 1), "", Action::Set(match_block),
                "Names what a response has to be like for a health check to be passed.";
        },
    },
    ..HttpModule::EMPTY
};

/// A `health_check` directive.
pub struct Spec {
    interval: Duration,
    jitter: Duration,
    fails: u32,
    passes: u32,
    uri: Vec<u8>,
    start: CheckStart,
    /// `match=`.
    tests: Option<String>,
    port: Option<u16>,
    kind: Kind,
    keepalive_time: Option<Duration>,
    span: Span,
}

/// `type=`: what is asked for.
enum Kind {
    /// A response.
    Http,
    /// A connection, and nothing more.
    Tcp,
    /// What the health service of gRPC says.
    Grpc(Wanted),
}

/// What a gRPC server is to say.
#[derive(Default)]
struct Wanted {
    /// `grpc_service=`; empty: of the server as a whole.
    service: Vec<u8>,
    /// `grpc_status=`: 12 is what servers say that have no health service.
    status: Option<u32>,
}

impl Spec {
    fn is_tcp(&self) -> bool {
        matches!(self.kind, Kind::Tcp)
    }

    fn is_grpc(&self) -> bool {
        matches!(self.kind, Kind::Grpc(_))
    }
}

/// Complains about checks whose group or tests are not there.
pub fn verify(config: &HttpConfig, diagnostics: &mut Diagnostics) {
    let tests = &config.settings.of(&SETTINGS).tests.0;
    for (location, spec) in all(config) {
        let way = way_of(location);
        let group = way.as_ref().map(|way| config.upstreams.of(way.group));
        let complaint = match group {
            None => Some("\"health_check\" has no group of servers in this location".to_owned()),
            Some(group) if !group.has_zone() => Some(format!(
                "\"health_check\" requires upstream \"{}\" to be in shared memory",
                group.name
            )),
            Some(_) => way.and_then(|way| way.misfit(spec)).map(str::to_owned),
        };
        if let Some(complaint) = complaint {
            diagnostics.emerg(complaint, spec.span);
        }
        if let Some(name) = &spec.tests
            && !tests.iter().any(|tests| tests.name == *name)
        {
            diagnostics.emerg(format!("unknown match \"{name}\""), spec.span);
        }
    }
}

/// Tells each group about its checks, before its peers are put into shared memory.
pub fn announce(config: &HttpConfig) {
    for group in config.upstreams.iter() {
        let checks = of_group(config, group).map(|(_, spec)| spec.start);
        group.announce_checks(checks.take(MOST_CHECKS).collect());
    }
}

/// Begins all checks. In each worker, on the thread that lives as long as it, which is `me`.
pub fn maintain(config: &'static HttpConfig, me: &Caretaker) {
    let tests = &config.settings.of(&SETTINGS).tests.0;
    for group in config.upstreams.iter() {
        for (index, (location, spec)) in of_group(config, group).take(MOST_CHECKS).enumerate() {
            let named = |name: &String| tests.iter().find(|tests| tests.name == *name).cloned();
            let Some(way) = way_of(location) else { continue };
            let check = watch::Check {
                index,
                group: Arc::clone(group),
                spec: Arc::clone(spec),
                tests: spec.tests.as_ref().and_then(named),
                config,
                log: location.log(false).clone(),
                connect_timeout: *way.common.connect_timeout,
                read_timeout: *way.common.read_timeout,
                tls: way.speaks_tls.then_some(way.common),
                is_http2: matches!(way.speech, Speech::Http2 | Speech::Grpc),
            };
            daemun_event::spawn(watch::run(check, me.clone()));
        }
    }
}

fn all(config: &HttpConfig) -> impl Iterator<Item = (&Location, &Arc<Spec>)> {
    config.locations().flat_map(|location| {
        let checks = location.settings.of(&SETTINGS).checks.0.iter();
        checks.map(move |spec| (location, spec))
    })
}

fn of_group<'c>(
    config: &'c HttpConfig,
    group: &'c Arc<Group>,
) -> impl Iterator<Item = (&'c Location, &'c Arc<Spec>)> {
    all(config).filter(move |(location, _)| {
        group_of(config, location).is_some_and(|its| Arc::ptr_eq(its, group))
    })
}

/// Whom the location passes its requests to.
fn group_of<'c>(config: &'c HttpConfig, location: &Location) -> Option<&'c Arc<Group>> {
    way_of(location).map(|way| config.upstreams.of(way.group))
}

/// How a location passes its requests on.
struct Way<'c> {
    group: GroupId,
    common: &'c Common,
    speech: Speech,
    speaks_tls: bool,
}

/// What the servers of a location are spoken to in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speech {
    Http,
    Http2,
    Grpc,
    Other,
}

impl Way<'_> {
    /// Why a check is not for these servers.
    fn misfit(&self, spec: &Spec) -> Option<&'static str> {
        match self.speech {
            _ if spec.is_tcp() => None,
            Speech::Grpc if spec.is_grpc() => None,
            Speech::Grpc => Some(
                "\"health_check\" works with \"type=grpc\" or \"type=tcp\" alone in this location",
            ),
            _ if spec.is_grpc() => Some("\"type=grpc\" works with \"grpc_pass\" alone"),
            Speech::Http | Speech::Http2 => None,
            Speech::Other => {
                Some("\"health_check\" works with \"type=tcp\" alone in this location")
            }
        }
    }
}

fn way_of(location: &Location) -> Option<Way<'_>> {
    let settings = &location.settings;
    let proxy = settings.of(&proxy::SETTINGS);
    if let Some(group) = proxy.pass.value().and_then(|pass| pass.group()) {
        let speaks_tls = proxy.pass.may_speak_tls();
        let is_http2 = *proxy.http_version == Version::HTTP_2;
        let speech = if is_http2 { Speech::Http2 } else { Speech::Http };
        return Some(Way { group, common: &proxy.common, speech, speaks_tls });
    }
    let grpc = settings.of(&grpc::SETTINGS);
    if let Some((group, speaks_tls)) = grpc.group() {
        return Some(Way { group, common: &grpc.common, speech: Speech::Grpc, speaks_tls });
    }
    let (fastcgi, scgi) = (settings.of(&fastcgi::SETTINGS), settings.of(&scgi::SETTINGS));
    let (uwsgi, memcached) = (settings.of(&uwsgi::SETTINGS), settings.of(&memcached::SETTINGS));
    let gateways = [
        (&fastcgi.pass, &fastcgi.common),
        (&scgi.pass, &scgi.common),
        (&uwsgi.pass, &uwsgi.common),
        (&memcached.pass, &memcached.common),
    ];
    gateways.into_iter().find_map(|(pass, common)| {
        let group = pass.value()?.group()?;
        Some(Way { group, common, speech: Speech::Other, speaks_tls: false })
    })
}

fn health_check(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let mut spec = Spec {
        interval: Duration::from_secs(5),
        jitter: Duration::ZERO,
        fails: 1,
        passes: 1,
        uri: b"/".to_vec(),
        start: CheckStart::default(),
        tests: None,
        port: None,
        kind: Kind::Http,
        keepalive_time: None,
        span: directive.name.span,
    };
    let mut wanted = Wanted::default();
    for word in &directive.args {
        let invalid = || Fault::from(format!("invalid parameter \"{word}\"")).at(word.span);
        read(&mut spec, &mut wanted, word).ok_or_else(invalid)?;
    }
    let has_own = spec.tests.is_some() || spec.uri != b"/";
    if spec.is_tcp() && has_own {
        return Err("\"type=tcp\" allows neither \"uri\" nor \"match\"".into());
    }
    if spec.is_grpc() && has_own {
        return Err("\"type=grpc\" allows neither \"uri\" nor \"match\"".into());
    }
    match &mut spec.kind {
        Kind::Grpc(place) => *place = wanted,
        _ if wanted.status.is_some() || !wanted.service.is_empty() => {
            let sentence = "\"grpc_service\" and \"grpc_status\" need \"type=grpc\"";
            return Err(sentence.into());
        }
        _ => {}
    }
    loader.settings(&SETTINGS).checks.0.push(Arc::new(spec));
    Ok(())
}

/// `None`: it is no parameter.
fn read(spec: &mut Spec, wanted: &mut Wanted, word: &conf::Word) -> Option<()> {
    let text = &*word.text;
    let Some(equals) = text.iter().position(|byte| *byte == b'=') else {
        match text {
            b"mandatory" => spec.start.mandatory = true,
            b"persistent" if spec.start.mandatory => spec.start.persistent = true,
            _ => return None,
        }
        return Some(());
    };
    let value = &text[equals + 1..];
    let time = || units::milliseconds(value).map(Duration::from_millis);
    let number = || {
        let number = units::integer(value).and_then(|number| u32::try_from(number).ok());
        number.filter(|number| *number > 0)
    };
    match &text[..equals] {
        b"interval" => spec.interval = time().filter(|time| !time.is_zero())?,
        b"jitter" => spec.jitter = time()?,
        b"fails" => spec.fails = number()?,
        b"passes" => spec.passes = number()?,
        b"uri" if value.starts_with(b"/") => spec.uri = value.to_vec(),
        b"match" if !value.is_empty() => {
            spec.tests = Some(String::from_utf8_lossy(value).into_owned());
        }
        b"port" => spec.port = Some(u16::try_from(number()?).ok()?),
        b"type" => match value {
            b"tcp" => spec.kind = Kind::Tcp,
            b"http" => spec.kind = Kind::Http,
            b"grpc" => spec.kind = Kind::Grpc(Wanted::default()),
            _ => return None,
        },
        b"grpc_service" if (1..1 << 14).contains(&value.len()) => {
            wanted.service = value.to_vec();
        }
        b"grpc_status" => {
            let number = units::integer(value).and_then(|number| u32::try_from(number).ok());
            wanted.status = Some(number?);
        }
        b"keepalive_time" => spec.keepalive_time = Some(time()?),
        _ => return None,
    }
    Some(())
}

fn match_block(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let tests = Tests::read(loader, directive)?;
    let all = &mut loader.settings(&SETTINGS).tests.0;
    if all.iter().any(|other| other.name == tests.name) {
        return Err(format!("duplicate match \"{}\"", tests.name).into());
    }
    all.push(Arc::new(tests));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::http::upstream::tests::load;

    #[test]
    fn checks_and_tests_are_read() {
        for text in [
            "server { location / { health_check; } }",
            "server { location / { health_check interval=1s jitter=10ms fails=2 passes=3 port=81; } }",
            "server { location / { health_check mandatory persistent uri=/a match=m; } }",
            "server { location / { health_check type=tcp keepalive_time=1m; } }",
            "match m { status 200 301-303; header A; header ! B; header C = d; header E !~ f; body ~ g; }",
            "map $upstream_status $ok { 204 1; } match m { require $ok; status ! 500; }",
        ] {
            assert_eq!(load(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (text, sentence) in [
            ("health_check interval=0;", "invalid parameter \"interval=0\""),
            ("health_check fails=0;", "invalid parameter \"fails=0\""),
            ("health_check persistent;", "invalid parameter \"persistent\""),
            ("health_check port=65536;", "invalid parameter \"port=65536\""),
            ("health_check uri=a;", "invalid parameter \"uri=a\""),
            ("health_check type=smtp;", "invalid parameter \"type=smtp\""),
        ] {
            let text = format!("server {{ location / {{ {text} }} }}");
            assert_eq!(load(&text), [sentence], "{text}");
        }
        for (text, sentence) in [
            ("status;", "invalid number of arguments in \"status\""),
            ("status 2000;", "invalid status \"2000\""),
            ("status 300-200;", "invalid status \"300-200\""),
            ("header A ? b;", "invalid operator \"?\""),
            ("body = a;", "invalid operator \"=\""),
            ("require a;", "invalid variable name \"a\""),
            ("nonsense a;", "unknown directive \"nonsense\""),
        ] {
            assert_eq!(load(&format!("match m {{ {text} }}")), [sentence], "{text}");
        }
        assert_eq!(load("match m { } match m { }"), ["duplicate match \"m\""]);
    }
}
