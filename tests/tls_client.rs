//! A client that speaks TLS, tells what it was shown, and can be told what to offer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind,
    NamedGroup, SignatureScheme, StreamOwned,
};

use crate::{Answer, Identity, PATIENCE};

pub type Version = &'static rustls::SupportedProtocolVersion;
pub const VERSIONS: [Version; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

/// What a client offers; empty lists mean everything.
#[derive(Clone, Default)]
pub struct Offer {
    pub versions: Vec<Version>,
    /// Most wanted first.
    pub suites: Vec<CipherSuite>,
    pub groups: Vec<NamedGroup>,
    pub schemes: Vec<SignatureScheme>,
    pub identity: Option<Identity>,
    pub early_data: bool,
    /// What authorities say of certificates, as it came with them.
    pub staples: Staples,
}

pub type Staples = Arc<Mutex<Vec<Vec<u8>>>>;

impl Offer {
    pub fn of(version: Version) -> Offer {
        Offer { versions: vec![version], ..Offer::default() }
    }

    /// The client's terms; sessions belong to them.
    pub fn config(&self) -> ClientConfig {
        let mut provider = aws_lc_rs::default_provider();
        if !self.suites.is_empty() {
            let known = std::mem::take(&mut provider.cipher_suites);
            let by_name = |suite: &CipherSuite| known.iter().find(|one| one.suite() == *suite);
            provider.cipher_suites = self.suites.iter().filter_map(by_name).copied().collect();
        }
        if !self.groups.is_empty() {
            let known = aws_lc_rs::ALL_KX_GROUPS;
            let by_name = |group: &NamedGroup| known.iter().find(|one| one.name() == *group);
            provider.kx_groups = self.groups.iter().filter_map(by_name).copied().collect();
        }
        let versions = if self.versions.is_empty() { &VERSIONS } else { &self.versions[..] };
        let trusting =
            Trusting { schemes: self.schemes.clone(), staples: Arc::clone(&self.staples) };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trusting));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.parsed();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.enable_early_data = self.early_data;
        config
    }

    /// A connection of a client that knows no session.
    pub fn connect(&self, port: u16) -> TlsClient {
        TlsClient::connect(port, &Arc::new(self.config()), "one.example")
    }
}

impl Identity {
    pub fn parsed(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        (chain.map(Result::unwrap).collect(), key)
    }
}

/// Terms of a client that offers everything of a version.
pub fn client_config(version: Version, identity: Option<&Identity>) -> Arc<ClientConfig> {
    let offer = Offer { identity: identity.cloned(), ..Offer::of(version) };
    Arc::new(offer.config())
}

/// Takes any certificate whose key the server has.
#[derive(Debug)]
struct Trusting {
    schemes: Vec<SignatureScheme>,
    staples: Staples,
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.staples.lock().unwrap().push(staple.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self.schemes.is_empty() {
            true => provider().signature_verification_algorithms.supported_schemes(),
            false => self.schemes.clone(),
        }
    }
}

/// A client on one connection.
pub struct TlsClient(pub StreamOwned<ClientConnection, Wire>);

/// The connection itself, and what passed over it.
pub struct Wire {
    pub stream: TcpStream,
    pub is_recorded: bool,
    pub received: Vec<u8>,
    pub sent: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = crate::read_once(&mut self.stream, bytes)?;
        if self.is_recorded {
            self.received.extend_from_slice(&bytes[..read]);
        }
        Ok(read)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        if self.is_recorded {
            self.sent.extend_from_slice(&bytes[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl TlsClient {
    pub fn connect(port: u16, config: &Arc<ClientConfig>, name: &str) -> TlsClient {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        let (received, sent) = (Vec::new(), Vec::new());
        let wire = Wire { stream, is_recorded: false, received, sent };
        TlsClient(StreamOwned::new(connection, wire))
    }

    /// Records what passes from now on.
    pub fn record(mut self) -> TlsClient {
        self.0.sock.is_recorded = true;
        self
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub fn get(&mut self, uri: &str) -> Answer {
        self.send(request(uri).as_bytes());
        self.answer()
    }

    /// The same where a handshake may come to nothing.
    pub fn try_get(&mut self, uri: &str) -> io::Result<Answer> {
        self.0.write_all(request(uri).as_bytes())?;
        self.try_answer()
    }

    pub fn answer(&mut self) -> Answer {
        self.try_answer().unwrap()
    }

    fn try_answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        let mut body = vec![0; answer.content_length().unwrap_or(0)];
        self.0.read_exact(&mut body)?;
        answer.body = body;
        Ok(answer)
    }

    /// A response without its body.
    pub fn head(&mut self) -> io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        Ok(Answer::parse_head(&head[..head.len() - 4]))
    }

    /// What the server showed, its own certificate first, in DER.
    pub fn shown(&self) -> Vec<Vec<u8>> {
        let shown = self.0.conn.peer_certificates().unwrap_or_default();
        shown.iter().map(|certificate| certificate.to_vec()).collect()
    }

    pub fn kind(&self) -> Option<HandshakeKind> {
        self.0.conn.handshake_kind()
    }

    pub fn is_resumed(&self) -> bool {
        self.kind() == Some(HandshakeKind::Resumed)
    }
}

fn request(uri: &str) -> String {
    format!("GET {uri} HTTP/1.1\r\nHost: one.example\r\n\r\n")
}
