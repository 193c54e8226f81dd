//! The groups of servers that the `http` block's directives name.

use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::settings;
use daemun_upstream::Groups;

use crate::module::HttpModule;

settings! {
    pub struct Settings {
        /// In the `http` block alone.
        groups: Own<Groups>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module { name: "http_upstream", settings: Some(&SETTINGS), directives: &[] },
    ..HttpModule::EMPTY
};
