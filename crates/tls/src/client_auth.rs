//! Clients that show a certificate. A handshake takes whatever they show, as long as they have its key: what is
//! thought of it is for the request to decide.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::facts::ClientCertificate;
use crate::handshake;
use crate::x509::der::{self, Der};
use crate::x509::time::Time;
use crate::x509::{Certificate, Purpose, Store, signature};

/// Whom a server trusts, and what it tells clients of that.
#[derive(Default)]
pub struct ClientAuth {
    pub store: Store,
    hints: Vec<DistinguishedName>,
}

impl ClientAuth {
    /// `told` are the authorities, in DER, that clients hear of.
    pub fn new(store: Store, told: &[Box<[u8]>]) -> ClientAuth {
        let mut hints: Vec<DistinguishedName> = Vec::new();
        for certificate in told.iter().filter_map(|own| Certificate::parse(own)) {
            let Some(subject) = Der(certificate.subject).take(der::SEQUENCE) else { continue };
            let hint = DistinguishedName::in_sequence(subject.content);
            if !hints.iter().any(|known| known.as_ref() == hint.as_ref()) {
                hints.push(hint);
            }
        }
        ClientAuth { store, hints }
    }

    /// What is thought of a chain that a client showed.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>]) -> Arc<ClientCertificate> {
        let shown: Vec<&[u8]> = chain.iter().map(|certificate| certificate.as_ref()).collect();
        let refused = self.store.judge(&shown, Purpose::Client, now()).err();
        let chain = shown.iter().map(|certificate| Box::from(*certificate)).collect();
        Arc::new(ClientCertificate { chain, refused, status: None })
    }
}

pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(since.as_secs().cast_signed())
}

impl std::fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} authorities", self.store.authorities.len())
    }
}

impl ClientCertVerifier for ClientAuth {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
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

/// Whether whoever showed the certificate has its key.
pub(crate) fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    is_tls13: bool,
) -> Result<HandshakeSignatureValid, Error> {
    let parsed = Certificate::parse(certificate)
        .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let holds = signature::verify_handshake(
        parsed.key,
        signed.scheme,
        is_tls13,
        message,
        signed.signature(),
    );
    handshake::note_peers(signed.scheme);
    match holds {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
    }
}
