//! Cuts bodies into the ranges that clients ask for (RFC 9110, section 14).
//!
//! ```nginx
//! max_ranges 10;
//! ```

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use daemun_core::module::Module;
use daemun_http::body::{Body, BodyStream, Chunk, NextChunk};
use daemun_http::head::Known;
use daemun_http::module::{Apply, Filter, HttpModule, always};
use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_proto::decimal::decimal;
use daemun_proto::http1::Version;

pub static MODULE: HttpModule = HttpModule {
    base: Module { name: "http_range_filter_module", directives: &[], settings: None },
    filters: &[Filter { applies: always, apply: Apply::Now(filter) }],
    ..HttpModule::EMPTY
};

/// A part of a body: its first byte and the one behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: u64,
    end: u64,
}

fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    let response = &request.response;
    let Some(length) = response.content_length else {
        return Ok(body);
    };
    if request.head.version() < Version::HTTP_10
        || response.status != Status::OK
        || !response.allows_ranges
        || request.is_subrequest()
    {
        return Ok(body);
    }
    let mut most = *request.core().sending.max_ranges;
    if most == Some(0) {
        return Ok(body);
    }
    if request.response.is_cut_once {
        most = Some(1);
    }
    let header = request.header(Known::Range).filter(|_| if_range_holds(request));
    let list = header.and_then(ranges_in_bytes);
    let parsed = list.map(|list| parse(list, length, most.unwrap_or(usize::MAX)));
    match parsed.unwrap_or(Parsed::Whole) {
        Parsed::Parts(parts) => Ok(cut(request, body, length, &parts)),
        Parsed::Whole => {
            let unit = Bytes::from_static(b"bytes");
            request.response.add("Accept-Ranges", unit);
            Ok(body)
        }
        Parsed::Unsatisfiable => {
            let value = format!("bytes */{length}");
            request.response.remove(b"Content-Range");
            request.response.add("Content-Range", value);
            Err(Status::RANGE_NOT_SATISFIABLE)
        }
    }
}

/// What stands behind `bytes=`.
fn ranges_in_bytes(header: &[u8]) -> Option<&[u8]> {
    let (unit, list) = header.split_at_checked(6)?;
    (unit.eq_ignore_ascii_case(b"bytes=") && !list.is_empty()).then_some(list)
}

/// `If-Range` has the entity tag, or exactly the time, of the body that there is.
fn if_range_holds(request: &Request) -> bool {
    let Some(condition) = request.header(Known::IfRange) else {
        return true;
    };
    if condition.len() >= 2 && condition.ends_with(b"\"") {
        return request.response.etag.as_ref().is_some_and(|etag| condition == etag);
    }
    match &request.response.last_modified {
        Some(modified) => modified.read(condition) == Some(modified.seconds()),
        None => false,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Parts(Vec<Part>),
    /// More than `max_ranges`, more bytes than the whole body has, or nothing to cut: the whole body is sent.
    Whole,
    /// None lies inside the body, or the list is no list.
    Unsatisfiable,
}

fn parse(list: &[u8], length: u64, most: usize) -> Parsed {
    let mut parts = Vec::new();
    let mut total = 0u64;
    for item in list.split(|byte| *byte == b',') {
        let Some(part) = parse_item(item, length) else {
            return Parsed::Unsatisfiable;
        };
        if part.start >= part.end {
            // An empty body has no bytes to be outside of.
            if part.start == 0 {
                return Parsed::Whole;
            }
            continue;
        }
        if parts.len() == most {
            return Parsed::Whole;
        }
        total = total.saturating_add(part.end - part.start);
        parts.push(part);
    }
    match parts.is_empty() {
        true => Parsed::Unsatisfiable,
        false if parts.len() > 1 && total > length => Parsed::Whole,
        // Without a limit on their number, what many small parts cost must not exceed the whole by much.
        false if most == usize::MAX && is_wasteful(&parts, total, length) => Parsed::Whole,
        false => Parsed::Parts(parts),
    }
}

/// As nginx reckons: 256 bytes for the head of a part, and 4 KB to spare.
fn is_wasteful(parts: &[Part], total: u64, length: u64) -> bool {
    parts.len() > 1 && total + 256 * parts.len() as u64 > length + 4096
}

/// One range, which is empty where it lies outside of the body; `None` is no range at all.
fn parse_item(item: &[u8], length: u64) -> Option<Part> {
    let blank = |byte: &u8| *byte == b' ';
    let item = &item[item.iter().take_while(|byte| blank(byte)).count()..];
    let dash = memchr::memchr(b'-', item)?;
    let first = trim_end(&item[..dash]);
    let last = &item[dash + 1..];
    let last = trim_end(&last[last.iter().take_while(|byte| blank(byte)).count()..]);
    if first.is_empty() {
        let suffix = decimal(last)?.min(length);
        return Some(Part { start: length - suffix, end: length });
    }
    let start = decimal(first)?;
    let end = if last.is_empty() { length } else { decimal(last)?.saturating_add(1).min(length) };
    Some(Part { start, end })
}

fn trim_end(text: &[u8]) -> &[u8] {
    let blank = text.iter().rev().take_while(|byte| **byte == b' ').count();
    &text[..text.len() - blank]
}

fn cut(request: &mut Request, body: Body, length: u64, parts: &[Part]) -> Body {
    let whole = match body {
        Body::Empty | Body::Relay(_) => return body,
        Body::One(chunk) => VecDeque::from([chunk]),
        Body::Many(chunks) => chunks,
        Body::Stream(_) => return cut_stream(request, body, length, parts),
    };
    request.response.status = Status::PARTIAL_CONTENT;
    if let [part] = parts {
        tell_range(request, *part, length);
        return body_of(slices(&whole, *part));
    }
    multipart(request, &whole, length, parts)
}

/// What is produced while it is sent can be cut once; who asks for more ranges gets everything.
fn cut_stream(request: &mut Request, body: Body, length: u64, parts: &[Part]) -> Body {
    let [part] = *parts else { return body };
    let mut body = body;
    let at = body.skip_to(part.start);
    request.response.status = Status::PARTIAL_CONTENT;
    tell_range(request, part, length);
    Body::stream(Cut { body, part, at })
}

fn tell_range(request: &mut Request, part: Part, length: u64) {
    request.response.content_length = Some(part.end - part.start);
    let value = format!("bytes {}-{}/{length}", part.start, part.end - 1);
    request.response.remove(b"Content-Range");
    request.response.add("Content-Range", value);
}

/// The chunks of a part.
fn slices(whole: &VecDeque<Chunk>, part: Part) -> VecDeque<Chunk> {
    let mut at = 0;
    let mut slices = VecDeque::new();
    for chunk in whole {
        slices.extend(slice(chunk, at, part));
        at += chunk.len();
    }
    slices
}

/// What a chunk that begins at `at` has of a part.
fn slice(chunk: &Chunk, at: u64, part: Part) -> Option<Chunk> {
    let start = part.start.clamp(at, at + chunk.len()) - at;
    let end = part.end.clamp(at, at + chunk.len()) - at;
    (start < end).then(|| chunk.slice(start, end - start))
}

fn body_of(mut chunks: VecDeque<Chunk>) -> Body {
    match (chunks.len(), chunks.pop_front()) {
        (1, Some(only)) => Body::One(only),
        (_, Some(first)) => {
            chunks.push_front(first);
            Body::Many(chunks)
        }
        (_, None) => Body::Empty,
    }
}

/// A part of a body that is produced while it is sent.
struct Cut {
    body: Body,
    part: Part,
    /// How much of the body has come.
    at: u64,
}

impl BodyStream for Cut {
    fn poll_next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        while self.at < self.part.end {
            let chunk = match ready!(self.body.poll_next(request, cx)) {
                Some(Ok(chunk)) => chunk,
                end => return Poll::Ready(end),
            };
            let slice = slice(&chunk, self.at, self.part);
            self.at += chunk.len();
            if let Some(slice) = slice {
                return Poll::Ready(Some(Ok(slice)));
            }
        }
        Poll::Ready(None)
    }
}

/// Several ranges go out as `multipart/byteranges`, each with its own head.
fn multipart(request: &mut Request, whole: &VecDeque<Chunk>, length: u64, parts: &[Part]) -> Body {
    static BOUNDARY: AtomicU64 = AtomicU64::new(1);
    let boundary = format!("{:020}", BOUNDARY.fetch_add(1, Ordering::Relaxed));
    let content_type = spelt_type(request);
    let mut chunks = VecDeque::with_capacity(2 * parts.len() + 1);
    for part in parts {
        let head = format!(
            "\r\n--{boundary}\r\n{content_type}Content-Range: bytes {}-{}/{length}\r\n\r\n",
            part.start,
            part.end - 1
        );
        chunks.push_back(Chunk::Bytes(head.into()));
        chunks.append(&mut slices(whole, *part));
    }
    chunks.push_back(Chunk::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    let response = &mut request.response;
    response.remove(b"Content-Range");
    response.content_type = Some(format!("multipart/byteranges; boundary={boundary}").into());
    response.charset = None;
    let body = Body::Many(chunks);
    response.content_length = body.len();
    body
}

fn spelt_type(request: &Request) -> String {
    let response = &request.response;
    let mut kind = Vec::new();
    match response.append_type(&mut kind) {
        true => format!("Content-Type: {}\r\n", String::from_utf8_lossy(&kind)),
        false => String::new(),
    }
}

/// The body of a fuzz target: whatever is parsed lies inside of the body.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let (length, list) = match data.split_first() {
        Some((length, list)) => (u64::from(*length), list),
        None => return,
    };
    if let Parsed::Parts(parts) = parse(list, length, 10) {
        assert!(parts.len() <= 10);
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(list: &str) -> Parsed {
        parse(list.as_bytes(), 100, 3)
    }

    #[test]
    fn a_part_may_lie_across_chunks() {
        let chunk = |text: &'static str| Chunk::Bytes(Bytes::from_static(text.as_bytes()));
        let whole = VecDeque::from([chunk("abc"), chunk(""), chunk("defg"), chunk("h")]);
        let cut = |start, end| {
            let slices = slices(&whole, Part { start, end });
            let texts = slices.iter().map(|slice| match slice {
                Chunk::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Chunk::File(_) => unreachable!("no chunk is a file"),
            });
            texts.collect::<Vec<_>>().join("|")
        };
        assert_eq!(cut(0, 8), "abc|defg|h");
        assert_eq!(cut(1, 2), "b");
        assert_eq!(cut(2, 4), "c|d");
        assert_eq!(cut(7, 8), "h");
    }

    #[test]
    fn ranges_that_clients_ask_for() {
        let one = |start, end| Parsed::Parts(vec![Part { start, end }]);
        assert_eq!(parts("0-9"), one(0, 10));
        assert_eq!(parts(" 90 - "), one(90, 100));
        assert_eq!(parts("-5"), one(95, 100));
        assert_eq!(parts("-500"), one(0, 100));
        assert_eq!(parts("50-500"), one(50, 100));
        assert_eq!(parts("200-,1-1"), one(1, 2));
        assert_eq!(parts("0-9223372036854775807"), one(0, 100));
    }

    #[test]
    fn ranges_that_are_not_served() {
        for list in ["", "a", "1", "5-2", "200-300", "-0", "1-2-3", "1-x", "99999999999999999999-"]
        {
            assert_eq!(parts(list), Parsed::Unsatisfiable, "{list:?}");
        }
        assert_eq!(parts("0-1,2-3,4-5,6-7"), Parsed::Whole);
        assert_eq!(parts("0-99,0-"), Parsed::Whole);
    }

    #[test]
    fn whatever_is_asked_for_lies_inside_the_body() {
        let digits = ["", "0", "5", "99", "100", "18446744073709551615", "-", "x"];
        for first in digits {
            for last in digits {
                for more in ["", ",", ",0-1", ", -3"] {
                    fuzz(format!("d{first}-{last}{more}").as_bytes());
                }
            }
        }
    }
}
