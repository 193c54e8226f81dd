//! The framing of records (RFC 8446 section 5.1): five bytes that say what follows, and how long it is.

use crate::http1::Parsed;

/// The longest content of a record.
pub const MAX_CONTENT: usize = 16_384;

/// How much longer than its content a protected record may be in TLS 1.2. TLS 1.3 allows 256.
const MAX_EXPANSION: usize = 2048;

pub const HEADER: usize = 5;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Content {
    ChangeCipherSpec = 20,
    Alert = 21,
    Handshake = 22,
    ApplicationData = 23,
}

impl Content {
    pub fn of(byte: u8) -> Option<Content> {
        Some(match byte {
            20 => Content::ChangeCipherSpec,
            21 => Content::Alert,
            22 => Content::Handshake,
            23 => Content::ApplicationData,
            _ => return None,
        })
    }
}

/// The header of a record that is whole: the record ends at `end`, and the bytes from
/// [`HEADER`] on are its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub content: Content,
    pub end: usize,
}

/// No record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// A type that TLS has not: the peer speaks something else.
    Type,
    Version,
    /// More than a record may hold.
    TooLong,
}

/// Reads the header at the front of `bytes`.
pub fn parse(bytes: &[u8]) -> Result<Parsed<Record>, Invalid> {
    let [kind, rest @ ..] = bytes else { return Ok(Parsed::Incomplete) };
    let content = Content::of(*kind).ok_or(Invalid::Type)?;
    if rest.first().is_some_and(|major| *major != 3) {
        return Err(Invalid::Version);
    }
    let [_, _, high, low, ..] = rest else { return Ok(Parsed::Incomplete) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > MAX_CONTENT + MAX_EXPANSION {
        return Err(Invalid::TooLong);
    }
    let end = HEADER + length;
    match bytes.len() < end {
        true => Ok(Parsed::Incomplete),
        false => Ok(Parsed::Done(Record { content, end }, end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_whole_at_its_last_byte() {
        let bytes = [22, 3, 1, 0, 2, 9, 9, 7];
        for end in 0..7 {
            assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "{end} bytes");
        }
        let record = Record { content: Content::Handshake, end: 7 };
        assert_eq!(parse(&bytes), Ok(Parsed::Done(record, 7)));
    }

    #[test]
    fn what_is_no_record_is_known_at_once() {
        assert_eq!(parse(b"G"), Err(Invalid::Type));
        assert_eq!(parse(&[22, 2]), Err(Invalid::Version));
        assert_eq!(parse(&[23, 3, 3, 0x48, 1]), Err(Invalid::TooLong));
        assert_eq!(parse(&[23, 3, 3, 0x48, 0]), Ok(Parsed::Incomplete));
    }
}
