//! One certificate (RFC 5280 section 4.1).

use super::der::{self, Der};

/// The parts of a certificate, as slices of its encoding.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'b> {
    /// All of it.
    pub whole: &'b [u8],
    /// 0 is version 1.
    pub version: u8,
    /// Big-endian, with the leading zero that a high first bit needs.
    pub serial: &'b [u8],
    /// Encoded names.
    pub issuer: &'b [u8],
    pub subject: &'b [u8],
    /// Two times, encoded.
    pub validity: Der<'b>,
    /// SubjectPublicKeyInfo, encoded.
    pub key: &'b [u8],
    /// One extension after the other.
    pub extensions: Der<'b>,
    /// What is signed.
    pub signed: &'b [u8],
    /// AlgorithmIdentifier, without tag and length.
    pub algorithm: &'b [u8],
    pub signature: &'b [u8],
}

impl<'b> Certificate<'b> {
    /// Reads a certificate; what stands behind it is not looked at, as in `TRUSTED CERTIFICATE`.
    pub fn parse(encoded: &'b [u8]) -> Option<Certificate<'b>> {
        let whole = Der(encoded).take(der::SEQUENCE)?;
        let mut outer = Der(whole.content);
        let signed = outer.take(der::SEQUENCE)?;
        let algorithm = outer.take(der::SEQUENCE)?.content;
        let (unused, signature) = outer.take(der::BIT_STRING)?.content.split_first()?;
        if *unused != 0 {
            return None;
        }
        let mut inner = Der(signed.content);
        let version = match inner.enter(der::context(0)) {
            Some(mut version) => *version.take(der::INTEGER)?.content.first()?,
            None => 0,
        };
        let serial = inner.take(der::INTEGER)?.content;
        inner.take(der::SEQUENCE)?;
        let issuer = inner.take(der::SEQUENCE)?.whole;
        let validity = inner.enter(der::SEQUENCE)?;
        let subject = inner.take(der::SEQUENCE)?.whole;
        let key = inner.take(der::SEQUENCE)?.whole;
        let mut extensions = Der(&[]);
        while let Some(value) = inner.read() {
            if value.tag == der::context(3) {
                extensions = Der(value.content).enter(der::SEQUENCE)?;
            }
        }
        Some(Certificate {
            whole: whole.whole,
            version,
            serial,
            issuer,
            subject,
            validity,
            key,
            extensions,
            signed: signed.whole,
            algorithm,
            signature,
        })
    }

    /// Where the certificate itself ends.
    pub fn length(encoded: &[u8]) -> Option<usize> {
        Some(Der(encoded).take(der::SEQUENCE)?.whole.len())
    }
}
