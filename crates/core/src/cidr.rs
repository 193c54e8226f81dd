//! Address ranges, as `allow`, `deny` and `debug_connection` name them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use daemun_event::Peer;

use crate::address;

/// A range of addresses, or all clients of UNIX sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cidr {
    V4 { network: u32, mask: u32 },
    V6 { network: u128, mask: u128 },
    Unix,
}

impl Cidr {
    /// Reads `unix:`, `ADDRESS` or `ADDRESS/BITS`; the flag tells that address bits below the mask were set, and
    /// are left out.
    pub fn parse(text: &[u8]) -> Option<(Cidr, bool)> {
        if text == b"unix:" {
            return Some((Cidr::Unix, false));
        }
        let text = std::str::from_utf8(text).ok()?;
        let Some((address, bits)) = text.split_once('/') else {
            return Some((Cidr::single(address::ip(text)?), false));
        };
        let bits = parse_bits(bits)?;
        match address::ip(address)? {
            IpAddr::V4(v4) if bits <= 32 => {
                let address = v4.to_bits();
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                let network = address & mask;
                Some((Cidr::V4 { network, mask }, network != address))
            }
            IpAddr::V6(v6) if bits <= 128 => {
                let address = v6.to_bits();
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                let network = address & mask;
                Some((Cidr::V6 { network, mask }, network != address))
            }
            _ => None,
        }
    }

    /// The range of one address.
    pub fn single(address: IpAddr) -> Cidr {
        match address {
            IpAddr::V4(v4) => Cidr::V4 { network: v4.to_bits(), mask: u32::MAX },
            IpAddr::V6(v6) => Cidr::V6 { network: v6.to_bits(), mask: u128::MAX },
        }
    }

    /// An IPv4 client that came over an IPv6 socket counts as one of its IPv4 address.
    pub fn contains(&self, peer: Peer) -> bool {
        match peer {
            Peer::Unix => *self == Cidr::Unix,
            Peer::V4(ip, _) => self.contains_v4(ip),
            Peer::V6(ip, _) => match ip.to_ipv4_mapped() {
                Some(ip) => self.contains_v4(ip),
                None => self.contains_v6(ip),
            },
        }
    }

    fn contains_v4(&self, ip: Ipv4Addr) -> bool {
        matches!(*self, Cidr::V4 { network, mask } if ip.to_bits() & mask == network)
    }

    fn contains_v6(&self, ip: Ipv6Addr) -> bool {
        matches!(*self, Cidr::V6 { network, mask } if ip.to_bits() & mask == network)
    }
}

/// Digits only: a sign is no part of a mask.
fn parse_bits(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(range: &str, client: &str) -> bool {
        let (cidr, _) = Cidr::parse(range.as_bytes()).unwrap();
        let client = match client {
            "unix:" => Peer::Unix,
            address => Peer::from(std::net::SocketAddr::new(address.parse().unwrap(), 1)),
        };
        cidr.contains(client)
    }

    #[test]
    fn ranges_contain_their_addresses() {
        assert!(contains("10.1.0.0/16", "10.1.255.255"));
        assert!(!contains("10.1.0.0/16", "10.2.0.0"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(contains("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(contains("unix:", "unix:"));
        assert!(!contains("::/0", "unix:"));
    }

    #[test]
    fn low_bits_are_noticed() {
        let stray = |text: &str| Cidr::parse(text.as_bytes()).map(|(_, stray)| stray);
        assert_eq!(stray("10.1.2.3/8"), Some(true));
        assert_eq!(stray("10.0.0.0/8"), Some(false));
        assert_eq!(stray("2001:db8::1/32"), Some(true));
        for wrong in ["10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0.0/", "10.0.0", "all"] {
            assert_eq!(stray(wrong), None, "{wrong}");
        }
    }
}
