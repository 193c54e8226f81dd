//! `mirror`: sends a copy of each request elsewhere, whose answer nobody waits for.
//!
//! ```nginx
//! location / {
//!     mirror              /mirror;
//!     mirror_request_body on;
//! }
//! ```

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_http::subrequest::Subrequest;

settings! {
    pub struct Settings {
        uris: Vec<Vec<u8>> = Vec::new(),
        /// The body is read first, so that the copies have it too.
        request_body: bool = true,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_mirror_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "mirror" in HTTP_SERVER_LOCATION, Exactly(1), "off", Action::Set(mirror),
                "A URI that gets a copy of each request.";
            "mirror_request_body" in HTTP_SERVER_LOCATION, Flag, "on",
                set!(SETTINGS.request_body, values::flag),
                "Whether the copies have the request's body.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::PreContent,
        applies: |settings| !settings.of(&SETTINGS).uris.is_empty(),
        handler: Handler::Later(|request| Box::pin(copy(request))),
    }],
    ..HttpModule::EMPTY
};

async fn copy(request: &mut Request) -> Step {
    if request.is_subrequest() {
        return Step::Declined;
    }
    let settings = request.settings(&SETTINGS);
    if *settings.request_body
        && let Err(status) = request.read_body().await
    {
        return Step::Status(status);
    }
    let args = request.args.clone();
    for uri in settings.uris.iter() {
        if Subrequest::in_background(request, uri, &args).is_err() {
            return Step::Status(Status::INTERNAL_SERVER_ERROR);
        }
    }
    Step::Declined
}

fn mirror(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let uris = &mut loader.settings(&SETTINGS).uris;
    let is_off = uris.is_set() && uris.is_empty();
    match &*directive.args[0].text {
        b"off" => uris.set(Vec::new())?,
        _ if is_off => return Err("is duplicate".into()),
        uri => uris.modify().push(uri.to_vec()),
    }
    Ok(())
}
