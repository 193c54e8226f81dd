//! Lists of certificates that were revoked (RFC 5280 section 5).

use super::der::{self, Der};
use super::time::Time;

#[derive(Clone, Copy, Debug)]
pub struct Crl<'b> {
    pub issuer: &'b [u8],
    pub made: Time,
    /// When the next one comes.
    pub next: Option<Time>,
    revoked: Der<'b>,
    pub signed: &'b [u8],
    pub algorithm: &'b [u8],
    pub signature: &'b [u8],
}

impl<'b> Crl<'b> {
    pub fn parse(encoded: &'b [u8]) -> Option<Crl<'b>> {
        let mut outer = Der(encoded).enter(der::SEQUENCE)?;
        let signed = outer.take(der::SEQUENCE)?;
        let algorithm = outer.take(der::SEQUENCE)?.content;
        let (_, signature) = outer.take(der::BIT_STRING)?.content.split_first()?;
        let mut inner = Der(signed.content);
        inner.take(der::INTEGER);
        inner.take(der::SEQUENCE)?;
        let issuer = inner.take(der::SEQUENCE)?.whole;
        let made = Time::parse(inner.read()?)?;
        let rest = inner;
        let next = inner.read().and_then(Time::parse);
        if next.is_none() {
            inner = rest;
        }
        let revoked = inner.enter(der::SEQUENCE).unwrap_or(Der(&[]));
        Some(Crl { issuer, made, next, revoked, signed: signed.whole, algorithm, signature })
    }

    /// Whether a certificate with that serial number was revoked.
    pub fn names(&self, serial: &[u8]) -> bool {
        let mut revoked = self.revoked;
        while let Some(mut entry) = revoked.enter(der::SEQUENCE) {
            if entry.take(der::INTEGER).is_some_and(|number| number.content == serial) {
                return true;
            }
        }
        false
    }
}
