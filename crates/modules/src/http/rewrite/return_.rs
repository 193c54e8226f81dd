//! `return`: an answer from the configuration itself.

use bytes::Bytes;
use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::script::Script;
use daemun_http::body::Body;
use daemun_http::core::mime;
use daemun_http::module::Step;
use daemun_http::request::Request;
use daemun_http::status::Status;

pub(super) struct Answer {
    status: Status,
    /// What the body says, or where the redirect leads.
    text: Script,
}

impl Answer {
    pub fn read(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Answer, Fault> {
        let (status, text) = read(directive)?;
        let text = match text {
            Some(word) => loader.script(word)?,
            None => Script::default(),
        };
        Ok(Answer { status, text })
    }

    pub fn give(&'static self, request: &mut Request) -> Step {
        let Answer { status, text } = self;
        let is_silent = text.as_literal() == Some(b"");
        if status.0 >= 400 && is_silent {
            return Step::Status(*status);
        }
        // The text may have `$status` in it.
        request.response.status = *status;
        let text = match text.as_literal() {
            Some(text) => Bytes::from_static(text),
            None => text.boxed(request).into(),
        };
        if status.is_redirect() {
            request.response.location = Some(text);
            return Step::Status(*status);
        }
        request.response.content_length = Some(text.len() as u64);
        mime::set_type(request);
        Step::Respond(Body::bytes(text))
    }
}

fn read(directive: &conf::Directive) -> Result<(Status, Option<&conf::Word>), Fault> {
    let word = &directive.args[0];
    let text = directive.args.get(1);
    let code = units::integer(&word.text).and_then(|code| u16::try_from(code).ok());
    match code.filter(|code| *code <= 999) {
        Some(code) => Ok((Status(code), text)),
        None if text.is_none() && super::uri::is_url(&word.text) => Ok((Status::FOUND, Some(word))),
        None => Err(Fault::from(format!("invalid return code \"{word}\"")).at(word.span)),
    }
}
