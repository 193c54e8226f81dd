//! `auth_request`: access for those whom another location lets in.
//!
//! ```nginx
//! location /private/ {
//!     auth_request     /auth;
//!     auth_request_set $user $sent_http_x_user;
//!     add_header       X-User $user;
//! }
//! location = /auth {
//!     internal;
//!     return 204;
//! }
//! ```

use std::borrow::Cow;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::{directives, set, settings};
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::Request;
use daemun_http::response::Header;
use daemun_http::status::Status;
use daemun_http::subrequest::Subrequest;

use super::rewrite::Target;

/// A variable, and its value as the subrequest has it.
#[derive(Clone)]
struct Assignment {
    target: Target,
    value: Script,
}

settings! {
    pub struct Settings {
        /// Empty: nobody is asked.
        uri: Vec<u8> = Vec::new(),
        assignments: Vec<Assignment> = Vec::new(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_auth_request_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "auth_request" in HTTP_SERVER_LOCATION, Exactly(1), "off", set!(SETTINGS.uri, uri),
                "The URI whose status decides whether a request may pass.";
            "auth_request_set" in HTTP_SERVER_LOCATION, Exactly(2), "", Action::Set(auth_request_set),
                "A variable and its value, computed once auth_request has its answer.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Access,
        applies: |settings| !settings.of(&SETTINGS).uri.is_empty(),
        handler: Handler::Later(|request| Box::pin(check(request))),
    }],
    ..HttpModule::EMPTY
};

async fn check(request: &mut Request) -> Step {
    let settings = request.settings(&SETTINGS);
    let Ok(mut asked) = Subrequest::begin(request, &settings.uri, b"") else {
        return Step::Status(Status::INTERNAL_SERVER_ERROR);
    };
    asked.answered(request).await;
    let is_abandoned = asked.has_been_abandoned();
    let Some(answer) = asked.request() else {
        return Step::Status(match is_abandoned {
            true => Status::CLIENT_CLOSED,
            false => Status::INTERNAL_SERVER_ERROR,
        });
    };
    for assignment in settings.assignments.iter() {
        let value = assignment.value.value(answer);
        assignment.target.set(request, Cow::Owned(value));
    }
    let status = answer.response.status;
    match status.0 {
        200..300 => Step::Allowed,
        401 => {
            for value in answer.response.values(b"WWW-Authenticate") {
                let name = Bytes::from_static(b"WWW-Authenticate");
                request.response.headers.push(Header { name, value: value.clone() });
            }
            Step::Status(status)
        }
        403 => Step::Status(status),
        code => {
            log!(request.log(), Error, *request, "auth request unexpected status: {}", code);
            Step::Status(Status::INTERNAL_SERVER_ERROR)
        }
    }
}

fn uri(directive: &conf::Directive) -> Result<Vec<u8>, Fault> {
    Ok(match &*directive.args[0].text {
        b"off" => Vec::new(),
        uri => uri.to_vec(),
    })
}

fn auth_request_set(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let [name, value] = &*directive.args else {
        return Err("invalid value".into());
    };
    let text = name.as_str().ok().and_then(|text| text.strip_prefix('$'));
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Err(Fault::from(format!("invalid variable name \"{name}\"")).at(name.span));
    };
    let target = Target::of(loader, text, name.span);
    let value = loader.script(value)?;
    loader.settings(&SETTINGS).assignments.modify().push(Assignment { target, value });
    Ok(())
}
