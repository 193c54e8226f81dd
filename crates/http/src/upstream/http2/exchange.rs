//! A request over HTTP/2, and its response.

use bytes::Bytes;
use daemun_core::log;
use daemun_proto::http1::header::Line;
use daemun_proto::http1::{Method, Parsed, parse_status_line};
use daemun_proto::http2::{self, By, Code, Event, Malformed, Message, Part};

use super::{Block, Dialect, Link};
use crate::request::Request;
use crate::response::Header;
use crate::status::Status;
use crate::upstream::field::Field;
use crate::upstream::has_no_body;
use crate::upstream::head::{Head, InvalidHead, read_line};
use crate::upstream::payload::Payload;
use crate::upstream::protocol::{HeadStep, InvalidBody, Piece, Protocol};

/// A protocol whose requests have the heads of a dialect.
pub struct Http2<D> {
    dialect: D,
    block: Block,
    stream: Stream,
}

/// The stream of one try.
#[derive(Default)]
struct Stream {
    link: Option<Box<Link>>,
    id: u32,
    /// Nothing follows the request's head.
    ends_with_head: bool,
    has_sent_all: bool,
    /// Fields of the section that is being read.
    fields: http2::Head,
    /// All of the response has come.
    has_ended: bool,
    /// The response has no body, and has to have none.
    is_bodiless: bool,
    /// The server takes no other requests.
    gone_away: Option<Code>,
    /// It has not begun with this one.
    is_untouched: bool,
    trailers: Vec<Header>,
}

/// The response is not to be understood, or there will be none. It has been logged.
struct Broken;

impl From<Broken> for InvalidHead {
    fn from(_: Broken) -> InvalidHead {
        InvalidHead
    }
}

impl From<Broken> for InvalidBody {
    fn from(_: Broken) -> InvalidBody {
        InvalidBody
    }
}

const EARLY_HINTS: u16 = 103;

impl<D: Dialect> Http2<D> {
    pub fn new(dialect: D) -> Http2<D> {
        Http2 { dialect, block: Block::default(), stream: Stream::default() }
    }
}

impl Stream {
    fn next(&mut self, request: &Request, input: &[u8], at: &mut usize) -> Result<Event, Broken> {
        let Some(link) = &mut self.link else { return Ok(Event::Incomplete) };
        link.next(input, at, &mut self.fields).map_err(|fatal| {
            log!(request.log(), Error, *request, "upstream {}", fatal.reason);
            Broken
        })
    }

    /// What is no part of a message, in any state.
    fn other(&mut self, request: &Request, event: Event) -> Result<(), Broken> {
        let log = request.log();
        match event {
            // A late word about an earlier request.
            Event::Reset { stream, .. } | Event::Malformed { stream, .. } if stream != self.id => {}
            Event::GoAway { code, .. } => self.gone_away = Some(code),
            Event::Reset { code: Code::NO_ERROR, by: By::Peer, .. } if self.has_ended => {}
            Event::Reset { by: By::Leaving, .. } => {
                let Code(code) = self.gone_away.unwrap_or(Code::NO_ERROR);
                self.is_untouched = true;
                log!(log, Error, *request, "upstream sent goaway with error {}", code);
                return Err(Broken);
            }
            Event::Reset { code, by, .. } => {
                self.is_untouched = code == Code::REFUSED_STREAM && by == By::Peer;
                let Code(number) = code;
                match by {
                    By::Us => {
                        log!(log, Error, *request, "upstream sent frame that breaks its stream");
                    }
                    _ => {
                        let what = "upstream rejected request with error";
                        log!(log, Error, *request, "{} {}", what, number);
                    }
                }
                return Err(Broken);
            }
            Event::Malformed { malformed, .. } => return self.malformed(request, malformed),
            _ => {}
        }
        Ok(())
    }

    fn malformed<T>(&self, request: &Request, malformed: Malformed) -> Result<T, Broken> {
        let log = request.log();
        match malformed {
            Malformed::Excess => log!(
                log,
                Error,
                *request,
                "upstream sent response body larger than indicated content length"
            ),
            Malformed::Length | Malformed::Interim => {
                log!(log, Error, *request, "upstream prematurely closed stream");
            }
            Malformed::Trailers => {
                log!(log, Error, *request, "upstream sent trailer without end stream flag");
            }
            other => log!(log, Error, *request, "upstream {}", other.reason()),
        }
        Err(Broken)
    }

    /// A head has come.
    fn take_head(
        &mut self,
        request: &Request,
        message: Message,
        head: &mut Head,
    ) -> Result<(), InvalidHead> {
        if let Some(malformed) = message.malformed {
            return Ok(self.malformed(request, malformed)?);
        }
        head.status = message.pseudo.status;
        let is_interim = head.status < 200;
        for line in &self.fields.fields {
            match is_interim {
                true => head.fields.push((Field::of(line.name.of(&self.fields.bytes)), *line)),
                false => head.add(request, &self.fields.bytes, *line)?,
            }
        }
        self.fields.fields.clear();
        self.has_ended = message.is_end;
        Ok(())
    }

    /// Reads what [`Protocol::store_head`] has written.
    fn read_stored(
        &mut self,
        request: &Request,
        stored: &[u8],
        head: &mut Head,
    ) -> Result<HeadStep, InvalidHead> {
        let Ok(Parsed::Done(line, mut at)) = parse_status_line(stored, 0) else {
            return Err(InvalidHead);
        };
        head.status = line.code;
        loop {
            match read_line(stored, &mut at) {
                Ok(Parsed::Done(Line::Header(line), _)) => head.add(request, stored, line)?,
                Ok(Parsed::Done(Line::End, consumed)) => {
                    self.has_ended = true;
                    return Ok(HeadStep::Done { consumed });
                }
                _ => return Err(InvalidHead),
            }
        }
    }

    fn take_trailers(&mut self) {
        let trailers = self.fields.iter().map(|(name, value)| Header {
            name: Bytes::copy_from_slice(name),
            value: Bytes::copy_from_slice(value),
        });
        self.trailers = trailers.collect();
        self.fields.clear();
        self.has_ended = true;
    }
}

impl<D: Dialect> Protocol for Http2<D> {
    fn name(&self) -> &'static str {
        self.dialect.name()
    }

    fn cache_key(&self, request: &mut Request, out: &mut Vec<u8>) {
        self.dialect.cache_key(request, out);
    }

    /// As HTTP/1 spells it, which does not depend on a connection.
    fn store_head(&self, head: &Head, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("HTTP/1.1 {}\r\n", head.status).as_bytes());
        for (name, value) in head.values() {
            for part in [name, b": ", value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The head waits for its connection: here it is encoded.
    fn write_request(
        &mut self,
        request: &mut Request,
        payload: Payload,
        _out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        self.block.clear();
        self.dialect.write_head(request, payload, &mut self.block)?;
        let has_own_body = self.block.body.as_ref().is_some_and(|body| !body.is_empty());
        self.stream.ends_with_head = payload.is_nothing() && !has_own_body;
        Ok(())
    }

    fn passes_body(&self) -> bool {
        self.dialect.passes_body()
    }

    fn streams_body(&self, _request: &Request) -> bool {
        self.dialect.passes_body()
    }

    fn take_body(&mut self) -> Option<Vec<u8>> {
        self.block.body.take().filter(|body| !body.is_empty())
    }

    fn is_http2(&self) -> bool {
        true
    }

    fn attach(&mut self, link: Box<Link>) {
        self.stream.link = Some(link);
    }

    fn detach(&mut self) -> Option<Box<Link>> {
        self.stream.link.take()
    }

    fn begin_request(&mut self, out: &mut Vec<u8>) {
        let stream = &mut self.stream;
        let Some(link) = &mut stream.link else { return };
        out.append(&mut link.out);
        let Some(id) = link.machine.open_stream(self.block.is_head) else { return };
        stream.id = id;
        let start = link.machine.begin_block(out);
        out.extend_from_slice(&self.block.bytes);
        let part = if stream.ends_with_head { Part::End } else { Part::Head };
        link.machine.finish_block(id, start, part, out);
        stream.has_sent_all = stream.ends_with_head;
    }

    fn take_control(&mut self, out: &mut Vec<u8>) {
        if let Some(link) = &mut self.stream.link {
            out.append(&mut link.out);
        }
    }

    fn is_untouched(&self) -> bool {
        self.stream.is_untouched
    }

    fn longest_piece(&self) -> usize {
        let link = self.stream.link.as_ref();
        link.map_or(0, |link| link.machine.room(self.stream.id))
    }

    fn open_piece(&mut self, length: usize, is_last: bool, out: &mut Vec<u8>) {
        if let Some(link) = &mut self.stream.link {
            link.machine.begin_data(self.stream.id, length, is_last, out);
            self.stream.has_sent_all |= is_last;
        }
    }

    fn end_request(&mut self, out: &mut Vec<u8>) {
        if let Some(link) = &mut self.stream.link
            && !std::mem::replace(&mut self.stream.has_sent_all, true)
        {
            link.machine.send_data(self.stream.id, &[], true, out);
        }
    }

    fn begin_again(&mut self) {
        self.stream = Stream::default();
    }

    fn read_head(
        &mut self,
        request: &mut Request,
        received: &[u8],
        head: &mut Head,
    ) -> Result<HeadStep, InvalidHead> {
        if self.stream.link.is_none() {
            return self.stream.read_stored(request, received, head);
        }
        let mut at = 0;
        loop {
            match self.stream.next(request, received, &mut at)? {
                Event::Incomplete => return Ok(HeadStep::Incomplete { consumed: at }),
                Event::Message(message) => {
                    self.stream.take_head(request, message, head)?;
                    return Ok(match head.status {
                        EARLY_HINTS => HeadStep::EarlyHints { consumed: at },
                        ..200 => {
                            self.stream.fields.clear();
                            HeadStep::Interim { consumed: at }
                        }
                        _ => {
                            let has_no_body = has_no_body(self.method(), head.status);
                            if self.stream.has_ended && !has_no_body {
                                head.content_length.get_or_insert(0);
                            }
                            HeadStep::Done { consumed: at }
                        }
                    });
                }
                Event::Data { .. } => {
                    log!(request.log(), Error, *request, "upstream sent unexpected http2 frame: 0");
                    return Err(InvalidHead);
                }
                event => self.stream.other(request, event)?,
            }
        }
    }

    /// Other frames do not count.
    fn head_length(&self) -> Option<usize> {
        let stream = &self.stream;
        stream.link.as_ref().map(|_| stream.fields.bytes.len())
    }

    fn take_head_bytes(&mut self) -> Option<Bytes> {
        let stream = &mut self.stream;
        stream.link.as_ref().map(|_| std::mem::take(&mut stream.fields.bytes).into())
    }

    fn begin_body(&mut self, _request: &Request, head: &Head) {
        self.stream.is_bodiless = has_no_body(self.method(), head.status);
    }

    fn read_body(
        &mut self,
        request: &mut Request,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Piece, InvalidBody> {
        let stream = &mut self.stream;
        loop {
            match stream.next(request, input, at)? {
                Event::Incomplete if stream.has_ended => return Ok(Piece::End),
                Event::Incomplete => return Ok(Piece::Incomplete),
                Event::Data { length, is_end, .. } => {
                    if let Some(link) = &mut stream.link {
                        link.machine.consume(stream.id, length, &mut link.out);
                    }
                    stream.has_ended |= is_end;
                    if length > 0 && stream.is_bodiless {
                        return Ok(stream.malformed(request, Malformed::Excess)?);
                    }
                    if length > 0 {
                        return Ok(Piece::Data(length));
                    }
                }
                Event::Trailers { .. } => stream.take_trailers(),
                event => stream.other(request, event)?,
            }
        }
    }

    /// A stream that has not ended can't end with its connection.
    fn ends_with_connection(&mut self) -> bool {
        false
    }

    fn keeps_connection(&self) -> bool {
        let stream = &self.stream;
        stream.has_ended && stream.link.as_ref().is_some_and(|link| link.is_usable())
    }

    fn take_trailers(&mut self) -> Vec<Header> {
        std::mem::take(&mut self.stream.trailers)
    }

    fn hides(&self, field: Field) -> bool {
        self.dialect.hides(field)
    }

    fn rewrite_location(
        &self,
        request: &mut Request,
        value: &Bytes,
        prefix: usize,
    ) -> Option<Bytes> {
        self.dialect.rewrite_location(request, value, prefix)
    }

    fn rewrite_cookie(&self, request: &mut Request, value: &Bytes) -> Option<Bytes> {
        self.dialect.rewrite_cookie(request, value)
    }
}

impl<D> Http2<D> {
    fn method(&self) -> Method {
        if self.block.is_head { Method::Head } else { Method::Get }
    }
}
