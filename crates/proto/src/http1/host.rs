//! The host of a request: `Host` header or authority, validated and normalised.

/// The host is no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Host name in lower case without port and trailing dot, and the port's digits where there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host<'h> {
    pub name: &'h [u8],
    pub port: Option<&'h [u8]>,
    /// The name has upper-case letters.
    pub needs_lowering: bool,
}

/// Checks a host against RFC 3986 as nginx does, with no two dots in a row and a port up to 65535.
pub fn parse_host(text: &[u8]) -> Result<Host<'_>, Invalid> {
    let (name, port) = split_port(text)?;
    let inner = name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]"));
    let allowed = NAME | if inner.is_some() { COLON } else { PERCENT };
    let mut seen = 0;
    let mut previous = 0;
    for &byte in inner.unwrap_or(name) {
        let class = CLASSES[usize::from(byte)];
        if class & allowed == 0 || (byte == b'.' && previous == b'.') {
            return Err(Invalid);
        }
        seen |= class;
        previous = byte;
    }
    let needs_lowering = seen & UPPER != 0;
    let name = name.strip_suffix(b".").unwrap_or(name);
    match name.is_empty() {
        true => Err(Invalid),
        false => Ok(Host { name, port, needs_lowering }),
    }
}

/// What a byte may be: part of any host, an upper-case letter, part of an address in brackets, part of a name.
const NAME: u8 = 1;
const UPPER: u8 = 1 << 1;
const COLON: u8 = 1 << 2;
const PERCENT: u8 = 1 << 3;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = class_of(byte as u8);
        byte += 1;
    }
    classes
};

const fn class_of(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => NAME | UPPER,
        b'a'..=b'z' | b'0'..=b'9' => NAME,
        b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' => NAME,
        b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => NAME,
        b':' => COLON,
        b'%' => PERCENT,
        _ => 0,
    }
}

fn split_port(text: &[u8]) -> Result<(&[u8], Option<&[u8]>), Invalid> {
    let after_literal = match text.first() {
        Some(b'[') => memchr::memchr(b']', text).ok_or(Invalid)? + 1,
        _ => 0,
    };
    match memchr::memchr(b':', &text[after_literal..]) {
        Some(colon) => {
            let colon = after_literal + colon;
            Ok((&text[..colon], port(&text[colon + 1..])?))
        }
        None => Ok((text, None)),
    }
}

fn port(digits: &[u8]) -> Result<Option<&[u8]>, Invalid> {
    let mut value = 0u32;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(Invalid);
        }
        value = value * 10 + u32::from(digit - b'0');
        if value > 65535 {
            return Err(Invalid);
        }
    }
    Ok(Some(digits).filter(|digits| !digits.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports() {
        let host = parse_host(b"Example.COM.:8080").unwrap();
        assert_eq!(
            (host.name, host.port, host.needs_lowering),
            (&b"Example.COM"[..], Some(&b"8080"[..]), true)
        );
        assert_eq!(parse_host(b"[::1]:80").unwrap().name, b"[::1]");
        assert_eq!(parse_host(b"a:").unwrap().port, None);
    }

    #[test]
    fn no_hosts() {
        for text in [
            "", ".", "a..b", "a/b", "a b", "[::1", "[a]b", "a:b", "a:65536", "[a/b]", "[::1].",
            "a..", ":80", "a@b",
        ] {
            assert_eq!(parse_host(text.as_bytes()), Err(Invalid), "{text:?}");
        }
    }
}
