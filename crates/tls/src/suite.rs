//! Cipher suites: what rustls can agree on, by number and by OpenSSL's name.

use aws_lc_rs::{aead, hkdf};

/// A version of TLS that connections are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Tls12,
    Tls13,
}

impl Version {
    /// `$ssl_protocol`.
    pub fn name(self) -> &'static str {
        match self {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        }
    }
}

/// What signs the handshake. In TLS 1.3 the suite does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    Any,
    Ecdsa,
    Rsa,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aead {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20,
}

/// A cipher suite (RFC 8446 appendix B.4, RFC 5289, RFC 7905).
#[derive(Debug)]
pub struct Suite {
    pub id: u16,
    /// OpenSSL's: `$ssl_cipher`.
    pub name: &'static str,
    pub version: Version,
    pub signs: Signs,
    pub aead: Aead,
}

impl PartialEq for Suite {
    fn eq(&self, other: &Suite) -> bool {
        self.id == other.id
    }
}

const fn tls13(id: u16, name: &'static str, aead: Aead) -> Suite {
    Suite { id, name, version: Version::Tls13, signs: Signs::Any, aead }
}

const fn tls12(id: u16, name: &'static str, signs: Signs, aead: Aead) -> Suite {
    Suite { id, name, version: Version::Tls12, signs, aead }
}

/// In OpenSSL's order of preference.
pub static SUITES: [Suite; 9] = [
    tls13(0x1302, "TLS_AES_256_GCM_SHA384", Aead::Aes256Gcm),
    tls13(0x1303, "TLS_CHACHA20_POLY1305_SHA256", Aead::ChaCha20),
    tls13(0x1301, "TLS_AES_128_GCM_SHA256", Aead::Aes128Gcm),
    tls12(0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384", Signs::Ecdsa, Aead::Aes256Gcm),
    tls12(0xc030, "ECDHE-RSA-AES256-GCM-SHA384", Signs::Rsa, Aead::Aes256Gcm),
    tls12(0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305", Signs::Ecdsa, Aead::ChaCha20),
    tls12(0xcca8, "ECDHE-RSA-CHACHA20-POLY1305", Signs::Rsa, Aead::ChaCha20),
    tls12(0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256", Signs::Ecdsa, Aead::Aes128Gcm),
    tls12(0xc02f, "ECDHE-RSA-AES128-GCM-SHA256", Signs::Rsa, Aead::Aes128Gcm),
];

impl Suite {
    pub fn by_id(id: u16) -> Option<&'static Suite> {
        SUITES.iter().find(|suite| suite.id == id)
    }

    /// Bytes of a traffic secret in TLS 1.3.
    pub(crate) fn secret_length(&self) -> usize {
        match self.aead {
            Aead::Aes256Gcm => 48,
            Aead::Aes128Gcm | Aead::ChaCha20 => 32,
        }
    }

    pub(crate) fn hkdf(&self) -> hkdf::Algorithm {
        match self.aead {
            Aead::Aes256Gcm => hkdf::HKDF_SHA384,
            Aead::Aes128Gcm | Aead::ChaCha20 => hkdf::HKDF_SHA256,
        }
    }

    /// Bytes of a nonce that TLS 1.2 sends with each record.
    pub(crate) fn explicit_nonce(&self) -> usize {
        match (self.version, self.aead) {
            (Version::Tls12, Aead::Aes128Gcm | Aead::Aes256Gcm) => 8,
            _ => 0,
        }
    }
}

impl Aead {
    pub(crate) fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Aead::Aes128Gcm => &aead::AES_128_GCM,
            Aead::Aes256Gcm => &aead::AES_256_GCM,
            Aead::ChaCha20 => &aead::CHACHA20_POLY1305,
        }
    }

    /// How many records one key may protect (RFC 8446 section 5.5, with room to spare).
    pub(crate) fn limit(self) -> u64 {
        match self {
            Aead::Aes128Gcm | Aead::Aes256Gcm => 1 << 24,
            Aead::ChaCha20 => 1 << 40,
        }
    }
}

/// The names of signature algorithms (RFC 8446 section 4.2.3).
pub fn signature_name(signature: u16) -> Option<&'static str> {
    Some(match signature {
        0x0201 => "rsa_pkcs1_sha1",
        0x0203 => "ecdsa_sha1",
        0x0401 => "rsa_pkcs1_sha256",
        0x0403 => "ecdsa_secp256r1_sha256",
        0x0501 => "rsa_pkcs1_sha384",
        0x0503 => "ecdsa_secp384r1_sha384",
        0x0601 => "rsa_pkcs1_sha512",
        0x0603 => "ecdsa_secp521r1_sha512",
        0x0804 => "rsa_pss_rsae_sha256",
        0x0805 => "rsa_pss_rsae_sha384",
        0x0806 => "rsa_pss_rsae_sha512",
        0x0807 => "ed25519",
        0x0809 => "rsa_pss_pss_sha256",
        0x080a => "rsa_pss_pss_sha384",
        0x080b => "rsa_pss_pss_sha512",
        _ => return None,
    })
}

/// The names of groups as `$ssl_curve` has them: OpenSSL's, or the number.
pub fn group_name(group: u16) -> Option<&'static str> {
    Some(match group {
        0x0017 => "prime256v1",
        0x0018 => "secp384r1",
        0x0019 => "secp521r1",
        0x001d => "X25519",
        0x001e => "X448",
        0x0100 => "ffdhe2048",
        0x0101 => "ffdhe3072",
        0x0102 => "ffdhe4096",
        0x0103 => "ffdhe6144",
        0x0104 => "ffdhe8192",
        0x0200 => "MLKEM512",
        0x0201 => "MLKEM768",
        0x0202 => "MLKEM1024",
        0x11eb => "SecP256r1MLKEM768",
        0x11ec => "X25519MLKEM768",
        0x11ed => "SecP384r1MLKEM1024",
        _ => return None,
    })
}
