//! `ssl_conf_command`: settings by their names in OpenSSL (SSL_CONF_cmd(3)).

use daemun_conf::Word;
use daemun_tls::ciphers;
use daemun_tls::suite::{Suite, Version};

use super::groups;

/// What the commands say; `None` where they say nothing.
pub struct Commands<'w> {
    pub versions: Vec<Version>,
    pub tls13_suites: Option<Vec<&'static Suite>>,
    pub ciphers: Option<String>,
    pub groups: Option<Vec<u16>>,
    pub prefers_own: Option<bool>,
    pub tickets: Option<bool>,
    pub certificate: Option<&'w Word>,
    pub key: Option<&'w Word>,
}

impl Default for Commands<'_> {
    fn default() -> Self {
        Commands {
            versions: vec![Version::Tls12, Version::Tls13],
            tls13_suites: None,
            ciphers: None,
            groups: None,
            prefers_own: None,
            tickets: None,
            certificate: None,
            key: None,
        }
    }
}

const UNKNOWN: &str = "error:0A000180:SSL routines::bad value";
const NO_SUCH_COMMAND: &str = "error:0A00008B:SSL routines::unknown cmd name";

/// Reads a command; the error is OpenSSL's.
pub fn read<'w>(
    commands: &mut Commands<'w>,
    name: &'w Word,
    value: &'w Word,
) -> Result<(), &'static str> {
    let text = value.as_str().map_err(|_| UNKNOWN)?;
    let name = name.as_str().map_err(|_| NO_SUCH_COMMAND)?.to_ascii_lowercase();
    match &*name {
        "options" => text.split(',').try_for_each(|option| read_option(commands, option.trim()))?,
        "ciphersuites" => commands.tls13_suites = Some(ciphers::parse_tls13(text).ok_or(UNKNOWN)?),
        "cipherstring" => commands.ciphers = Some(text.to_owned()),
        "groups" | "curves" => {
            let numbers = text.split(':').map(groups::number);
            commands.groups = Some(numbers.collect::<Option<Vec<_>>>().ok_or(UNKNOWN)?);
        }
        "minprotocol" => {
            let least = version(text).ok_or(UNKNOWN)?;
            commands.versions.retain(|version| Some(*version) >= least);
        }
        "maxprotocol" => {
            let most = version(text).ok_or(UNKNOWN)?;
            commands.versions.retain(|version| most.is_none() || Some(*version) <= most);
        }
        "protocol" => text.split(',').try_for_each(|word| read_protocol(commands, word.trim()))?,
        "certificate" => commands.certificate = Some(value),
        "privatekey" => commands.key = Some(value),
        // Accepted: what they change cannot be told apart by a client.
        "numtickets" | "recordpadding" | "signaturealgorithms" | "clientsignaturealgorithms" => {}
        _ => return Err(NO_SUCH_COMMAND),
    }
    Ok(())
}

fn read_option(commands: &mut Commands<'_>, option: &str) -> Result<(), &'static str> {
    let (is_on, name) = match option.strip_prefix('-') {
        Some(name) => (false, name),
        None => (true, option.strip_prefix('+').unwrap_or(option)),
    };
    match &*name.to_ascii_lowercase() {
        "sessionticket" => commands.tickets = Some(is_on),
        "serverpreference" => commands.prefers_own = Some(is_on),
        "prioritizechacha"
        | "ktls"
        | "emptyfragments"
        | "bugs"
        | "compression"
        | "ecdhsingle"
        | "dhsingle"
        | "noresumptiononrenegotiation"
        | "unsafelegacyrenegotiation"
        | "unsafelegacyserverconnect"
        | "encryptthenmac"
        | "norenegotiation"
        | "allownodhekex"
        | "middleboxcompat"
        | "antireplay"
        | "extendedmastersecret"
        | "cafiletoclient"
        | "cipherserverpreference" => {}
        _ => return Err(UNKNOWN),
    }
    Ok(())
}

fn read_protocol(commands: &mut Commands<'_>, word: &str) -> Result<(), &'static str> {
    let (is_on, name) = match word.strip_prefix('-') {
        Some(name) => (false, name),
        None => (true, word.strip_prefix('+').unwrap_or(word)),
    };
    if name == "ALL" {
        commands.versions = if is_on { vec![Version::Tls12, Version::Tls13] } else { Vec::new() };
        return Ok(());
    }
    if let Some(version) = version(name).ok_or(UNKNOWN)? {
        commands.versions.retain(|known| *known != version);
        if is_on {
            commands.versions.push(version);
        }
    }
    Ok(())
}

/// `Some(None)` is one that is older than all that are spoken.
fn version(name: &str) -> Option<Option<Version>> {
    match name {
        "TLSv1.2" => Some(Some(Version::Tls12)),
        "TLSv1.3" => Some(Some(Version::Tls13)),
        "None" | "SSLv3" | "TLSv1" | "TLSv1.1" => Some(None),
        _ => None,
    }
}
