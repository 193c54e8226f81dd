//! Responses of HTTP/1 servers: head, framing, trailers.

use std::borrow::Cow;

use bytes::Bytes;
use daemun_core::log;
use daemun_http::head::Known;
use daemun_http::request::{Request, Text};
use daemun_http::response::Header;
use daemun_http::status::Status;
use daemun_http::upstream;
use daemun_http::upstream::head::{Head, InvalidHead, read_line};
use daemun_http::upstream::payload::Payload;
use daemun_http::upstream::protocol::{HeadStep, InvalidBody, Piece, Protocol};
use daemun_proto::http1::chunked::{Chunk, Decoder};
use daemun_proto::http1::header::{Invalid, Line};
use daemun_proto::http1::{Method, Parsed, Version, parse_response_header_line, parse_status_line};

use super::Settings;
use super::pass::Place;
use super::request_head::{self, Written};
use super::{cookies, redirects};

/// A request to an HTTP/1 server.
pub struct Http1 {
    settings: &'static Settings,
    place: Cow<'static, Place>,
    location: Option<&'static [u8]>,
    /// How much of what came of the head has been read.
    at: usize,
    /// The status line has been read.
    has_status: bool,
    written: Written,
    framing: Framing,
    /// The connection can serve another request once the response has ended.
    keeps: bool,
    upgrades: bool,
    trailers: Trailers,
}

/// How the body's end is known.
enum Framing {
    Length(u64),
    Chunked(Decoder),
    /// It ends with the connection.
    Open,
}

/// The fields behind the body.
#[derive(Default)]
struct Trailers {
    bytes: Vec<u8>,
    fields: Vec<Header>,
    has_begun: bool,
    /// They did not come with the last chunk.
    came_later: bool,
}

impl Http1 {
    pub fn new(
        settings: &'static Settings,
        place: Cow<'static, Place>,
        location: Option<&'static [u8]>,
    ) -> Http1 {
        Http1 {
            settings,
            place,
            location,
            at: 0,
            has_status: false,
            written: Written::default(),
            framing: Framing::Open,
            keeps: false,
            upgrades: false,
            trailers: Trailers::default(),
        }
    }

    fn writer(&self) -> request_head::Writer<'_> {
        let Http1 { settings, place, location, .. } = self;
        request_head::Writer { settings, place, location: *location }
    }

    fn read_status(
        &mut self,
        request: &mut Request,
        received: &[u8],
        head: &mut Head,
    ) -> Result<Option<HeadStep>, InvalidHead> {
        let (line, end) = match parse_status_line(received, self.at) {
            Ok(Parsed::Done(line, end)) => (line, end),
            Ok(Parsed::Incomplete) => return Ok(Some(HeadStep::Incomplete { consumed: 0 })),
            Err(_) => {
                log!(request.log(), Error, *request, "upstream sent no valid HTTP/1.0 header");
                if request.head.version() != Version::HTTP_09 {
                    return Err(InvalidHead);
                }
                // It is what the client has asked for: what came goes to it as it is.
                head.clear();
                head.status = Status::OK.0;
                head.closes = true;
                return Ok(Some(HeadStep::Done { consumed: 0 }));
            }
        };
        head.status = line.code;
        head.status_text = Some(line.text);
        if line.version < Version::HTTP_11 {
            if line.code == EARLY_HINTS {
                log!(
                    request.log(),
                    Error,
                    *request,
                    "upstream sent HTTP/1.0 response with early hints"
                );
                return Err(InvalidHead);
            }
            head.closes = true;
        }
        self.at = end;
        self.has_status = true;
        Ok(None)
    }

    /// The section behind the last chunk, where it is passed on.
    fn read_trailers(
        &mut self,
        request: &Request,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Piece, InvalidBody> {
        let trailers = &mut self.trailers;
        trailers.has_begun = true;
        let before = trailers.bytes.len();
        let most = *self.settings.common.buffer_size;
        let length = (input.len() - *at).min(most.saturating_sub(before));
        trailers.bytes.extend_from_slice(&input[*at..][..length]);
        let mut end = 0;
        let mut fields = Vec::new();
        loop {
            match parse_response_header_line(&trailers.bytes, end) {
                Ok(Parsed::Done(Line::Header(line), next)) => {
                    let [name, value] = [line.name, line.value]
                        .map(|range| Bytes::copy_from_slice(range.of(&trailers.bytes)));
                    fields.push(Header { name, value });
                    end = next;
                }
                Ok(Parsed::Done(Line::End, next)) => {
                    trailers.fields = fields;
                    *at += next - before;
                    return Ok(Piece::End);
                }
                Ok(Parsed::Incomplete) => {
                    if trailers.bytes.len() >= most {
                        log!(request.log(), Error, *request, "upstream sent too big trailers");
                        return Err(InvalidBody);
                    }
                    *at = input.len();
                    return Ok(Piece::Incomplete);
                }
                Err(invalid) => {
                    tell_invalid(request, "trailer", &trailers.bytes, end, invalid);
                    return Err(InvalidBody);
                }
            }
        }
    }
}

const SWITCHING_PROTOCOLS: u16 = Status::SWITCHING_PROTOCOLS.0;
const EARLY_HINTS: u16 = 103;

impl Protocol for Http1 {
    fn name(&self) -> &'static str {
        "proxy"
    }

    /// The place that requests go to, and their URI there.
    fn cache_key(&self, request: &mut Request, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.place.cache_key);
        request_head::append_uri(request, &self.place.uri, self.location, out);
    }

    fn write_request(
        &mut self,
        request: &mut Request,
        payload: Payload,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let writer = self.writer();
        self.written = writer.write(request, payload, out);
        if request.upstream_record().uri.is_empty() {
            log!(request.log(), Error, *request, "zero length URI to proxy");
            return Err(Status::INTERNAL_SERVER_ERROR);
        }
        Ok(())
    }

    fn passes_body(&self) -> bool {
        *self.settings.common.pass_request_body && self.settings.set_body.is_none()
    }

    fn streams_body(&self, request: &Request) -> bool {
        let is_11 = *self.settings.http_version == Version::HTTP_11;
        self.passes_body() && (is_11 || !request.body.is_chunked())
    }

    fn open_piece(&mut self, length: usize, _: bool, out: &mut Vec<u8>) {
        if self.written.sends_chunks {
            out.extend_from_slice(format!("{length:x}\r\n").as_bytes());
        }
    }

    fn close_piece(&mut self, _: usize, out: &mut Vec<u8>) {
        if self.written.sends_chunks {
            out.extend_from_slice(b"\r\n");
        }
    }

    fn end_request(&mut self, out: &mut Vec<u8>) {
        if self.written.sends_chunks {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }

    fn begin_again(&mut self) {
        self.at = 0;
        self.has_status = false;
        self.framing = Framing::Open;
        self.keeps = false;
        self.upgrades = false;
        self.trailers = Trailers::default();
    }

    fn read_head(
        &mut self,
        request: &mut Request,
        received: &[u8],
        head: &mut Head,
    ) -> Result<HeadStep, InvalidHead> {
        if !self.has_status
            && let Some(step) = self.read_status(request, received, head)?
        {
            return Ok(step);
        }
        loop {
            match read_line(received, &mut self.at) {
                Ok(Parsed::Done(Line::Header(line), _)) => head.add(request, received, line)?,
                Ok(Parsed::Done(Line::End, next)) => {
                    self.at = 0;
                    self.has_status = false;
                    let consumed = next;
                    return Ok(match head.status {
                        EARLY_HINTS => HeadStep::EarlyHints { consumed },
                        SWITCHING_PROTOCOLS => HeadStep::Done { consumed },
                        100..200 => HeadStep::Interim { consumed },
                        _ => HeadStep::Done { consumed },
                    });
                }
                Ok(Parsed::Incomplete) => return Ok(HeadStep::Incomplete { consumed: 0 }),
                Err(invalid) => {
                    tell_invalid(request, "header", received, self.at, invalid);
                    return Err(InvalidHead);
                }
            }
        }
    }

    fn begin_body(&mut self, _request: &Request, head: &Head) {
        self.keeps = !head.closes;
        let method = if self.written.is_head { Method::Head } else { Method::Get };
        self.framing = match head.content_length {
            _ if upstream::has_no_body(method, head.status) => Framing::Length(0),
            _ if head.is_chunked => Framing::Chunked(match *self.settings.common.pass_trailers {
                true => Decoder::leaving_trailers(),
                false => Decoder::default(),
            }),
            Some(length) => Framing::Length(length),
            None => Framing::Open,
        };
        if head.status == SWITCHING_PROTOCOLS {
            self.keeps = false;
            self.upgrades = true;
        }
    }

    fn read_body(
        &mut self,
        request: &mut Request,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Piece, InvalidBody> {
        if self.trailers.has_begun {
            self.trailers.came_later = true;
            return self.read_trailers(request, input, at);
        }
        match &mut self.framing {
            Framing::Length(0) => Ok(Piece::End),
            Framing::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let length = (input.len() - *at).min(most);
                *left -= length as u64;
                Ok(data(length, at))
            }
            Framing::Open => Ok(data(input.len() - *at, at)),
            Framing::Chunked(decoder) => match decoder.next(input, at) {
                Ok(Chunk::Data(length)) => Ok(Piece::Data(length)),
                Ok(Chunk::Incomplete) => Ok(Piece::Incomplete),
                Ok(Chunk::End) if *self.settings.common.pass_trailers => {
                    self.read_trailers(request, input, at)
                }
                Ok(Chunk::End) => Ok(Piece::End),
                Err(_) => {
                    log!(request.log(), Error, *request, "upstream sent invalid chunked response");
                    Err(InvalidBody)
                }
            },
        }
    }

    fn expected(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(left) => Some(left),
            Framing::Chunked(_) | Framing::Open => None,
        }
    }

    fn is_plain(&self) -> bool {
        matches!(self.framing, Framing::Length(_))
    }

    fn ends_with_connection(&mut self) -> bool {
        matches!(self.framing, Framing::Open)
    }

    fn tell_excess(&self, request: &Request) {
        let log = request.log();
        match self.framing {
            Framing::Chunked(_) if self.trailers.came_later => {
                log!(log, Warn, *request, "upstream sent data after trailers");
            }
            Framing::Chunked(_) => {
                log!(log, Warn, *request, "upstream sent data after final chunk");
            }
            Framing::Length(_) | Framing::Open => log!(
                log,
                Warn,
                *request,
                "upstream sent more data than specified in \"Content-Length\" header"
            ),
        }
    }

    fn keeps_connection(&self) -> bool {
        self.keeps && !matches!(self.framing, Framing::Open)
    }

    fn take_trailers(&mut self) -> Vec<Header> {
        std::mem::take(&mut self.trailers.fields)
    }

    fn asks_to_upgrade(&self, request: &Request) -> bool {
        self.written.asks_to_upgrade && request.header(Known::Upgrade).is_some()
    }

    fn upgrades(&self) -> bool {
        self.upgrades
    }

    fn rewrite_location(
        &self,
        request: &mut Request,
        value: &Bytes,
        prefix: usize,
    ) -> Option<Bytes> {
        redirects::rewrite(request, self.settings, value, prefix)
    }

    fn rewrite_cookie(&self, request: &mut Request, value: &Bytes) -> Option<Bytes> {
        cookies::rewrite(request, self.settings, value)
    }
}

/// So many bytes of the body, where there are any.
fn data(length: usize, at: &mut usize) -> Piece {
    *at += length;
    if length > 0 { Piece::Data(length) } else { Piece::Incomplete }
}

/// A line that is no field.
fn tell_invalid(request: &Request, what: &str, bytes: &[u8], start: usize, invalid: Invalid) {
    let byte = bytes.get(invalid.up_to).copied().unwrap_or_default();
    log!(
        request.log(),
        Error,
        *request,
        "upstream sent invalid {}: \"{}\\x{:02x}...\"",
        what,
        Text(&bytes[start..invalid.up_to]),
        byte
    );
}
