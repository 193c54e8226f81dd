//! An upstream's response on its way to the client.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use daemun_core::log;
use daemun_event::{Buffer, Deadline, Turn};
use daemun_proto::http1::Method;

use super::connect;
use super::exchange::{Exchange, share};
use super::field::Field;
use super::headers;
use super::pace::Pace;
use super::protocol::Piece;
use super::relay::Relay;
use super::storage::Storage;
use super::store::Copy;
use crate::body::{self, Body, BodyStream, FileRange, NextChunk};
use crate::request::Request;

/// How long a buffered response is silent where it trickles: longer than between the packets of one that comes at once.
const LULL: Duration = Duration::from_millis(50);

/// The response's body, read as the client takes it, or ahead of that.
struct Incoming {
    exchange: Box<Exchange>,
    /// Decoded, and not yet taken.
    storage: Storage,
    /// What is to be kept of it.
    copy: Option<Box<Copy>>,
    /// It may be read ahead of the client.
    is_buffered: bool,
    pace: Option<Pace>,
    /// What comes now is ahead of the client.
    is_ahead: bool,
    state: State,
    /// When the upstream has to have sent more.
    deadline: Option<Deadline>,
    /// Bytes that have come.
    received: u64,
    /// What came with the head is not decoded yet.
    is_unread: bool,
    /// Bytes yielded since others had their turn.
    turn: Turn,
    /// They have it now.
    rests: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    /// It broke off, which has been told.
    Broken,
    /// Its framing is broken, which has been told: what is not sent yet is not sent any more.
    Invalid,
}

/// The body of a response that has come in one piece, which is the usual case.
pub fn whole(request: &mut Request, exchange: &mut Exchange) -> Option<Body> {
    let length = exchange.protocol.expected()?;
    let is_whole = length == exchange.input.len() as u64
        && request.response.content_length == Some(length)
        && length > 0
        && exchange.protocol.is_plain()
        && !exchange.protocol.upgrades()
        && exchange.settings.store.is_none()
        && !request.fetches_for_cache()
        && !*exchange.settings.force_ranges;
    if !is_whole {
        return None;
    }
    let body = std::mem::take(&mut exchange.input);
    let mut at = 0;
    let piece = exchange.protocol.read_body(request, &body, &mut at);
    debug_assert_eq!(piece, Ok(Piece::Data(body.len())), "a length is all its framing");
    request.upstream_record().last_try().response_length += length;
    let keeps = exchange.protocol.keeps_connection();
    exchange.finish(request, keeps);
    Some(Body::bytes(body))
}

/// The body behind a head that was read. One that has come with its head is there whole.
pub fn begin(request: &mut Request, mut exchange: Box<Exchange>) -> Body {
    if exchange.protocol.upgrades() {
        if let Some(caching) = request.caching() {
            caching.give_up();
        }
        return upgrade(request, exchange);
    }
    let is_buffered = headers::is_buffered(request, exchange.settings);
    if !is_buffered {
        request.limit_rate = Some(0);
    }
    let copy = match is_buffered {
        true => Copy::begin(request, exchange.settings, &*exchange.protocol),
        false => None,
    };
    let is_for_cache = copy.as_ref().is_some_and(|copy| copy.is_for_cache());
    if let Some(caching) = request.caching()
        && !is_for_cache
    {
        caching.give_up();
        caching.is_cacheable = false;
        exchange.is_for_client(request);
    }
    request.upstream_record().is_stored = copy.is_some() && !is_for_cache;
    let mut incoming = Incoming {
        copy,
        exchange,
        storage: Storage::default(),
        is_buffered,
        pace: None,
        is_ahead: false,
        state: State::Open,
        deadline: None,
        received: 0,
        is_unread: false,
        turn: Turn::default(),
        rests: false,
    };
    let first = incoming.exchange.input.len() as u64;
    let status = request.response.status.0;
    let is_known = request.response.content_length.is_some()
        || headers::has_no_body(request.head.method(), status);
    if incoming.exchange.protocol.is_http2() && !is_known {
        // Whether it is over already does not show until it is read.
        incoming.is_unread = true;
        return Body::stream(incoming);
    }
    request.doing = match is_buffered {
        true => "reading upstream",
        false => "reading response header from upstream",
    };
    incoming.decode(request);
    request.doing = "reading response header from upstream";
    let length = request.response.content_length;
    if incoming.state == State::Ended
        && length.is_some()
        && !*incoming.exchange.settings.force_ranges
    {
        let mut chunks = std::mem::take(&mut incoming.storage).into_chunks();
        return match chunks.len() {
            0 => Body::Empty,
            1 => chunks.pop_front().map_or(Body::Empty, Body::One),
            _ => Body::Many(chunks),
        };
    }
    if is_buffered && incoming.state == State::Open {
        incoming.pace = Pace::new(incoming.exchange.settings.limit_rate.of(request));
    }
    if let Some(pace) = &mut incoming.pace {
        pace.count(first);
    }
    if is_for_cache && incoming.state == State::Open {
        return Kept::body(request, incoming);
    }
    Body::stream(incoming)
}

/// A response that is stored, and goes on without its client where that wants no more of it: whoever drops this before
/// its end has it read on.
struct Kept {
    incoming: Option<Box<Incoming>>,
    /// What it goes on for then.
    stand_in: Option<Box<Request>>,
}

impl Kept {
    fn body(request: &mut Request, incoming: Incoming) -> Body {
        let mut stand_in = request.stand_in();
        stand_in.upstream_record().head = request.upstream_record().head.clone();
        Body::stream(Kept { incoming: Some(Box::new(incoming)), stand_in: Some(stand_in) })
    }

    fn inner(&mut self) -> &mut Incoming {
        self.incoming.as_mut().expect("it is there until it is dropped")
    }
}

impl BodyStream for Kept {
    fn poll_next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        self.inner().poll_next(request, cx)
    }

    fn holds_head(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.holds_head())
    }

    fn patience(&self) -> Option<Duration> {
        self.incoming.as_ref().and_then(|incoming| incoming.patience())
    }

    fn poll_ahead(&mut self, request: &mut Request, cx: &mut Context<'_>) {
        self.inner().poll_ahead(request, cx);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let (Some(mut incoming), Some(mut request)) = (self.incoming.take(), self.stand_in.take())
        else {
            return;
        };
        if incoming.state == State::Open && incoming.copy.is_some() {
            daemun_event::spawn(async move {
                incoming.pace = None;
                poll_fn(|cx| incoming.poll_to_end(&mut request, cx)).await;
            });
        }
    }
}

/// From here on the client and the upstream speak to each other.
fn upgrade(request: &mut Request, mut exchange: Box<Exchange>) -> Body {
    request.keepalive = false;
    if request.is_subrequest() {
        log!(request.log(), Error, *request, "connection upgrade in subrequest");
        exchange.finish(request, false);
        return Body::Empty;
    }
    Relay::new(exchange).map_or(Body::Empty, |relay| Body::Relay(Box::new(relay)))
}

impl BodyStream for Incoming {
    fn poll_next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        if std::mem::take(&mut self.rests) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if self.gathers() && self.storage.in_memory() < self.exchange.settings.buffers.1 {
                ready!(self.poll_receive(request, cx));
                continue;
            }
            if let Some(chunk) = self.storage.pop() {
                self.rests = self.turn.spends(chunk.len() as usize);
                return Poll::Ready(Some(Ok(chunk)));
            }
            if self.storage.is_writing() {
                ready!(self.poll_written(request, cx));
                continue;
            }
            match self.state {
                State::Open => ready!(self.poll_receive(request, cx)),
                State::Ended => return Poll::Ready(None),
                State::Broken => return Poll::Ready(Some(Err(body::told()))),
                State::Invalid => return Poll::Ready(Some(Err(body::refused()))),
            }
        }
    }

    fn holds_head(&self) -> bool {
        self.gathers()
    }

    fn patience(&self) -> Option<Duration> {
        match self.is_buffered {
            true => self.exchange.settings.flush_idle.then_some(LULL),
            false => Some(Duration::ZERO),
        }
    }

    fn poll_ahead(&mut self, request: &mut Request, cx: &mut Context<'_>) {
        if self.state == State::Open && self.exchange.poll_send(request, cx).is_err() {
            return self.break_off(request);
        }
        self.is_ahead = true;
        let mut turn = Turn::default();
        while self.poll_written(request, cx).is_ready()
            && self.is_buffered
            && self.state == State::Open
            && (self.copy.is_some() || self.storage.has_room(self.exchange.settings))
        {
            let before = self.received;
            if self.poll_receive(request, cx).is_pending() {
                break;
            }
            if turn.spends((self.received - before) as usize) {
                cx.waker().wake_by_ref();
                break;
            }
        }
        self.is_ahead = false;
    }
}

impl Incoming {
    /// Whether a buffer has to be full, or the response whole, before anything is sent (`proxy_flush_idle off`).
    fn gathers(&self) -> bool {
        self.is_buffered && self.state == State::Open && !*self.exchange.settings.flush_idle
    }

    /// Waits until a thread has written what was read ahead, if one is to.
    fn poll_written(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = ready!(self.storage.poll_written(request, cx)) {
            tell_unwritten(request, error);
            self.break_off(request);
        }
        Poll::Ready(())
    }

    /// Receives what is still to come, for the copy alone.
    fn poll_to_end(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<()> {
        while self.state == State::Open && self.copy.is_some() {
            ready!(self.poll_receive(request, cx));
            self.storage = Storage::default();
            if self.turn.spends(Buffer::SIZE) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Receives once, and decodes it. Whatever goes wrong is told, and shows in the state.
    fn poll_receive(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<()> {
        request.doing = "reading upstream";
        if std::mem::take(&mut self.is_unread) {
            self.decode(request);
            request.doing = "";
            return Poll::Ready(());
        }
        let polled = self.poll_input(request, cx).map(|input| {
            self.deadline = None;
            match input {
                Ok(input) if input.is_empty() => self.close(request),
                Ok(input) => {
                    self.exchange.input = input;
                    self.decode(request);
                }
                Err(error) => {
                    tell(request, error);
                    self.break_off(request);
                }
            }
        });
        request.doing = "";
        polled
    }

    /// The next bytes from the upstream; none are its end.
    fn poll_input(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        loop {
            if self.exchange.poll_send(request, cx).is_err() {
                return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
            }
            let allowed = match &mut self.pace {
                Some(pace) => ready!(pace.poll_allowance(cx)),
                None => usize::MAX,
            };
            let capacity = self.capacity();
            let Some(upstream) = &mut self.exchange.upstream else {
                return Poll::Ready(Err(ErrorKind::NotConnected.into()));
            };
            if upstream.transport().may_be_readable() {
                let mut buffer = Buffer::try_with_capacity(capacity)?;
                let room = buffer.capacity().min(allowed);
                match upstream.transport().try_recv(&mut buffer.spare()[..room]) {
                    Ok(received) => {
                        buffer.advance(received);
                        if let Some(pace) = &mut self.pace {
                            pace.count(received as u64);
                        }
                        self.received += received as u64;
                        request.upstream_record().last_try().bytes_received += received as u64;
                        return Poll::Ready(Ok(share(buffer)));
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            ready!(self.poll_readable(request, cx))?;
        }
    }

    /// Waits for more; a client that leaves meanwhile is an error of the kind `ConnectionAborted`.
    fn poll_readable(&mut self, request: &Request, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let timeout = *self.exchange.settings.read_timeout;
        let deadline = *self.deadline.get_or_insert_with(|| Deadline::after(timeout));
        let Some(upstream) = &self.exchange.upstream else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        if let Poll::Ready(result) = Pin::new(&mut upstream.stream.readable(deadline)).poll(cx) {
            return Poll::Ready(result);
        }
        if self.exchange.watches_client() {
            return request.poll_gone(cx).map(|()| Err(ErrorKind::ConnectionAborted.into()));
        }
        Poll::Pending
    }

    /// How much to ask for: what is still to come, within bounds.
    fn capacity(&self) -> usize {
        let expected = self.exchange.protocol.expected().unwrap_or(u64::MAX);
        let most = self.exchange.settings.most_in_memory().clamp(Buffer::SIZE, 64 << 10);
        usize::try_from(expected).unwrap_or(usize::MAX).clamp(1024, most)
    }

    /// Takes apart what was received.
    fn decode(&mut self, request: &mut Request) {
        let input = std::mem::take(&mut self.exchange.input);
        let mut at = 0;
        if request.head.method() != Method::Head {
            // As nginx counts: what frames the body is part of the response.
            request.upstream_record().last_try().response_length += input.len() as u64;
        }
        let mut gathered = Gathered::default();
        let ended = loop {
            match self.exchange.protocol.read_body(request, &input, &mut at) {
                Ok(Piece::Data(length)) => {
                    let full = gathered.add(input.slice(at - length..at));
                    if full.is_some_and(|piece| !self.store(request, piece)) {
                        return self.break_off(request);
                    }
                }
                ended => break ended,
            }
        };
        // Over HTTP/2 a stream may be taken back behind its body.
        let is_void = ended.is_err() && self.exchange.protocol.is_http2();
        if is_void {
            self.storage = Storage::default();
        }
        let rest = gathered.take().filter(|_| !is_void);
        if rest.is_some_and(|piece| !self.store(request, piece)) {
            return self.break_off(request);
        }
        match ended {
            Ok(Piece::End) => self.end(request, &input.slice(at..)),
            Ok(Piece::Cut) => self.break_off(request),
            Ok(_) => {}
            Err(_) => {
                self.break_off(request);
                self.state = State::Invalid;
            }
        }
    }

    /// Has a piece wait for the client; `false` where it can't.
    fn store(&mut self, request: &Request, piece: Bytes) -> bool {
        let copy = self.copy(request, &piece);
        if !self.is_ahead {
            self.storage.push(piece);
            return true;
        }
        if let Some(copy) = copy {
            self.storage.push_copied(self.exchange.settings, piece, copy);
            return true;
        }
        let stored = self.storage.push_ahead(request, self.exchange.settings, piece);
        stored.map_err(|error| tell_unwritten(request, error)).is_ok()
    }

    /// Adds a piece to the copy, if there is to be one. A file that can't be written costs the client nothing.
    fn copy(&mut self, request: &Request, piece: &[u8]) -> Option<FileRange> {
        match self.copy.as_mut()?.append(piece) {
            Ok(range) => Some(range),
            Err(error) => {
                tell_unwritten(request, error);
                self.copy = None;
                None
            }
        }
    }

    /// The copy is whole.
    fn settle_copy(&mut self, request: &mut Request, by_framing: bool) {
        if let Some(copy) = self.copy.take() {
            copy.settle(request, by_framing);
        }
    }

    /// The response is whole.
    fn end(&mut self, request: &mut Request, excess: &Bytes) {
        self.state = State::Ended;
        self.settle_copy(request, true);
        // Whoever asked for a head alone does not care what comes behind it.
        if !excess.is_empty() && request.head.method() != Method::Head {
            self.exchange.protocol.tell_excess(request);
        }
        let trailers = self.exchange.protocol.take_trailers();
        if *self.exchange.settings.pass_trailers {
            let passes = |name: &[u8]| {
                !headers::is_hidden(self.exchange.settings, Field::of(name).is_hidden(), name)
            };
            let passed = trailers.iter().filter(|trailer| passes(&trailer.name));
            request.response.late_trailers.extend(passed.cloned());
        }
        request.upstream_record().trailers = trailers;
        let keeps = excess.is_empty() && self.exchange.protocol.keeps_connection();
        self.exchange.finish(request, keeps);
    }

    /// The upstream has closed the connection.
    fn close(&mut self, request: &mut Request) {
        if self.exchange.protocol.ends_with_connection() {
            self.state = State::Ended;
            self.settle_copy(request, false);
            self.exchange.finish(request, false);
            return;
        }
        log!(request.log(), Error, *request, "upstream prematurely closed connection");
        self.break_off(request);
    }

    fn break_off(&mut self, request: &mut Request) {
        self.state = State::Broken;
        self.copy = None;
        self.exchange.finish(request, false);
    }
}

/// Pieces on their way to the storage. Short ones become one: an upstream may send a byte at a time, and a piece costs more
/// than that in memory, and a system call in a file.
#[derive(Default)]
struct Gathered {
    /// Nothing was put behind it yet.
    first: Bytes,
    rest: Vec<u8>,
}

impl Gathered {
    /// A piece from this length on is passed on as it is.
    const LONG: usize = 1024;
    /// How long short ones together become.
    const FULL: usize = 16 * 1024;

    /// Adds a piece; what is complete by that.
    fn add(&mut self, piece: Bytes) -> Option<Bytes> {
        let length = self.first.len().max(self.rest.len());
        if length == 0 {
            self.first = piece;
            return None;
        }
        if piece.len() >= Gathered::LONG
            || self.first.len() >= Gathered::LONG
            || length >= Gathered::FULL
        {
            let full = self.take();
            self.first = piece;
            return full;
        }
        if self.rest.is_empty() {
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&piece);
        None
    }

    fn take(&mut self) -> Option<Bytes> {
        let taken = match self.rest.is_empty() {
            true => std::mem::take(&mut self.first),
            false => std::mem::take(&mut self.rest).into(),
        };
        (!taken.is_empty()).then_some(taken)
    }
}

fn tell_unwritten(request: &Request, error: io::Error) {
    // What stands against a place in the pool has been told.
    if error.kind() != ErrorKind::ResourceBusy {
        log!(request.log(), Crit, *request, "writing an upstream response to a file failed"; error);
    }
}

/// Why nothing more comes.
fn tell(request: &Request, error: io::Error) {
    match error.kind() {
        ErrorKind::TimedOut => {
            let error = io::Error::from(rustix::io::Errno::TIMEDOUT);
            log!(request.log(), Error, *request, "upstream timed out"; error);
        }
        ErrorKind::ConnectionAborted if error.raw_os_error().is_none() => {
            connect::tell_client_left(request);
        }
        _ => connect::tell(request, "recv() failed", error),
    }
}
