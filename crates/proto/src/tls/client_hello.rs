//! The first message of a handshake (RFC 8446 section 4.1.2), read before any key is chosen: it says
//! which server is meant, and what the client can do.

use super::record::{self, Content};
use crate::http1::Parsed;

/// What a client asks for. The slices borrow from the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello<'b> {
    /// `legacy_version`: what a client up to TLS 1.2 offers at most.
    pub version: u16,
    /// Two bytes each.
    pub cipher_suites: &'b [u8],
    /// The name in `server_name`, as it came; `None` where there is none.
    pub server_name: Option<&'b [u8]>,
    /// Names in `application_layer_protocol_negotiation`, each behind its length.
    pub alpn: &'b [u8],
    /// `supported_versions`, two bytes each.
    pub versions: &'b [u8],
    /// `supported_groups`, two bytes each.
    pub groups: &'b [u8],
    /// `signature_algorithms`, two bytes each.
    pub signature_algorithms: &'b [u8],
    /// There is an `early_data`.
    pub early_data: bool,
}

/// No hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Another message, or none of TLS.
    Unexpected,
    /// Lengths that contradict each other.
    Malformed,
    /// Longer than anybody needs.
    TooLong,
}

/// The longest hello: as OpenSSL has it (`SSL3_RT_MAX_PLAIN_LENGTH`).
pub const LONGEST: usize = 16_384;

const CLIENT_HELLO: u8 = 1;

/// The message at the front of a connection, which may be spread over several records: it is gathered in
/// `message`, which is cleared first. `Done` tells where its last record ends.
pub fn gather(bytes: &[u8], message: &mut Vec<u8>) -> Result<Parsed<()>, Invalid> {
    message.clear();
    let mut at = 0;
    loop {
        let (record, length) = match record::parse(&bytes[at..]) {
            Ok(Parsed::Done(record, length)) => (record, length),
            Ok(Parsed::Incomplete) => return Ok(Parsed::Incomplete),
            Err(record::Invalid::TooLong) => return Err(Invalid::TooLong),
            Err(_) => return Err(Invalid::Unexpected),
        };
        if record.content != Content::Handshake || length == record::HEADER {
            return Err(Invalid::Unexpected);
        }
        message.extend_from_slice(&bytes[at + record::HEADER..at + length]);
        at += length;
        if message[0] != CLIENT_HELLO {
            return Err(Invalid::Unexpected);
        }
        let Some(wanted) = message.get(1..4) else { continue };
        let wanted = usize::from(wanted[0]) << 16 | usize::from(wanted[1]) << 8;
        let wanted = 4 + (wanted | usize::from(message[3]));
        if wanted > LONGEST {
            return Err(Invalid::TooLong);
        }
        match message.len() {
            length if length < wanted => {}
            length if length == wanted => return Ok(Parsed::Done((), at)),
            _ => return Err(Invalid::Malformed),
        }
    }
}

/// Reads a whole message, header included.
pub fn parse(message: &[u8]) -> Result<ClientHello<'_>, Invalid> {
    read(message.get(4..).unwrap_or_default()).ok_or(Invalid::Malformed)
}

fn read(body: &[u8]) -> Option<ClientHello<'_>> {
    let mut rest = Reader(body);
    let mut hello = ClientHello { version: rest.number()?, ..ClientHello::default() };
    rest.take(32)?;
    rest.vector8()?;
    hello.cipher_suites = rest.vector16()?;
    rest.vector8()?;
    if rest.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(rest.vector16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let mut value = Reader(extensions.vector16()?);
        match kind {
            0 => hello.server_name = server_name(value)?,
            10 => hello.groups = value.vector16()?,
            13 => hello.signature_algorithms = value.vector16()?,
            16 => hello.alpn = value.vector16()?,
            42 => hello.early_data = true,
            43 => hello.versions = value.vector8()?,
            _ => {}
        }
    }
    rest.0.is_empty().then_some(hello)
}

/// The first name that is a host's.
fn server_name(mut value: Reader<'_>) -> Option<Option<&[u8]>> {
    let mut names = Reader(value.vector16()?);
    while !names.0.is_empty() {
        let kind = names.take(1)?[0];
        let name = names.vector16()?;
        if kind == 0 {
            return Some(Some(name));
        }
    }
    Some(None)
}

impl<'b> ClientHello<'b> {
    /// Names of the protocols that the client would speak, most wanted first.
    pub fn protocols(&self) -> impl Iterator<Item = &'b [u8]> {
        let mut names = Reader(self.alpn);
        std::iter::from_fn(move || names.vector8())
    }

    /// The highest version that the client offers: 0x0304 is TLS 1.3.
    pub fn highest_version(&self) -> u16 {
        let offered = pairs(self.versions).filter(|version| version & 0x0f0f != 0x0a0a);
        offered.max().unwrap_or(self.version)
    }
}

/// Numbers of two bytes each.
pub fn pairs(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair))
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn vector8(&mut self) -> Option<&'b [u8]> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    fn vector16(&mut self) -> Option<&'b [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(length_bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[8 - length_bytes..], content].concat()
    }

    fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(2, value)].concat()
    }

    fn message() -> Vec<u8> {
        let name = [&[0][..], &vector(2, b"example.org")].concat();
        let protocols = [vector(1, b"h2"), vector(1, b"http/1.1")].concat();
        let extensions = [
            extension(0, &vector(2, &name)),
            extension(16, &vector(2, &protocols)),
            extension(43, &vector(1, &[0x0a, 0x0a, 3, 4, 3, 3])),
            extension(10, &vector(2, &[0, 29])),
            extension(13, &vector(2, &[8, 4])),
            extension(42, b""),
        ];
        let body = [
            &[3, 3][..],
            &[7; 32],
            &vector(1, &[1; 32]),
            &vector(2, &[0x13, 1, 0x13, 2]),
            &vector(1, &[0]),
            &vector(2, &extensions.concat()),
        ];
        [&[CLIENT_HELLO][..], &vector(3, &body.concat())].concat()
    }

    fn in_records(message: &[u8], size: usize) -> Vec<u8> {
        let records =
            message.chunks(size).map(|piece| [&[22, 3, 1][..], &vector(2, piece)].concat());
        records.collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_hello_says_what_the_client_wants() {
        let message = message();
        let hello = parse(&message).unwrap();
        assert_eq!(hello.server_name, Some(&b"example.org"[..]));
        assert_eq!(hello.protocols().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
        assert_eq!(hello.highest_version(), 0x0304, "GREASE is no version");
        assert_eq!(pairs(hello.cipher_suites).collect::<Vec<_>>(), [0x1301, 0x1302]);
        assert_eq!((hello.groups, hello.signature_algorithms), (&[0, 29][..], &[8, 4][..]));
        assert!(hello.early_data);
    }

    #[test]
    fn a_hello_is_gathered_from_records_of_any_size() {
        let message = message();
        for size in [1, 3, 4, 50, message.len()] {
            let bytes = in_records(&message, size);
            let mut gathered = Vec::new();
            for end in 0..bytes.len() {
                assert_eq!(gather(&bytes[..end], &mut gathered), Ok(Parsed::Incomplete));
            }
            assert_eq!(gather(&bytes, &mut gathered), Ok(Parsed::Done((), bytes.len())));
            assert_eq!(gathered, message, "records of {size}");
        }
    }

    #[test]
    fn cut_and_contradicting_messages_are_refused() {
        let message = message();
        for end in 4..message.len() {
            // A hello may end behind its compression methods, as those before extensions did.
            let whole = 4 + 2 + 32 + 33 + 6 + 2;
            assert_eq!(parse(&message[..end]).is_ok(), end == whole, "{end} bytes");
        }
        let mut trailing = message.clone();
        trailing.push(0);
        let mut gathered = Vec::new();
        assert_eq!(gather(&in_records(&trailing, 9999), &mut gathered), Err(Invalid::Malformed));
        assert_eq!(gather(&[22, 3, 1, 0, 1, 2], &mut gathered), Err(Invalid::Unexpected));
        assert_eq!(gather(&[22, 3, 1, 0, 4, 1, 1, 0, 0], &mut gathered), Err(Invalid::TooLong));
        assert_eq!(gather(b"GET / HTTP/1.1", &mut gathered), Err(Invalid::Unexpected));
    }
}
