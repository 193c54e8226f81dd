//! `flv`: Flash video from a place in the middle, as players ask for it with `?start=`.
//!
//! ```nginx
//! location ~ \.flv$ {
//!     flv;
//! }
//! ```

use std::collections::VecDeque;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::{directives, settings};
use daemun_http::body::{Body, Chunk};
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::Request;
use daemun_http::status::Status;

use super::{reads_only, static_files};

settings! {
    pub struct Settings {
        is_here: Own<bool>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_flv_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "flv" in LOCATION, Exactly(0), "", Action::Set(flv),
                "Sends Flash videos from the byte that the argument start names.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).is_here.0,
        handler: Handler::Now(serve),
    }],
    ..HttpModule::EMPTY
};

/// What a video begins with: version 1, with sound and picture; the size of no tag before the first.
const HEADER: &[u8] = b"FLV\x01\x05\0\0\0\x09\0\0\0\0";

fn serve(request: &mut Request) -> Step {
    if !reads_only(request) {
        return Step::Status(Status::NOT_ALLOWED);
    }
    if request.uri.last() == Some(&b'/') {
        return Step::Declined;
    }
    let known = match static_files::find(request) {
        Ok(known) => known,
        Err(step) => return step,
    };
    let size = known.info.size;
    let start = start(request).filter(|start| *start < size).unwrap_or(0);
    let Step::Respond(body) = static_files::send(request, &known) else {
        return Step::Declined;
    };
    match body {
        Body::One(whole) if start > 0 => {
            let length = HEADER.len() as u64 + size - start;
            let response = &mut request.response;
            response.content_length = Some(length);
            let etag = format!("\"{:x}-{length:x}\"", known.info.modified);
            response.etag = response.etag.take().map(|_| etag.into());
            let header = Chunk::Bytes(Bytes::from_static(HEADER));
            Step::Respond(Body::Many(VecDeque::from([header, whole.slice(start, size - start)])))
        }
        body => Step::Respond(body),
    }
}

fn start(request: &Request) -> Option<u64> {
    str::from_utf8(request.argument(b"start")?).ok()?.parse().ok()
}

fn flv(loader: &mut Loader<'_>, _: &conf::Directive) -> Result<(), Fault> {
    loader.settings(&SETTINGS).is_here = Own(true);
    Ok(())
}
