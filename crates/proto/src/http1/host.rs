//! The host of a request: `Host` header or authority, validated and normalised.

/// The host is no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Host name in lower case without port and trailing dot, and the port where there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host<'h> {
    pub name: &'h [u8],
    pub port: Option<u16>,
    /// The name has upper-case letters.
    pub needs_lowering: bool,
}

/// Checks a host against RFC 3986 as nginx does, with no two dots in a row and a port up to 65535.
pub fn parse_host(text: &[u8]) -> Result<Host<'_>, Invalid> {
    let (inner, allowed, rest) = match text.strip_prefix(b"[") {
        Some(literal) => {
            let end = memchr::memchr(b']', literal).ok_or(Invalid)?;
            (&literal[..end], NAME | COLON, &literal[end + 1..])
        }
        None => {
            // Hosts are short: a plain loop is over before a search with vectors has begun.
            let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
            (&text[..end], NAME | PERCENT, &text[end..])
        }
    };
    let (mut seen, mut previous) = (0, 0);
    for byte in inner {
        let class = CLASSES[usize::from(*byte)];
        if class & allowed == 0 || class & previous & DOT != 0 {
            return Err(Invalid);
        }
        seen |= class;
        previous = class;
    }
    let name = &text[..text.len() - rest.len()];
    let name = name.strip_suffix(b".").unwrap_or(name);
    let port = match rest {
        [] => None,
        [b':', digits @ ..] => port(digits)?,
        _ => return Err(Invalid),
    };
    match name.is_empty() {
        true => Err(Invalid),
        false => Ok(Host { name, port, needs_lowering: seen & UPPER != 0 }),
    }
}

fn port(digits: &[u8]) -> Result<Option<u16>, Invalid> {
    let mut value = 0u32;
    for digit in digits {
        value = value * 10 + u32::from(digit.wrapping_sub(b'0'));
        if !digit.is_ascii_digit() || value > u32::from(u16::MAX) {
            return Err(Invalid);
        }
    }
    Ok((!digits.is_empty()).then_some(value as u16))
}

/// What a byte may be: part of any host, an upper-case letter, part of an address in brackets, part of a name, a dot.
const NAME: u8 = 1;
const UPPER: u8 = 1 << 1;
const COLON: u8 = 1 << 2;
const PERCENT: u8 = 1 << 3;
const DOT: u8 = 1 << 4;

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
        b'.' => NAME | DOT,
        b'-' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' => NAME,
        b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => NAME,
        b':' => COLON,
        b'%' => PERCENT,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports() {
        let host = parse_host(b"Example.COM.:8080").unwrap();
        assert_eq!(
            (host.name, host.port, host.needs_lowering),
            (&b"Example.COM"[..], Some(8080), true)
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
