//! The head of an upstream's response, as offsets into the bytes that came.

use std::num::NonZeroU16;

use bytes::Bytes;
use daemun_core::log;
use daemun_proto::decimal::decimal;
use daemun_proto::http1::header::{Invalid, Line};
use daemun_proto::http1::{HeaderLine, Parsed, Range, parse_response_header_line};

use super::field::{Field, SINGLE};
use crate::request::{Request, Text};

/// A response's head. Protocols fill it, line by line.
#[derive(Default)]
pub struct Head {
    pub status: u16,
    /// Code and reason as the upstream spelt them.
    pub status_text: Option<Range>,
    /// What the offsets mean, once the head is complete.
    pub bytes: Bytes,
    pub fields: Vec<(Field, HeaderLine)>,
    pub content_length: Option<u64>,
    pub is_chunked: bool,
    /// The upstream closes the connection behind the response.
    pub closes: bool,
    /// The places of fields that count once, from 1 on.
    single: [Option<NonZeroU16>; SINGLE],
}

impl Clone for Head {
    fn clone(&self) -> Head {
        let mut head = Head::default();
        head.clone_from(self);
        head
    }

    /// The storage stays.
    fn clone_from(&mut self, other: &Head) {
        let Head { status, status_text, bytes, fields, content_length, is_chunked, closes, single } =
            other;
        self.status = *status;
        self.status_text = *status_text;
        self.bytes.clone_from(bytes);
        self.fields.clone_from(fields);
        self.content_length = *content_length;
        self.is_chunked = *is_chunked;
        self.closes = *closes;
        self.single = *single;
    }
}

/// The response can't be understood, or contradicts itself. It has been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHead;

/// Reads the field, or the head's end, that stands at `at`, and goes on behind it.
///
/// Servers are known to send two status lines: as in nginx one in place of a field is passed over.
pub fn read_line(received: &[u8], at: &mut usize) -> Result<Parsed<Line>, Invalid> {
    loop {
        let parsed = parse_response_header_line(received, *at);
        match parsed {
            Ok(Parsed::Done(Line::Header(HeaderLine { is_odd: true, .. }), _)) | Err(_)
                if received[*at..].starts_with(b"HTTP/") => {}
            Ok(Parsed::Done(_, next)) => {
                *at = next;
                return parsed;
            }
            _ => return parsed,
        }
        let Some(end) = memchr::memchr(b'\n', &received[*at..]) else {
            return Ok(Parsed::Incomplete);
        };
        *at += end + 1;
    }
}

impl Head {
    pub fn clear(&mut self) {
        self.status = 0;
        self.status_text = None;
        self.bytes = Bytes::new();
        self.clear_fields();
    }

    /// Forgets the fields, and what they said.
    pub fn clear_fields(&mut self) {
        self.fields.clear();
        self.content_length = None;
        self.is_chunked = false;
        self.closes = false;
        self.single = [None; SINGLE];
    }

    /// Adds a line, whose offsets point into `bytes`.
    pub fn add(
        &mut self,
        request: &Request,
        bytes: &[u8],
        line: HeaderLine,
    ) -> Result<(), InvalidHead> {
        let name = line.name.of(bytes);
        // As in nginx a name without a single letter, digit, dash or underscore is none.
        if line.is_odd
            && !name.iter().any(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
        {
            return Ok(());
        }
        let mut field = Field::of(name);
        match field {
            Field::ContentLength => self.add_length(request, bytes, line)?,
            Field::TransferEncoding => self.add_encoding(request, bytes, line)?,
            Field::Connection => self.closes |= contains(line.value.of(bytes), b"close"),
            single if (single as usize) < SINGLE => {
                let place = &mut self.single[single as usize];
                match *place {
                    Some(first) => {
                        let first = self.fields[usize::from(first.get()) - 1].1;
                        tell_duplicate(request, bytes, line, first, true);
                        field = Field::Ignored;
                    }
                    None => {
                        *place = u16::try_from(self.fields.len() + 1).ok().and_then(NonZeroU16::new)
                    }
                }
            }
            _ => {}
        }
        self.fields.push((field, line));
        Ok(())
    }

    /// The value of a field that counts once.
    pub fn single(&self, field: Field) -> Option<Bytes> {
        let place = self.single[field as usize]?;
        let (_, line) = self.fields[usize::from(place.get()) - 1];
        Some(self.slice(line.value))
    }

    pub fn slice(&self, range: Range) -> Bytes {
        self.bytes.slice(range.start as usize..range.end as usize)
    }

    /// Names and values in the order they came.
    pub fn values(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let bytes = &self.bytes;
        self.fields.iter().map(move |(_, line)| (line.name.of(bytes), line.value.of(bytes)))
    }

    fn add_length(
        &mut self,
        request: &Request,
        bytes: &[u8],
        line: HeaderLine,
    ) -> Result<(), InvalidHead> {
        if self.content_length.is_some()
            && let Some(first) = self.earlier(Field::ContentLength)
        {
            tell_duplicate(request, bytes, line, first, false);
            return Err(InvalidHead);
        }
        if self.is_chunked {
            return both_framings(request);
        }
        self.content_length = decimal(line.value.of(bytes));
        if self.content_length.is_none() {
            log!(
                request.log(),
                Error,
                *request,
                "upstream sent invalid \"Content-Length\" header: \"{}: {}\"",
                Text(line.name.of(bytes)),
                Text(line.value.of(bytes))
            );
            return Err(InvalidHead);
        }
        Ok(())
    }

    fn add_encoding(
        &mut self,
        request: &Request,
        bytes: &[u8],
        line: HeaderLine,
    ) -> Result<(), InvalidHead> {
        if self.is_chunked
            && let Some(first) = self.earlier(Field::TransferEncoding)
        {
            tell_duplicate(request, bytes, line, first, false);
            return Err(InvalidHead);
        }
        if self.content_length.is_some() {
            return both_framings(request);
        }
        let value = line.value.of(bytes);
        if !value.eq_ignore_ascii_case(b"chunked") {
            log!(
                request.log(),
                Error,
                *request,
                "upstream sent unknown \"Transfer-Encoding\": \"{}\"",
                Text(value)
            );
            return Err(InvalidHead);
        }
        self.is_chunked = true;
        Ok(())
    }

    fn earlier(&self, wanted: Field) -> Option<HeaderLine> {
        let found = self.fields.iter().find(|(field, _)| *field == wanted);
        found.map(|(_, line)| *line)
    }
}

fn both_framings(request: &Request) -> Result<(), InvalidHead> {
    log!(
        request.log(),
        Error,
        *request,
        "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time"
    );
    Err(InvalidHead)
}

fn tell_duplicate(
    request: &Request,
    bytes: &[u8],
    line: HeaderLine,
    first: HeaderLine,
    is_ignored: bool,
) {
    let [name, value, first_name, first_value] =
        [line.name, line.value, first.name, first.value].map(|range| Text(range.of(bytes)));
    if is_ignored {
        log!(
            request.log(),
            Warn,
            *request,
            "upstream sent duplicate header line: \"{}: {}\", previous value: \"{}: {}\", ignored",
            name,
            value,
            first_name,
            first_value
        );
    } else {
        log!(
            request.log(),
            Error,
            *request,
            "upstream sent duplicate header line: \"{}: {}\", previous value: \"{}: {}\"",
            name,
            value,
            first_name,
            first_value
        );
    }
}

/// Whether `text` has `word` in it, in any case.
pub fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}
