//! Signatures: of certificates and lists by their issuers, and of handshakes.

use aws_lc_rs::signature::{self as algorithms, UnparsedPublicKey, VerificationAlgorithm};
use rustls::SignatureScheme;

use super::der::{self, Der};

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
const ECDSA_WITH: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3];
const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A curve that keys are on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

/// The key of a SubjectPublicKeyInfo, and its curve where it has one.
fn key(info: &[u8]) -> Option<(&[u8], Option<Curve>, &[u8])> {
    let mut info = Der(info).enter(der::SEQUENCE)?;
    let mut algorithm = info.enter(der::SEQUENCE)?;
    let kind = algorithm.take(der::OBJECT_IDENTIFIER)?.content;
    let curve = match kind == EC_KEY {
        false => None,
        true => Some(match algorithm.take(der::OBJECT_IDENTIFIER)?.content {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] => Curve::P256,
            [0x2b, 0x81, 4, 0, 34] => Curve::P384,
            [0x2b, 0x81, 4, 0, 35] => Curve::P521,
            _ => return None,
        }),
    };
    let (_, key) = info.take(der::BIT_STRING)?.content.split_first()?;
    Some((kind, curve, key))
}

fn holds(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
}

/// Whether `signature` over `message` is by the owner of the key. `algorithm` is the content of an AlgorithmIdentifier.
pub fn verify(info: &[u8], algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Some((_, curve, key)) = key(info) else { return false };
    let mut parts = Der(algorithm);
    let Some(kind) = parts.take(der::OBJECT_IDENTIFIER) else { return false };
    let chosen: &'static dyn VerificationAlgorithm = match kind.content {
        [rest @ .., 5] if rest == RSA => &algorithms::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        [rest @ .., 11] if rest == RSA => {
            &algorithms::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
        }
        [rest @ .., 12] if rest == RSA => &algorithms::RSA_PKCS1_2048_8192_SHA384,
        [rest @ .., 13] if rest == RSA => {
            &algorithms::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY
        }
        [rest @ .., 10] if rest == RSA => match pss_hash(parts) {
            Some(2) => &algorithms::RSA_PSS_2048_8192_SHA384,
            Some(3) => &algorithms::RSA_PSS_2048_8192_SHA512,
            _ => &algorithms::RSA_PSS_2048_8192_SHA256,
        },
        [rest @ .., hash] if rest == ECDSA_WITH => match (curve, hash) {
            (Some(Curve::P256), 2) => &algorithms::ECDSA_P256_SHA256_ASN1,
            (Some(Curve::P256), 3) => &algorithms::ECDSA_P256_SHA384_ASN1,
            (Some(Curve::P256), 4) => &algorithms::ECDSA_P256_SHA512_ASN1,
            (Some(Curve::P384), 2) => &algorithms::ECDSA_P384_SHA256_ASN1,
            (Some(Curve::P384), 3) => &algorithms::ECDSA_P384_SHA384_ASN1,
            (Some(Curve::P384), 4) => &algorithms::ECDSA_P384_SHA512_ASN1,
            (Some(Curve::P521), 2) => &algorithms::ECDSA_P521_SHA256_ASN1,
            (Some(Curve::P521), 3) => &algorithms::ECDSA_P521_SHA384_ASN1,
            (Some(Curve::P521), 4) => &algorithms::ECDSA_P521_SHA512_ASN1,
            _ => return false,
        },
        ED25519 => &algorithms::ED25519,
        _ => return false,
    };
    holds(chosen, key, message, signature)
}

/// The last number of the hash's name in the parameters of RSASSA-PSS.
fn pss_hash(mut parameters: Der<'_>) -> Option<u8> {
    let mut parameters = parameters.enter(der::SEQUENCE)?;
    let mut hash = parameters.enter(der::context(0))?.enter(der::SEQUENCE)?;
    hash.take(der::OBJECT_IDENTIFIER)?.content.last().copied()
}

/// Those that handshakes may use, most wanted first.
pub const SCHEMES: [SignatureScheme; 12] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::ECDSA_SHA1_Legacy,
    SignatureScheme::RSA_PKCS1_SHA1,
];

/// Whether a handshake was signed by the owner of the key.
pub fn verify_handshake(
    info: &[u8],
    scheme: SignatureScheme,
    is_tls13: bool,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Some((_, curve, key)) = key(info) else { return false };
    let chosen: &'static dyn VerificationAlgorithm = match scheme {
        SignatureScheme::RSA_PSS_SHA256 => &algorithms::RSA_PSS_2048_8192_SHA256,
        SignatureScheme::RSA_PSS_SHA384 => &algorithms::RSA_PSS_2048_8192_SHA384,
        SignatureScheme::RSA_PSS_SHA512 => &algorithms::RSA_PSS_2048_8192_SHA512,
        SignatureScheme::RSA_PKCS1_SHA256 if !is_tls13 => &algorithms::RSA_PKCS1_2048_8192_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384 if !is_tls13 => &algorithms::RSA_PKCS1_2048_8192_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512 if !is_tls13 => &algorithms::RSA_PKCS1_2048_8192_SHA512,
        // TLS 1.2 does not tie the hash to the curve.
        SignatureScheme::ECDSA_NISTP256_SHA256 => match curve {
            Some(Curve::P256) => &algorithms::ECDSA_P256_SHA256_ASN1,
            Some(Curve::P384) if !is_tls13 => &algorithms::ECDSA_P384_SHA256_ASN1,
            _ => return false,
        },
        SignatureScheme::ECDSA_NISTP384_SHA384 => match curve {
            Some(Curve::P384) => &algorithms::ECDSA_P384_SHA384_ASN1,
            Some(Curve::P256) if !is_tls13 => &algorithms::ECDSA_P256_SHA384_ASN1,
            _ => return false,
        },
        SignatureScheme::ECDSA_NISTP521_SHA512 if curve == Some(Curve::P521) => {
            &algorithms::ECDSA_P521_SHA512_ASN1
        }
        SignatureScheme::ED25519 => &algorithms::ED25519,
        _ => return false,
    };
    holds(chosen, key, message, signature)
}
