//! Addresses of upstreams as they are written: `backend`, `127.0.0.1:8080/path`, `unix:/run/app.sock:/path`.

use std::net::{IpAddr, SocketAddr};

use daemun_core::address;
use daemun_core::listen::Address;
use daemun_sys::names;

/// What an address says, as nginx's ngx_parse_url reads it: no name has been looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// A name, an address (IPv6 with its brackets) or a socket's path.
    pub host: String,
    /// The port, or the protocol's; `None` where there is neither, and for UNIX sockets.
    pub port: Option<u16>,
    /// The port is written down.
    pub has_port: bool,
    /// From the first slash or question mark on; empty where there is none.
    pub uri: Vec<u8>,
    /// `None` for a name.
    pub address: Option<Address>,
}

impl Url {
    /// Reads `HOST[:PORT][URI]` without a scheme. The error is nginx's reason, to stand before `in upstream "…"`.
    pub fn parse(text: &[u8], default_port: Option<u16>) -> Result<Url, &'static str> {
        read(text, default_port, true)
    }

    /// As [`parse`](Self::parse), where no URI may follow.
    pub fn parse_server(text: &[u8], default_port: Option<u16>) -> Result<Url, &'static str> {
        read(text, default_port, false)
    }

    pub(crate) fn is_ip(&self) -> bool {
        matches!(self.address, Some(Address::Ip(_)))
    }

    /// The addresses it stands for; names are asked for at the system, which may block.
    pub fn resolve(&self) -> Result<Vec<Address>, &'static str> {
        match &self.address {
            Some(address) => Ok(vec![address.clone()]),
            None => look_up(&self.host, self.port.unwrap_or(0)),
        }
    }
}

/// All addresses of a name, in the system's order.
pub(crate) fn look_up(host: &str, port: u16) -> Result<Vec<Address>, &'static str> {
    let found = names::addresses(host).into_iter();
    let addresses: Vec<_> = found.map(|ip| Address::Ip(SocketAddr::new(ip, port))).collect();
    if addresses.is_empty() { Err("host not found") } else { Ok(addresses) }
}

/// The longest path of a UNIX socket, without the zero at its end.
const LONGEST_PATH: usize = 107;

fn read(text: &[u8], default_port: Option<u16>, takes_uri: bool) -> Result<Url, &'static str> {
    if let Some((scheme, path)) = text.split_at_checked(5)
        && scheme.eq_ignore_ascii_case(b"unix:")
    {
        return read_unix(path, takes_uri);
    }
    let (authority, uri) = split_uri(text);
    if !uri.is_empty() && !takes_uri {
        return Err("invalid host");
    }
    let authority = std::str::from_utf8(authority).map_err(|_| "invalid host")?;
    let (host, port) = split_port(authority)?;
    let port_number = match port {
        Some(port) => Some(read_port(port)?),
        None => default_port,
    };
    if host.is_empty() || host == "[]" {
        return Err("no host");
    }
    let address =
        literal(host)?.map(|ip| Address::Ip(SocketAddr::new(ip, port_number.unwrap_or(0))));
    Ok(Url {
        host: host.to_owned(),
        port: port_number,
        has_port: port.is_some(),
        uri: uri.to_vec(),
        address,
    })
}

fn read_unix(path: &[u8], takes_uri: bool) -> Result<Url, &'static str> {
    let colon = path.iter().position(|byte| *byte == b':').filter(|_| takes_uri);
    let (path, uri) = match colon {
        Some(colon) => (&path[..colon], &path[colon + 1..]),
        None => (path, &[][..]),
    };
    match path.len() {
        0 => return Err("no path in the unix domain socket"),
        1..=LONGEST_PATH => {}
        _ => return Err("too long path in the unix domain socket"),
    }
    let path = std::str::from_utf8(path).map_err(|_| "invalid host")?;
    Ok(Url {
        host: path.to_owned(),
        port: None,
        // what has no port cannot have been written with one that is refused
        has_port: true,
        uri: uri.to_vec(),
        address: Some(Address::Unix(path.into())),
    })
}

/// In front of the first slash or question mark; behind a bracket only a slash counts.
fn split_uri(text: &[u8]) -> (&[u8], &[u8]) {
    let end = match text.first() {
        Some(b'[') => {
            let bracket = text.iter().position(|byte| *byte == b']').unwrap_or(0);
            let slash = text[bracket..].iter().position(|byte| *byte == b'/');
            slash.map(|slash| bracket + slash)
        }
        _ => text.iter().position(|byte| matches!(byte, b'/' | b'?')),
    };
    text.split_at(end.unwrap_or(text.len()))
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    if !authority.starts_with('[') {
        return Ok(match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        });
    }
    let end = authority.find(']').ok_or("invalid host")? + 1;
    match &authority[end..] {
        "" => Ok((authority, None)),
        rest => match rest.strip_prefix(':') {
            Some(port) => Ok((&authority[..end], Some(port))),
            None => Err("invalid host"),
        },
    }
}

fn read_port(text: &str) -> Result<u16, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port @ 1..) if digits => Ok(port),
        _ => Err("invalid port"),
    }
}

/// The host as an address; `None` for a name.
fn literal(host: &str) -> Result<Option<IpAddr>, &'static str> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or(inner);
        let address = address::v6(inner).ok_or("invalid IPv6 address")?;
        return Ok(Some(address.into()));
    }
    Ok(address::v4(host).map(IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text.as_bytes(), Some(80)).unwrap()
    }

    #[test]
    fn names_have_ports_and_uris() {
        let plain = url("backend");
        assert_eq!((&*plain.host, plain.port, plain.has_port), ("backend", Some(80), false));
        assert_eq!((plain.uri, plain.address), (Vec::new(), None));
        let full = url("example.com:8080/a?b:c");
        assert_eq!((&*full.host, full.port, full.has_port), ("example.com", Some(8080), true));
        assert_eq!(full.uri, b"/a?b:c");
        assert_eq!(url("host?x=1").uri, b"?x=1");
    }

    #[test]
    fn addresses_need_no_look_up() {
        let address = |text: &str| url(text).resolve().unwrap().remove(0).to_string();
        assert_eq!(address("127.0.0.1"), "127.0.0.1:80");
        assert_eq!(address("127.0.0.01:81/"), "127.0.0.1:81");
        assert_eq!(address("[::1]:8080/x"), "[::1]:8080");
        assert_eq!(address("unix:/run/a.sock"), "unix:/run/a.sock");
        let socket = url("UNIX:/run/a.sock:/path");
        assert_eq!((&*socket.host, &*socket.uri), ("/run/a.sock", &b"/path"[..]));
        assert_eq!(url("1.2.3").address, None);
        assert_eq!(url("1.2.3.256").address, None);
    }

    #[test]
    fn what_is_wrong_is_told_in_nginx_words() {
        for (text, reason) in [
            ("", "no host"),
            (":80", "no host"),
            ("/path", "no host"),
            ("a:", "invalid port"),
            ("a:0", "invalid port"),
            ("a:65536", "invalid port"),
            ("a:+8", "invalid port"),
            ("a:80:81", "invalid port"),
            ("[::1", "invalid host"),
            ("[::1]8", "invalid host"),
            ("[]", "no host"),
            ("[1.2]", "invalid IPv6 address"),
            ("unix:", "no path in the unix domain socket"),
            ("unix::/x", "no path in the unix domain socket"),
        ] {
            assert_eq!(Url::parse(text.as_bytes(), None), Err(reason), "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        let reason = Err("too long path in the unix domain socket");
        assert_eq!(Url::parse(long.as_bytes(), None), reason);
        assert!(Url::parse(&long.as_bytes()[..long.len() - 1], None).is_ok());
        assert_eq!(Url::parse_server(b"a/b", None), Err("invalid host"));
    }
}
