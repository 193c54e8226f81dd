//! Names that are resolved while the server runs.

use std::time::Duration;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::{directives, set, settings, values};
use daemun_resolver::{Resolver, StatusZone};

use crate::module::HttpModule;

settings! {
    /// An `upstream` has those of the `http` block, unless it has its own.
    #[derive(Clone)]
    pub struct Settings {
        /// `None`: "no resolver defined to resolve NAME".
        resolver: Option<Resolver> = None,
        timeout: Duration = Duration::from_secs(30),
        /// In the `http` block alone: those of all resolvers.
        status_zones: Own<Vec<StatusZone>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "resolver" in HTTP_SERVER_LOCATION | UPSTREAM, AtLeast(1), "", Action::Set(resolver),
                "Name servers for names that are resolved while the server runs.";
            "resolver_timeout" in HTTP_SERVER_LOCATION | UPSTREAM, Exactly(1), "30s",
                set!(SETTINGS.timeout, values::milliseconds),
                "How long a name may take to be resolved.";
        },
    },
    ..HttpModule::EMPTY
};

fn resolver(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let resolver = daemun_resolver::parse(loader, directive)?;
    loader.settings(&SETTINGS).resolver.set(Some(resolver))?;
    Ok(())
}
