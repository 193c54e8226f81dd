//! Percent-encoding of URIs, as redirects carry them.

/// Appends a path with what may not stand in one escaped, as nginx does for redirects: controls, space, `"#%<>?\^`{|}`
/// and bytes beyond ASCII.
pub fn path(path: &[u8], out: &mut Vec<u8>) {
    for &byte in path {
        if needs_escape(byte) {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.extend_from_slice(&[
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        } else {
            out.push(byte);
        }
    }
}

fn needs_escape(byte: u8) -> bool {
    matches!(byte, 0..=0x20 | 0x7f.. | b'"' | b'#' | b'%' | b'<' | b'>' | b'?' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}
