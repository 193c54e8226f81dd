//! Poul-Henning Kamp's MD5 crypt, `$1$`, which Apache calls `$apr1$`.

use md5::{Digest, Md5};

/// The hash of a password with the salt in `setting`, which begins with `magic`.
pub(super) fn crypt(password: &[u8], setting: &[u8], magic: &[u8]) -> Vec<u8> {
    let salt = setting[magic.len()..].split(|byte| *byte == b'$').next().unwrap_or_default();
    let salt = &salt[..salt.len().min(8)];
    let digest = digest(password, salt, magic);
    let mut out = [magic, salt, b"$"].concat();
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let bits = u32::from_be_bytes([0, digest[a], digest[b], digest[c]]);
        push_digits(bits, 4, &mut out);
    }
    push_digits(u32::from(digest[11]), 2, &mut out);
    out
}

fn digest(password: &[u8], salt: &[u8], magic: &[u8]) -> [u8; 16] {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password);
    let inner: [u8; 16] = inner.finalize().into();
    let mut outer = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for start in (0..password.len()).step_by(16) {
        outer.update(&inner[..(password.len() - start).min(16)]);
    }
    let mut bits = password.len();
    while bits > 0 {
        outer.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest: [u8; 16] = outer.finalize().into();
    for round in 0..1000 {
        let (first, last) = match round % 2 {
            0 => (&digest[..], password),
            _ => (password, &digest[..]),
        };
        let mut next = Md5::new().chain_update(first);
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        digest = next.chain_update(last).finalize().into();
    }
    digest
}

/// The digits of crypt(3), the lowest six bits first.
fn push_digits(mut bits: u32, count: usize, out: &mut Vec<u8>) {
    for _ in 0..count {
        out.push(super::des::DIGITS[(bits & 63) as usize]);
        bits >>= 6;
    }
}
