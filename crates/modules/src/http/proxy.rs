//! `proxy_pass`: requests are answered by other HTTP servers.
//!
//! ```nginx
//! location /api/ {
//!     proxy_pass         http://127.0.0.1:8080/;
//!     proxy_set_header   Host $host;
//!     proxy_set_header   X-Forwarded-For $proxy_add_x_forwarded_for;
//!     proxy_read_timeout 30s;
//! }
//! ```

mod cookies;
mod http2;
mod pass;
mod redirects;
pub mod request_head;
mod response;
mod rewrites;

use std::future;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::script::Script;
use daemun_core::{directives, set, settings, values};
use daemun_http::module::{Handler, HttpModule, Pending, Phase, PhaseHandler, Step, Variable};
use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_http::upstream::protocol::Protocol;
use daemun_http::upstream::settings::Settings as Common;
use daemun_http::upstream::{self, Call};
use daemun_http::upstream_directives;
use daemun_proto::http1::Version;

use cookies::FlagRule;
use pass::PassSetting;
use redirects::Redirects;
use response::Http1;
use rewrites::Rewrite;

settings! {
    pub struct Settings {
        common: Common,
        pass: PassSetting,
        set_headers: Vec<(Bytes, Script)> = Vec::new(),
        set_body: Option<Script> = None,
        method: Option<Script> = None,
        http_version: Version = Version::HTTP_11,
        redirects: Redirects,
        cookie_domains: Vec<Rewrite> = Vec::new(),
        cookie_paths: Vec<Rewrite> = Vec::new(),
        cookie_flags: Vec<FlagRule> = Vec::new(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_proxy_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "proxy_pass" in LOCATION | LOCATION_IF | LIMIT_EXCEPT, Exactly(1), "",
                Action::Set(pass::proxy_pass),
                "The server, or group of servers, that answers requests here, and the URI that replaces the location's name.";
            "proxy_redirect" in HTTP_SERVER_LOCATION, Between(1, 2), "",
                Action::Set(redirects::proxy_redirect),
                "How Location and Refresh of responses are rewritten: pattern and replacement.";
            "proxy_cookie_domain" in HTTP_SERVER_LOCATION, Between(1, 2), "off",
                Action::Set(cookies::proxy_cookie_domain),
                "How the domains of cookies are rewritten.";
            "proxy_cookie_path" in HTTP_SERVER_LOCATION, Between(1, 2), "off",
                Action::Set(cookies::proxy_cookie_path),
                "How the paths of cookies are rewritten.";
            "proxy_cookie_flags" in HTTP_SERVER_LOCATION, Between(1, 4), "off",
                Action::Set(cookies::proxy_cookie_flags),
                "Attributes that cookies get or lose.";
            "proxy_set_header" in HTTP_SERVER_LOCATION, Exactly(2), "", Action::Set(proxy_set_header),
                "A field of the requests that are passed on; without a value it is left out.";
            "proxy_set_body" in HTTP_SERVER_LOCATION, Exactly(1), "", Action::Set(proxy_set_body),
                "What is passed on in place of requests' bodies.";
            "proxy_method" in HTTP_SERVER_LOCATION, Exactly(1), "", Action::Set(proxy_method),
                "The method of the requests that are passed on.";
            "proxy_http_version" in HTTP_SERVER_LOCATION, Exactly(1), "1.1",
                set!(SETTINGS.http_version, http_version),
                "The version of HTTP that is spoken to the servers.";
            "proxy_pass_trailers" in HTTP_SERVER_LOCATION, Flag, "off",
                Action::Set(proxy_pass_trailers),
                "Passes the fields behind the bodies of responses on.";
            "proxy_cache_convert_head" in HTTP_SERVER_LOCATION, Flag, "on",
                Action::Set(proxy_cache_convert_head),
                "Asks for all of a response whose head alone is wanted, to store it.";
            "proxy_headers_hash_max_size" in HTTP_SERVER_LOCATION, Exactly(1), "512", GROWS,
                "Accepted: the tables grow by themselves.";
            "proxy_headers_hash_bucket_size" in HTTP_SERVER_LOCATION, Exactly(1), "64", GROWS,
                "Accepted: the tables grow by themselves.";
        },
    },
    variables: &[
        Variable::changeable("proxy_host", |r, _, out| {
            let record = r.upstream.as_ref().filter(|record| !record.host.is_empty());
            record.is_some_and(|record| append(&record.host, out))
        }),
        Variable::changeable("proxy_port", |r, _, out| {
            let record = r.upstream.as_ref().filter(|record| !record.host.is_empty());
            record.is_some_and(|record| append(&record.port, out))
        }),
        Variable::new("proxy_add_x_forwarded_for", |r, _, out| {
            request_head::append_forwarded_for(r, out)
        }),
        Variable::new("proxy_internal_body_length", |r, _, out| {
            let length = r.upstream.as_ref().and_then(|record| record.body_length);
            length.is_some_and(|length| append(length.to_string().as_bytes(), out))
        }),
        Variable::new("proxy_internal_chunked", |r, _, out| {
            r.upstream.as_ref().is_some_and(|record| record.is_chunked && append(b"chunked", out))
        }),
    ],
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).pass.is_here(),
        handler: Handler::Later(handle),
    }],
    check,
    settle: |settings, files, diagnostics| {
        let settings = settings.of(&SETTINGS);
        if settings.pass.may_speak_tls() {
            let is_http2 = *settings.http_version == Version::HTTP_2;
            settings.common.settle_tls("proxy_", is_http2, files, diagnostics);
        }
    },
    passes: |settings| settings.of(&SETTINGS).pass.is_here(),
    temporary: |settings| settings.of(&SETTINGS).common.temporary(),
    ..HttpModule::EMPTY
};

/// What the module has in common with others to upstream servers.
pub static COMMON: HttpModule = HttpModule {
    base: Module {
        name: "http_proxy_module",
        settings: None,
        directives: upstream_directives!(
            "proxy_", SETTINGS.common: connecting requests responses stores caches errors tls next_http send_lowat
        ),
    },
    ..HttpModule::EMPTY
};

const GROWS: daemun_core::module::Action = daemun_core::module::Action::Checked(
    |directive| values::integer::<i64>(directive).map(drop),
    "the tables grow by themselves",
);

fn append(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    true
}

fn check(settings: &SettingsSet) -> Result<(), String> {
    settings.of(&SETTINGS).common.check("proxy_")
}

fn handle(request: &mut Request) -> Pending<'_> {
    match call(request) {
        Ok(call) => Box::pin(upstream::pass(request, call)),
        Err(status) => Box::pin(future::ready(Step::Status(status))),
    }
}

/// Where the request goes, and how.
fn call(request: &mut Request) -> Result<Call, Status> {
    let settings = request.settings(&SETTINGS);
    let pass = settings.pass.value().ok_or(Status::INTERNAL_SERVER_ERROR)?;
    let way = pass.way(request)?;
    let is_http2 = *settings.http_version == Version::HTTP_2;
    let protocol: Box<dyn Protocol> = match is_http2 {
        true => Box::new(http2::protocol(settings, way.place, way.location, way.is_tls)),
        false => Box::new(Http1::new(settings, way.place, way.location)),
    };
    let scheme = if way.is_tls { "https://" } else { "http://" };
    let settings = &settings.common;
    let (is_tls, target) = (way.is_tls, way.target);
    Ok(Call { settings, scheme, is_tls, target, protocol, handler: handle })
}

fn proxy_set_header(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let name = Bytes::copy_from_slice(&directive.args[0].text);
    let value = loader.script(&directive.args[1])?;
    loader.settings(&SETTINGS).set_headers.modify().push((name, value));
    Ok(())
}

fn proxy_set_body(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let body = loader.script(&directive.args[0])?;
    loader.settings(&SETTINGS).set_body.set(Some(body))?;
    Ok(())
}

fn proxy_method(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let method = loader.script(&directive.args[0])?;
    loader.settings(&SETTINGS).method.set(Some(method))?;
    Ok(())
}

fn proxy_pass_trailers(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let passes = values::flag(directive)?;
    loader.settings(&SETTINGS).common.pass_trailers.set(passes)?;
    Ok(())
}

fn proxy_cache_convert_head(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<(), Fault> {
    let converts = values::flag(directive)?;
    loader.settings(&SETTINGS).common.cache.convert_head.set(converts)?;
    Ok(())
}

fn http_version(directive: &conf::Directive) -> Result<Version, Fault> {
    let versions = [("1.0", Version::HTTP_10), ("1.1", Version::HTTP_11), ("2", Version::HTTP_2)];
    values::choice(directive, &versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_size<F: Future>(_: impl Fn(&'static mut Request, Call) -> F) -> usize {
        size_of::<F>()
    }

    /// The C library has the last few places of up to 1,032 bytes at hand, and searches for larger ones.
    #[test]
    fn the_future_of_a_request_is_small() {
        let size = future_size(upstream::pass);
        println!("a passed request's future takes {size} bytes");
        assert!(size <= 1032, "{size} bytes");
    }
}
