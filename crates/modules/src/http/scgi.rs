//! `scgi_pass`: requests are answered by applications that speak SCGI.
//!
//! ```nginx
//! location / {
//!     scgi_param SCGI        1;
//!     scgi_param REQUEST_URI $request_uri;
//!     scgi_pass  127.0.0.1:4000;
//! }
//! ```
//!
//! The usual parameters stand in the file `scgi_params`, for `include`.

use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::{directives, settings};
use daemun_http::module::{Handler, HttpModule, Pending, Phase, PhaseHandler, Step};
use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_http::upstream::settings::Settings as Common;
use daemun_http::upstream_directives;
use daemun_proto::scgi;

use super::gateway::packet::{Form, Packet};
use super::gateway::params::{self, Param};
use super::gateway::pass::{self, PassSetting};

settings! {
    pub struct Settings {
        common: Common,
        pass: PassSetting,
        params: Vec<Param> = Vec::new(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_scgi_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "scgi_pass" in LOCATION | LOCATION_IF, Exactly(1), "",
                Action::Set(|loader, directive| {
                    let pass = pass::read(loader, directive, "")?;
                    loader.settings(&SETTINGS).pass.set(pass)
                }),
                "The SCGI server, or group of servers, that answers requests here.";
            "scgi_param" in HTTP_SERVER_LOCATION, Between(2, 3), "",
                Action::Set(|loader, directive| {
                    let param = params::param(loader, directive)?;
                    loader.settings(&SETTINGS).params.modify().push(param);
                    Ok(())
                }),
                "A parameter of the requests that are passed on.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).pass.is_here(),
        handler: Handler::Later(again),
    }],
    check,
    settle: |settings, _, diagnostics| {
        let common = &settings.of(&SETTINGS).common;
        if common.cache.is_on() && common.cache.key.is_none() {
            let sentence = "no \"scgi_cache_key\" for \"scgi_cache\"";
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
        name: "http_scgi_module",
        settings: None,
        directives: upstream_directives!(
            "scgi_", SETTINGS.common: connecting requests responses stores caches errors next_gateway
        ),
    },
    ..HttpModule::EMPTY
};

fn check(settings: &SettingsSet) -> Result<(), String> {
    settings.of(&SETTINGS).common.check("scgi_")
}

fn again(request: &mut Request) -> Pending<'_> {
    Box::pin(handle(request))
}

async fn handle(request: &mut Request) -> Step {
    let settings = request.settings(&SETTINGS);
    let Some(pass) = settings.pass.value() else {
        return Step::Status(Status::INTERNAL_SERVER_ERROR);
    };
    let protocol = Packet::new(Netstring, &settings.common, &settings.params, &pass.host);
    pass::call(request, pass, &settings.common, "scgi://", Box::new(protocol), again).await
}

/// A request as a netstring.
struct Netstring;

impl Form for Netstring {
    const NAME: &str = "scgi";
    const HIDES_STATUS: bool = true;

    fn param(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        scgi::param(name, value, out);
    }

    fn packet(
        &self,
        _request: &Request,
        length: u64,
        params: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        scgi::request(length, params, out);
        Ok(())
    }
}
