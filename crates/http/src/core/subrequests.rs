//! Requests that the server makes for itself.

use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};

use crate::module::HttpModule;

settings! {
    pub struct Settings {
        /// Bytes.
        output_buffer_size: usize = 4096,
        /// They are written to the access log.
        logs: bool = false,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "subrequest_output_buffer_size" in HTTP_SERVER_LOCATION, Exactly(1), "4k",
                set!(SETTINGS.output_buffer_size, values::size),
                "How long a subrequest's response may be that is kept in memory.";
            "log_subrequest" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.logs, values::flag),
                "Whether subrequests are written to the access log.";
        },
    },
    ..HttpModule::EMPTY
};
