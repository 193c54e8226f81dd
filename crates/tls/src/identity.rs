//! A server's or a client's certificate with the key to it, from PEM.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::encrypted;
use crate::handshake;
use crate::pem::{self, Block};
use crate::x509::Certificate;

/// Why a certificate or a key cannot be used, in OpenSSL's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(pub &'static str);

const NO_START_LINE: Unusable = Unusable("error:0480006C:PEM routines::no start line");
const BAD_PEM: Unusable = Unusable("error:04800066:PEM routines::bad end line");
const BAD_CERTIFICATE: Unusable =
    Unusable("error:0688010A:asn1 encoding routines::nested asn1 error");
const BAD_KEY: Unusable = Unusable("error:1E08010C:DECODER routines::unsupported");
const NO_PASSWORD: Unusable =
    Unusable("error:07880109:common libcrypto routines::interrupted or cancelled");
const WRONG_PASSWORD: Unusable = Unusable("error:1C800064:Provider routines::bad decrypt");
const MISMATCH: Unusable =
    Unusable("error:05800074:x509 certificate routines::key values mismatch");

/// A chain: the first certificate is one's own.
pub fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let mut chain = Vec::new();
    for block in pem::blocks(text).ok_or(BAD_PEM)? {
        if let Some(certificate) = certificate(block)? {
            chain.push(certificate);
        }
    }
    if chain.is_empty() { Err(NO_START_LINE) } else { Ok(chain) }
}

fn certificate(block: Block) -> Result<Option<CertificateDer<'static>>, Unusable> {
    let Block { label, mut content, .. } = block;
    match &*label {
        "CERTIFICATE" | "X509 CERTIFICATE" => {}
        // What is trusted stands behind the certificate.
        "TRUSTED CERTIFICATE" => {
            content.truncate(Certificate::length(&content).ok_or(BAD_CERTIFICATE)?);
        }
        _ => return Ok(None),
    }
    Certificate::parse(&content).ok_or(BAD_CERTIFICATE)?;
    Ok(Some(CertificateDer::from(content)))
}

/// Lists of revoked certificates, in DER.
pub fn lists(text: &[u8]) -> Result<Vec<Box<[u8]>>, Unusable> {
    let blocks = pem::blocks(text).ok_or(BAD_PEM)?;
    let lists = blocks.into_iter().filter(|block| block.label == "X509 CRL");
    let lists: Vec<Box<[u8]>> = lists.map(|block| block.content.into()).collect();
    if lists.is_empty() { Err(NO_START_LINE) } else { Ok(lists) }
}

/// The first private key, for which one of the passphrases may be needed.
pub fn key(text: &[u8], passwords: &[Box<[u8]>]) -> Result<Arc<dyn SigningKey>, Unusable> {
    for block in pem::blocks(text).ok_or(BAD_PEM)? {
        let label = &*block.label;
        if !label.ends_with("PRIVATE KEY") {
            continue;
        }
        if label == "ENCRYPTED PRIVATE KEY" || encrypted::is_encrypted(&block) {
            let mut keys = passwords.iter().filter_map(|password| {
                let (label, content) = match label {
                    "ENCRYPTED PRIVATE KEY" => {
                        ("PRIVATE KEY", encrypted::pkcs8(&block.content, password)?)
                    }
                    label => (label, encrypted::block(&block, password)?),
                };
                of_kind(label, &content)
            });
            return keys.next().ok_or(match passwords.is_empty() {
                true => NO_PASSWORD,
                false => WRONG_PASSWORD,
            });
        }
        return of_kind(label, &block.content).ok_or(BAD_KEY);
    }
    Err(NO_START_LINE)
}

fn of_kind(label: &str, content: &[u8]) -> Option<Arc<dyn SigningKey>> {
    let content = content.to_vec();
    let key = match label {
        "PRIVATE KEY" => PrivateKeyDer::Pkcs8(content.into()),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(content.into()),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(content.into()),
        _ => return None,
    };
    any_supported_type(&key).ok()
}

/// Both together, if they belong together.
pub fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<CertifiedKey, Unusable> {
    let own = Certificate::parse(&chain[0]).ok_or(BAD_CERTIFICATE)?;
    if key.public_key().is_some_and(|public| public.as_ref() != own.key) {
        return Err(MISMATCH);
    }
    Ok(CertifiedKey::new(chain, Arc::new(Noting(key))))
}

/// A key that notes by which algorithm it signs.
#[derive(Debug)]
struct Noting(Arc<dyn SigningKey>);

impl SigningKey for Noting {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.0.choose_scheme(offered)?;
        handshake::note_own(signer.scheme());
        Some(signer)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}
