//! Text made safe for what it is put into: URIs, HTML, JSON.

/// Bytes that a URI may not have anywhere: controls, space, and what is not ASCII.
const NEVER: Set = Set::NONE.with_range(0, 0x20).with_range(0x7f, 0xff);
const PATH: Set = NEVER.with(b"\"#%<>?\\^`{|}");
const ARGS: Set = PATH.with(b"&+;");
const ATTRIBUTE: Set = NEVER.with(b"\"#%'<>\\^`{|}");
/// nginx takes the tilde for the closing brace here.
const REFRESH: Set = NEVER.with(b"\"'<>\\^`{|~");
const COMPONENT: Set = PATH.with(b"!$&'()*+,/:;=@[]");

/// Appends a path with what may not stand in one escaped, as in redirects.
pub fn path(path: &[u8], out: &mut Vec<u8>) {
    PATH.escape(path, out);
}

/// Appends text for a value in a query: what separates arguments is escaped too.
pub fn args(text: &[u8], out: &mut Vec<u8>) {
    ARGS.escape(text, out);
}

/// Appends a URI for an attribute in HTML: what would end it is escaped, what separates the URI's parts is not.
pub fn attribute(text: &[u8], out: &mut Vec<u8>) {
    ATTRIBUTE.escape(text, out);
}

/// Appends a URI for a page that refreshes itself: what would end the attribute, or the URI, is escaped.
pub fn refresh(uri: &[u8], out: &mut Vec<u8>) {
    REFRESH.escape(uri, out);
}

/// Appends text as a segment of a URI: all but the unreserved characters of RFC 3986 is escaped.
pub fn component(text: &[u8], out: &mut Vec<u8>) {
    COMPONENT.escape(text, out);
}

/// The bytes that a place does not take as they are.
struct Set([bool; 256]);

impl Set {
    const NONE: Set = Set([false; 256]);

    const fn with_range(mut self, first: usize, last: usize) -> Set {
        let mut byte = first;
        while byte <= last {
            self.0[byte] = true;
            byte += 1;
        }
        self
    }

    const fn with(&self, bytes: &[u8]) -> Set {
        let mut set = Set(self.0);
        let mut at = 0;
        while at < bytes.len() {
            set.0[bytes[at] as usize] = true;
            at += 1;
        }
        set
    }

    fn escape(&self, text: &[u8], out: &mut Vec<u8>) {
        for &byte in text {
            if self.0[usize::from(byte)] {
                out.push(b'%');
                push_hex(byte, out);
            } else {
                out.push(byte);
            }
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

    /// Every byte, by nginx's tables: 32 bits for each 32 bytes, the lowest for the first.
    #[test]
    fn tables_are_nginx_s() {
        let html_of = |byte: u8| matches!(byte, b'<' | b'>' | b'&' | b'"');
        type Escape = fn(&[u8], &mut Vec<u8>);
        let tables: [(&str, Escape, [u32; 3]); 5] = [
            ("uri", path, [0xd000_002d, 0x5000_0000, 0xb800_0001]),
            ("args", args, [0xd800_086d, 0x5000_0000, 0xb800_0001]),
            ("uri component", component, [0xfc00_9fff, 0x7800_0001, 0xb800_0001]),
            ("html", attribute, [0x5000_00ad, 0x5000_0000, 0xb800_0001]),
            ("refresh", refresh, [0x5000_0085, 0x5000_0000, 0xd800_0001]),
        ];
        for byte in 0..=255u8 {
            for (name, escape, table) in tables {
                let is_escaped = match byte {
                    0..=0x1f | 0x80.. => true,
                    _ => table[usize::from(byte >> 5) - 1] & (1 << (byte & 31)) != 0,
                };
                let mut out = Vec::new();
                escape(&[byte], &mut out);
                let expected = if is_escaped { format!("%{byte:02X}").into() } else { vec![byte] };
                assert_eq!(out, expected, "{name} {byte:#x}");
            }
            let mut out = Vec::new();
            html(&[byte], &mut out);
            assert_eq!(out != [byte], html_of(byte), "html {byte:#x}");
            out.clear();
            json(&[byte], &mut out);
            assert_eq!(out != [byte], is_json_special(byte), "json {byte:#x}");
        }
    }

    #[test]
    fn each_format_has_its_own_dangers() {
        assert_eq!(escaped(args, b"/a=b&c+d e%\x7f"), "/a=b%26c%2Bd%20e%25%7F");
        assert_eq!(escaped(html, b"<a&\"b\">'"), "&lt;a&amp;&quot;b&quot;&gt;'");
        assert_eq!(escaped(json, b"\"\\\n\x1f\x08/"), "\\\"\\\\\\n\\u001F\\b/");
        assert_eq!(escaped(component, b"a b/~-._?\xc3"), "a%20b%2F~-._%3F%C3");
    }
}
