//! `slice`: responses are asked for in pieces of one size, each of which a cache may have.
//!
//! ```nginx
//! slice             1m;
//! proxy_set_header  Range $slice_range;
//! proxy_cache_key   $uri$is_args$args$slice_range;
//! proxy_cache_valid 200 206 1h;
//! ```

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};
use daemun_http::body::{self, Body, BodyStream, NextChunk};
use daemun_http::head::Known;
use daemun_http::module::{Apply, Filter, HttpModule, Later, Variable};
use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_http::subrequest::Subrequest;
use daemun_proto::decimal::decimal;

settings! {
    pub struct Settings {
        /// 0: responses are asked for whole.
        size: usize = 0,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_slice_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "slice" in HTTP_SERVER_LOCATION, Exactly(1), "0", set!(SETTINGS.size, values::size),
                "The size of the pieces that responses are asked for in; 0 is all at once.";
        },
    },
    variables: &[Variable::new("slice_range", |r, _, out| append_range(r, out))],
    filters: &[Filter {
        applies: |settings| *settings.of(&SETTINGS).size > 0,
        apply: Apply::Now(filter),
    }],
    ..HttpModule::EMPTY
};

/// The piece that a request asks for; `None` until somebody wants to know.
#[derive(Default)]
struct Asked(Option<u64>);

/// `$slice_range`.
fn append_range(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let size = *request.settings(&SETTINGS).size as u64;
    let known = request.known_context::<Asked>(&SETTINGS).and_then(|asked| asked.0);
    let has_answer = request.response.status != Status::default();
    if size == 0 || known.is_none() && (request.is_subrequest() || has_answer) {
        return false;
    }
    let start = known.unwrap_or_else(|| first_wanted(request) / size * size);
    request.context::<Asked>(&SETTINGS).0 = Some(start);
    out.extend_from_slice(format!("bytes={start}-{}", start + size - 1).as_bytes());
    true
}

/// Where the client's range begins, so far as that is known before the length is.
fn first_wanted(request: &Request) -> u64 {
    let Some(range) = request.header(Known::Range) else { return 0 };
    let Some((unit, list)) = range.split_at_checked(6) else { return 0 };
    let is_one = unit.eq_ignore_ascii_case(b"bytes=") && !list.contains(&b',');
    if !is_one || request.header(Known::IfRange).is_some() {
        return 0;
    }
    let list = list.trim_ascii_start();
    let digits = list.iter().take_while(|byte| byte.is_ascii_digit()).count();
    decimal(&list[..digits]).unwrap_or(0)
}

/// Makes one response of the pieces, of which the first has come.
fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    let Some(start) = request.known_context::<Asked>(&SETTINGS).and_then(|asked| asked.0) else {
        return Ok(body);
    };
    if request.is_subrequest() {
        return Ok(body);
    }
    if request.response.status != Status::PARTIAL_CONTENT {
        request.context::<Asked>(&SETTINGS).0 = None;
        return Ok(body);
    }
    let size = *request.settings(&SETTINGS).size as u64;
    let again = request.upstream.as_ref().and_then(|record| record.handler);
    let (Some(again), Some((end, length))) = (again, check(request, start, size, None)) else {
        return Err(Status::CLOSE);
    };
    let response = &mut request.response;
    response.status = Status::OK;
    response.status_text = None;
    response.content_length = Some(length);
    response.remove(b"Content-Range");
    response.remove(b"Accept-Ranges");
    response.allows_ranges = true;
    response.is_cut_once = true;
    let etag = response.etag.clone();
    Ok(Body::stream(Slices {
        again,
        size,
        length,
        etag,
        start,
        end,
        piece: Piece::First(body),
        is_placed: false,
    }))
}

/// Whether a piece is the one that was asked for: its end, and the length of the whole. What is wrong is logged.
fn check(request: &Request, start: u64, size: u64, etag: Option<&Bytes>) -> Option<(u64, u64)> {
    let response = &request.response;
    let log = request.log();
    if response.status != Status::PARTIAL_CONTENT {
        let status = response.status.0;
        log!(log, Error, *request, "unexpected status code {} in slice response", status);
        return None;
    }
    if etag.is_some() && response.etag.as_ref() != etag {
        log!(log, Error, *request, "etag mismatch in slice response");
        return None;
    }
    let range = response.values(b"Content-Range").next().and_then(|value| content_range(value));
    let Some((from, to, length)) = range else {
        log!(log, Error, *request, "invalid range in slice response");
        return None;
    };
    let Some(length) = length else {
        log!(log, Error, *request, "no complete length in slice response");
        return None;
    };
    let end = length.min(from.saturating_add(size));
    if from != start || to != end {
        log!(
            log,
            Error,
            *request,
            "unexpected range in slice response: {}-{}, expected: {}-{}",
            from,
            to,
            start,
            end
        );
        return None;
    }
    Some((end, length))
}

/// `bytes 0-9/100`: where the range begins and ends, and the length of the whole where that is known.
fn content_range(value: &[u8]) -> Option<(u64, u64, Option<u64>)> {
    let rest = value.strip_prefix(b"bytes ")?;
    let dash = memchr::memchr(b'-', rest)?;
    let slash = memchr::memchr(b'/', rest)?;
    let number = |text: &[u8]| decimal(text.trim_ascii());
    let (first, last) = (number(&rest[..dash])?, number(rest.get(dash + 1..slash)?)?);
    let length = match rest[slash + 1..].trim_ascii() {
        b"*" => None,
        length => Some(number(length)?),
    };
    Some((first, last.checked_add(1)?, length))
}

/// A body of pieces, which are asked for as the client takes them.
struct Slices {
    again: Later,
    size: u64,
    length: u64,
    etag: Option<Bytes>,
    /// Where the piece in hand begins and ends.
    start: u64,
    end: u64,
    piece: Piece,
    /// It is known where the body begins.
    is_placed: bool,
}

enum Piece {
    /// That of the request itself.
    First(Body),
    Further {
        subrequest: Box<Subrequest>,
        is_checked: bool,
    },
    None,
}

impl Slices {
    fn begin(&mut self, request: &mut Request) -> Result<(), std::io::Error> {
        let start = self.end;
        let begun = Subrequest::again(request, self.again, |piece| {
            piece.context::<Asked>(&SETTINGS).0 = Some(start);
        });
        let subrequest = Box::new(begun.map_err(|_| body::told())?);
        self.piece = Piece::Further { subrequest, is_checked: false };
        self.start = start;
        Ok(())
    }
}

impl BodyStream for Slices {
    fn poll_next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        if !self.is_placed {
            self.skip_to(0);
        }
        loop {
            match &mut self.piece {
                Piece::First(body) => {
                    if let Some(next) = ready!(body.poll_next(request, cx)) {
                        return Poll::Ready(Some(next));
                    }
                }
                Piece::Further { subrequest, is_checked } => {
                    ready!(subrequest.poll_answered(request, cx));
                    if !*is_checked {
                        *is_checked = true;
                        let (start, size) = (self.start, self.size);
                        let checked = subrequest
                            .request()
                            .and_then(|piece| check(piece, start, size, self.etag.as_ref()));
                        match checked {
                            Some((end, length)) if length == self.length => self.end = end,
                            _ => return Poll::Ready(Some(Err(body::refused()))),
                        }
                    }
                    if let Some(next) = ready!(subrequest.poll_next(request, cx)) {
                        return Poll::Ready(Some(next));
                    }
                }
                Piece::None => {
                    if self.end >= self.length {
                        return Poll::Ready(None);
                    }
                    if let Err(error) = self.begin(request) {
                        return Poll::Ready(Some(Err(error)));
                    }
                    continue;
                }
            }
            self.piece = Piece::None;
        }
    }

    fn skip_to(&mut self, offset: u64) -> u64 {
        self.is_placed = true;
        if !(self.start..self.end).contains(&offset) {
            self.piece = Piece::None;
            self.end = offset / self.size * self.size;
            self.start = self.end;
        }
        self.start
    }

    /// What comes next may be wrong.
    fn holds_head(&self) -> bool {
        true
    }

    fn poll_ahead(&mut self, request: &mut Request, cx: &mut Context<'_>) {
        if let Piece::First(body) = &mut self.piece {
            body.poll_ahead(request, cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_pieces_are_read() {
        assert_eq!(content_range(b"bytes 0-9/100"), Some((0, 10, Some(100))));
        assert_eq!(content_range(b"bytes  0 - 9 / * "), Some((0, 10, None)));
        for bad in
            ["", "bytes", "bytes 0-9", "bytes 0/9", "bytes a-9/1", "bytes 0-9/x", "items 0-1/2"]
        {
            assert_eq!(content_range(bad.as_bytes()), None, "{bad}");
        }
    }
}
