//! From a server's settings to what it offers in handshakes.

use std::collections::HashMap;
use std::sync::Arc;

use daemun_conf::{Diagnostics, Word};
use daemun_core::load::Paths;
use daemun_core::module::SettingsSet;
use daemun_tls::client_auth::ClientAuth;
use daemun_tls::context::{self, Context, GROUPS, replace_kind};
use daemun_tls::sessions::Sessions;
use daemun_tls::suite::{SUITES, Version};
use daemun_tls::tickets::Tickets;
use daemun_tls::x509::{self, Store};
use daemun_tls::{CertifiedKey, ciphers};

use super::commands::{self, Commands};
use super::computed::{Computed, Source};
use super::files::Files;
use super::ocsp::{Check, Responder, Subject};
use super::settings::{
    BUILTIN_SESSIONS, SETTINGS, SessionCache, Settings, SharedZone, VerifyClient,
};
use super::shared_sessions::SharedSessions;
use super::stapling::{Certificate, Stapling};
use crate::config::{Server, Socket};
use crate::core::http2;

/// What a server does with a hello for one of its names.
#[derive(Default)]
pub enum Tls {
    /// It has no certificate.
    #[default]
    None,
    Serves(Arc<Context>),
    /// With certificates that a handshake's own variables name.
    Computes(Arc<Context>, Computed),
    /// `ssl_reject_handshake`
    Rejects,
}

/// All that a server has to say about connections that speak TLS.
#[derive(Default)]
pub struct ServerTls {
    pub mode: Tls,
    /// What it wants to know of its clients' certificates.
    pub ocsp: Option<Check>,
    pub stapling: Option<Arc<Stapling>>,
}

/// What the servers of a configuration have in common.
pub struct Terms {
    pub files: Files,
    /// By name.
    shared_sessions: HashMap<String, Arc<Sessions>>,
}

/// What is wrong, and with which word.
type Wrong<'w> = (String, &'w Word);

impl Terms {
    pub fn new(paths: &Paths) -> Terms {
        Terms { files: Files::new(paths), shared_sessions: HashMap::new() }
    }

    /// A server's terms; what is wrong with them goes to the diagnostics.
    pub fn settle(&mut self, settings: &SettingsSet, diagnostics: &mut Diagnostics) -> ServerTls {
        let speaks_http2 = http2::is_spoken(settings);
        let settings = settings.of(&SETTINGS);
        if settings.certificates.is_empty() && !*settings.reject_handshake {
            return ServerTls::default();
        }
        self.settled(settings, speaks_http2, diagnostics).unwrap_or_else(|(message, word)| {
            let first = settings.certificates.first().map(|first| first.word.span);
            diagnostics.emerg(message, word.map(|word| word.span).or(first));
            ServerTls::default()
        })
    }

    fn settled<'s>(
        &mut self,
        settings: &'s Settings,
        speaks_http2: bool,
        diagnostics: &mut Diagnostics,
    ) -> Result<ServerTls, (String, Option<&'s Word>)> {
        let named = |(message, word): Wrong<'s>| (message, Some(word));
        if *settings.reject_handshake {
            return Ok(ServerTls { mode: Tls::Rejects, ..ServerTls::default() });
        }
        let nothing = || {
            let reason = "there is no cipher suite and no version that can be agreed on";
            (format!("SSL_CTX_set_cipher_list() failed: {reason}"), None)
        };
        let mut terms = self.terms(settings).map_err(named)?;
        if speaks_http2 {
            terms.protocols.insert(0, b"h2".to_vec());
        }
        let has = |version| terms.suites.iter().any(|suite| suite.version == version);
        if terms.versions.contains(&Version::Tls12)
            && terms.versions.contains(&Version::Tls13)
            && !has(Version::Tls12)
        {
            let message = "\"ssl_ciphers\" names no suite of TLS 1.2 that is offered (ECDHE with AES-GCM or \
                           ChaCha20): TLS 1.3 alone is spoken";
            let first = settings.certificates.first().map(|first| first.word.span);
            diagnostics.warn(message.to_owned(), first);
        }
        let context = terms.settle().ok_or_else(nothing)?;
        let stapling = match *settings.stapling {
            true => self.stapling(settings, &context, diagnostics).map_err(named)?,
            false => None,
        };
        let ocsp = self.check(settings).map_err(named)?;
        let mode = match self.computed(settings).map_err(named)? {
            None => Tls::Serves(context),
            Some(computed) => Tls::Computes(context, computed),
        };
        Ok(ServerTls { mode, ocsp, stapling })
    }

    fn check<'s>(&self, settings: &'s Settings) -> Result<Option<Check>, Wrong<'s>> {
        let Some(depth) = *settings.ocsp else { return Ok(None) };
        if *settings.verify_client == VerifyClient::Off {
            let message = "\"ssl_ocsp\" is incompatible with \"ssl_verify_client off\"";
            return Err((message.to_owned(), &settings.certificates[0].word));
        }
        let responder = match &*settings.ocsp_responder {
            None => None,
            Some(word) => {
                let responder = Responder::parse(&word.to_string()).map_err(|reason| {
                    let place = format!("OCSP responder \"{word}\" in \"ssl_ocsp_responder\"");
                    (format!("{reason} in {place}"), word)
                })?;
                Some(responder)
            }
        };
        Ok(Some(Check { depth, responder, cache: Option::clone(&settings.ocsp_cache) }))
    }

    /// Certificates whose authority nobody knows, or that name no place to ask, go without.
    fn stapling<'s>(
        &mut self,
        settings: &'s Settings,
        context: &Arc<Context>,
        diagnostics: &mut Diagnostics,
    ) -> Result<Option<Arc<Stapling>>, Wrong<'s>> {
        let chains = context.chains();
        if let Some(file) = &*settings.stapling_file {
            let answer = self.files.read(file).map_err(|why| (why, file))?;
            for place in 0..chains.len() {
                context.staple(place, Some(answer.to_vec()));
            }
            return Ok(None);
        }
        let trusted =
            match settings.trusted_certificate.as_ref().or(settings.client_certificate.as_ref()) {
                Some(file) => self.files.authorities(file).map_err(|why| (why, file))?,
                None => Vec::new(),
            };
        let mut certificates = Vec::new();
        for (place, chain) in chains.iter().enumerate() {
            let name =
                settings.certificates[place.min(settings.certificates.len() - 1)].word.clone();
            let mut ignored = |why: String| {
                diagnostics.warn(format!("\"ssl_stapling\" ignored, {why}"), name.span);
            };
            let Some(issuer) = issuer_of(&chain[0], chain[1..].iter().chain(&trusted)) else {
                ignored(format!("issuer certificate not found for certificate \"{name}\""));
                continue;
            };
            let url = match &*settings.stapling_responder {
                Some(word) => Some(word.to_string()),
                None => daemun_tls::ocsp::responder(&chain[0]),
            };
            let Some(url) = url else {
                ignored(format!("no OCSP responder URL in the certificate \"{name}\""));
                continue;
            };
            match Responder::parse(&url) {
                Err(reason) => ignored(format!(
                    "{reason} in OCSP responder \"{url}\" in the certificate \"{name}\""
                )),
                Ok(responder) => {
                    let subject = Subject { certificate: chain[0].clone(), issuer: issuer.into() };
                    let name = name.to_string();
                    certificates.push(Certificate::new(place, name, subject, responder));
                }
            }
        }
        let verifies = *settings.stapling_verify;
        Ok((!certificates.is_empty()).then(|| Arc::new(Stapling { certificates, verifies })))
    }

    fn terms<'s>(&mut self, settings: &'s Settings) -> Result<context::Terms, Wrong<'s>> {
        if let Some(word) = &*settings.dhparam {
            self.files.check_dhparam(word).map_err(|why| (why, word))?;
        }
        let mut commands = Commands::default();
        for (name, value) in settings.conf_commands.iter() {
            commands::read(&mut commands, name, value).map_err(|why| {
                (format!("SSL_CONF_cmd(\"{name}\", \"{value}\") failed (SSL: {why})"), name)
            })?;
        }
        let mut suites = match commands.tls13_suites {
            Some(suites) => suites,
            None => SUITES.iter().filter(|suite| suite.version == Version::Tls13).collect(),
        };
        suites.extend(ciphers::parse(commands.ciphers.as_deref().unwrap_or(&settings.ciphers)));
        let groups = match settings.curves.is_empty() {
            true => GROUPS.to_vec(),
            false => Vec::clone(&settings.curves),
        };
        let mut versions = Vec::clone(&settings.protocols);
        versions.retain(|version| commands.versions.contains(version));
        Ok(context::Terms {
            certificates: self.certificates(settings, commands.certificate.zip(commands.key))?,
            versions,
            suites,
            groups: commands.groups.unwrap_or(groups),
            prefers_own: commands.prefers_own.unwrap_or(*settings.prefer_server_ciphers),
            protocols: ["http/1.1", "http/1.0", "http/0.9"].map(|name| name.into()).to_vec(),
            tickets: match commands.tickets.unwrap_or(*settings.session_tickets) {
                true => Some(self.tickets(settings)?),
                false => None,
            },
            sessions: match (self.sessions(settings), *settings.early_data) {
                (None, true) => {
                    Some(Arc::new(Sessions::new(BUILTIN_SESSIONS, *settings.session_timeout)))
                }
                (sessions, _) => sessions,
            },
            early_data: *settings.early_data,
            key_log: match &*settings.key_log {
                None => None,
                Some(word) => Some(self.files.append_to(word).map_err(|why| (why, word))?),
            },
            session_timeout: *settings.session_timeout,
            client: self.client(settings)?,
            compresses: *settings.certificate_compression,
            computed: pairs(settings)?
                .iter()
                .map(|(certificate, _)| certificate.word.text.to_vec())
                .collect(),
        })
    }

    fn certificates<'s>(
        &mut self,
        settings: &'s Settings,
        command: Option<(&'s Word, &'s Word)>,
    ) -> Result<Vec<Arc<CertifiedKey>>, Wrong<'s>> {
        let mut certificates = Vec::new();
        for (certificate, key) in pairs(settings)? {
            if !certificate.is_computed() && !key.is_computed() {
                let identity = self.identity(settings, &certificate.word, &key.word)?;
                replace_kind(&mut certificates, identity);
            }
        }
        // One that a command names takes the place of one of its kind.
        if let Some((certificate, key)) = command {
            let identity = self.identity(settings, certificate, key)?;
            replace_kind(&mut certificates, identity);
        }
        Ok(certificates)
    }

    fn identity<'w>(
        &mut self,
        settings: &'w Settings,
        certificate: &'w Word,
        key: &'w Word,
    ) -> Result<Arc<CertifiedKey>, Wrong<'w>> {
        let passwords = match &*settings.password_file {
            Some(file) => self.files.passwords(file).map_err(|why| (why, file))?,
            None => Vec::new(),
        };
        self.files
            .identity(certificate, key, &passwords)
            .map_err(|(message, is_key)| (message, if is_key { key } else { certificate }))
    }

    fn passwords<'s>(&mut self, settings: &'s Settings) -> Result<Vec<Box<[u8]>>, Wrong<'s>> {
        match &*settings.password_file {
            Some(file) => self.files.passwords(file).map_err(|why| (why, file)),
            None => Ok(Vec::new()),
        }
    }

    /// Certificates that wait for a handshake: where one does, all of the server's do.
    fn computed<'s>(&mut self, settings: &'s Settings) -> Result<Option<Computed>, Wrong<'s>> {
        let pairs = pairs(settings)?;
        if !pairs.iter().any(|(certificate, key)| certificate.is_computed() || key.is_computed()) {
            return Ok(None);
        }
        Ok(Some(Computed {
            pairs: pairs.into_iter().map(|(own, key)| (own.clone(), key.clone())).collect(),
            folder: self.files.folder().to_owned(),
            passwords: self.passwords(settings)?,
            cache: Option::clone(&settings.certificate_cache),
        }))
    }

    fn tickets<'s>(&mut self, settings: &'s Settings) -> Result<Arc<Tickets>, Wrong<'s>> {
        let Some(first) = settings.session_ticket_keys.first() else {
            return Ok(Tickets::rotated(*settings.session_timeout));
        };
        let mut contents = Vec::new();
        for file in settings.session_ticket_keys.iter() {
            contents.push(self.files.read(file).map_err(|why| (why, file))?);
        }
        let tickets = Tickets::of_files(&contents)
            .ok_or_else(|| (format!("\"{first}\" must be 48 or 80 bytes"), first))?;
        Ok(Arc::new(tickets))
    }

    fn sessions(&mut self, settings: &Settings) -> Option<Arc<Sessions>> {
        let timeout = *settings.session_timeout;
        match &*settings.session_cache {
            SessionCache::Off | SessionCache::None => None,
            SessionCache::Builtin(most) => Some(Arc::new(Sessions::new(*most, timeout))),
            SessionCache::Shared(SharedZone(zone)) => {
                let sessions = self.shared_sessions.entry(zone.name().to_owned());
                let made = || {
                    let store = Box::new(SharedSessions::new(zone.clone()));
                    Arc::new(Sessions::kept_by(store, timeout))
                };
                Some(Arc::clone(sessions.or_insert_with(made)))
            }
        }
    }

    fn client<'s>(&mut self, settings: &'s Settings) -> Result<Option<Arc<ClientAuth>>, Wrong<'s>> {
        if *settings.verify_client == VerifyClient::Off {
            return Ok(None);
        }
        let (client, trusted) = (&*settings.client_certificate, &*settings.trusted_certificate);
        if client.is_none() && trusted.is_none() {
            if *settings.verify_client == VerifyClient::OptionalNoCa {
                return Ok(Some(Arc::new(ClientAuth::default())));
            }
            let message =
                "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client";
            return Err((message.to_owned(), &settings.certificates[0].word));
        }
        let mut told = Vec::new();
        let mut authorities = Vec::new();
        if let Some(file) = client {
            told = self.files.authorities(file).map_err(|why| (why, file))?;
            authorities.extend(told.iter().cloned());
        }
        if let Some(file) = trusted {
            authorities.extend(self.files.authorities(file).map_err(|why| (why, file))?);
        }
        let lists = match &*settings.crl {
            Some(file) => self.files.revoked(file).map_err(|why| (why, file))?,
            None => Vec::new(),
        };
        let store = Store { authorities, lists, depth: *settings.verify_depth };
        Ok(Some(Arc::new(ClientAuth::new(store, &told))))
    }
}

/// The authority among these that a certificate names.
fn issuer_of<'c>(
    certificate: &[u8],
    among: impl Iterator<Item = &'c Box<[u8]>>,
) -> Option<&'c [u8]> {
    let own = x509::Certificate::parse(certificate)?;
    let issued =
        |other: &&[u8]| x509::Certificate::parse(other).is_some_and(|other| other.issued(&own));
    among.map(|other| &**other).find(issued)
}

/// Each certificate with its key.
fn pairs(settings: &Settings) -> Result<Vec<(&Source, &Source)>, Wrong<'_>> {
    let all = settings.certificates.iter().enumerate();
    all.map(|(index, certificate)| match settings.keys.get(index) {
        Some(key) => Ok((certificate, key)),
        None => {
            let word = &certificate.word;
            let message =
                format!("no \"ssl_certificate_key\" is defined for certificate \"{word}\"");
            Err((message, word))
        }
    })
    .collect()
}

/// Whether every server that a TLS address may choose has what a handshake needs.
pub fn check(sockets: &[Socket], servers: &[Server], diagnostics: &mut Diagnostics) {
    let mut virtuals = sockets.iter().flat_map(|socket| &socket.addresses);
    if !virtuals.any(|(_, virtual_)| virtual_.ssl)
        && let Some(first) = servers.iter().find(|server| !matches!(server.tls.mode, Tls::None))
    {
        let message = "certificates are shown to nobody: no \"listen\" has the \"ssl\" parameter";
        diagnostics.notice(message.to_owned(), first.location.span);
    }
    for (_, virtual_) in sockets.iter().flat_map(|socket| &socket.addresses) {
        let server = &servers[virtual_.default];
        if virtual_.ssl && matches!(server.tls.mode, Tls::None) {
            let settings = server.settings().of(&SETTINGS);
            // What is wrong with those that are named is told already.
            if settings.certificates.is_empty() {
                let message =
                    "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive";
                diagnostics.emerg(message.to_owned(), server.location.span);
            }
        }
    }
}
