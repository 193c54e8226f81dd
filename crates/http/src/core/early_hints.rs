//! `early_hints`: whether what upstreams announce before their responses is passed on.

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::{directives, settings};

use crate::module::HttpModule;
use crate::request::Request;

settings! {
    pub struct Settings {
        /// Passed on where one of these has a value other than "0".
        predicates: Vec<Script> = Vec::new(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "early_hints" in HTTP_SERVER_LOCATION, AtLeast(1), "", Action::Set(early_hints),
                "Passes 103 responses of upstreams on, where a value is neither empty nor 0.";
        },
    },
    ..HttpModule::EMPTY
};

pub fn are_wanted(request: &mut Request) -> bool {
    let predicates = &request.settings(&SETTINGS).predicates;
    predicates.iter().any(|predicate| !matches!(&*predicate.value(request), b"" | b"0"))
}

fn early_hints(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let predicates: Result<_, _> = directive.args.iter().map(|word| loader.script(word)).collect();
    loader.settings(&SETTINGS).predicates.set(predicates?)?;
    Ok(())
}
