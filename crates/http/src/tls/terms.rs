//! From a server's settings to what it offers in handshakes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use daemun_conf::{Diagnostics, Word};
use daemun_core::load::Paths;
use daemun_core::module::SettingsSet;
use daemun_tls::context::{self, GROUPS};
use daemun_tls::identity::{self, Unusable};
use daemun_tls::suite::{SUITES, Version};
use daemun_tls::tickets::Tickets;
use daemun_tls::{CertifiedKey, ServerConfig, ciphers};

use super::settings::{SETTINGS, Settings};
use crate::config::{Server, Socket};

/// What a server does with a hello for one of its names.
#[derive(Default)]
pub enum Tls {
    /// It has no certificate.
    #[default]
    None,
    Serves(Arc<ServerConfig>),
    /// `ssl_reject_handshake`
    Rejects,
}

/// Reads what files say, each once.
pub struct Terms {
    paths: Paths,
    files: HashMap<PathBuf, Result<Arc<[u8]>, std::io::Error>>,
    tickets: Option<Arc<Tickets>>,
}

impl Terms {
    pub fn new(paths: &Paths) -> Terms {
        Terms { paths: paths.clone(), files: HashMap::new(), tickets: None }
    }

    /// A server's terms; what is wrong with them goes to the diagnostics.
    pub fn settle(&mut self, settings: &SettingsSet, diagnostics: &mut Diagnostics) -> Tls {
        let settings = settings.of(&SETTINGS);
        if *settings.reject_handshake {
            return Tls::Rejects;
        }
        if settings.certificates.is_empty() {
            return Tls::None;
        }
        let mut certificates = Vec::new();
        for (index, certificate) in settings.certificates.iter().enumerate() {
            let Some(key) = settings.keys.get(index) else {
                let message = format!(
                    "no \"ssl_certificate_key\" is defined for certificate \"{certificate}\""
                );
                diagnostics.emerg(message, certificate.span);
                return Tls::None;
            };
            match self.identity(certificate, key) {
                Ok(identity) => certificates.push(Arc::new(identity)),
                Err((message, word)) => diagnostics.emerg(message, word.span),
            }
        }
        if certificates.is_empty() {
            return Tls::None;
        }
        match self.config(settings, certificates).settle() {
            Some(config) => Tls::Serves(config),
            None => {
                let span = settings.certificates[0].span;
                diagnostics.emerg("SSL_CTX_set_cipher_list() failed".to_owned(), span);
                Tls::None
            }
        }
    }

    fn config(
        &mut self,
        settings: &Settings,
        certificates: Vec<Arc<CertifiedKey>>,
    ) -> context::Terms {
        let mut suites: Vec<_> =
            SUITES.iter().filter(|suite| suite.version == Version::Tls13).collect();
        suites.extend(ciphers::parse(&settings.ciphers));
        let groups = match settings.curves.is_empty() {
            true => GROUPS.to_vec(),
            false => Vec::clone(&settings.curves),
        };
        let tickets = settings.session_tickets.then(|| {
            let all = self.tickets.get_or_insert_with(|| Arc::new(Tickets::new()));
            Arc::clone(all) as Arc<_>
        });
        context::Terms {
            certificates,
            versions: Vec::clone(&settings.protocols),
            suites,
            groups,
            prefers_own: *settings.prefer_server_ciphers,
            protocols: ["http/1.1", "http/1.0", "http/0.9"].map(|name| name.into()).to_vec(),
            tickets,
        }
    }

    fn identity<'w>(
        &mut self,
        certificate: &'w Word,
        key: &'w Word,
    ) -> Result<CertifiedKey, (String, &'w Word)> {
        let cannot =
            |what: &str, word: &Word, why: String| format!("cannot load {what} \"{word}\": {why}");
        let text = self
            .read(certificate)
            .map_err(|why| (cannot("certificate", certificate, why), certificate))?;
        let chain = identity::chain(&text).map_err(|Unusable(why)| {
            let why = format!("PEM_read_bio_X509_AUX() failed (SSL: {why})");
            (cannot("certificate", certificate, why), certificate)
        })?;
        let text = self.read(key).map_err(|why| (cannot("certificate key", key, why), key))?;
        let private = identity::key(&text).map_err(|Unusable(why)| {
            let why = format!("PEM_read_bio_PrivateKey() failed (SSL: {why})");
            (cannot("certificate key", key, why), key)
        })?;
        identity::certified(chain, private).map_err(|Unusable(why)| {
            let why = format!("SSL_CTX_use_PrivateKey(\"{key}\") failed (SSL: {why})");
            (why, key)
        })
    }

    /// A file's text, or what stands in place of its name.
    fn read(&mut self, word: &Word) -> Result<Arc<[u8]>, String> {
        if let Some(text) = word.text.strip_prefix(b"data:") {
            return Ok(text.into());
        }
        let name = word.as_str().map_err(|_| "its name is no text".to_owned())?;
        let path = self.paths.in_conf(name);
        let file = self.files.entry(path.clone());
        let file = file.or_insert_with(|| std::fs::read(&path).map(Into::into));
        match file {
            Ok(text) => Ok(Arc::clone(text)),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                let words = rustix::io::Errno::from_raw_os_error(errno);
                Err(format!(
                    "BIO_new_file() failed (SSL: error:8000{errno:04X}:system library::{words}:calling \
                     fopen({}, r) error:10000080:BIO routines::no such file)",
                    path.display()
                ))
            }
        }
    }
}

/// Whether every server that a TLS address may choose has what a handshake needs.
pub fn check(sockets: &[Socket], servers: &[Server], diagnostics: &mut Diagnostics) {
    for (_, virtual_) in sockets.iter().flat_map(|socket| &socket.addresses) {
        let server = &servers[virtual_.default];
        if virtual_.ssl && matches!(server.tls, Tls::None) {
            let settings = server.settings().of(&SETTINGS);
            // What is wrong with those that are named is told already.
            if settings.certificates.is_empty() {
                diagnostics.emerg(
                    "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive"
                        .to_owned(),
                    server.location.span,
                );
            }
        }
    }
}
