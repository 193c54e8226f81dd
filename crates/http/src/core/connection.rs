//! How long connections are kept, and how they are closed.

use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};

use crate::module::HttpModule;

/// When what a client still sends is read away before its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LingeringClose {
    Off,
    On,
    Always,
}

/// Browsers that do not get keep-alive connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepaliveDisable {
    pub msie6: bool,
    pub safari: bool,
}

settings! {
    pub struct Settings {
        keepalive_timeout: Duration = Duration::from_secs(75),
        /// Announced in `Keep-Alive: timeout=`; `None`: not announced.
        keepalive_header: Option<Duration> = None,
        keepalive_requests: u32 = 1000,
        keepalive_time: Duration = Duration::from_secs(3600),
        keepalive_min_timeout: Duration = Duration::ZERO,
        keepalive_disable: KeepaliveDisable = KeepaliveDisable { msie6: true, safari: false },
        lingering_close: LingeringClose = LingeringClose::On,
        lingering_time: Duration = Duration::from_secs(30),
        lingering_timeout: Duration = Duration::from_secs(5),
        reset_timedout: bool = false,
        tcp_nodelay: bool = true,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "keepalive_timeout" in HTTP_SERVER_LOCATION, Between(1, 2), "75s",
                Action::Set(keepalive_timeout),
                "How long an idle connection is kept, and what the Keep-Alive header announces.";
            "keepalive_requests" in HTTP_SERVER_LOCATION, Exactly(1), "1000",
                set!(SETTINGS.keepalive_requests, values::integer),
                "How many requests a connection may serve.";
            "keepalive_time" in HTTP_SERVER_LOCATION, Exactly(1), "1h",
                set!(SETTINGS.keepalive_time, values::milliseconds),
                "How long a connection may serve requests.";
            "keepalive_min_timeout" in HTTP_SERVER_LOCATION, Exactly(1), "0",
                set!(SETTINGS.keepalive_min_timeout, values::milliseconds),
                "How long an idle connection is kept at least, even to make room or to shut down.";
            "keepalive_disable" in HTTP_SERVER_LOCATION, Between(1, 2), "msie6",
                set!(SETTINGS.keepalive_disable, keepalive_disable),
                "Browsers that get no keep-alive connections after a POST.";
            "lingering_close" in HTTP_SERVER_LOCATION, Exactly(1), "on",
                set!(SETTINGS.lingering_close, lingering_close),
                "Whether to read what a client still sends before its connection is closed.";
            "lingering_time" in HTTP_SERVER_LOCATION, Exactly(1), "30s",
                set!(SETTINGS.lingering_time, values::milliseconds),
                "How long to read what a client still sends before its connection is closed.";
            "lingering_timeout" in HTTP_SERVER_LOCATION, Exactly(1), "5s",
                set!(SETTINGS.lingering_timeout, values::milliseconds),
                "How long to wait for more of what a client still sends.";
            "reset_timedout_connection" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.reset_timedout, values::flag),
                "Closes timed out connections with a reset, which frees memory at once.";
            "tcp_nodelay" in HTTP_SERVER_LOCATION, Flag, "on",
                set!(SETTINGS.tcp_nodelay, values::flag),
                "Sends small packets without waiting for more.";
            "tcp_nopush" in HTTP_SERVER_LOCATION, Flag, "off",
                Action::Checked(
                    |directive| values::flag(directive).map(drop),
                    "a response's head always leaves together with the beginning of its file",
                ),
                "Accepted: a response's head always leaves together with the beginning of its file.";
        },
    },
    ..HttpModule::EMPTY
};

fn keepalive_timeout(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let timeout = values::milliseconds(directive)?;
    let header = match directive.args.get(1) {
        None => None,
        Some(word) => match units::seconds(&word.text) {
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => return Err(Fault::from("invalid value").at(word.span)),
        },
    };
    let settings = loader.settings(&SETTINGS);
    settings.keepalive_timeout.set(timeout)?;
    settings.keepalive_header.set(header)?;
    Ok(())
}

fn keepalive_disable(directive: &conf::Directive) -> Result<KeepaliveDisable, Fault> {
    let mut disable = KeepaliveDisable { msie6: false, safari: false };
    for word in &directive.args {
        match &*word.text {
            b"none" => {
                return Ok(KeepaliveDisable { msie6: false, safari: false });
            }
            b"msie6" => disable.msie6 = true,
            b"safari" => disable.safari = true,
            _ => return Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span)),
        }
    }
    Ok(disable)
}

fn lingering_close(directive: &conf::Directive) -> Result<LingeringClose, Fault> {
    use LingeringClose::*;
    values::choice(directive, &[("off", Off), ("on", On), ("always", Always)])
}
