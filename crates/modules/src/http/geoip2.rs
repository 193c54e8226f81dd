//! `geoip2`: variables about the client's address, from a MaxMind DB file.
//!
//! ```text
//! geoip2 /var/lib/GeoIP/GeoLite2-City.mmdb {
//!     auto_reload 60m;
//!     $geo_build   metadata build_epoch;
//!     $geo_country default=XX source=$remote_addr country iso_code;
//!     $geo_city    city names en;
//! }
//! geoip2_proxy           192.0.2.0/24;
//! geoip2_proxy_recursive on;
//! ```
//!
//! The directives are those of the module of the same name that nginx's users know.

use daemun_conf as conf;
use daemun_core::cidr::Cidr;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::{directives, set, settings, values};
use daemun_http::module::HttpModule;

use crate::shared::geoip2::{self, Trusted};
use crate::shared::network;

settings! {
    pub struct Settings {
        proxies: Vec<Cidr> = Vec::new(),
        is_recursive: bool = false,
        /// What the variables know of both.
        trusted: Trusted = Trusted::default(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_geoip2_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "geoip2" in HTTP, Block(1, 1), "", Action::Set(geoip2),
                "Defines variables from an address's record in a MaxMind DB file.";
            "geoip2_proxy" in HTTP, Exactly(1), "", Action::Set(geoip2_proxy),
                "An address or range that is trusted to name its clients by X-Forwarded-For.";
            "geoip2_proxy_recursive" in HTTP, Flag, "off",
                set!(SETTINGS.is_recursive, values::flag),
                "Whether trusted addresses in a list are passed over.";
        },
    },
    check: |settings| {
        trust(settings);
        Ok(())
    },
    ..HttpModule::EMPTY
};

/// Tells the variables of the proxies once all are known.
fn trust(settings: &SettingsSet) {
    let settings = settings.of(&SETTINGS);
    if !settings.proxies.is_empty() {
        settings.trusted.get_or_init(|| (settings.proxies.to_vec(), *settings.is_recursive));
    }
}

fn geoip2(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let trusted = loader.settings(&SETTINGS).trusted.modify().clone();
    geoip2::load(loader, directive, &trusted)
}

fn geoip2_proxy(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let proxy = network(loader, &directive.args[0])?;
    loader.settings(&SETTINGS).proxies.modify().push(proxy);
    Ok(())
}
