//! `post_action`: where a request goes once it is answered.

use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};

use crate::module::HttpModule;

settings! {
    pub struct Settings {
        /// A path or a named location.
        target: Option<Vec<u8>> = None,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "post_action" in HTTP_TO_IF, Exactly(1), "", set!(SETTINGS.target, |directive| values::bytes(directive).map(Some)),
                "The URI or named location that a request is sent to once it is answered.";
        },
    },
    ..HttpModule::EMPTY
};
