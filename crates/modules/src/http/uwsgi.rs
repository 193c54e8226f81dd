//! `uwsgi_pass`: requests are answered by applications that speak uwsgi.
//!
//! ```nginx
//! location / {
//!     uwsgi_param REQUEST_METHOD $request_method;
//!     uwsgi_param PATH_INFO      $document_uri;
//!     uwsgi_pass  unix:/run/app.sock;
//! }
//! ```
//!
//! The usual parameters stand in the file `uwsgi_params`, for `include`.

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::{directives, set, settings, values};
use daemun_http::module::{Handler, HttpModule, Pending, Phase, PhaseHandler, Step};
use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_http::upstream::settings::Settings as Common;
use daemun_http::upstream_directives;
use daemun_proto::uwsgi;

use super::gateway::packet::{Form, Packet};
use super::gateway::params::{self, Param};
use super::gateway::pass::{self, PassSetting};

settings! {
    pub struct Settings {
        common: Common,
        pass: PassSetting,
        params: Vec<Param> = Vec::new(),
        modifier1: u8 = 0,
        modifier2: u8 = 0,
        /// What follows the parameters, as it is.
        string: Vec<u8> = Vec::new(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_uwsgi_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "uwsgi_pass" in LOCATION | LOCATION_IF, Exactly(1), "",
                Action::Set(uwsgi_pass),
                "The uwsgi server, or group of servers, that answers requests here.";
            "uwsgi_param" in HTTP_SERVER_LOCATION, Between(2, 3), "",
                Action::Set(|loader, directive| {
                    let param = params::param(loader, directive)?;
                    loader.settings(&SETTINGS).params.modify().push(param);
                    Ok(())
                }),
                "A parameter of the requests that are passed on.";
            "uwsgi_modifier1" in HTTP_SERVER_LOCATION, Exactly(1), "0",
                set!(SETTINGS.modifier1, byte),
                "The kind of packet: what sort of application it is for.";
            "uwsgi_modifier2" in HTTP_SERVER_LOCATION, Exactly(1), "0",
                set!(SETTINGS.modifier2, byte),
                "The kind of packet, continued.";
            "uwsgi_string" in HTTP_SERVER_LOCATION, Exactly(1), "",
                set!(SETTINGS.string, values::bytes),
                "What follows the parameters in a packet, as it is.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).pass.is_here(),
        handler: Handler::Later(again),
    }],
    check,
    settle: |settings, files, diagnostics| {
        let settings = settings.of(&SETTINGS);
        if settings.pass.value().is_some_and(|pass| pass.may_speak_tls()) {
            settings.common.settle_tls("uwsgi_", false, files, diagnostics);
        }
        if settings.common.cache.is_on() && settings.common.cache.key.is_none() {
            let sentence = "no \"uwsgi_cache_key\" for \"uwsgi_cache\"";
            diagnostics.warn(sentence.to_owned(), None);
        }
    },
    passes: |settings| settings.of(&SETTINGS).pass.is_here(),
    temporary: |settings| settings.of(&SETTINGS).common.temporary(),
    ..HttpModule::EMPTY
};

/// What the module has in common with others to upstream servers.
pub static COMMON: HttpModule = HttpModule {
    base: Module {
        name: "http_uwsgi_module",
        settings: None,
        directives: upstream_directives!(
            "uwsgi_", SETTINGS.common: connecting requests responses stores caches errors tls next_gateway
        ),
    },
    ..HttpModule::EMPTY
};

fn uwsgi_pass(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let pass = pass::read(loader, directive, "uwsgi://")?;
    loader.settings(&SETTINGS).pass.set(pass)
}

fn byte(directive: &conf::Directive) -> Result<u8, Fault> {
    Ok(values::integer_in(directive, 0, u8::MAX.into())? as u8)
}

fn check(settings: &SettingsSet) -> Result<(), String> {
    settings.of(&SETTINGS).common.check("uwsgi_")
}

fn again(request: &mut Request) -> Pending<'_> {
    Box::pin(handle(request))
}

async fn handle(request: &mut Request) -> Step {
    let settings = request.settings(&SETTINGS);
    let Some(pass) = settings.pass.value() else {
        return Step::Status(Status::INTERNAL_SERVER_ERROR);
    };
    let protocol = Packet::new(Uwsgi(settings), &settings.common, &settings.params, &pass.host);
    pass::call(request, pass, &settings.common, "uwsgi://", Box::new(protocol), again).await
}

struct Uwsgi(&'static Settings);

impl Form for Uwsgi {
    const NAME: &str = "uwsgi";
    const HIDES_STATUS: bool = false;

    fn param(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        uwsgi::param(name, value, out);
    }

    fn packet(
        &self,
        request: &Request,
        _length: u64,
        params: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let Uwsgi(settings) = self;
        let modifiers = (*settings.modifier1, *settings.modifier2);
        uwsgi::request(modifiers, params, &settings.string, out).map_err(|length| {
            log!(request.log(), Alert, *request, "uwsgi request is too big: {}", length);
            Status::INTERNAL_SERVER_ERROR
        })
    }
}
