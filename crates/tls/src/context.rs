//! What a server offers in its handshakes, settled when the configuration is read.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::handshake;
use crate::suite::{Suite, Version};

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
    pub tickets: Option<Arc<dyn ProducesTickets>>,
}

/// Groups by number as nginx offers them where nothing is said.
pub const GROUPS: [u16; 4] = [0x11ec, 0x001d, 0x0017, 0x0018];

impl Terms {
    /// `None` where nothing is left to agree on.
    pub fn settle(self) -> Option<Arc<ServerConfig>> {
        let provider = Arc::new(provider(&self.suites, &self.groups));
        let has = |version| self.versions.contains(&version);
        let versions: &[_] = match (has(Version::Tls12), has(Version::Tls13)) {
            (true, true) => &[&TLS13, &TLS12],
            (true, false) => &[&TLS12],
            (false, true) => &[&TLS13],
            (false, false) => return None,
        };
        let builder = ServerConfig::builder_with_provider(provider);
        let mut config = builder
            .with_protocol_versions(versions)
            .ok()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Certificates(self.certificates)));
        config.ignore_client_order = self.prefers_own;
        config.alpn_protocols = self.protocols;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.enable_secret_extraction = true;
        config.key_log = handshake::key_log();
        match self.tickets {
            Some(tickets) => config.ticketer = tickets,
            None => config.send_tls13_tickets = 0,
        }
        Some(Arc::new(config))
    }
}

fn provider(suites: &[&'static Suite], groups: &[u16]) -> CryptoProvider {
    let known = aws_lc_rs::ALL_CIPHER_SUITES;
    let by_id = |suite: &&'static Suite| {
        known.iter().find(|known| u16::from(known.suite()) == suite.id).copied()
    };
    let by_number = |group: &u16| {
        let mut known = aws_lc_rs::ALL_KX_GROUPS.iter();
        known.find(|known| u16::from(known.name()) == *group).copied()
    };
    CryptoProvider {
        cipher_suites: suites.iter().filter_map(by_id).collect(),
        kx_groups: groups.iter().filter_map(by_number).collect(),
        ..aws_lc_rs::default_provider()
    }
}

/// Whether handshakes can use the group.
pub fn knows_group(group: u16) -> bool {
    aws_lc_rs::ALL_KX_GROUPS.iter().any(|known| u16::from(known.name()) == group)
}

/// A server's certificates, of different kinds.
struct Certificates(Vec<Arc<CertifiedKey>>);

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.0.len())
    }
}

impl ResolvesServerCert for Certificates {
    /// The client's order of signatures decides.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let [only] = &self.0[..] {
            return Some(Arc::clone(only));
        }
        let mut wanted = hello.signature_schemes().iter();
        let found = wanted.find_map(|scheme| {
            self.0.iter().find(|own| own.key.choose_scheme(&[*scheme]).is_some())
        });
        found.or(self.0.first()).cloned()
    }
}
