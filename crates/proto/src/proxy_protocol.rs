//! The PROXY protocol, versions 1 and 2, as HAProxy's `proxy-protocol.txt` has it: who the client of a proxy is.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::http1::Parsed;

/// Both ends of the proxied connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'b> {
    /// The client's address, in version 1 as the proxy spells it.
    pub source: Cow<'b, [u8]>,
    pub source_port: u16,
    /// The address that the client connected to.
    pub destination: Cow<'b, [u8]>,
    pub destination_port: u16,
    /// What version 2 tells besides: types, lengths and values.
    pub tlvs: &'b [u8],
}

/// No header of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    Broken,
    Version(u8),
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

const TEXT: &[u8] = b"PROXY ";

/// The longest header of version 1.
const LONGEST_TEXT: usize = 107;

/// Reads the header at the front of `bytes`. One that names no ends, such as that of a proxy's own check, is `None`.
pub fn parse(bytes: &[u8]) -> Result<Parsed<Option<Header<'_>>>, Invalid> {
    if bytes.starts_with(SIGNATURE) {
        return binary(bytes);
    }
    if bytes.starts_with(TEXT) {
        return text(bytes);
    }
    match SIGNATURE.starts_with(bytes) || TEXT.starts_with(bytes) {
        true => Ok(Parsed::Incomplete),
        false => Err(Invalid::Broken),
    }
}

fn text(bytes: &[u8]) -> Result<Parsed<Option<Header<'_>>>, Invalid> {
    let within = &bytes[..bytes.len().min(LONGEST_TEXT)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return match bytes.len() < LONGEST_TEXT {
            true => Ok(Parsed::Incomplete),
            false => Err(Invalid::Broken),
        };
    };
    let line = bytes[TEXT.len()..end].strip_suffix(b"\r").ok_or(Invalid::Broken)?;
    if line.starts_with(b"UNKNOWN") {
        return Ok(Parsed::Done(None, end + 1));
    }
    let ends = line.strip_prefix(b"TCP4 ").or_else(|| line.strip_prefix(b"TCP6 "));
    let header = ends.and_then(text_ends).ok_or(Invalid::Broken)?;
    Ok(Parsed::Done(Some(header), end + 1))
}

/// `SOURCE DESTINATION PORT PORT`.
fn text_ends(ends: &[u8]) -> Option<Header<'_>> {
    let mut words = ends.splitn(4, |byte| *byte == b' ');
    let mut address = || {
        let word = words.next()?;
        let is_address = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        word.iter().all(is_address).then_some(Cow::Borrowed(word))
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || {
        let word = words.next()?;
        let is_number = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
        is_number.then(|| std::str::from_utf8(word).ok()?.parse().ok()).flatten()
    };
    let (source_port, destination_port) = (port()?, port()?);
    Some(Header { source, source_port, destination, destination_port, tlvs: &[] })
}

fn binary(bytes: &[u8]) -> Result<Parsed<Option<Header<'_>>>, Invalid> {
    let Some(&[kind, family, high, low]) = bytes.get(12..16) else {
        return match bytes.get(12).map(|kind| kind >> 4) {
            None | Some(2) => Ok(Parsed::Incomplete),
            Some(version) => Err(Invalid::Version(version)),
        };
    };
    if kind >> 4 != 2 {
        return Err(Invalid::Version(kind >> 4));
    }
    let end = 16 + usize::from(u16::from_be_bytes([high, low]));
    let Some(body) = bytes.get(16..end) else {
        return Ok(Parsed::Incomplete);
    };
    const PROXY: u8 = 1;
    let header = match (kind & 15, family) {
        (PROXY, 0x11) => {
            let (ends, tlvs) = body.split_first_chunk::<12>().ok_or(Invalid::Broken)?;
            let ip = |at: usize| Ipv4Addr::new(ends[at], ends[at + 1], ends[at + 2], ends[at + 3]);
            Some(binary_ends(ip(0).into(), ip(4).into(), &ends[8..], tlvs))
        }
        (PROXY, 0x21) => {
            let (ends, tlvs) = body.split_first_chunk::<36>().ok_or(Invalid::Broken)?;
            let ip = |at: usize| Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|i| ends[at + i]));
            Some(binary_ends(ip(0).into(), ip(16).into(), &ends[32..], tlvs))
        }
        _ => None,
    };
    Ok(Parsed::Done(header, end))
}

fn binary_ends<'b>(
    source: IpAddr,
    destination: IpAddr,
    ports: &[u8],
    tlvs: &'b [u8],
) -> Header<'b> {
    let text = |ip: IpAddr| Cow::Owned(ip.to_string().into_bytes());
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Header {
        source: text(source),
        source_port: port(0),
        destination: text(destination),
        destination_port: port(2),
        tlvs,
    }
}

/// Why a value of version 2 is not found where it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvFault {
    /// No type has that name.
    UnknownName,
    InvalidNumber,
    /// Lengths lead beyond the header's end.
    Broken,
}

/// The value of a type, by nginx's name for it or as `0x..`, with `ssl_` before those inside the type `ssl`.
pub fn tlv<'b>(tlvs: &'b [u8], name: &str) -> Result<Option<Cow<'b, [u8]>>, TlvFault> {
    let Some(name) = name.strip_prefix("ssl_") else {
        let kind = kind_of(name, &KINDS)?;
        return Ok(find(tlvs, kind)?.map(Cow::Borrowed));
    };
    let Some(ssl) = find(tlvs, SSL)? else {
        return Ok(None);
    };
    // A byte of flags, and the result of verification.
    let (front, inner) = ssl.split_first_chunk::<5>().ok_or(TlvFault::Broken)?;
    if name == "verify" {
        let [_, verify @ ..] = *front;
        return Ok(Some(u32::from_be_bytes(verify).to_string().into_bytes().into()));
    }
    let kind = kind_of(name, &SSL_KINDS)?;
    Ok(find(inner, kind)?.map(Cow::Borrowed))
}

const SSL: u32 = 0x20;

const KINDS: [(&str, u32); 5] =
    [("alpn", 0x01), ("authority", 0x02), ("unique_id", 0x05), ("ssl", SSL), ("netns", 0x30)];

const SSL_KINDS: [(&str, u32); 5] =
    [("version", 0x21), ("cn", 0x22), ("cipher", 0x23), ("sig_alg", 0x24), ("key_alg", 0x25)];

fn kind_of(name: &str, kinds: &[(&str, u32)]) -> Result<u32, TlvFault> {
    if let Some(digits) = name.strip_prefix("0x") {
        return u32::from_str_radix(digits, 16).map_err(|_| TlvFault::InvalidNumber);
    }
    let known = kinds.iter().find(|(known, _)| *known == name);
    known.map(|(_, kind)| *kind).ok_or(TlvFault::UnknownName)
}

fn find(mut tlvs: &[u8], wanted: u32) -> Result<Option<&[u8]>, TlvFault> {
    while !tlvs.is_empty() {
        let (&[kind, high, low], rest) = tlvs.split_first_chunk().ok_or(TlvFault::Broken)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(TlvFault::Broken)?;
        if u32::from(kind) == wanted {
            return Ok(Some(value));
        }
        tlvs = rest;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `source:port destination:port`, `none`, `incomplete` or what is wrong.
    fn read(bytes: &[u8]) -> String {
        crate::fuzz::proxy_header(bytes);
        match parse(bytes) {
            Ok(Parsed::Done(Some(header), end)) => {
                let text = |address: &[u8]| String::from_utf8_lossy(address).into_owned();
                format!(
                    "{}:{} {}:{} +{}",
                    text(&header.source),
                    header.source_port,
                    text(&header.destination),
                    header.destination_port,
                    bytes.len() - end
                )
            }
            Ok(Parsed::Done(None, end)) => format!("none +{}", bytes.len() - end),
            Ok(Parsed::Incomplete) => "incomplete".to_owned(),
            Err(invalid) => format!("{invalid:?}"),
        }
    }

    #[test]
    fn version_1_is_a_line() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\nGET", "192.0.2.1:123 192.0.2.2:5678 +3"),
            ("PROXY TCP6 2001:Db8::1 ::2 1 65535\r\n", "2001:Db8::1:1 ::2:65535 +0"),
            ("PROXY UNKNOWN\r\n", "none +0"),
            ("PROXY UNKNOWN 1 2 3\r\nG", "none +1"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678", "incomplete"),
            ("PRO", "incomplete"),
            ("", "incomplete"),
            ("GET / HTTP/1.1\r\n", "Broken"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\n", "Broken"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 123 65536\r\n", "Broken"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 1\r\n", "Broken"),
            ("PROXY TCP4 a.host 192.0.2.2 1 1\r\n", "Broken"),
            ("PROXY TCP5 192.0.2.1 192.0.2.2 1 1\r\n", "Broken"),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 1 1\r\n", "Broken"),
        ] {
            assert_eq!(read(line.as_bytes()), expected, "{line:?}");
        }
        assert_eq!(read(format!("PROXY TCP4 {}", "1".repeat(100)).as_bytes()), "Broken");
    }

    fn version_2(kind: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [SIGNATURE, &[kind, family], &length, body].concat()
    }

    #[test]
    fn version_2_is_binary() {
        let ends = [192, 0, 2, 1, 192, 0, 2, 2, 0, 123, 22, 46];
        let whole = version_2(0x21, 0x11, &ends);
        assert_eq!(read(&whole), "192.0.2.1:123 192.0.2.2:5678 +0");
        assert_eq!(read(&whole[..whole.len() - 1]), "incomplete");
        assert_eq!(read(&version_2(0x20, 0x00, &[])), "none +0");
        assert_eq!(read(&version_2(0x20, 0x11, &ends)), "none +0");
        assert_eq!(read(&version_2(0x21, 0x12, &ends)), "none +0");
        assert_eq!(read(&version_2(0x21, 0x31, &[0; 216])), "none +0");
        assert_eq!(read(&version_2(0x31, 0x11, &ends)), "Version(3)");
        assert_eq!(read(&version_2(0x21, 0x11, &ends[1..])), "Broken");
        let mut ends = [0; 36];
        (ends[15], ends[31], ends[33], ends[35]) = (1, 2, 3, 4);
        assert_eq!(read(&version_2(0x21, 0x21, &ends)), "::1:3 ::2:4 +0");
    }

    #[test]
    fn values_have_names() {
        let entry = |kind: u8, value: &[u8]| [&[kind, 0, value.len() as u8][..], value].concat();
        let ssl = [&[1, 0, 0, 0, 255][..], &entry(0x22, b"example.com")].concat();
        let tlvs = [entry(1, b"h2"), entry(0x20, &ssl), entry(0xae, b"own")].concat();
        let value = |name: &str| {
            let value = tlv(&tlvs, name)?;
            Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
        };
        for (name, expected) in [
            ("alpn", Some("h2")),
            ("0x01", Some("h2")),
            ("0x0001", Some("h2")),
            ("ssl_cn", Some("example.com")),
            ("ssl_0x22", Some("example.com")),
            ("ssl_verify", Some("255")),
            ("0xae", Some("own")),
            ("netns", None),
            ("ssl_version", None),
        ] {
            assert_eq!(value(name), Ok(expected.map(str::to_owned)), "{name}");
        }
        assert_eq!(value("cn"), Err(TlvFault::UnknownName));
        assert_eq!(value("0xg"), Err(TlvFault::InvalidNumber));
        assert_eq!(tlv(&[1, 0, 9, 1], "alpn"), Err(TlvFault::Broken));
    }
}
