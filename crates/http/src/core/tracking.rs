//! Whether requests are told to the scoreboard: only where a page shows them.

use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::settings;

use crate::module::HttpModule;

settings! {
    pub struct Settings {
        /// A page in this block shows what each worker serves.
        shows_requests: Own<bool>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module { name: "http_core", settings: Some(&SETTINGS), directives: &[] },
    ..HttpModule::EMPTY
};
