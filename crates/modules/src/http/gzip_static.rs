//! `gzip_static`: sends files that were compressed beforehand, `page.html.gz` for `page.html`.
//!
//! ```nginx
//! location /assets/ {
//!     gzip_static on;
//!     gzip_vary   on;
//! }
//! ```

use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler};

use super::compress::{self, STATIC, Static};

settings! {
    pub struct Settings {
        mode: Static = Static::Off,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_gzip_static_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "gzip_static" in HTTP_SERVER_LOCATION, Exactly(1), "off",
                set!(SETTINGS.mode, |directive| values::choice(directive, STATIC)),
                "Sends NAME.gz where it stands beside the file asked for.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Content,
        applies: |settings| *settings.of(&SETTINGS).mode != Static::Off,
        handler: Handler::Now(|request| {
            let mode = *request.settings(&SETTINGS).mode;
            compress::send_beside(request, mode, "gzip", b".gz")
        }),
    }],
    ..HttpModule::EMPTY
};
