//! `return`: an answer from the configuration itself.
//!
//! ```nginx
//! location /old/ {
//!     return 301 /new/;
//! }
//! location = /health {
//!     return 200 "alive\n";
//! }
//! ```

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::script::Script;
use daemun_core::setting::Own;
use daemun_core::{directives, settings};
use daemun_http::body::Body;
use daemun_http::core::mime;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::Request;
use daemun_http::status::Status;

struct Answer {
    status: Status,
    /// What the body says, or where the redirect leads.
    text: Script,
}

settings! {
    pub struct Settings {
        answer: Own<Option<Answer>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_rewrite_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "return" in SERVER | LOCATION | SERVER_IF | LOCATION_IF, Between(1, 2), "",
                Action::Set(return_),
                "Answers with a status, and a text or the place of a redirect.";
        },
    },
    handlers: &[
        PhaseHandler { phase: Phase::ServerRewrite, applies, handler: Handler::Now(answer) },
        PhaseHandler { phase: Phase::Rewrite, applies, handler: Handler::Now(answer) },
    ],
    ..HttpModule::EMPTY
};

fn applies(settings: &SettingsSet) -> bool {
    settings.of(&SETTINGS).answer.0.is_some()
}

fn answer(request: &mut Request) -> Step {
    let Some(Answer { status, text }) = &request.settings(&SETTINGS).answer.0 else {
        return Step::Declined;
    };
    let is_silent = text.as_literal() == Some(b"");
    if status.0 >= 400 && is_silent {
        return Step::Status(*status);
    }
    // The text may have `$status` in it.
    request.response.status = *status;
    let text = text.value(request);
    if status.is_redirect() {
        request.response.location = Some(text.into());
        return Step::Status(*status);
    }
    request.response.content_length = Some(text.len() as u64);
    request.response.content_type = Some(request.settings(&mime::SETTINGS).type_of(&request.uri));
    Step::Respond(Body::bytes(text))
}

fn return_(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let (status, text) = read(directive)?;
    let text = match text {
        Some(word) => loader.script(word)?,
        None => Script::default(),
    };
    // The first one ends the request; those behind it are only checked.
    let answer = &mut loader.settings(&SETTINGS).answer.0;
    answer.get_or_insert(Answer { status, text });
    Ok(())
}

fn read(directive: &conf::Directive) -> Result<(Status, Option<&conf::Word>), Fault> {
    let word = &directive.args[0];
    let text = directive.args.get(1);
    let code = units::integer(&word.text).and_then(|code| u16::try_from(code).ok());
    match code.filter(|code| *code <= 999) {
        Some(code) => Ok((Status(code), text)),
        None if text.is_none() && is_url(&word.text) => Ok((Status::FOUND, Some(word))),
        None => Err(Fault::from(format!("invalid return code \"{word}\"")).at(word.span)),
    }
}

fn is_url(text: &[u8]) -> bool {
    [&b"http://"[..], b"https://", b"$scheme"].iter().any(|start| text.starts_with(start))
}
