//! HTTP/1.x and 0.9 as nginx reads them: RFC 9112 with nginx's tolerance (bare LF, leading blank lines).
//!
//! Parsers take what has arrived so far and answer [`Parsed::Incomplete`] where more is needed; they keep no
//! state, so that a waiting connection needs none.

pub mod chunked;
pub mod header;
pub mod host;
pub mod request_line;
pub mod status_line;
pub mod uri;

pub use header::{HeaderLine, parse_header_line, parse_response_header_line};
pub use request_line::{Method, RequestLine, Version, parse_request_line};
pub use status_line::{StatusLine, parse_status_line};

/// Offsets into the buffer that was parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub start: u32,
    pub end: u32,
}

impl Range {
    pub fn new(start: usize, end: usize) -> Range {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Range { start: start as u32, end: end as u32 }
    }

    pub fn of(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start as usize..self.end as usize]
    }

    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// What a parser makes of the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The value, and where the bytes after it begin.
    Done(T, usize),
    Incomplete,
}

/// Reads a buffer byte by byte; the end of the buffer ends every parser with `Incomplete`.
struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Cursor<'b> {
    fn new(bytes: &'b [u8], at: usize) -> Self {
        Cursor { bytes, at }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|byte| !accept(*byte)).unwrap_or(rest.len());
    }
}
