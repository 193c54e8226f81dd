//! The client behind trusted proxies, as `X-Forwarded-For` and its like name it.

use std::net::{Ipv4Addr, SocketAddr};

use daemun_core::address;
use daemun_core::cidr::Cidr;
use daemun_event::Peer;

/// The client that `peer` speaks for; `None` where it is no proxy, or names nobody.
///
/// `values` are those of the fields, in their order. Each proxy adds the address of its own client at the end: the last
/// one counts, or `recursive`ly the last one that is no proxy.
pub fn client_behind(
    peer: Peer,
    values: &[&[u8]],
    proxies: &[Cidr],
    recursive: bool,
) -> Option<Peer> {
    let mut client = None;
    let fields = values.iter().rev().take(if recursive { usize::MAX } else { 1 });
    for value in fields {
        let mut rest = Some(*value);
        while let Some(list) = rest {
            let is_trusted = proxies.iter().any(|proxy| proxy.contains(client.unwrap_or(peer)));
            let (word, before) = last_word(list);
            let (true, Some(named)) = (is_trusted, parse(word)) else {
                return client;
            };
            client = Some(named);
            rest = before.filter(|_| recursive);
        }
    }
    client
}

/// An address with or without brackets, or one with a port: then IPv6 needs them.
pub fn parse(text: &[u8]) -> Option<Peer> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(peer) = parse_address(text, 0) {
        return Some(peer);
    }
    let (address, port) = match text.strip_prefix('[') {
        Some(inside) => match inside.split_once(']')? {
            (address, "") => return parse_address(address, 0),
            (address, rest) => (address, rest.strip_prefix(':')?),
        },
        None => text.split_once(':')?,
    };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_number && *port > 0)?;
    parse_address(address, port)
}

fn parse_address(text: &str, port: u16) -> Option<Peer> {
    let ip = address::ip(text)?;
    // nginx takes it for no address.
    (ip != Ipv4Addr::BROADCAST).then(|| Peer::from(SocketAddr::new(ip, port)))
}

/// The last word of a list, and what stands before the separator in front of it. As in nginx a separator at the very
/// front is part of the first word, which is then no address.
fn last_word(list: &[u8]) -> (&[u8], Option<&[u8]>) {
    let is_separator = |byte: &u8| matches!(byte, b' ' | b',');
    let trailing = list.iter().skip(1).rev().take_while(|byte| is_separator(byte)).count();
    let list = &list[..list.len() - trailing];
    match list.iter().skip(1).rposition(is_separator) {
        Some(at) => (&list[at + 2..], Some(&list[..at + 1])),
        None => (list, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(peer: &str, values: &[&str], recursive: bool) -> Option<String> {
        let proxies = ["127.0.0.1", "10.0.0.0/8"]
            .map(|range| Cidr::parse(range.as_bytes()).expect("a range").0);
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let peer = parse(peer.as_bytes()).unwrap();
        client_behind(peer, &values, &proxies, recursive).map(|client| client.to_string())
    }

    #[test]
    fn a_trusted_peer_names_its_client() {
        let one = |peer, value| behind(peer, &[value], false);
        assert_eq!(one("127.0.0.1", "192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(one("127.0.0.1", "192.0.2.1, 10.0.0.9").as_deref(), Some("10.0.0.9"));
        assert_eq!(one("127.0.0.1", "192.0.2.1:80, ").as_deref(), Some("192.0.2.1"));
        assert_eq!(one("127.0.0.1", "[2001:db8::1]:80").as_deref(), Some("2001:db8::1"));
        assert_eq!(one("127.0.0.1", "[2001:db8::1]").as_deref(), Some("2001:db8::1"));
        assert_eq!(one("192.0.2.9", "192.0.2.1"), None);
        for nonsense in ["", "unknown", ",192.0.2.1", "[192.0.2.1]x", "255.255.255.255"] {
            assert_eq!(one("127.0.0.1", nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn proxies_behind_proxies_are_followed_where_that_is_asked_for() {
        let all = |values: &[&str]| behind("127.0.0.1", values, true);
        assert_eq!(all(&["192.0.2.1, 10.0.0.2 ,10.0.0.1"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(all(&["192.0.2.1, 192.0.2.2, 10.0.0.1"]).as_deref(), Some("192.0.2.2"));
        assert_eq!(all(&["192.0.2.1", "10.0.0.1"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(all(&["192.0.2.1, x, 10.0.0.1"]).as_deref(), Some("10.0.0.1"));
        assert_eq!(behind("127.0.0.1", &["192.0.2.1", "10.0.0.1"], false).unwrap(), "10.0.0.1");
    }
}
