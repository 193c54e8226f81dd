//! The first line of a response (RFC 9112, section 4), as nginx reads it from those behind it.

use super::{Cursor, Parsed, Range, Version};

/// A status line as offsets into the buffer it was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusLine {
    pub version: Version,
    pub code: u16,
    /// The code and what stands behind it: `404 Not Found`.
    pub text: Range,
}

/// What came is no status line: old and odd servers begin with the body at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoStatusLine;

/// Reads the status line that begins at `start`.
pub fn parse_status_line(buffer: &[u8], start: usize) -> Result<Parsed<StatusLine>, NoStatusLine> {
    const PROTOCOL: &[u8] = b"HTTP/";
    let line = &buffer[start..];
    if !line.starts_with(PROTOCOL) {
        return match PROTOCOL.starts_with(line) {
            true => Ok(Parsed::Incomplete),
            false => Err(NoStatusLine),
        };
    }
    let mut cursor = Cursor::new(buffer, start + PROTOCOL.len());
    let Some(major) = number(&mut cursor, b'.', b'1')? else { return Ok(Parsed::Incomplete) };
    let Some(minor) = number(&mut cursor, b' ', b'0')? else { return Ok(Parsed::Incomplete) };
    cursor.skip_while(|byte| byte == b' ');
    let text = cursor.at;
    let mut code = 0;
    for _ in 0..3 {
        match cursor.peek() {
            None => return Ok(Parsed::Incomplete),
            Some(digit @ b'0'..=b'9') => code = code * 10 + u16::from(digit - b'0'),
            Some(_) => return Err(NoStatusLine),
        }
        cursor.at += 1;
    }
    match cursor.peek() {
        None => return Ok(Parsed::Incomplete),
        // IIS may send 403.1.
        Some(b' ' | b'.' | b'\r' | b'\n') => {}
        Some(_) => return Err(NoStatusLine),
    }
    cursor.skip_while(|byte| !matches!(byte, b'\r' | b'\n'));
    let end = cursor.at;
    if cursor.peek() == Some(b'\r') {
        cursor.at += 1;
    }
    match cursor.peek() {
        None => Ok(Parsed::Incomplete),
        Some(b'\n') => {
            let version = Version { major: u8::try_from(major).unwrap_or(u8::MAX), minor };
            let line = StatusLine { version, code, text: Range::new(text, end) };
            Ok(Parsed::Done(line, cursor.at + 1))
        }
        Some(_) => Err(NoStatusLine),
    }
}

/// A number of up to three digits and the byte that ends it; the first digit is `least` or more.
fn number(cursor: &mut Cursor<'_>, end: u8, least: u8) -> Result<Option<u16>, NoStatusLine> {
    let mut value = 0;
    let mut digits = 0;
    loop {
        let Some(byte) = cursor.peek() else { return Ok(None) };
        cursor.at += 1;
        match byte {
            _ if byte == end && digits > 0 => return Ok(Some(value)),
            b'0'..=b'9' if digits > 0 || byte >= least => {
                if value > 99 {
                    return Err(NoStatusLine);
                }
                value = value * 10 + u16::from(byte - b'0');
                digits += 1;
            }
            _ => return Err(NoStatusLine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<(u16, &str)>, NoStatusLine> {
        for cut in 0..line.len() {
            let early = parse_status_line(&line.as_bytes()[..cut], 0);
            assert!(!matches!(early, Ok(Parsed::Done(..))), "{line:?} cut at {cut}");
        }
        match parse_status_line(line.as_bytes(), 0)? {
            Parsed::Incomplete => Ok(None),
            Parsed::Done(parsed, end) => {
                assert_eq!(end, line.len());
                let text = std::str::from_utf8(parsed.text.of(line.as_bytes())).unwrap();
                Ok(Some((parsed.code, text)))
            }
        }
    }

    #[test]
    fn codes_and_reasons() {
        assert_eq!(parse("HTTP/1.1 200 OK\r\n"), Ok(Some((200, "200 OK"))));
        assert_eq!(parse("HTTP/1.0 404\n"), Ok(Some((404, "404"))));
        assert_eq!(parse("HTTP/1.1  204 \r\n"), Ok(Some((204, "204 "))));
        assert_eq!(parse("HTTP/1.1 403.7 no\r\n"), Ok(Some((403, "403.7 no"))));
        assert_eq!(parse("HTTP/1.1 200 O"), Ok(None));
    }

    #[test]
    fn what_is_no_status_line() {
        for line in [
            "hello\n",
            "HTTP/0.9 200 OK\r\n",
            "HTTP/1 200 OK\r\n",
            "HTTP/1.1 20x OK\r\n",
            "HTTP/1.1 2000\r\n",
            "HTTP/1.1 200 OK\rx",
            "HTTP/1000.1 200 OK\r\n",
        ] {
            assert_eq!(parse(line), Err(NoStatusLine), "{line:?}");
        }
    }
}
