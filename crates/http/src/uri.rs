//! URIs that come by other ways than request lines.

use daemun_core::log;

use crate::request::{Request, Text};

/// The URI leads out of where it belongs.
#[derive(Debug)]
pub struct Unsafe;

/// Splits a URI that a client or a page gave from its query, unescapes it, and refuses one that leads upwards, which is
/// logged.
pub fn split_unsafe(request: &Request, uri: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Unsafe> {
    let unsafe_uri = |uri: &[u8]| {
        log!(request.log(), Error, *request, "unsafe URI \"{}\" was detected", Text(uri));
        Err(Unsafe)
    };
    let (path, args) = match memchr::memchr(b'?', uri) {
        Some(mark) => (&uri[..mark], &uri[mark + 1..]),
        None => (uri, &b""[..]),
    };
    if path.is_empty() || leads_upwards(path) {
        return unsafe_uri(uri);
    }
    let path = unescape(path);
    if leads_upwards(&path) {
        return unsafe_uri(&path);
    }
    Ok((path, args.to_vec()))
}

fn leads_upwards(path: &[u8]) -> bool {
    path.contains(&0) || path.split(|byte| *byte == b'/').any(|segment| segment == b"..")
}

/// What is no escape stays as it is.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = tail.get(..2).filter(|_| byte == b'%');
        let escaped = escaped.and_then(|digits| str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_unescaped() {
        assert_eq!(unescape(b"/a%20b%2f%zz%4"), b"/a b/%zz%4");
        assert!(leads_upwards(b"/a/../b") && leads_upwards(b"..") && !leads_upwards(b"/a..b/..."));
    }
}
