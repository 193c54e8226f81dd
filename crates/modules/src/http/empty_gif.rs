//! `empty_gif`: a transparent picture of one pixel, from memory.
//!
//! ```nginx
//! location = /_.gif {
//!     empty_gif;
//! }
//! ```

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::{directives, settings};
use daemun_http::body::Body;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::Request;
use daemun_http::response::LastModified;
use daemun_http::status::Status;

use super::reads_only;

settings! {
    pub struct Settings {
        is_here: Own<bool>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_empty_gif_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "empty_gif" in LOCATION, Exactly(0), "", Action::Set(empty_gif),
                "Answers with a transparent picture of one pixel.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).is_here.0,
        handler: Handler::Now(answer),
    }],
    ..HttpModule::EMPTY
};

/// GIF89a (CompuServe, 1990): screen 1 x 1, black and white, white transparent, one pixel.
const PICTURE: &[u8] = b"GIF89a\x01\0\x01\0\x80\x01\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\x01\0,\0\0\0\0\x01\0\x01\0\0\x02\x02L\x01\0;";

/// 28 September 1970, 06:00 GMT.
const MODIFIED: i64 = 23_349_600;

fn answer(request: &mut Request) -> Step {
    if !reads_only(request) {
        return Step::Status(Status::NOT_ALLOWED);
    }
    request.response.status = Status::OK;
    request.response.content_type = Some(Bytes::from_static(b"image/gif"));
    request.response.last_modified = Some(LastModified::new(MODIFIED));
    Step::Respond(Body::bytes(PICTURE))
}

fn empty_gif(loader: &mut Loader<'_>, _: &conf::Directive) -> Result<(), Fault> {
    loader.settings(&SETTINGS).is_here = Own(true);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_whole() {
        assert_eq!(PICTURE.len(), 43);
        assert_eq!(PICTURE.last(), Some(&b';'));
    }
}
