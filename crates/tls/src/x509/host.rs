//! Whether a certificate is a host's: by its alternative names, and by CN where it has none for hosts.

use std::net::IpAddr;

use super::der::{self, Der};
use super::{Certificate, name};

const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// Whether `host`, a name or an address, is one that the certificate was issued for.
pub fn matches(certificate: &Certificate<'_>, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let mut has_names = false;
    let alternatives = certificate.extension(17).and_then(|names| Der(names).enter(der::SEQUENCE));
    let mut alternatives = alternatives.unwrap_or(Der(&[]));
    while let Some(alternative) = alternatives.read() {
        match (alternative.tag, address) {
            (DNS_NAME, address) => {
                has_names = true;
                let pattern = str::from_utf8(alternative.content).unwrap_or_default();
                if address.is_none() && is_covered(pattern, host) {
                    return true;
                }
            }
            (IP_ADDRESS, Some(IpAddr::V4(address))) if alternative.content == address.octets() => {
                return true;
            }
            (IP_ADDRESS, Some(IpAddr::V6(address))) if alternative.content == address.octets() => {
                return true;
            }
            _ => {}
        }
    }
    !has_names && name::common_names(certificate.subject).iter().any(|name| is_covered(name, host))
}

/// A star stands for one label, or for what is left of the first one.
fn is_covered(pattern: &str, host: &str) -> bool {
    let Some((star, rest)) = pattern.split_once('*') else {
        return pattern.eq_ignore_ascii_case(host);
    };
    let Some((label, domain)) = host.split_once('.') else { return false };
    star.is_empty()
        && rest.strip_prefix('.').is_some_and(|rest| rest.eq_ignore_ascii_case(domain))
        && rest.matches('.').count() >= 2
        && !label.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        for (pattern, host, covered) in [
            ("example.com", "EXAMPLE.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.com", "example.com", false),
            ("a*.example.com", "ab.example.com", false),
            ("*", "example", false),
        ] {
            assert_eq!(is_covered(pattern, host), covered, "{pattern} {host}");
        }
    }
}
