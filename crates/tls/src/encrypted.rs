//! Private keys that a passphrase protects: PKCS #8 with PBES2 (RFC 8018), and the older form that stands in the
//! headers of a PEM block (RFC 1421 as OpenSSL uses it).

use std::num::NonZeroU32;

#[expect(deprecated, reason = "keys that were encrypted long ago are still in use")]
use aws_lc_rs::cipher::DES_EDE3_FOR_LEGACY_USE_ONLY;
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use crate::pem::Block;
use crate::x509::der::{self, Der};

/// How a key is encrypted.
#[derive(Clone, Copy)]
enum Cipher {
    Aes(usize),
    TripleDes,
}

impl Cipher {
    fn key_length(self) -> usize {
        match self {
            Cipher::Aes(length) => length,
            Cipher::TripleDes => 24,
        }
    }

    #[expect(deprecated, reason = "keys that were encrypted long ago are still in use")]
    fn decrypt(self, key: &[u8], iv: &[u8], content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let algorithm = match self {
            Cipher::Aes(16) => &AES_128,
            Cipher::Aes(24) => &AES_192,
            Cipher::Aes(_) => &AES_256,
            Cipher::TripleDes => &DES_EDE3_FOR_LEGACY_USE_ONLY,
        };
        let context = match self {
            Cipher::Aes(_) => DecryptionContext::Iv128(FixedLength::try_from(iv).ok()?),
            Cipher::TripleDes => DecryptionContext::Iv64(FixedLength::try_from(iv).ok()?),
        };
        let key = UnboundCipherKey::new(algorithm, key).ok()?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
        let mut content = Zeroizing::new(content.to_vec());
        let length = key.decrypt(&mut content, context).ok()?.len();
        content.truncate(length);
        Some(content)
    }
}

/// Opens an EncryptedPrivateKeyInfo.
pub fn pkcs8(encoded: &[u8], password: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
    const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
    let mut outer = Der(encoded).enter(der::SEQUENCE)?;
    let mut scheme = outer.enter(der::SEQUENCE)?;
    let content = outer.take(der::OCTET_STRING)?.content;
    if scheme.take(der::OBJECT_IDENTIFIER)?.content != PBES2 {
        return None;
    }
    let mut parameters = scheme.enter(der::SEQUENCE)?;
    let mut derivation = parameters.enter(der::SEQUENCE)?;
    let mut encryption = parameters.enter(der::SEQUENCE)?;
    if derivation.take(der::OBJECT_IDENTIFIER)?.content != PBKDF2 {
        return None;
    }
    let mut derivation = derivation.enter(der::SEQUENCE)?;
    let salt = derivation.take(der::OCTET_STRING)?.content;
    let rounds = number(derivation.take(der::INTEGER)?.content)?;
    derivation.take(der::INTEGER);
    let algorithm = match derivation.enter(der::SEQUENCE) {
        None => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(mut function) => match function.take(der::OBJECT_IDENTIFIER)?.content.last()? {
            7 => pbkdf2::PBKDF2_HMAC_SHA1,
            9 => pbkdf2::PBKDF2_HMAC_SHA256,
            10 => pbkdf2::PBKDF2_HMAC_SHA384,
            11 => pbkdf2::PBKDF2_HMAC_SHA512,
            _ => return None,
        },
    };
    let cipher = match encryption.take(der::OBJECT_IDENTIFIER)?.content {
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2] => Cipher::Aes(16),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 22] => Cipher::Aes(24),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42] => Cipher::Aes(32),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7] => Cipher::TripleDes,
        _ => return None,
    };
    let iv = encryption.take(der::OCTET_STRING)?.content;
    let mut key = Zeroizing::new(vec![0; cipher.key_length()]);
    pbkdf2::derive(algorithm, rounds, salt, password, &mut key);
    cipher.decrypt(&key, iv, content)
}

/// More rounds than anybody asks for would stop the server.
const MOST_ROUNDS: u32 = 10_000_000;

fn number(bytes: &[u8]) -> Option<NonZeroU32> {
    if bytes.len() > 5 {
        return None;
    }
    let number = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let number = u32::try_from(number).ok().filter(|number| *number <= MOST_ROUNDS)?;
    NonZeroU32::new(number)
}

/// Whether the block's headers say that it is encrypted.
pub fn is_encrypted(block: &Block) -> bool {
    block.headers.iter().any(|(name, value)| name == "Proc-Type" && value.contains("ENCRYPTED"))
}

/// Opens a block that is encrypted in the older way.
pub fn block(block: &Block, password: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (_, info) = block.headers.iter().find(|(name, _)| name == "DEK-Info")?;
    let (name, iv) = info.split_once(',')?;
    let cipher = match name.trim() {
        "AES-128-CBC" => Cipher::Aes(16),
        "AES-192-CBC" => Cipher::Aes(24),
        "AES-256-CBC" => Cipher::Aes(32),
        "DES-EDE3-CBC" => Cipher::TripleDes,
        _ => return None,
    };
    let iv = from_hex(iv.trim())?;
    // EVP_BytesToKey with MD5, once.
    let mut key = Zeroizing::new(Vec::new());
    let mut last = Vec::new();
    while key.len() < cipher.key_length() {
        last = Md5::new()
            .chain_update(&last)
            .chain_update(password)
            .chain_update(iv.get(..8)?)
            .finalize()
            .to_vec();
        key.extend_from_slice(&last);
    }
    cipher.decrypt(&key[..cipher.key_length()], &iv, &block.content)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}
