//! How redirects that the server makes are spelt.

use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};

use crate::module::HttpModule;

settings! {
    pub struct Settings {
        absolute_redirect: bool = true,
        server_name_in_redirect: bool = false,
        port_in_redirect: bool = true,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "absolute_redirect" in HTTP_SERVER_LOCATION, Flag, "on",
                set!(SETTINGS.absolute_redirect, values::flag),
                "Whether redirects carry scheme and host.";
            "server_name_in_redirect" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.server_name_in_redirect, values::flag),
                "Whether redirects carry the server's first name instead of the host that was asked for.";
            "port_in_redirect" in HTTP_SERVER_LOCATION, Flag, "on",
                set!(SETTINGS.port_in_redirect, values::flag),
                "Whether redirects carry the port.";
        },
    },
    ..HttpModule::EMPTY
};
