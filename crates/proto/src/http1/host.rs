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
    let extra = if inner.is_some() { b':' } else { b'%' };
    let mut needs_lowering = false;
    let mut previous = 0;
    for &byte in inner.unwrap_or(name) {
        needs_lowering |= byte.is_ascii_uppercase();
        let allowed =
            byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte) || byte == extra;
        if !allowed || (byte == b'.' && previous == b'.') {
            return Err(Invalid);
        }
        previous = byte;
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    match name.is_empty() {
        true => Err(Invalid),
        false => Ok(Host { name, port, needs_lowering }),
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
