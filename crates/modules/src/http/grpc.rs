//! `grpc_pass`: requests are answered by gRPC servers, over HTTP/2.
//!
//! ```nginx
//! server {
//!     listen 443 ssl;
//!     http2  on;
//!     location / { grpc_pass grpc://127.0.0.1:50051; }
//! }
//! ```
//!
//! Bodies pass both ways as they come, and so do the fields behind them.

mod call;
mod pass;
mod unbuffered;

use std::future;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::{directives, settings};
use daemun_http::module::{Handler, HttpModule, Pending, Phase, PhaseHandler, Step, Variable};
use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_http::upstream::http2::Http2;
use daemun_http::upstream::{self, Call};
use daemun_http::upstream_directives;

use daemun_upstream::GroupId;

use pass::PassSetting;
use unbuffered::Unbuffered;

settings! {
    pub struct Settings {
        common: Unbuffered,
        pass: PassSetting,
        set_headers: Vec<(Bytes, Script)> = Vec::new(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

impl Settings {
    /// The group that all requests go to, and whether its servers are spoken to over TLS.
    pub fn group(&self) -> Option<(GroupId, bool)> {
        let pass = self.pass.value()?;
        Some((pass.group()?, pass.may_speak_tls()))
    }
}

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_grpc_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "grpc_pass" in LOCATION | LOCATION_IF, Exactly(1), "", Action::Set(pass::grpc_pass),
                "The gRPC server, or group of servers, that answers requests here.";
            "grpc_set_header" in HTTP_SERVER_LOCATION, Exactly(2), "",
                Action::Set(grpc_set_header),
                "A field of the requests that are passed on; without a value it is left out.";
        },
    },
    variables: &[Variable::new("grpc_internal_trailers", |r, _, out| {
        let accepts = call::accepts_trailers(r);
        if accepts {
            out.extend_from_slice(b"trailers");
        }
        accepts
    })],
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).pass.is_here(),
        handler: Handler::Later(handle),
    }],
    settle: |settings, files, diagnostics| {
        let settings = settings.of(&SETTINGS);
        if settings.pass.value().is_some_and(|pass| pass.may_speak_tls()) {
            settings.common.settle_tls("grpc_", true, files, diagnostics);
        }
    },
    passes: |settings| settings.of(&SETTINGS).pass.is_here(),
    ..HttpModule::EMPTY
};

/// What the module has in common with others to upstream servers.
pub static COMMON: HttpModule = HttpModule {
    base: Module {
        name: "http_grpc_module",
        settings: None,
        directives: upstream_directives!(
            "grpc_", SETTINGS.common: connecting fields errors tls next_grpc
        ),
    },
    ..HttpModule::EMPTY
};

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
    let scheme = if way.is_tls { "grpcs://" } else { "grpc://" };
    let dialect = call::Grpc { settings, host: way.host, is_tls: way.is_tls };
    let protocol = Box::new(Http2::new(dialect));
    let settings = &settings.common;
    let (is_tls, target) = (way.is_tls, way.target);
    Ok(Call { settings, scheme, is_tls, target, protocol, handler: handle })
}

fn grpc_set_header(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let name = Bytes::copy_from_slice(&directive.args[0].text);
    let value = loader.script(&directive.args[1])?;
    loader.settings(&SETTINGS).set_headers.modify().push((name, value));
    Ok(())
}
