//! Passwords in the forms of nginx and of crypt(3).

use daemun_http::credentials::decode_base64;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha1::{Digest, Sha1};
use yescrypt::Yescrypt;

use super::{des, md5};

/// The text is in no form that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownForm;

/// Whether the password is the one that was made into `hash`.
pub(super) fn verify(password: &[u8], hash: &[u8]) -> Result<bool, UnknownForm> {
    // crypt(3) knows no NUL.
    let password = password.split(|byte| *byte == 0).next().unwrap_or_default();
    if let Some(plain) = hash.strip_prefix(b"{PLAIN}") {
        return Ok(plain == password);
    }
    if let Some(encoded) = hash.strip_prefix(b"{SSHA}") {
        return Ok(is_ssha(password, encoded));
    }
    if let Some(encoded) = hash.strip_prefix(b"{SHA}") {
        let digest = Sha1::digest(password);
        return Ok(decode_base64(encoded).is_some_and(|expected| *expected == *digest));
    }
    for magic in [&b"$apr1$"[..], b"$1$"] {
        if hash.starts_with(magic) {
            return Ok(md5::crypt(password, hash, magic) == hash);
        }
    }
    if hash.starts_with(b"$") {
        let text = std::str::from_utf8(hash).map_err(|_| UnknownForm)?;
        return verify_modular(password, text);
    }
    Ok(des::crypt(password, hash).ok_or(UnknownForm)? == hash)
}

/// SHA-1 of password and salt, and behind it the salt.
fn is_ssha(password: &[u8], encoded: &[u8]) -> bool {
    let Some(decoded) = decode_base64(encoded) else {
        return false;
    };
    let Some((expected, salt)) = decoded.split_at_checked(20) else {
        return false;
    };
    *Sha1::new().chain_update(password).chain_update(salt).finalize() == *expected
}

fn verify_modular(password: &[u8], hash: &str) -> Result<bool, UnknownForm> {
    let is_right =
        |verifier: &dyn PasswordVerifier<str>| Ok(verifier.verify_password(password, hash).is_ok());
    match hash[1..].split('$').next() {
        Some("2a" | "2b" | "2x" | "2y") => bcrypt::verify(password, hash).map_err(|_| UnknownForm),
        Some("5" | "6") => is_right(&ShaCrypt::default()),
        Some("y") => is_right(&Yescrypt::default()),
        _ => Err(UnknownForm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_knows_its_password() {
        for hash in [
            "{PLAIN}password",
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
            "{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0",
            "$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.",
            "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
            "sa3tHJ3/KuYvI",
            "$5$saltstring$OH4IDuTlsuTYPdED1gsuiRMyTAwNlRWyA6Xr3I4/dQ5",
            "$6$rounds=1000$abc$vw5PRczzmm7dyJhZWNpaLcy/M.HywGlo.UsELxKYV/ZI4356.iT3zYgbwHVzPSnvkT2lVlMoWMoJdUSLcmUNg.",
            "$y$j75$saltsalt$eWasoMp7uF0.AeHT3DZ8Zkum32fPmPJWiMVRQdwiBb4",
            "$2y$04$2j9L6RQZWiLlUyM.XSpR1O4xhx/qsu3oycGjxBUKYcIWU530ke39a",
        ] {
            assert_eq!(verify(b"password", hash.as_bytes()), Ok(true), "{hash}");
            assert_eq!(verify(b"passwort", hash.as_bytes()), Ok(false), "{hash}");
        }
    }

    #[test]
    fn broken_forms_know_none() {
        for hash in ["$1$", "$apr1$", "{SHA}_____", "{SHA}Zm9vCg==", "{SSHA}Zm9vCg==", "{PLAIN}"] {
            assert_eq!(verify(b"1", hash.as_bytes()), Ok(false), "{hash}");
        }
        for hash in ["", "x", "$9$salt$x", "$2y$04$x", "!!"] {
            assert_eq!(verify(b"1", hash.as_bytes()), Err(UnknownForm), "{hash}");
        }
    }
}
