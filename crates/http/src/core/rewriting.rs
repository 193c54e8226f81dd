//! What is logged while URIs are rewritten and variables are set.

use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};

use crate::module::HttpModule;

settings! {
    pub struct Settings {
        /// Each step of rewriting is a notice in the error log.
        logs: bool = false,
        warns_of_uninitialized: bool = true,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_rewrite_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "rewrite_log" in HTTP_TO_IF | SERVER_IF, Flag, "off", set!(SETTINGS.logs, values::flag),
                "Whether the error log tells of each step of rewriting, as notices.";
            "uninitialized_variable_warn" in HTTP_TO_IF | SERVER_IF, Flag, "on",
                set!(SETTINGS.warns_of_uninitialized, values::flag),
                "Whether the error log tells of variables that are used and were never set.";
        },
    },
    ..HttpModule::EMPTY
};
