//! A request to a FastCGI application, and its response.

use bytes::Bytes;
use daemun_core::log;
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::upstream::field::Field;
use daemun_http::upstream::head::{Head, InvalidHead};
use daemun_http::upstream::headers;
use daemun_http::upstream::payload::Payload;
use daemun_http::upstream::protocol::{HeadStep, InvalidBody, Piece, Protocol};
use daemun_proto::fastcgi::{self, Flaw, Kind, Reader, Step};
use daemun_proto::http1::Method;

use super::Settings;
use crate::http::gateway::head::CgiHead;
use crate::http::gateway::params::{self, Source};
use crate::http::gateway::pass::Pass;

pub struct FastCgi {
    settings: &'static Settings,
    pass: &'static Pass,
    reader: Reader,
    head: CgiHead,
    /// The response's first bytes, out of their records.
    stdout: Vec<u8>,
    /// Bytes that may still come; `None` where that is not known.
    left: Option<u64>,
    /// The length that the head tells, where the response to HEAD may have the body all the same.
    told: Option<u64>,
    /// No more is read.
    is_over: bool,
    /// The application has ended the request, as one does that leaves the connection open.
    has_ended: bool,
}

impl FastCgi {
    pub fn new(settings: &'static Settings, pass: &'static Pass) -> FastCgi {
        FastCgi {
            settings,
            pass,
            reader: Reader::default(),
            head: CgiHead::default(),
            stdout: Vec::new(),
            left: None,
            told: None,
            is_over: false,
            has_ended: false,
        }
    }

    /// Takes data of the body: as much of it as the head allows.
    fn take(&mut self, request: &Request, length: usize, at: &mut usize) -> Piece {
        self.left = self.left.or(self.told.take());
        let Some(left) = &mut self.left else { return Piece::Data(length) };
        let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(length);
        *left -= allowed as u64;
        if allowed == length {
            return Piece::Data(length);
        }
        if request.head.method() != Method::Head {
            log!(
                request.log(),
                Warn,
                *request,
                "upstream sent more data than specified in \"Content-Length\" header"
            );
        }
        self.is_over = true;
        *at -= length - allowed;
        if allowed > 0 { Piece::Data(allowed) } else { Piece::End }
    }

    /// The application says that nothing more follows: whether that is too soon.
    fn ends_too_soon(&self, request: &Request, what: &str) -> bool {
        let is_whole = self.left.is_none_or(|left| left == 0);
        if !is_whole && request.head.method() != Method::Head {
            log!(request.log(), Error, *request, "upstream prematurely closed FastCGI {}", what);
        }
        !is_whole
    }

    /// Logs a complaint. An error where the configuration takes it for a failure.
    fn complain(&self, request: &Request, text: &[u8]) -> Result<(), InvalidHead> {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r' | b'.' | b' ');
        let length = text.len() - text.iter().rev().take_while(|byte| is_end(byte)).count();
        let text = &text[..length.max(1).min(text.len())];
        log!(request.log(), Error, *request, "FastCGI sent in stderr: \"{}\"", Text(text));
        let mut caught = self.settings.catch_stderr.iter();
        match caught.any(|caught| memchr::memmem::find(text, caught).is_some()) {
            true => Err(InvalidHead),
            false => Ok(()),
        }
    }
}

impl Protocol for FastCgi {
    fn name(&self) -> &'static str {
        "fastcgi"
    }

    /// One record, so that whoever reads it need not have seen the application's own.
    fn store_head(&self, head: &Head, out: &mut Vec<u8>) {
        fastcgi::record(Kind::Stdout, &head.bytes, out);
    }

    fn write_request(
        &mut self,
        request: &mut Request,
        payload: Payload,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let Settings { common, params: list, keep_conn, .. } = self.settings;
        let mut params = Vec::new();
        let passes_fields = *common.pass_request_headers;
        let source = Source { params: list, host: &self.pass.host, passes_fields, payload };
        params::each(request, source, |name, value| fastcgi::param(name, value, &mut params));
        fastcgi::begin(**keep_conn, out);
        fastcgi::stream(Kind::Params, &params, out);
        Ok(())
    }

    fn passes_body(&self) -> bool {
        *self.settings.common.pass_request_body
    }

    fn streams_body(&self, _request: &Request) -> bool {
        self.passes_body()
    }

    fn longest_piece(&self) -> usize {
        fastcgi::MOST
    }

    fn open_piece(&mut self, length: usize, _: bool, out: &mut Vec<u8>) {
        fastcgi::open(Kind::Stdin, length, out);
    }

    fn close_piece(&mut self, length: usize, out: &mut Vec<u8>) {
        fastcgi::close(length, out);
    }

    fn end_request(&mut self, out: &mut Vec<u8>) {
        fastcgi::open(Kind::Stdin, 0, out);
    }

    fn begin_again(&mut self) {
        *self = FastCgi::new(self.settings, self.pass);
    }

    fn read_head(
        &mut self,
        request: &mut Request,
        received: &[u8],
        head: &mut Head,
    ) -> Result<HeadStep, InvalidHead> {
        let mut at = 0;
        loop {
            match self.reader.next(received, &mut at).map_err(|flaw| tell(request, flaw))? {
                Step::Incomplete => return Ok(HeadStep::Incomplete { consumed: at }),
                Step::Stderr(length) => self.complain(request, &received[at - length..at])?,
                Step::Stdout(length) => {
                    self.stdout.extend_from_slice(&received[at - length..at]);
                    let Some(end) = self.head.read(request, &self.stdout, head)? else { continue };
                    // What stands behind the head is read again, as the body.
                    let behind = self.stdout.len() - end;
                    self.stdout.truncate(end);
                    self.reader.unread(behind);
                    return Ok(HeadStep::Done { consumed: at - behind });
                }
                Step::StdoutClosed => {
                    log!(
                        request.log(),
                        Error,
                        *request,
                        "upstream prematurely closed FastCGI stdout"
                    );
                    return Err(InvalidHead);
                }
                Step::Ending | Step::Ended => {
                    log!(
                        request.log(),
                        Error,
                        *request,
                        "upstream sent unexpected FastCGI record: {}",
                        Kind::End as u8
                    );
                    return Err(InvalidHead);
                }
            }
        }
    }

    /// Complaints do not count: an application may have many.
    fn head_length(&self) -> Option<usize> {
        Some(self.stdout.len())
    }

    fn take_head_bytes(&mut self) -> Option<Bytes> {
        Some(std::mem::take(&mut self.stdout).into())
    }

    fn begin_body(&mut self, request: &Request, head: &Head) {
        match head.status {
            204 | 304 => self.left = Some(0),
            _ if request.head.method() == Method::Head => self.told = head.content_length,
            _ => self.left = head.content_length,
        }
    }

    fn read_body(
        &mut self,
        request: &mut Request,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Piece, InvalidBody> {
        while !self.is_over {
            let step = self.reader.next(input, at).map_err(|flaw| {
                tell(request, flaw);
                InvalidBody
            })?;
            match step {
                Step::Incomplete => return Ok(Piece::Incomplete),
                Step::Stdout(length) => return Ok(self.take(request, length, at)),
                Step::Stderr(length) => {
                    // It is too late for another answer.
                    let _ = self.complain(request, &input[*at - length..*at]);
                }
                // what is not buffered may go on behind that
                Step::StdoutClosed if headers::is_buffered(request, &self.settings.common) => {
                    if self.ends_too_soon(request, "stdout") {
                        return Ok(Piece::Cut);
                    }
                }
                Step::StdoutClosed => {}
                Step::Ending if self.ends_too_soon(request, "request") => return Ok(Piece::Cut),
                Step::Ending => {}
                // An application that still has to say so would fail if the connection were closed before.
                Step::Ended => {
                    self.has_ended = true;
                    self.is_over = true;
                }
            }
        }
        Ok(Piece::End)
    }

    /// The application is the origin server: its `Date` and `Server` count.
    fn hides(&self, field: Field) -> bool {
        field.is_order() || field == Field::Status
    }

    /// An application that is to leave the connection open ends requests itself.
    fn ends_with_connection(&mut self) -> bool {
        !*self.settings.keep_conn && self.left.is_none_or(|left| left == 0)
    }

    fn keeps_connection(&self) -> bool {
        self.has_ended && *self.settings.keep_conn
    }
}

fn tell(request: &Request, flaw: Flaw) -> InvalidHead {
    log!(request.log(), Error, *request, "upstream sent {}", flaw);
    InvalidHead
}
