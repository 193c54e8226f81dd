//! The environment that workers and new binaries get: what `env` names, and TZ.

use std::ffi::OsString;

use daemun_core::settings::ProcessSettings;

/// The variables in the order of the directives, each with the value given or the one inherited.
pub fn variables(settings: &ProcessSettings) -> Vec<(OsString, OsString)> {
    let named = settings.environment.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
    let zone = settings.environment.iter().all(|(name, _)| name != "TZ").then_some(("TZ", None));
    named
        .chain(zone)
        .filter_map(|(name, value)| {
            let value = value.map(OsString::from).or_else(|| std::env::var_os(name));
            value.map(|value| (OsString::from(name), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_variables_pass() {
        let path = std::env::var_os("PATH").unwrap();
        let settings = ProcessSettings {
            environment: vec![
                ("PATH".into(), None),
                ("NOBODY_SET_THIS".into(), None),
                ("TZ".into(), Some("UTC".into())),
            ],
            ..ProcessSettings::default()
        };
        assert_eq!(variables(&settings), [("PATH".into(), path), ("TZ".into(), "UTC".into())]);
    }
}
