//! A server behind that speaks TLS, and tells of each connection what it was like.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, HandshakeKind, ServerConfig, ServerConnection,
    SignatureScheme, StreamOwned,
};

use crate::{Identity, PATIENCE, free_port};

/// Answers each connection's first request, of HTTP or of uwsgi, with lines that say what the handshake came to.
pub struct TlsServer {
    pub port: u16,
}

impl TlsServer {
    pub fn start(identity: &Identity) -> TlsServer {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (chain, key) = identity.parsed();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(Arc::new(TakesAll))
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                thread::spawn(move || serve(stream, config));
            }
        });
        TlsServer { port }
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
    let mut request = Vec::new();
    while !is_whole(&request) {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&bytes[..read]);
    }
    let facts = facts(&stream.conn, request[0] == 0);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{facts}",
        facts.len()
    );
    stream.write_all(answer.as_bytes()).ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}

/// Neither kind of request has a body here. One of uwsgi has its length in its second and third byte.
fn is_whole(request: &[u8]) -> bool {
    match request {
        [] => false,
        [0, low, high, ..] => request.len() >= 4 + usize::from(u16::from_le_bytes([*low, *high])),
        _ => request.ends_with(b"\r\n\r\n"),
    }
}

fn facts(connection: &ServerConnection, is_uwsgi: bool) -> String {
    let suite = connection.negotiated_cipher_suite().unwrap().suite();
    let common_name = |certificate: &CertificateDer<'_>| {
        // id-at-commonName, and the string behind it.
        let name = [0x06, 3, 0x55, 4, 3];
        let mut names = certificate.windows(5).enumerate().filter(|(_, part)| *part == name);
        let (place, _) = names.next_back().unwrap();
        let length = usize::from(certificate[place + 6]);
        String::from_utf8_lossy(&certificate[place + 7..][..length]).into_owned()
    };
    let shown = connection.peer_certificates().and_then(|chain| chain.first());
    format!(
        "asked={} version={:?} suite={suite:?} name={} client={} session={}\n",
        if is_uwsgi { "uwsgi" } else { "http" },
        connection.protocol_version().unwrap(),
        connection.server_name().unwrap_or("-"),
        shown.map_or("-".to_owned(), common_name),
        match connection.handshake_kind() {
            Some(HandshakeKind::Resumed) => "resumed",
            _ => "new",
        },
    )
}

/// Clients may show any certificate, or none.
#[derive(Debug)]
struct TakesAll;

impl ClientCertVerifier for TakesAll {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
