//! `error_log`: where lines about errors go, from the main context down to a location.

use daemun_conf as conf;

use crate::load::{Fault, Loader};
use crate::log::{Log, Target, Threshold};
use crate::module::{Module, SettingsKey};
use crate::setting::Own;
use crate::{directives, settings, values};

settings! {
    pub struct Settings {
        /// The targets that this block itself names.
        targets: Own<Vec<(Target, Threshold)>>,
        log: Log = Log::silent(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: Module = Module {
    name: "errlog",
    settings: Some(&SETTINGS),
    directives: directives! {
        "error_log" in MAIN | HTTP_SERVER_LOCATION, AtLeast(1), "logs/error.log error",
            Action::Set(error_log),
            "A file, stderr, syslog server or memory buffer for errors of a level and above.";
    },
};

fn error_log(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let name = values::text(directive)?;
    let words: Result<Vec<&str>, _> = directive.args[1..].iter().map(conf::Word::as_str).collect();
    let threshold = Threshold::parse(&words.map_err(|_| "invalid value")?)?;
    let (paths, files) = (&loader.paths, &loader.log_files);
    let target = Target::parse(&name, |path| files.register(&paths.in_prefix(path)))?;
    let settings = loader.settings(&SETTINGS);
    settings.targets.0.push((target, threshold));
    let log = Log::new(settings.targets.0.clone());
    settings.log.replace(log);
    Ok(())
}
