//! The request line: method, target, version.

use super::{Cursor, Parsed, Range};

/// A request method that the server knows by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Mkcol,
    Copy,
    Move,
    Options,
    Propfind,
    Proppatch,
    Lock,
    Unlock,
    Patch,
    Trace,
    Connect,
    #[default]
    Other,
}

impl Method {
    pub fn from_name(name: &[u8]) -> Method {
        match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"MKCOL" => Method::Mkcol,
            b"COPY" => Method::Copy,
            b"MOVE" => Method::Move,
            b"OPTIONS" => Method::Options,
            b"PROPFIND" => Method::Propfind,
            b"PROPPATCH" => Method::Proppatch,
            b"LOCK" => Method::Lock,
            b"UNLOCK" => Method::Unlock,
            b"PATCH" => Method::Patch,
            b"TRACE" => Method::Trace,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        }
    }
}

/// The protocol version that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u8,
    pub minor: u16,
}

impl Version {
    pub const HTTP_09: Version = Version { major: 0, minor: 9 };
    pub const HTTP_10: Version = Version { major: 1, minor: 0 };
    pub const HTTP_11: Version = Version { major: 1, minor: 1 };
    pub const HTTP_2: Version = Version { major: 2, minor: 0 };
}

impl Default for Version {
    fn default() -> Version {
        Version::HTTP_10
    }
}

/// A request line as offsets into the buffer it was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestLine {
    pub method: Method,
    pub method_name: Range,
    /// Everything up to the line's end.
    pub line: Range,
    /// Path and query; empty for an absolute target without a path, and for CONNECT.
    pub target: Range,
    /// Where the query begins, behind its question mark.
    pub query: Option<u32>,
    /// The scheme of an absolute target.
    pub scheme: Option<Range>,
    /// Host and port of an absolute target, or of CONNECT.
    pub authority: Option<Range>,
    pub version: Version,
    /// The path needs normalising: `//`, `/.`, `%`, or a fragment stands in it.
    pub is_complex: bool,
}

/// Why a request line is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    Method,
    Request,
    Version,
    /// HTTP/0.9 knows GET alone.
    Method09,
}

type Step<T> = Result<Option<T>, Invalid>;

/// Reads a request line that begins at `start`, behind any blank lines.
pub fn parse_request_line(buffer: &[u8], start: usize) -> Result<Parsed<RequestLine>, Invalid> {
    let mut cursor = Cursor::new(buffer, start);
    let mut line = RequestLine::default();
    match read_line(&mut cursor, &mut line)? {
        Some(()) if line.version == Version::HTTP_09 && line.method != Method::Get => {
            Err(Invalid::Method09)
        }
        Some(()) => Ok(Parsed::Done(line, cursor.at)),
        None => Ok(Parsed::Incomplete),
    }
}

/// `Ok(None)` from here and from every step below: the buffer ended.
fn read_line(cursor: &mut Cursor<'_>, line: &mut RequestLine) -> Step<()> {
    cursor.skip_while(|byte| byte == b'\r' || byte == b'\n');
    let start = cursor.at;
    let Some(()) = read_method(cursor, line)? else {
        return Ok(None);
    };
    let Some(()) = read_target(cursor, line)? else {
        return Ok(None);
    };
    let Some(end) = read_version(cursor, line)? else {
        return Ok(None);
    };
    line.line = Range::new(start, end);
    Ok(Some(()))
}

fn read_method(cursor: &mut Cursor<'_>, line: &mut RequestLine) -> Step<()> {
    let start = cursor.at;
    // What nearly every line begins with is taken in one look.
    if cursor.bytes[start..].starts_with(b"GET ") {
        line.method = Method::Get;
        cursor.at += b"GET".len();
    } else {
        cursor.skip_while(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte == b'-');
        let Some(next) = cursor.peek() else {
            return Ok(None);
        };
        if next != b' ' || cursor.at == start {
            return Err(Invalid::Method);
        }
        line.method = Method::from_name(&cursor.bytes[start..cursor.at]);
    }
    line.method_name = Range::new(start, cursor.at);
    cursor.skip_while(|byte| byte == b' ');
    Ok(Some(()))
}

fn read_target(cursor: &mut Cursor<'_>, line: &mut RequestLine) -> Step<()> {
    let Some(first) = cursor.peek() else {
        return Ok(None);
    };
    if line.method == Method::Connect {
        return read_authority(cursor, line);
    }
    if first.is_ascii_alphabetic() {
        return read_absolute(cursor, line);
    }
    if first != b'/' {
        return Err(Invalid::Request);
    }
    read_origin(cursor, line)
}

fn read_absolute(cursor: &mut Cursor<'_>, line: &mut RequestLine) -> Step<()> {
    let start = cursor.at;
    cursor.skip_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    line.scheme = Some(Range::new(start, cursor.at));
    for expected in *b"://" {
        let Some(byte) = cursor.peek() else {
            return Ok(None);
        };
        if byte != expected {
            return Err(Invalid::Request);
        }
        cursor.at += 1;
    }
    let Some(()) = read_authority(cursor, line)? else {
        return Ok(None);
    };
    match cursor.peek() {
        Some(b'/' | b'?') => read_origin(cursor, line),
        Some(b' ') => {
            line.target = Range::new(cursor.at, cursor.at);
            Ok(Some(()))
        }
        Some(_) => Err(Invalid::Request),
        None => Ok(None),
    }
}

fn read_authority(cursor: &mut Cursor<'_>, line: &mut RequestLine) -> Step<()> {
    let start = cursor.at;
    if cursor.peek() == Some(b'[') {
        cursor.at += 1;
        cursor.skip_while(is_ip_literal_byte);
        match cursor.peek() {
            Some(b']') => cursor.at += 1,
            Some(_) => return Err(Invalid::Request),
            None => return Ok(None),
        }
    } else {
        cursor.skip_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    }
    let mut has_port = false;
    if cursor.peek() == Some(b':') {
        cursor.at += 1;
        let digits = cursor.at;
        cursor.skip_while(|byte| byte.is_ascii_digit());
        has_port = cursor.at > digits;
    }
    let Some(next) = cursor.peek() else {
        return Ok(None);
    };
    line.authority = Some(Range::new(start, cursor.at));
    if line.method == Method::Connect {
        if !has_port || next != b' ' {
            return Err(Invalid::Request);
        }
        line.target = Range::new(cursor.at, cursor.at);
    }
    Ok(Some(()))
}

fn is_ip_literal_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-._~!$&'()*+,;=".contains(&byte)
}

/// What a byte of the target asks for; bytes of class 0 are passed over.
const PLAIN: u8 = 0;
const END: u8 = 1;
const SLASH: u8 = 2;
const COMPLEX: u8 = 3;
const QUERY: u8 = 4;
const REFUSED: u8 = 5;

static CLASS: [u8; 256] = {
    let mut class = [PLAIN; 256];
    let mut byte = 0;
    while byte < 0x20 {
        class[byte] = REFUSED;
        byte += 1;
    }
    class[0x7f] = REFUSED;
    class[b' ' as usize] = END;
    class[b'\r' as usize] = END;
    class[b'\n' as usize] = END;
    class[b'/' as usize] = SLASH;
    class[b'%' as usize] = COMPLEX;
    class[b'#' as usize] = COMPLEX;
    class[b'?' as usize] = QUERY;
    class
};

fn read_origin(cursor: &mut Cursor<'_>, line: &mut RequestLine) -> Step<()> {
    let start = cursor.at;
    while let Some(byte) = cursor.peek() {
        match CLASS[usize::from(byte)] {
            PLAIN => {}
            SLASH if line.query.is_none() => {
                line.is_complex |= matches!(cursor.bytes.get(cursor.at + 1), Some(b'/' | b'.'));
            }
            COMPLEX => line.is_complex |= line.query.is_none() || byte == b'#',
            QUERY => {
                line.query.get_or_insert(cursor.at as u32 + 1);
            }
            END => {
                line.target = Range::new(start, cursor.at);
                return Ok(Some(()));
            }
            REFUSED => return Err(Invalid::Request),
            _ => {}
        }
        cursor.at += 1;
    }
    Ok(None)
}

/// Reads from behind the target to the line's end, and returns where the line ends before CR or LF.
fn read_version(cursor: &mut Cursor<'_>, line: &mut RequestLine) -> Step<usize> {
    let before_spaces = cursor.at;
    cursor.skip_while(|byte| byte == b' ');
    let Some(next) = cursor.peek() else {
        return Ok(None);
    };
    if next == b'\r' || next == b'\n' {
        line.version = Version::HTTP_09;
        return read_line_end(cursor);
    }
    if cursor.at == before_spaces {
        return Err(Invalid::Request);
    }
    // What nearly every line ends with is taken in one look.
    if cursor.bytes[cursor.at..].starts_with(b"HTTP/1.1\r\n") {
        line.version = Version::HTTP_11;
        cursor.at += b"HTTP/1.1\r\n".len();
        return Ok(Some(cursor.at - b"\r\n".len()));
    }
    for expected in *b"HTTP/" {
        let Some(byte) = cursor.peek() else {
            return Ok(None);
        };
        if byte != expected {
            return Err(Invalid::Request);
        }
        cursor.at += 1;
    }
    let Some(()) = read_major(cursor)? else {
        return Ok(None);
    };
    let Some(minor) = read_minor(cursor)? else {
        return Ok(None);
    };
    line.version = Version { major: 1, minor };
    let end = cursor.at;
    cursor.skip_while(|byte| byte == b' ');
    Ok(read_line_end(cursor)?.map(|at| if at > end { at } else { end }))
}

/// The major version, which can only be 1, and the dot behind it.
fn read_major(cursor: &mut Cursor<'_>) -> Step<()> {
    match cursor.peek() {
        Some(b'1') => cursor.at += 1,
        Some(b'2'..=b'9') => return Err(Invalid::Version),
        Some(_) => return Err(Invalid::Request),
        None => return Ok(None),
    }
    match cursor.peek() {
        Some(b'.') => cursor.at += 1,
        Some(b'0'..=b'9') => return Err(Invalid::Version),
        Some(_) => return Err(Invalid::Request),
        None => return Ok(None),
    }
    Ok(Some(()))
}

/// Up to three digits, as nginx reads them.
fn read_minor(cursor: &mut Cursor<'_>) -> Step<u16> {
    let mut minor = 0u16;
    let start = cursor.at;
    while let Some(byte @ b'0'..=b'9') = cursor.peek() {
        if minor > 99 {
            return Err(Invalid::Request);
        }
        minor = minor * 10 + u16::from(byte - b'0');
        cursor.at += 1;
    }
    match cursor.peek() {
        None => Ok(None),
        Some(_) if cursor.at == start => Err(Invalid::Request),
        Some(_) => Ok(Some(minor)),
    }
}

fn read_line_end(cursor: &mut Cursor<'_>) -> Step<usize> {
    let end = cursor.at;
    if cursor.peek() == Some(b'\r') {
        cursor.at += 1;
    }
    match cursor.peek() {
        Some(b'\n') => {
            cursor.at += 1;
            Ok(Some(end))
        }
        Some(_) => Err(Invalid::Request),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Parsed<RequestLine>, Invalid> {
        for cut in 0..text.len() {
            if let Ok(Parsed::Done(..)) = parse_request_line(&text.as_bytes()[..cut], 0) {
                panic!("{text:?} cut at {cut} is no whole line");
            }
        }
        parse_request_line(text.as_bytes(), 0)
    }

    fn line(text: &str) -> RequestLine {
        match parse(text) {
            Ok(Parsed::Done(line, end)) => {
                assert_eq!(end, text.len());
                line
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_plain_request() {
        let text = "\r\nGET /a/b.html?x=/../1 HTTP/1.1\r\n";
        let line = line(text);
        assert_eq!(line.method, Method::Get);
        assert_eq!(line.target.of(text.as_bytes()), b"/a/b.html?x=/../1");
        assert_eq!(line.line.of(text.as_bytes()), text.trim().as_bytes());
        assert_eq!(line.version, Version::HTTP_11);
        assert_eq!(line.query, Some(16));
        assert!(!line.is_complex);
    }

    #[test]
    fn an_absolute_target_and_an_authority() {
        let text = "GET HTTP://[::1]:80?q HTTP/1.0\n";
        let absolute = line(text);
        assert_eq!(absolute.authority.map(|host| host.of(text.as_bytes())), Some(&b"[::1]:80"[..]));
        assert_eq!(absolute.target.of(text.as_bytes()), b"?q");
        assert!(line("GET http://a HTTP/1.0\n").target.is_empty());
        assert!(line("CONNECT a:443 HTTP/1.1\r\n").authority.is_some());
        assert_eq!(parse("CONNECT a HTTP/1.1\r\n"), Err(Invalid::Request));
    }

    #[test]
    fn versions() {
        assert_eq!(line("GET /\r\n").version, Version::HTTP_09);
        assert_eq!(line("GET / HTTP/1.9  \r\n").version.minor, 9);
        assert_eq!(parse("HEAD /\r\n"), Err(Invalid::Method09));
        assert_eq!(parse("GET / HTTP/2.0\r\n"), Err(Invalid::Version));
        assert_eq!(parse("GET / HTTP/12\r\n"), Err(Invalid::Version));
        assert_eq!(parse("GET / HTTP/0.9\r\n"), Err(Invalid::Request));
        assert_eq!(parse("GET / HTTX\r\n"), Err(Invalid::Request));
        assert_eq!(parse("GET / HTTP/1.1\rx"), Err(Invalid::Request));
    }

    #[test]
    fn complex_targets() {
        for target in ["/./a", "//", "/a/../b", "/%41", "/a#b", "/a?b#c"] {
            assert!(line(&format!("GET {target} HTTP/1.1\r\n")).is_complex, "{target}");
        }
        assert!(!line("GET /a.b/c?//./%20 HTTP/1.1\r\n").is_complex);
    }

    #[test]
    fn refused_at_the_first_wrong_byte() {
        assert_eq!(parse("\x16\x03\x01"), Err(Invalid::Method));
        assert_eq!(parse("get /"), Err(Invalid::Method));
        assert_eq!(parse("GET \x01"), Err(Invalid::Request));
        assert_eq!(parse("GET /a\x7f"), Err(Invalid::Request));
        assert_eq!(parse("GET /a b"), Err(Invalid::Request));
    }
}
