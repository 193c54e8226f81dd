//! What is offered to servers behind, and what is expected of them.

use std::cell::RefCell;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption,
    Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, Error, NamedGroup, SignatureScheme};

use crate::client_auth::{now, verify_signature};
use crate::context::provider;
use crate::handshake;
use crate::suite::{Suite, Version};
use crate::x509::{Certificate, Purpose, Store, Verdict, host, signature};

/// Terms for servers.
pub struct ClientTerms {
    /// What is shown to servers that ask for a certificate.
    pub certificate: Option<Arc<CertifiedKey>>,
    pub versions: Vec<Version>,
    pub suites: Vec<&'static Suite>,
    pub groups: Vec<u16>,
    pub protocols: Vec<Vec<u8>>,
    /// Tells the server which name is meant.
    pub sends_name: bool,
    pub keeps_sessions: bool,
    /// Servers have to prove who they are.
    pub verify: Option<Store>,
}

/// What handshakes with servers are made with.
pub struct ClientContext {
    pub(crate) with_name: Arc<ClientConfig>,
    pub(crate) without_name: Arc<ClientConfig>,
    pub(crate) sends_name: bool,
    pub(crate) keeps_sessions: bool,
    verify: Option<Arc<Store>>,
}

impl ClientTerms {
    /// `None` where nothing is left to agree on.
    pub fn settle(self) -> Option<ClientContext> {
        let has = |version| {
            self.versions.contains(&version)
                && self.suites.iter().any(|suite| suite.version == version)
        };
        let versions: &[_] = match (has(Version::Tls12), has(Version::Tls13)) {
            (true, true) => &[&TLS13, &TLS12],
            (true, false) => &[&TLS12],
            (false, true) => &[&TLS13],
            (false, false) => return None,
        };
        let provider = provider(&self.suites, &self.groups);
        let builder = ClientConfig::builder_with_provider(provider);
        let mut config = builder
            .with_protocol_versions(versions)
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakesAll))
            .with_client_cert_resolver(Arc::new(Shown(self.certificate)));
        config.alpn_protocols = self.protocols;
        config.enable_secret_extraction = true;
        config.key_log = handshake::key_log();
        config.resumption = match self.keeps_sessions {
            true => Resumption::store(Arc::new(PeerSessions::default())),
            false => Resumption::disabled(),
        };
        let mut without_name = config.clone();
        without_name.enable_sni = false;
        Some(ClientContext {
            with_name: Arc::new(config),
            without_name: Arc::new(without_name),
            sends_name: self.sends_name,
            keeps_sessions: self.keeps_sessions,
            verify: self.verify.map(Arc::new),
        })
    }
}

impl ClientContext {
    /// The same, with this certificate for servers that ask.
    pub fn showing(&self, certificate: Option<Arc<CertifiedKey>>) -> ClientContext {
        let shown: Arc<dyn ResolvesClientCert> = Arc::new(Shown(certificate));
        let with = |config: &Arc<ClientConfig>| {
            let mut config = ClientConfig::clone(config);
            config.client_auth_cert_resolver = Arc::clone(&shown);
            Arc::new(config)
        };
        ClientContext {
            with_name: with(&self.with_name),
            without_name: with(&self.without_name),
            sends_name: self.sends_name,
            keeps_sessions: self.keeps_sessions,
            verify: self.verify.clone(),
        }
    }

    /// Whether servers have to prove who they are.
    pub fn verifies(&self) -> bool {
        self.verify.is_some()
    }

    pub(crate) fn judge(&self, chain: &[Box<[u8]>]) -> Option<Verdict> {
        let store = self.verify.as_ref()?;
        let shown: Vec<&[u8]> = chain.iter().map(|certificate| &**certificate).collect();
        store.judge(&shown, Purpose::Server, now()).err()
    }
}

/// Whether a chain's first certificate is that of a host.
pub fn is_of_host(chain: &[Box<[u8]>], name: &str) -> bool {
    let own = chain.first().and_then(|own| Certificate::parse(own));
    own.is_some_and(|own| host::matches(&own, name))
}

/// A handshake takes every certificate whose key the server has; it is judged when all is known.
#[derive(Debug)]
struct TakesAll;

impl ServerCertVerifier for TakesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signed, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signed, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        signature::SCHEMES.to_vec()
    }
}

/// The certificate for servers that ask.
struct Shown(Option<Arc<CertifiedKey>>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", usize::from(self.0.is_some()))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

thread_local! {
    /// Whose handshake is in hand: servers of the same name do not know each other's sessions.
    static PEER: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// Does a step of a connection with that peer.
pub(crate) fn with_peer<R>(peer: &Arc<str>, step: impl FnOnce() -> R) -> R {
    PEER.set(Some(Arc::clone(peer)));
    let result = step();
    PEER.set(None);
    result
}

/// The sessions of each peer.
struct PeerSessions(Mutex<LruCache<Arc<str>, Arc<ClientSessionMemoryCache>>>);

/// How many peers' sessions are kept, and how many of each.
const PEERS: NonZeroUsize = NonZeroUsize::new(512).unwrap();
const SESSIONS: usize = 8;

impl Default for PeerSessions {
    fn default() -> PeerSessions {
        let mut sessions = LruCache::unbounded();
        sessions.resize(PEERS);
        PeerSessions(Mutex::new(sessions))
    }
}

impl PeerSessions {
    fn of_peer(&self) -> Arc<ClientSessionMemoryCache> {
        let peer = PEER.with_borrow(|peer| peer.clone()).unwrap_or_else(|| "".into());
        // A table of sessions is whole between any two of its functions.
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(ClientSessionMemoryCache::new(SESSIONS));
        Arc::clone(sessions.get_or_insert(peer, made))
    }
}

impl fmt::Debug for PeerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sessions of peers")
    }
}

impl ClientSessionStore for PeerSessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.of_peer().set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.of_peer().kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.of_peer().set_tls12_session(name, session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.of_peer().tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.of_peer().remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, session: Tls13ClientSessionValue) {
        self.of_peer().insert_tls13_ticket(name, session);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.of_peer().take_tls13_ticket(name)
    }
}
