//! The state of a certificate as its authority tells it (RFC 6960): what is asked, and what is answered.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::x509::der::{self, Der};
use crate::x509::time::Time;
use crate::x509::{Certificate, signature};

/// What an authority says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Good,
    Revoked,
    Unknown,
}

impl Status {
    /// OpenSSL's word.
    pub fn name(self) -> &'static str {
        match self {
            Status::Good => "good",
            Status::Revoked => "revoked",
            Status::Unknown => "unknown",
        }
    }
}

/// An answer, and until when it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: Status,
    pub until: Option<Time>,
}

/// What is wrong with an answer, in nginx's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Unreadable,
    /// The responder refused.
    NotSuccessful(u8),
    Unverified,
    NotFound,
    /// It is of another time.
    Outdated,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Unreadable => f.write_str("d2i_OCSP_RESPONSE() failed"),
            Fault::NotSuccessful(status) => {
                let name = match status {
                    1 => "malformedrequest",
                    2 => "internalerror",
                    3 => "trylater",
                    5 => "sigrequired",
                    6 => "unauthorized",
                    _ => "(UNKNOWN)",
                };
                write!(f, "OCSP response not successful ({status}: {name})")
            }
            Fault::Unverified => f.write_str("OCSP_basic_verify() failed"),
            Fault::NotFound => f.write_str("certificate status not found in the OCSP response"),
            Fault::Outdated => f.write_str("OCSP_check_validity() failed"),
        }
    }
}

/// A certificate as it is asked for: the names of its issuer and its number.
struct Subject {
    issuer_name: Vec<u8>,
    issuer_key: Vec<u8>,
    serial: Vec<u8>,
}

const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];

impl Subject {
    fn of(certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> Option<Subject> {
        let mut info = Der(issuer.key).enter(der::SEQUENCE)?;
        info.take(der::SEQUENCE)?;
        let (_, key) = info.take(der::BIT_STRING)?.content.split_first()?;
        Some(Subject {
            issuer_name: sha1(issuer.subject),
            issuer_key: sha1(key),
            serial: certificate.serial.to_vec(),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let algorithm =
            wrap(der::SEQUENCE, &[wrap(der::OBJECT_IDENTIFIER, SHA1), wrap(5, b"")].concat());
        wrap(
            der::SEQUENCE,
            &[
                algorithm,
                wrap(der::OCTET_STRING, &self.issuer_name),
                wrap(der::OCTET_STRING, &self.issuer_key),
                wrap(der::INTEGER, &self.serial),
            ]
            .concat(),
        )
    }

    fn is(&self, mut id: Der<'_>) -> Option<bool> {
        let algorithm = id.enter(der::SEQUENCE)?.take(der::OBJECT_IDENTIFIER)?.content;
        let name = id.take(der::OCTET_STRING)?.content;
        let key = id.take(der::OCTET_STRING)?.content;
        let serial = id.take(der::INTEGER)?.content;
        Some(
            algorithm == SHA1
                && name == self.issuer_name
                && key == self.issuer_key
                && serial == self.serial,
        )
    }
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = match length {
        ..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    out.extend_from_slice(content);
    out
}

/// What a responder is asked about a certificate.
pub fn request(certificate: &[u8], issuer: &[u8]) -> Option<Vec<u8>> {
    let subject = Subject::of(&Certificate::parse(certificate)?, &Certificate::parse(issuer)?)?;
    let list = wrap(der::SEQUENCE, &wrap(der::SEQUENCE, &subject.encode()));
    Some(wrap(der::SEQUENCE, &wrap(der::SEQUENCE, &list)))
}

/// By which a certificate's answer can be remembered.
pub fn key(certificate: &[u8], issuer: &[u8]) -> Option<Vec<u8>> {
    let subject = Subject::of(&Certificate::parse(certificate)?, &Certificate::parse(issuer)?)?;
    Some(sha1(&subject.encode()))
}

/// Reads a response about a certificate. With `trusts_issuer_alone`, whoever signed it has to be the certificate's issuer, or
/// somebody whom that has appointed; else any signature that holds will do.
pub fn read(
    response: &[u8],
    certificate: &[u8],
    issuer: &[u8],
    trusts_issuer_alone: bool,
    now: Time,
) -> Result<Answer, Fault> {
    let certificate = Certificate::parse(certificate).ok_or(Fault::NotFound)?;
    let issuer = Certificate::parse(issuer).ok_or(Fault::NotFound)?;
    let subject = Subject::of(&certificate, &issuer).ok_or(Fault::NotFound)?;
    let basic = Basic::parse(response)?;
    if !basic.is_verified(&issuer, trusts_issuer_alone) {
        return Err(Fault::Unverified);
    }
    basic.answer(&subject, now)
}

const ENUMERATED: u8 = 10;

/// BasicOCSPResponse
struct Basic<'b> {
    signed: &'b [u8],
    /// ResponderID, encoded.
    responder: der::Value<'b>,
    singles: Der<'b>,
    algorithm: &'b [u8],
    signature: &'b [u8],
    certificates: Der<'b>,
}

impl<'b> Basic<'b> {
    fn parse(response: &'b [u8]) -> Result<Basic<'b>, Fault> {
        let mut outer = Der(response).enter(der::SEQUENCE).ok_or(Fault::Unreadable)?;
        match outer.take(ENUMERATED).ok_or(Fault::Unreadable)?.content {
            [0] => {}
            [status] => return Err(Fault::NotSuccessful(*status)),
            _ => return Err(Fault::Unreadable),
        }
        Basic::inside(outer).ok_or(Fault::Unreadable)
    }

    fn inside(mut outer: Der<'b>) -> Option<Basic<'b>> {
        let mut typed = outer.enter(der::context(0))?.enter(der::SEQUENCE)?;
        typed.take(der::OBJECT_IDENTIFIER)?;
        let mut basic = Der(typed.take(der::OCTET_STRING)?.content).enter(der::SEQUENCE)?;
        let signed = basic.take(der::SEQUENCE)?;
        let algorithm = basic.take(der::SEQUENCE)?.content;
        let (_, signature) = basic.take(der::BIT_STRING)?.content.split_first()?;
        let certificates =
            basic.enter(der::context(0)).and_then(|mut all| all.enter(der::SEQUENCE));
        let mut data = Der(signed.content);
        data.take(der::context(0));
        let responder = data.read()?;
        data.read()?;
        let singles = data.enter(der::SEQUENCE)?;
        Some(Basic {
            signed: signed.whole,
            responder,
            singles,
            algorithm,
            signature,
            certificates: certificates.unwrap_or(Der(&[])),
        })
    }

    fn is_verified(&self, issuer: &Certificate<'_>, trusts_issuer_alone: bool) -> bool {
        if self.names(issuer) && self.is_signed_by(issuer) {
            return true;
        }
        let mut certificates = self.certificates;
        while let Some(encoded) = certificates.take(der::SEQUENCE) {
            let Some(signer) = Certificate::parse(encoded.whole) else { continue };
            if self.names(&signer) && self.is_signed_by(&signer) {
                return !trusts_issuer_alone || is_appointed(&signer, issuer);
            }
        }
        false
    }

    fn names(&self, signer: &Certificate<'_>) -> bool {
        const BY_NAME: u8 = der::context(1);
        const BY_KEY: u8 = der::context(2);
        match self.responder.tag {
            BY_NAME => self.responder.content == signer.subject,
            BY_KEY => {
                let named = Der(self.responder.content).take(der::OCTET_STRING);
                let own = Subject::of(signer, signer).map(|subject| subject.issuer_key);
                named.map(|named| named.content) == own.as_deref()
            }
            _ => false,
        }
    }

    fn is_signed_by(&self, signer: &Certificate<'_>) -> bool {
        signature::verify(signer.key, self.algorithm, self.signed, self.signature)
    }

    fn answer(&self, subject: &Subject, now: Time) -> Result<Answer, Fault> {
        let mut singles = self.singles;
        while let Some(mut single) = singles.enter(der::SEQUENCE) {
            let id = single.enter(der::SEQUENCE).ok_or(Fault::Unreadable)?;
            if subject.is(id) != Some(true) {
                continue;
            }
            let status = match single.read().ok_or(Fault::Unreadable)?.tag & 0x1f {
                0 => Status::Good,
                1 => Status::Revoked,
                _ => Status::Unknown,
            };
            let made = single.read().and_then(Time::parse).ok_or(Fault::Unreadable)?;
            let until = single.enter(der::context(0)).and_then(|mut next| next.read());
            let until = until.and_then(Time::parse);
            let is_late = until.is_some_and(|until| until.0 + SKEW < now.0);
            if made.0 > now.0 + SKEW || is_late {
                return Err(Fault::Outdated);
            }
            return Ok(Answer { status, until });
        }
        Err(Fault::NotFound)
    }
}

/// How far clocks may be apart, in seconds.
const SKEW: i64 = 300;

/// Whether the issuer itself lets somebody sign in its place.
fn is_appointed(signer: &Certificate<'_>, issuer: &Certificate<'_>) -> bool {
    signer.key == issuer.key
        || issuer.issued(signer)
            && signature::verify(issuer.key, signer.algorithm, signer.signed, signer.signature)
            && signer.may_sign_ocsp()
}

/// Where a certificate's authority answers (RFC 5280 section 4.2.2.1).
pub fn responder(certificate: &[u8]) -> Option<String> {
    const OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1];
    const URI: u8 = 0x86;
    let certificate = Certificate::parse(certificate)?;
    let mut places = Der(certificate.access()?).enter(der::SEQUENCE)?;
    while let Some(mut place) = places.enter(der::SEQUENCE) {
        if place.take(der::OBJECT_IDENTIFIER)?.content == OCSP
            && let Some(uri) = place.take(URI)
        {
            return String::from_utf8(uri.content.to_vec()).ok();
        }
    }
    None
}
