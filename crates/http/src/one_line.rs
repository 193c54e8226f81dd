//! Values for the lines of a head: none ends its line.
//!
//! What the configuration adds to a head may have a client's decoded bytes in it, as `$uri` has. Behind a line's end in
//! there a field of the client's own would follow, or a body. nginx sends such values as they are.

/// Appends a value without the bytes that end a line, or a string in what reads it.
#[inline]
pub fn append(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(value);
    if memchr::memchr3(b'\r', b'\n', 0, value).is_some() {
        drop_ends(out, start);
    }
}

/// Drops those bytes from what was appended since.
#[inline]
pub fn settle(out: &mut Vec<u8>, start: usize) {
    if memchr::memchr3(b'\r', b'\n', 0, &out[start..]).is_some() {
        drop_ends(out, start);
    }
}

/// The same for a URI, which must not name something else than it did: they are escaped.
#[inline]
pub fn settle_uri(out: &mut Vec<u8>, start: usize) {
    if memchr::memchr3(b'\r', b'\n', 0, &out[start..]).is_none() {
        return;
    }
    for byte in out.split_off(start) {
        if ends_line(byte) {
            out.push(b'%');
            crate::escape::push_hex(byte, out);
        } else {
            out.push(byte);
        }
    }
}

#[cold]
fn drop_ends(out: &mut Vec<u8>, start: usize) {
    let appended = out.split_off(start);
    out.extend(appended.into_iter().filter(|byte| !ends_line(*byte)));
}

fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_a_line_is_dropped() {
        let every: Vec<u8> = (0..=255).collect();
        let mut out = b"\r\n".to_vec();
        append(&every, &mut out);
        let mut settled = b"\r\n".to_vec();
        settled.extend_from_slice(&every);
        settle(&mut settled, 2);
        assert_eq!(out, settled);
        assert_eq!(out.len(), 2 + 256 - 3);
        assert_eq!(memchr::memchr3(b'\r', b'\n', 0, &out[2..]), None);
        settled.truncate(2);
        settled.extend_from_slice(b"/a\r\nb\0");
        settle_uri(&mut settled, 2);
        assert_eq!(settled, b"\r\n/a%0D%0Ab%00");
    }
}
