//! nginx's `ngx_http_ssl_module`: what the directives say.
//!
//! ```nginx
//! server {
//!     listen 443 ssl;
//!     ssl_certificate     /etc/ssl/example.org.crt;
//!     ssl_certificate_key /etc/ssl/example.org.key;
//! }
//! ```

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::zones::{self, ZoneRef};
use daemun_core::{directives, set, settings, values};
use daemun_tls::suite::Version;

use super::client_variables;
use super::computed::{Cache, CacheLimits, Source};
use super::groups;
use super::ocsp::{self, Depth};
use super::shared_sessions::PURPOSE;
use super::variables::VARIABLES;
use crate::module::HttpModule;

/// `ssl_verify_client`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyClient {
    Off,
    On,
    Optional,
    OptionalNoCa,
}

settings! {
    pub struct Settings {
        certificates: Vec<Source> = Vec::new(),
        keys: Vec<Source> = Vec::new(),
        certificate_cache: Option<Arc<Cache>> = None,
        password_file: Option<conf::Word> = None,
        certificate_compression: bool = false,
        protocols: Vec<Version> = vec![Version::Tls12, Version::Tls13],
        ciphers: String = "HIGH:!aNULL:!MD5".to_owned(),
        prefer_server_ciphers: bool = false,
        dhparam: Option<conf::Word> = None,
        curves: Vec<u16> = Vec::new(),
        buffer_size: usize = 16 * 1024,
        verify_client: VerifyClient = VerifyClient::Off,
        verify_depth: usize = 1,
        client_certificate: Option<conf::Word> = None,
        trusted_certificate: Option<conf::Word> = None,
        crl: Option<conf::Word> = None,
        session_cache: SessionCache = SessionCache::None,
        session_tickets: bool = true,
        session_timeout: Duration = Duration::from_secs(300),
        session_ticket_keys: Vec<conf::Word> = Vec::new(),
        early_data: bool = false,
        key_log: Option<conf::Word> = None,
        reject_handshake: bool = false,
        ocsp: Option<Depth> = None,
        ocsp_responder: Option<conf::Word> = None,
        ocsp_cache: Option<Arc<ocsp::Cache>> = None,
        stapling: bool = false,
        stapling_file: Option<conf::Word> = None,
        stapling_responder: Option<conf::Word> = None,
        stapling_verify: bool = false,
        conf_commands: Vec<(conf::Word, conf::Word)> = Vec::new(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_ssl_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "ssl_certificate" in HTTP_SERVER, Exactly(1), "", Action::Set(certificate),
                "A file with the server's certificate and those that lead from it to its root, in PEM.";
            "ssl_certificate_key" in HTTP_SERVER, Exactly(1), "", Action::Set(certificate_key),
                "A file with the certificate's private key, in PEM.";
            "ssl_certificate_cache" in HTTP_SERVER, Between(1, 3), "off",
                Action::Set(|loader, directive| {
                    let cache = certificate_cache(directive)?;
                    loader.settings(&SETTINGS).certificate_cache.set(cache)?;
                    Ok(())
                }),
                "How long certificates from variables are remembered.";
            "ssl_ech_file" in HTTP_SERVER, Exactly(1), "",
                Action::Unsupported(any),
                "Keys for encrypted hellos, which the library has not.";
            "ssl_password_file" in HTTP_SERVER, Exactly(1), "", set!(SETTINGS.password_file, word),
                "A file with a passphrase for private keys on each line.";
            "ssl_certificate_compression" in HTTP_SERVER, Flag, "off",
                set!(SETTINGS.certificate_compression, values::flag),
                "Whether certificates are compressed for clients that can have it so.";
            "ssl_dhparam" in HTTP_SERVER, Exactly(1), "",
                Action::Set(dhparam),
                "Parameters for key exchange over finite fields, which is not offered.";
            "ssl_ecdh_curve" in HTTP_SERVER, Exactly(1), "auto", Action::Set(curves),
                "The groups for key exchange, most wanted first.";
            "ssl_protocols" in HTTP_SERVER, AtLeast(1), "TLSv1.2 TLSv1.3", Action::Set(protocols),
                "The versions of TLS that are spoken.";
            "ssl_ciphers" in HTTP_SERVER, Exactly(1), "HIGH:!aNULL:!MD5",
                set!(SETTINGS.ciphers, values::text),
                "The cipher suites of TLS 1.2, in OpenSSL's words.";
            "ssl_buffer_size" in HTTP_SERVER, Exactly(1), "16k",
                set!(SETTINGS.buffer_size, values::size),
                "The longest record that is sent.";
            "ssl_verify_client" in HTTP_SERVER, Exactly(1), "off",
                set!(SETTINGS.verify_client, verify_client),
                "Whether clients have to show a certificate.";
            "ssl_verify_depth" in HTTP_SERVER, Exactly(1), "1",
                set!(SETTINGS.verify_depth, values::integer),
                "How long the chain of a client's certificate may be.";
            "ssl_client_certificate" in HTTP_SERVER, Exactly(1), "",
                set!(SETTINGS.client_certificate, word),
                "A file with the authorities that clients' certificates may come from; clients are told of them.";
            "ssl_trusted_certificate" in HTTP_SERVER, Exactly(1), "",
                set!(SETTINGS.trusted_certificate, word),
                "The same, and clients are not told of them.";
            "ssl_prefer_server_ciphers" in HTTP_SERVER, Flag, "off",
                set!(SETTINGS.prefer_server_ciphers, values::flag),
                "Whether the server's order of cipher suites counts, and not the client's.";
            "ssl_session_cache" in HTTP_SERVER, Between(1, 2), "none", Action::Set(session_cache),
                "Where sessions are remembered.";
            "ssl_session_tickets" in HTTP_SERVER, Flag, "on",
                set!(SETTINGS.session_tickets, values::flag),
                "Whether clients keep their sessions, as tickets.";
            "ssl_session_ticket_key" in HTTP_SERVER, Exactly(1), "", Action::Set(ticket_key),
                "A file with a key that protects tickets, to be shared by several servers.";
            "ssl_session_timeout" in HTTP_SERVER, Exactly(1), "5m",
                set!(SETTINGS.session_timeout, values::seconds),
                "How long a session may be gone on with.";
            "ssl_crl" in HTTP_SERVER, Exactly(1), "", set!(SETTINGS.crl, word),
                "A file with lists of certificates that were revoked.";
            "ssl_early_data" in HTTP_SERVER, Flag, "off", set!(SETTINGS.early_data, values::flag),
                "Whether a request may come with the first message of a handshake.";
            "ssl_ocsp" in HTTP_SERVER, Exactly(1), "off", set!(SETTINGS.ocsp, ocsp_depth),
                "Whether authorities are asked about clients' certificates.";
            "ssl_ocsp_responder" in HTTP_SERVER, Exactly(1), "",
                set!(SETTINGS.ocsp_responder, word),
                "Who is asked, whatever the certificates say.";
            "ssl_ocsp_cache" in HTTP_SERVER, Exactly(1), "off", set!(SETTINGS.ocsp_cache, ocsp_cache),
                "Where answers about clients' certificates are remembered.";
            "ssl_stapling" in HTTP_SERVER, Flag, "off", set!(SETTINGS.stapling, values::flag),
                "Sends what an authority says of the server's certificate along with it.";
            "ssl_stapling_file" in HTTP_SERVER, Exactly(1), "", set!(SETTINGS.stapling_file, word),
                "A file with an authority's answer, in place of asking.";
            "ssl_stapling_responder" in HTTP_SERVER, Exactly(1), "",
                set!(SETTINGS.stapling_responder, word),
                "Who is asked, whatever the certificate says.";
            "ssl_stapling_verify" in HTTP_SERVER, Flag, "off",
                set!(SETTINGS.stapling_verify, values::flag),
                "Whether answers have to be signed by the certificate's authority.";
            "ssl_key_log" in HTTP_SERVER, Exactly(1), "", Action::Set(key_log),
                "A file that the secrets of all connections are written to.";
            "ssl_conf_command" in HTTP_SERVER, Exactly(2), "", Action::Set(conf_command),
                "A setting by its name in OpenSSL.";
            "ssl_reject_handshake" in HTTP_SERVER, Flag, "off",
                set!(SETTINGS.reject_handshake, values::flag),
                "Refuses every handshake for the server's names.";
        },
    },
    variables: VARIABLES,
    ..HttpModule::EMPTY
};

/// Variables of the client's certificate.
pub static CLIENT: HttpModule = HttpModule {
    base: Module { name: "http_ssl_module", settings: None, directives: &[] },
    variables: client_variables::VARIABLES,
    ..HttpModule::EMPTY
};

/// A file's name, which may have variables.
pub fn source(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Source, Fault> {
    let word = directive.args[0].clone();
    let script = loader.script(&word)?;
    Ok(Source { word, script })
}

/// `off`, or `max=N [inactive=time] [valid=time]`.
pub fn certificate_cache(directive: &conf::Directive) -> Result<Option<Arc<Cache>>, Fault> {
    let mut limits = CacheLimits {
        most: NonZeroUsize::MAX,
        inactive: Duration::from_secs(10),
        valid: Duration::from_secs(60),
    };
    let mut has_most = false;
    for word in &directive.args {
        let invalid = || Fault::from(format!("invalid parameter \"{word}\"")).at(word.span);
        let time = |text: &str| {
            conf::units::seconds(text.as_bytes()).map(Duration::from_secs).ok_or_else(invalid)
        };
        match word.as_str().map_err(|_| invalid())?.split_once('=') {
            None if word == "off" => return Ok(None),
            Some(("max", number)) => {
                limits.most = number.parse().map_err(|_| invalid())?;
                has_most = true;
            }
            Some(("inactive", text)) => limits.inactive = time(text)?,
            Some(("valid", text)) => limits.valid = time(text)?,
            _ => return Err(invalid()),
        }
    }
    match has_most {
        true => Ok(Some(Arc::new(Cache::new(limits)))),
        false => {
            let name = &directive.name;
            Err(format!("\"{name}\" must have the \"max\" parameter").into())
        }
    }
}

fn word(directive: &conf::Directive) -> Result<Option<conf::Word>, Fault> {
    Ok(Some(directive.args[0].clone()))
}

fn any(_: &conf::Directive) -> Result<(), Fault> {
    Ok(())
}

fn certificate(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let source = source(loader, directive)?;
    loader.settings(&SETTINGS).certificates.modify().push(source);
    Ok(())
}

fn certificate_key(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let source = source(loader, directive)?;
    loader.settings(&SETTINGS).keys.modify().push(source);
    Ok(())
}

fn ticket_key(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = directive.args[0].clone();
    loader.settings(&SETTINGS).session_ticket_keys.modify().push(word);
    Ok(())
}

fn key_log(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = directive.args[0].clone();
    let message = format!("whoever reads \"{word}\" can read all connections");
    loader.warn(word.span, message);
    loader.settings(&SETTINGS).key_log.set(Some(word))?;
    Ok(())
}

fn dhparam(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = directive.args[0].clone();
    let message = "\"ssl_dhparam\" ignored, no key exchange over finite fields is offered";
    loader.warn(word.span, message.to_owned());
    loader.settings(&SETTINGS).dhparam.set(Some(word))?;
    Ok(())
}

fn conf_command(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let pair = (directive.args[0].clone(), directive.args[1].clone());
    loader.settings(&SETTINGS).conf_commands.modify().push(pair);
    Ok(())
}

fn protocols(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let protocols = versions(loader, directive)?;
    loader.settings(&SETTINGS).protocols.set(protocols)?;
    Ok(())
}

/// Old versions are known words, and never spoken.
pub fn versions(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Vec<Version>, Fault> {
    let mut protocols = Vec::new();
    for word in &directive.args {
        let version = match word.as_str() {
            Ok("TLSv1.2") => Version::Tls12,
            Ok("TLSv1.3") => Version::Tls13,
            Ok("SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1") => {
                let message = format!("\"{word}\" is never spoken: no client needs it any more");
                loader.warn(word.span, message);
                continue;
            }
            _ => return Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span)),
        };
        if protocols.contains(&version) {
            let message = format!("duplicate value \"{word}\"");
            loader.warn(word.span, message);
        } else {
            protocols.push(version);
        }
    }
    if protocols.is_empty() {
        return Err(Fault::from("has nothing that can be spoken")
            .help("TLSv1.2 and TLSv1.3 are spoken; older versions are not safe"));
    }
    Ok(protocols)
}

fn curves(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = &directive.args[0];
    let mut curves = Vec::new();
    let mut is_auto = false;
    for name in values::text(directive)?.split(':') {
        if name == "auto" {
            is_auto = true;
            continue;
        }
        let Some(number) = groups::number(name) else {
            if groups::is_known(name) {
                loader.warn(word.span, format!("the group \"{name}\" is never offered"));
                continue;
            }
            let reason = format!("SSL_CTX_set1_curves_list(\"{word}\") failed");
            return Err(Fault::from(reason).at(word.span));
        };
        curves.push(number);
    }
    if curves.is_empty() && !is_auto {
        return Err(Fault::from("has no group that can be offered").at(word.span));
    }
    loader.settings(&SETTINGS).curves.set(curves)?;
    Ok(())
}

fn ocsp_depth(directive: &conf::Directive) -> Result<Option<Depth>, Fault> {
    let choices = [("off", None), ("on", Some(Depth::All)), ("leaf", Some(Depth::Leaf))];
    values::choice(directive, &choices)
}

/// `off` or `shared:NAME:SIZE`.
fn ocsp_cache(directive: &conf::Directive) -> Result<Option<Arc<ocsp::Cache>>, Fault> {
    let word = &directive.args[0];
    let invalid = || Fault::from(format!("invalid OCSP cache \"{word}\"")).at(word.span);
    let text = word.as_str().map_err(|_| invalid())?;
    if text == "off" {
        return Ok(None);
    }
    let shared = text.strip_prefix("shared:").and_then(|rest| rest.split_once(':'));
    let (_, size) = shared.filter(|(name, _)| !name.is_empty()).ok_or_else(invalid)?;
    let size = conf::units::size(size.as_bytes()).ok_or_else(invalid)?;
    if size < LEAST_SHARED {
        return Err(Fault::from(format!("OCSP cache \"{word}\" is too small")).at(word.span));
    }
    let most = NonZeroUsize::new(size / SESSION_BYTES).ok_or_else(invalid)?;
    Ok(Some(Arc::new(ocsp::Cache::new(most))))
}

fn verify_client(directive: &conf::Directive) -> Result<VerifyClient, Fault> {
    use VerifyClient::*;
    let choices =
        [("off", Off), ("on", On), ("optional", Optional), ("optional_no_ca", OptionalNoCa)];
    values::choice(directive, &choices)
}

/// `ssl_session_cache`: where the server keeps sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionCache {
    /// Nowhere, and clients are told so.
    Off,
    /// Nowhere.
    None,
    /// In each process, so many.
    Builtin(usize),
    /// In all processes together.
    Shared(SharedZone),
}

/// The zone of `shared:`; equal ones have one name.
#[derive(Clone, Debug)]
pub struct SharedZone(pub ZoneRef);

impl PartialEq for SharedZone {
    fn eq(&self, other: &SharedZone) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for SharedZone {}

/// Sessions that OpenSSL keeps where nothing is said.
pub const BUILTIN_SESSIONS: usize = 20_480;

/// A session is taken to need so many bytes.
pub const SESSION_BYTES: usize = 256;

/// The least memory that can be shared.
const LEAST_SHARED: usize = 8 * 4096;

fn session_cache(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let mut cache = SessionCache::None;
    for word in &directive.args {
        let invalid = || Fault::from(format!("invalid session cache \"{word}\"")).at(word.span);
        cache = match word.as_str().map_err(|_| invalid())? {
            "off" => SessionCache::Off,
            "none" => SessionCache::None,
            "builtin" => SessionCache::Builtin(BUILTIN_SESSIONS),
            text if text.starts_with("builtin:") => {
                SessionCache::Builtin(text[8..].parse().map_err(|_| invalid())?)
            }
            text => {
                let shared = text.strip_prefix("shared:").and_then(|rest| rest.split_once(':'));
                let (name, size) =
                    shared.filter(|(name, _)| !name.is_empty()).ok_or_else(invalid)?;
                let size = conf::units::size(size.as_bytes()).ok_or_else(invalid)?;
                if size < LEAST_SHARED {
                    let message = format!("session cache \"{word}\" is too small");
                    return Err(Fault::from(message).at(word.span));
                }
                let zone = zones::declare(loader, name, word.span, Some(size), PURPOSE)
                    .map_err(|fault| fault.at(word.span))?;
                SessionCache::Shared(SharedZone(zone))
            }
        };
    }
    loader.settings(&SETTINGS).session_cache.set(cache)?;
    Ok(())
}
