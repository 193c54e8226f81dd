//! Text made safe for what it is put into: URIs, HTML, JSON.

/// Appends a path with what may not stand in one escaped, as nginx does for redirects: controls, space, `"#%<>?\^`{|}`
/// and bytes beyond ASCII.
pub fn path(path: &[u8], out: &mut Vec<u8>) {
    for &byte in path {
        if needs_escape(byte) {
            out.push(b'%');
            push_hex(byte, out);
        } else {
            out.push(byte);
        }
    }
}

fn needs_escape(byte: u8) -> bool {
    matches!(byte, 0..=0x20 | 0x7f.. | b'"' | b'#' | b'%' | b'<' | b'>' | b'?' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// Appends text for a value in a query: what separates arguments is escaped too.
pub fn args(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if matches!(byte, 0..=0x20 | 0x7f.. | b'"' | b'#' | b'%' | b'&' | b'+' | b';' | b'<' | b'>' | b'?' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
        {
            out.push(b'%');
            push_hex(byte, out);
        } else {
            out.push(byte);
        }
    }
}

/// Appends a URI for an attribute in HTML: controls, space, `"%'` and bytes beyond ASCII are escaped.
pub fn attribute(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if matches!(byte, 0..=0x20 | 0x7f.. | b'"' | b'%' | b'\'') {
            out.push(b'%');
            push_hex(byte, out);
        } else {
            out.push(byte);
        }
    }
}

/// Appends a URI for a page that refreshes itself: what would end the attribute, or the URI, is escaped.
pub fn refresh(uri: &[u8], out: &mut Vec<u8>) {
    for &byte in uri {
        if matches!(byte, 0..=0x20 | 0x7f.. | b'"' | b'\'' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
        {
            out.push(b'%');
            push_hex(byte, out);
        } else {
            out.push(byte);
        }
    }
}

/// Appends text for HTML and XML.
pub fn html(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            _ => out.push(byte),
        }
    }
}

/// Appends text for the inside of a JSON string.
pub fn json(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                push_hex(byte, out);
            }
            _ => out.push(byte),
        }
    }
}

/// Whether JSON needs another spelling for the byte.
pub fn is_json_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends text as a segment of a URI: all but the unreserved characters of RFC 3986 is escaped.
pub fn component(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.push(b'%');
            push_hex(byte, out);
        }
    }
}

/// Two digits in upper case.
pub fn push_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(escape: fn(&[u8], &mut Vec<u8>), text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_redirect_keeps_its_slashes() {
        assert_eq!(escaped(path, b"/a b/?\xc3"), "/a%20b/%3F%C3");
    }

    #[test]
    fn each_format_has_its_own_dangers() {
        assert_eq!(escaped(args, b"/a=b&c+d e%\x7f"), "/a=b%26c%2Bd%20e%25%7F");
        assert_eq!(escaped(html, b"<a&\"b\">'"), "&lt;a&amp;&quot;b&quot;&gt;'");
        assert_eq!(escaped(json, b"\"\\\n\x1f\x08/"), "\\\"\\\\\\n\\u001F\\b/");
        assert_eq!(escaped(component, b"a b/~-._?\xc3"), "a%20b%2F~-._%3F%C3");
    }
}
