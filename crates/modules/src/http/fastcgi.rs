//! `fastcgi_pass`: requests are answered by applications that speak FastCGI, such as PHP's.
//!
//! ```nginx
//! location ~ \.php$ {
//!     fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
//!     fastcgi_param REQUEST_METHOD  $request_method;
//!     fastcgi_param QUERY_STRING    $query_string;
//!     fastcgi_pass  unix:/run/php/php-fpm.sock;
//! }
//! ```
//!
//! The usual parameters stand in the file `fastcgi_params`, for `include`.

mod exchange;
mod script;

use bytes::Bytes;
use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::named_pattern::NamedPattern;
use daemun_core::{directives, set, settings, values};
use daemun_http::module::{Handler, HttpModule, Pending, Phase, PhaseHandler, Step, Variable};
use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_http::upstream::settings::Settings as Common;
use daemun_http::upstream_directives;
use std::sync::Arc;

use super::gateway::params::{self, Param};
use super::gateway::pass::{self, PassSetting};
use exchange::FastCgi;

settings! {
    pub struct Settings {
        common: Common,
        pass: PassSetting,
        params: Vec<Param> = Vec::new(),
        /// What a script's name gets that ends in a slash.
        index: Vec<u8> = Vec::new(),
        /// Its first group is the script's name, its second one the rest of the path.
        split_path_info: Option<Arc<NamedPattern>> = None,
        /// Complaints with one of these texts make a response invalid.
        catch_stderr: Vec<Bytes> = Vec::new(),
        keep_conn: bool = false,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_fastcgi_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "fastcgi_pass" in LOCATION | LOCATION_IF, Exactly(1), "",
                Action::Set(|loader, directive| {
                    let pass = pass::read(loader, directive, "")?;
                    loader.settings(&SETTINGS).pass.set(pass)
                }),
                "The FastCGI server, or group of servers, that answers requests here.";
            "fastcgi_param" in HTTP_SERVER_LOCATION, Between(2, 3), "",
                Action::Set(|loader, directive| {
                    let param = params::param(loader, directive)?;
                    loader.settings(&SETTINGS).params.modify().push(param);
                    Ok(())
                }),
                "A parameter of the requests that are passed on.";
            "fastcgi_index" in HTTP_SERVER_LOCATION, Exactly(1), "",
                set!(SETTINGS.index, values::bytes),
                "The script of URIs that end in a slash.";
            "fastcgi_split_path_info" in HTTP_SERVER_LOCATION, Exactly(1), "",
                Action::Set(script::split_path_info),
                "A pattern with two groups: the script's name, and the rest of the path.";
            "fastcgi_catch_stderr" in HTTP_SERVER_LOCATION, Exactly(1), "",
                Action::Set(|loader, directive| {
                    let text = values::bytes(directive)?.into();
                    loader.settings(&SETTINGS).catch_stderr.modify().push(text);
                    Ok(())
                }),
                "A text in the application's complaints that makes its response invalid.";
            "fastcgi_keep_conn" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.keep_conn, values::flag),
                "Asks applications to leave connections open.";
        },
    },
    variables: &[
        Variable::new("fastcgi_script_name", |r, _, out| script::append_name(r, out)),
        Variable::new("fastcgi_path_info", |r, _, out| script::append_path_info(r, out)),
    ],
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).pass.is_here(),
        handler: Handler::Later(again),
    }],
    check,
    settle: |settings, _, diagnostics| {
        let common = &settings.of(&SETTINGS).common;
        if common.cache.is_on() && common.cache.key.is_none() {
            let sentence = "no \"fastcgi_cache_key\" for \"fastcgi_cache\"";
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
        name: "http_fastcgi_module",
        settings: None,
        directives: upstream_directives!(
            "fastcgi_", SETTINGS.common: connecting requests responses stores caches errors next_gateway send_lowat
        ),
    },
    ..HttpModule::EMPTY
};

fn check(settings: &SettingsSet) -> Result<(), String> {
    settings.of(&SETTINGS).common.check("fastcgi_")
}

fn again(request: &mut Request) -> Pending<'_> {
    Box::pin(handle(request))
}

async fn handle(request: &mut Request) -> Step {
    let settings = request.settings(&SETTINGS);
    let Some(pass) = settings.pass.value() else {
        return Step::Status(Status::INTERNAL_SERVER_ERROR);
    };
    let protocol = Box::new(FastCgi::new(settings, pass));
    pass::call(request, pass, &settings.common, "fastcgi://", protocol, again).await
}
