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

/// Checks a host as nginx does: no slash, no control character, no two dots in a row, a port of digits up to 65535.
pub fn parse_host(text: &[u8]) -> Result<Host<'_>, Invalid> {
    let (name, port) = split_port(text)?;
    let name = match name.strip_suffix(b".") {
        Some(_) if name.len() == 1 => return Err(Invalid),
        Some(without_dot) => without_dot,
        None => name,
    };
    if name.is_empty() {
        return Err(Invalid);
    }
    let mut needs_lowering = false;
    let mut previous = 0;
    for &byte in name {
        match byte {
            b'.' if previous == b'.' => return Err(Invalid),
            b'A'..=b'Z' => needs_lowering = true,
            b'/' | 0..=0x20 | 0x7f => return Err(Invalid),
            _ => {}
        }
        previous = byte;
    }
    Ok(Host {
        name,
        port,
        needs_lowering,
    })
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
