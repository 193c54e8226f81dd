//! `tunnel_pass`: clients reach other servers through this one (CONNECT, RFC 9110, section 9.3.6).
//!
//! ```nginx
//! location / {
//!     tunnel_pass         $host:$request_port;
//!     tunnel_read_timeout 10m;
//! }
//! ```

use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::setting::{Inherit, Own};
use daemun_core::{directives, settings};
use daemun_http::core::routing;
use daemun_http::module::{Handler, HttpModule, Later, Pending, Phase, PhaseHandler, Step};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::upstream::head::{Head, InvalidHead};
use daemun_http::upstream::payload::Payload;
use daemun_http::upstream::protocol::{HeadStep, InvalidBody, Piece, Protocol};
use daemun_http::upstream::settings::Settings as Common;
use daemun_http::upstream::{self, Call, Target};
use daemun_http::upstream_directives;
use daemun_proto::http1::Method;
use daemun_upstream::{GroupId, Url};

/// Whom clients are connected to.
enum Pass {
    Fixed(GroupId),
    Computed(Script),
}

/// A block's own `tunnel_pass`, or, for an `if`, that of its location.
#[derive(Default)]
struct PassSetting {
    own: Option<Arc<Pass>>,
    outer: Option<Arc<Pass>>,
}

impl Inherit for PassSetting {
    fn inherit(&mut self, outer: &Self) {
        self.outer = outer.own.clone().or_else(|| outer.outer.clone());
    }
}

settings! {
    pub struct Settings {
        common: Common,
        pass: PassSetting,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_tunnel_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "tunnel_pass" in SERVER | LOCATION | LOCATION_IF, Between(0, 1), "",
                Action::Set(tunnel_pass),
                "Connects clients that ask for it to a server: the one they name, unless another is given.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).pass.own.is_some(),
        handler: Handler::Later(again),
    }],
    ..HttpModule::EMPTY
};

/// What the module has in common with others to upstream servers.
pub static COMMON: HttpModule = HttpModule {
    base: Module {
        name: "http_tunnel_module",
        settings: None,
        directives: upstream_directives!(
            "tunnel_", SETTINGS.common: connecting next_tunnel send_lowat
        ),
    },
    ..HttpModule::EMPTY
};

fn again(request: &mut Request) -> Pending<'_> {
    Box::pin(handle(request))
}

async fn handle(request: &mut Request) -> Step {
    if request.head.method() != Method::Connect {
        return Step::Status(Status::NOT_ALLOWED);
    }
    let settings = request.settings(&SETTINGS);
    let Some(pass) = settings.pass.own.as_ref().or(settings.pass.outer.as_ref()) else {
        return Step::Status(Status::INTERNAL_SERVER_ERROR);
    };
    let target = match &**pass {
        Pass::Fixed(group) => Target::Group(*group),
        Pass::Computed(script) => {
            let address = script.value(request);
            match Url::parse_server(&address, None) {
                Ok(url) => Target::Address(Box::new(url)),
                Err(reason) => {
                    let address = Text(&address);
                    log!(request.log(), Info, *request, "{} in upstream \"{}\"", reason, address);
                    return Step::Status(Status::INTERNAL_SERVER_ERROR);
                }
            }
        }
    };
    let protocol = Box::new(Tunnel);
    let settings = &settings.common;
    let (scheme, is_tls, handler) = ("", false, again as Later);
    upstream::pass(request, Call { settings, scheme, is_tls, target, protocol, handler }).await
}

/// Nothing is said to the server: what comes from it is the client's, and the other way round.
struct Tunnel;

impl Protocol for Tunnel {
    fn name(&self) -> &'static str {
        "tunnel"
    }

    fn write_request(
        &mut self,
        _: &mut Request,
        _: Payload,
        _: &mut Vec<u8>,
    ) -> Result<(), Status> {
        Ok(())
    }

    fn passes_body(&self) -> bool {
        false
    }

    fn begin_again(&mut self) {}

    fn answers_at_once(&self) -> bool {
        true
    }

    fn read_head(
        &mut self,
        request: &mut Request,
        _: &[u8],
        head: &mut Head,
    ) -> Result<HeadStep, InvalidHead> {
        head.status = Status::OK.0;
        request.keepalive = false;
        Ok(HeadStep::Done { consumed: 0 })
    }

    fn begin_body(&mut self, _: &Request, _: &Head) {}

    fn read_body(
        &mut self,
        _: &mut Request,
        _: &[u8],
        _: &mut usize,
    ) -> Result<Piece, InvalidBody> {
        Ok(Piece::End)
    }

    fn ends_with_connection(&mut self) -> bool {
        true
    }

    fn keeps_connection(&self) -> bool {
        false
    }

    fn upgrades(&self) -> bool {
        true
    }
}

fn tunnel_pass(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if loader.settings(&SETTINGS).pass.own.is_some() {
        return Err("is duplicate".into());
    }
    loader.settings(&routing::SETTINGS).takes_connect = Own(true);
    let named;
    let word = match directive.args.first() {
        Some(word) => word,
        None => {
            let text = b"$host:$request_port"[..].into();
            named = conf::Word { text, ..directive.name.clone() };
            &named
        }
    };
    let script = loader.script(word)?;
    let pass = match script.as_literal() {
        None => Pass::Computed(script),
        Some(text) => {
            let url = Url::parse_server(text, None).map_err(|reason| {
                Fault::from(format!("{reason} in upstream \"{word}\"")).at(word.span)
            })?;
            Pass::Fixed(daemun_upstream::request_group(loader, &url, word.span)?)
        }
    };
    loader.settings(&SETTINGS).pass.own = Some(Arc::new(pass));
    Ok(())
}
