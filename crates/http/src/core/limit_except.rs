//! `limit_except`: other settings for all methods but a few.

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Contexts, Module, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::{directives, settings};
use daemun_proto::http1::Method;

use crate::module::HttpModule;

settings! {
    pub struct Settings {
        /// The methods that the block does not hold for.
        methods: Own<Vec<Method>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "limit_except" in LOCATION, Block(1, usize::MAX), "", Action::Set(limit_except),
                "Limits the use of all methods but those named; GET names HEAD too.";
        },
    },
    ..HttpModule::EMPTY
};

fn limit_except(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if loader.block().children.iter().any(|block| block.context == Contexts::LIMIT_EXCEPT) {
        return Err("is duplicate".into());
    }
    let mut methods = Vec::new();
    for word in &directive.args {
        match Method::from_name(&word.text.to_ascii_uppercase()) {
            Method::Other => {
                return Err(Fault::from(format!("invalid method \"{word}\"")).at(word.span));
            }
            Method::Get => methods.extend([Method::Get, Method::Head]),
            method => methods.push(method),
        }
    }
    loader.enter_with(Contexts::LIMIT_EXCEPT, directive, |settings| {
        settings.of_mut(&SETTINGS).methods = Own(methods);
    });
    Ok(())
}
