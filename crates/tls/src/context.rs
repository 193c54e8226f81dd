//! What a server offers in its handshakes, settled when the configuration is read.

use std::fmt;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use aws_lc_rs::digest::{Context as Digest, SHA256};
use rustls::ServerConfig;
use rustls::compress::CompressionCache;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs as library;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::client_auth::ClientAuth;
use crate::facts::Facts;
use crate::handshake;
use crate::sessions::{Sessions, UnderTerms};
use crate::suite::{Suite, Version};
use crate::tickets::{Bound, Tickets};

/// A server's terms.
pub struct Terms {
    /// The first that a client can verify is shown.
    pub certificates: Vec<Arc<CertifiedKey>>,
    pub versions: Vec<Version>,
    /// Most wanted first.
    pub suites: Vec<&'static Suite>,
    /// By number, most wanted first.
    pub groups: Vec<u16>,
    /// `ssl_prefer_server_ciphers`.
    pub prefers_own: bool,
    /// For ALPN, most wanted first.
    pub protocols: Vec<Vec<u8>>,
    /// Where clients keep their sessions.
    pub tickets: Option<Arc<Tickets>>,
    /// Where the server does.
    pub sessions: Option<Arc<Sessions>>,
    /// How long a session may be gone on with.
    pub session_timeout: Duration,
    /// Clients are asked for a certificate.
    pub client: Option<Arc<ClientAuth>>,
    /// A request may come with the first message of a handshake.
    pub early_data: bool,
    /// Where secrets are written for whoever looks into connections.
    pub key_log: Option<File>,
    /// Certificates are compressed for clients that can have it so.
    pub compresses: bool,
    /// The names of certificates, which stand for those that are [shown](Context::showing) later.
    pub computed: Vec<Vec<u8>>,
}

/// What handshakes are made with.
pub struct Context {
    pub(crate) config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    pub(crate) client: Option<Arc<ClientAuth>>,
}

impl Context {
    /// What these terms think of a client whose certificate others have judged.
    pub fn judge_again(&self, facts: &mut Facts) {
        let Some(known) = facts.client.take() else { return };
        let chain: Vec<_> = known.chain.iter().map(|own| CertificateDer::from(&**own)).collect();
        facts.client = self.client.as_ref().map(|client| client.judge(&chain));
    }

    /// Has an authority's answer go out with a certificate, or none.
    pub fn staple(&self, place: usize, answer: Option<Vec<u8>>) {
        // A list of certificates is whole between any two of its functions.
        let mut shown = self.certificates.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificate) = shown.get_mut(place) {
            let stapled = CertifiedKey { ocsp: answer, ..CertifiedKey::clone(certificate) };
            *certificate = Arc::new(stapled);
        }
    }

    /// The chains that are shown, in DER, each server's own certificate first.
    pub fn chains(&self) -> Vec<Vec<Box<[u8]>>> {
        let chain =
            |own: &Arc<CertifiedKey>| own.cert.iter().map(|one| one.as_ref().into()).collect();
        self.certificates.shown().iter().map(chain).collect()
    }

    /// The chain from a client's certificate to the root that it is trusted for.
    pub fn client_path(&self, facts: &Facts) -> Vec<Box<[u8]>> {
        let (Some(client), Some(shown)) = (&self.client, &facts.client) else { return Vec::new() };
        let shown: Vec<&[u8]> = shown.chain.iter().map(|one| &**one).collect();
        client.store.path(&shown)
    }

    /// The same, with these certificates.
    pub fn showing(&self, certificates: Vec<Arc<CertifiedKey>>) -> Context {
        let mut config = ServerConfig::clone(&self.config);
        let certificates = Arc::new(Certificates::new(certificates));
        config.cert_resolver = Arc::clone(&certificates) as Arc<_>;
        Context { config: Arc::new(config), certificates, client: self.client.clone() }
    }
}

/// Adds a certificate, in place of one of its kind.
pub fn replace_kind(certificates: &mut Vec<Arc<CertifiedKey>>, certificate: Arc<CertifiedKey>) {
    let kind = certificate.key.algorithm();
    certificates.retain(|other| other.key.algorithm() != kind);
    certificates.push(certificate);
}

/// Bytes that may come before a handshake is over.
const MOST_EARLY: u32 = 16_384;

/// Groups by number as nginx offers them where nothing is said.
pub const GROUPS: [u16; 4] = [0x11ec, 0x001d, 0x0017, 0x0018];

impl Terms {
    /// `None` where nothing is left to agree on.
    pub fn settle(self) -> Option<Arc<Context>> {
        let id = self.id();
        let provider = provider(&self.suites, &self.groups);
        let has = |version| {
            let is_served = |suite: &&'static Suite| suite.version == version;
            self.versions.contains(&version) && self.suites.iter().any(is_served)
        };
        let versions: &[_] = match (has(Version::Tls12), has(Version::Tls13)) {
            (true, true) => &[&TLS13, &TLS12],
            (true, false) => &[&TLS12],
            (false, true) => &[&TLS13],
            (false, false) => return None,
        };
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).ok()?;
        let builder = match &self.client {
            Some(client) => builder.with_client_cert_verifier(Arc::clone(client) as Arc<_>),
            None => builder.with_no_client_auth(),
        };
        let certificates = Arc::new(Certificates::new(self.certificates));
        let mut config = builder.with_cert_resolver(Arc::clone(&certificates) as Arc<_>);
        config.ignore_client_order = self.prefers_own;
        config.alpn_protocols = self.protocols;
        if !self.compresses {
            config.cert_compressors = Vec::new();
            config.cert_compression_cache = Arc::new(CompressionCache::Disabled);
        }
        config.enable_secret_extraction = true;
        config.key_log = match self.key_log {
            None => handshake::key_log(),
            Some(file) => handshake::key_log_to(file),
        };
        let has_sessions = self.sessions.is_some();
        config.session_storage = match self.sessions {
            Some(sessions) => Arc::new(UnderTerms::new(sessions, id)),
            None => Arc::new(NoServerSessionStorage {}),
        };
        if self.early_data {
            config.max_early_data_size = MOST_EARLY;
        }
        // Each session may bring early data once: the server keeps it, and takes it away when it is used.
        match self.tickets.filter(|_| !self.early_data) {
            Some(tickets) => {
                config.ticketer = Arc::new(Bound::new(tickets, id, self.session_timeout));
            }
            None if has_sessions => {}
            None => config.send_tls13_tickets = 0,
        }
        Some(Arc::new(Context { config: Arc::new(config), certificates, client: self.client }))
    }

    /// What a session depends on: one that was made under other terms is not gone on with.
    fn id(&self) -> [u8; 32] {
        let mut digest = Digest::new(&SHA256);
        for certificate in self.certificates.iter().filter_map(|own| own.cert.first()) {
            digest.update(certificate);
        }
        if self.certificates.is_empty() {
            self.computed.iter().for_each(|name| digest.update(name));
        }
        if let Some(client) = &self.client {
            digest.update(b"client certificates");
            for authority in &client.store.authorities {
                digest.update(authority);
            }
        }
        digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// The library's part for these suites and groups. Servers mostly want the same: they share one.
pub(crate) fn provider(suites: &[&'static Suite], groups: &[u16]) -> Arc<CryptoProvider> {
    static LAST: Mutex<Option<Provided>> = Mutex::new(None);
    // What stands there is whole.
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*last {
        Some(known) if known.suites == suites && known.groups == groups => {
            Arc::clone(&known.provider)
        }
        _ => {
            let provider = Arc::new(make_provider(suites, groups));
            let (suites, groups) = (suites.to_vec(), groups.to_vec());
            *last = Some(Provided { suites, groups, provider: Arc::clone(&provider) });
            provider
        }
    }
}

struct Provided {
    suites: Vec<&'static Suite>,
    groups: Vec<u16>,
    provider: Arc<CryptoProvider>,
}

fn make_provider(suites: &[&'static Suite], groups: &[u16]) -> CryptoProvider {
    let known = library::ALL_CIPHER_SUITES;
    let by_id = |suite: &&'static Suite| {
        known.iter().find(|known| u16::from(known.suite()) == suite.id).copied()
    };
    let by_number = |group: &u16| {
        let mut known = library::ALL_KX_GROUPS.iter();
        known.find(|known| u16::from(known.name()) == *group).copied()
    };
    CryptoProvider {
        cipher_suites: suites.iter().filter_map(by_id).collect(),
        kx_groups: groups.iter().filter_map(by_number).collect(),
        ..library::default_provider()
    }
}

/// A server's certificates, of different kinds.
struct Certificates(RwLock<Vec<Arc<CertifiedKey>>>);

impl Certificates {
    fn new(certificates: Vec<Arc<CertifiedKey>>) -> Certificates {
        Certificates(RwLock::new(certificates))
    }

    fn shown(&self) -> RwLockReadGuard<'_, Vec<Arc<CertifiedKey>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.shown().len())
    }
}

impl ResolvesServerCert for Certificates {
    /// The client's order of signatures decides.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown();
        if let [only] = &shown[..] {
            return Some(Arc::clone(only));
        }
        let mut wanted = hello.signature_schemes().iter();
        let found = wanted.find_map(|scheme| {
            shown.iter().find(|own| own.key.choose_scheme(&[*scheme]).is_some())
        });
        found.or(shown.first()).cloned()
    }
}
