//! Lists of cipher suites as OpenSSL writes them (ciphers(1)).
//!
//! Words add, `-` takes away, `!` takes away for good, `+` moves to the end; `A+B` is what both name. What a
//! word names that is not offered here is nothing.

use crate::suite::{Aead, SUITES, Signs, Suite, Version};

/// The suites of TLS 1.2 that a list names, in its order.
pub fn parse(list: &str) -> Vec<&'static Suite> {
    let mut chosen: Vec<&'static Suite> = Vec::new();
    let mut banned: Vec<&'static Suite> = Vec::new();
    let words = list.split([':', ',', ';', ' ']).filter(|word| !word.is_empty());
    for word in words {
        let (sign, name) = match word.as_bytes()[0] {
            sign @ (b'!' | b'-' | b'+' | b'@') => (sign, &word[1..]),
            _ => (b' ', word),
        };
        match sign {
            b'@' => {
                if name == "STRENGTH" {
                    chosen.sort_by_key(|suite| suite.aead == Aead::Aes128Gcm);
                }
            }
            b'!' => {
                let named = all().filter(|suite| is_named(suite, name));
                banned.extend(named);
                chosen.retain(|suite| !is_named(suite, name));
            }
            b'-' => chosen.retain(|suite| !is_named(suite, name)),
            b'+' => {
                let (moved, stay): (Vec<_>, Vec<_>) =
                    chosen.into_iter().partition(|suite| is_named(suite, name));
                chosen = stay;
                chosen.extend(moved);
            }
            _ => {
                let named: Vec<_> = all()
                    .filter(|suite| is_named(suite, name))
                    .filter(|suite| !chosen.contains(suite) && !banned.contains(suite))
                    .collect();
                chosen.extend(named);
            }
        }
    }
    chosen
}

fn all() -> impl Iterator<Item = &'static Suite> {
    SUITES.iter().filter(|suite| suite.version == Version::Tls12)
}

/// Whether all of the names that `+` joins hold.
fn is_named(suite: &Suite, names: &str) -> bool {
    names.split('+').all(|name| {
        let aes = matches!(suite.aead, Aead::Aes128Gcm | Aead::Aes256Gcm);
        match name {
            "ALL" | "DEFAULT" | "HIGH" | "TLSv1.2" | "ECDHE" | "EECDH" | "kECDHE" | "kEECDH"
            | "FIPS" => true,
            "aRSA" => suite.signs == Signs::Rsa,
            "ECDSA" | "aECDSA" => suite.signs == Signs::Ecdsa,
            "AES" | "AESGCM" => aes,
            "AES128" => suite.aead == Aead::Aes128Gcm,
            "AES256" => suite.aead == Aead::Aes256Gcm,
            "CHACHA20" => suite.aead == Aead::ChaCha20,
            "SUITEB128" => suite.signs == Signs::Ecdsa && aes,
            "SUITEB192" => suite.signs == Signs::Ecdsa && suite.aead == Aead::Aes256Gcm,
            name => suite.name == name,
        }
    })
}

/// The suites of TLS 1.3 by name, in the list's order; `None` where a name means nothing.
pub fn parse_tls13(list: &str) -> Option<Vec<&'static Suite>> {
    let names = list.split([':', ',']).filter(|name| !name.is_empty());
    let suites: Option<Vec<_>> = names
        .map(|name| {
            let mut all = SUITES.iter().filter(|suite| suite.version == Version::Tls13);
            all.find(|suite| suite.name == name)
        })
        .collect();
    suites
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<&'static str> {
        parse(list).into_iter().map(|suite| suite.name).collect()
    }

    #[test]
    fn lists_that_people_use_are_understood() {
        assert_eq!(parse("HIGH:!aNULL:!MD5").len(), 6);
        assert_eq!(parse("DEFAULT:ECCdraft").len(), 6);
        assert_eq!(
            names("ECDHE-RSA-AES128-GCM-SHA256:HIGH:!aNULL:!MD5:!RC4:!DHE")[0],
            "ECDHE-RSA-AES128-GCM-SHA256"
        );
        assert_eq!(
            names("EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH"),
            [
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-RSA-AES256-GCM-SHA384",
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-RSA-AES128-GCM-SHA256",
            ]
        );
        assert_eq!(names("aRSA:-AES256:!CHACHA20:ALL:!aECDSA").len(), 2);
        assert_eq!(names("AES128-SHA:RC4:NULL"), [""; 0]);
        assert_eq!(names("AES128:+aRSA:AES128")[1], "ECDHE-RSA-AES128-GCM-SHA256");
    }
}
