//! Addresses as nginx reads them, in configurations and from clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 address.
pub fn ip(text: &str) -> Option<IpAddr> {
    match v4(text) {
        Some(address) => Some(address.into()),
        None => v6(text).map(IpAddr::V6),
    }
}

/// Four decimal numbers up to 255. Leading zeros mean nothing, and no digit is a zero.
pub fn v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        for digit in parts.next()?.bytes() {
            let digit = char::from(digit).to_digit(10)?;
            *octet = u8::try_from(u32::from(*octet) * 10 + digit).ok()?;
        }
    }
    parts.next().is_none().then(|| octets.into())
}

/// An IPv6 address, whose end may be an IPv4 address.
pub fn v6(text: &str) -> Option<Ipv6Addr> {
    let Some((front, end)) = text.rsplit_once(':').filter(|(_, end)| end.contains('.')) else {
        return text.parse().ok();
    };
    format!("{front}:{}", v4(end)?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_mean_nothing() {
        for (text, address) in [
            ("127.0.0.1", [127, 0, 0, 1]),
            ("127.000.000.001", [127, 0, 0, 1]),
            ("010.08.0255.00000000009", [10, 8, 255, 9]),
            ("1..2.", [1, 0, 2, 0]),
        ] {
            assert_eq!(ip(text), Some(IpAddr::from(address)), "{text}");
            assert_eq!(
                v6(&format!("::ffff:{text}")),
                Some(Ipv4Addr::from(address).to_ipv6_mapped())
            );
        }
        for text in
            ["", "1.2.3", "1.2.3.4.5", "256.0.0.1", "0x7f.0.0.1", "1.2.3.4 ", "+1.2.3.4", "a"]
        {
            assert_eq!(v4(text), None, "{text}");
        }
        assert_eq!(ip("2001:db8::1"), "2001:db8::1".parse().ok());
        assert_eq!(ip("::1.2.3"), None);
    }
}
