//! uwsgi packets: a request's parameters behind a head of four bytes.

/// The most bytes that parameters may have together.
pub const MOST: usize = u16::MAX as usize;

/// Appends a name and its value; each at most [`MOST`] bytes.
pub fn param(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for text in [name, value] {
        out.extend((text.len() as u16).to_le_bytes());
        out.extend_from_slice(text);
    }
}

/// Appends the packet, or says how long its parameters are where that is too long. `string` follows them as it is
/// (`uwsgi_string`).
pub fn request(
    modifiers: (u8, u8),
    params: &[u8],
    string: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), usize> {
    let length = params.len() + string.len();
    let size = u16::try_from(length).map_err(|_| length)?;
    let [low, high] = size.to_le_bytes();
    out.extend([modifiers.0, low, high, modifiers.1]);
    out.extend_from_slice(params);
    out.extend_from_slice(string);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_tells_its_size_and_its_modifiers() {
        let mut params = Vec::new();
        param(b"REQUEST_METHOD", b"GET", &mut params);
        let mut out = Vec::new();
        request((5, 6), &params, b"x", &mut out).unwrap();
        assert_eq!(out, b"\x05\x16\0\x06\x0e\0REQUEST_METHOD\x03\0GETx");
    }

    #[test]
    fn a_packet_has_an_end() {
        let mut out = Vec::new();
        assert_eq!(request((0, 0), &[b'x'; MOST], b"", &mut out), Ok(()));
        assert_eq!(request((0, 0), &[b'x'; MOST], b"y", &mut out), Err(MOST + 1));
    }
}
