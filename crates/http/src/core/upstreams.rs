//! The groups of servers that the `http` block's directives name.

use daemun_core::load::Block;
use daemun_core::module::{Contexts, Module, SettingsKey};
use daemun_core::setting::{Inherit, Own};
use daemun_core::settings;
use daemun_upstream::{Groups, LookUp};

use crate::core::resolving;
use crate::module::HttpModule;

settings! {
    pub struct Settings {
        /// In the `http` block alone.
        groups: Own<Groups>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

/// For each `upstream` block of the `http` block, who looks up names: its own `resolver`, or that of the block around it.
pub(super) fn look_ups(http: &Block) -> Vec<(String, Option<LookUp>)> {
    let outer = http.settings.of(&resolving::SETTINGS);
    let blocks = http.children.iter().filter(|block| block.context == Contexts::UPSTREAM);
    let look_ups = blocks.map(|block| {
        let mut own = block.settings.of(&resolving::SETTINGS).clone();
        own.inherit(outer);
        let name = block.header.as_ref().map(|header| header.args[0].to_string());
        let resolver = own.resolver.as_ref();
        let look_up = resolver.map(|resolver| (resolver.clone(), *own.timeout));
        (name.unwrap_or_default(), look_up)
    });
    look_ups.collect()
}

pub static MODULE: HttpModule = HttpModule {
    base: Module { name: "http_upstream", settings: Some(&SETTINGS), directives: &[] },
    ..HttpModule::EMPTY
};
