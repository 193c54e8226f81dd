//! Asking an upstream: choosing a peer, connecting, sending the request and reading the response's head, again with
//! another peer where that fails.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use daemun_core::listen::Address;
use daemun_core::log;
use daemun_event::{Buffer, Deadline, IN_A_TURN, Millis, Stream, Turn, next_turn};
use daemun_upstream::{Attempt, Group, Peer, Selection};

use super::connect::{self, Interruption, NotConnected, Upstream};
use super::early_hints;
use super::head::Head;
use super::http2::Link;
use super::kept::{self, Manner};
use super::next::{self, Failure};
use super::outgoing::{self, Advance, Outgoing};
use super::protocol::{HeadStep, Protocol};
use super::settings::{Failures, Settings};
use super::tls;
use crate::request::Request;
use crate::response::Header;
use crate::status::Status;
use daemun_shm::Rare;

/// A request to a group of servers, until the head of a response is there.
pub struct Exchange {
    pub settings: &'static Settings,
    pub protocol: Box<dyn Protocol>,
    selection: Selection,
    /// The `Set-Cookie` that binds the client to its peer.
    cookie: Bytes,
    peer: Option<Arc<Peer>>,
    pub upstream: Option<Upstream>,
    /// Its servers speak TLS.
    pub is_tls: bool,
    /// Peers that may still be asked, the present one included.
    tries: usize,
    started: Millis,
    watches_client: bool,
    /// The client's body is passed on as it comes: it can't be sent twice.
    streams: bool,
    /// A kept connection turned out to be closed: no other is tried.
    wants_fresh: bool,
    outgoing: Outgoing,
    /// The upstream takes no more of the request.
    is_mute: bool,
    /// What came behind the response's head.
    pub input: Bytes,
    /// Why there is no response.
    pub failure: Option<Failure>,
}

/// Why there is no response to pass on.
pub enum Ended {
    /// The answer is the server's own.
    Status(Status),
    ClientLeft,
}

/// How one try ended without a response.
enum Fault {
    Failed(Failure),
    Ended(Ended),
}

impl From<Status> for Fault {
    fn from(status: Status) -> Fault {
        Fault::Ended(Ended::Status(status))
    }
}

const SET_COOKIE: Bytes = Bytes::from_static(b"Set-Cookie");

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        Fault::Failed(failure)
    }
}

impl Exchange {
    pub fn new(
        request: &Request,
        settings: &'static Settings,
        protocol: Box<dyn Protocol>,
        group: &Arc<Group>,
        streams: bool,
    ) -> Box<Exchange> {
        if request.is_subrequest() && goes_on_alone(request, settings) {
            request.persists.store(true, Ordering::Relaxed);
        }
        let selection = group.select();
        let most = match *settings.next_upstream_tries {
            0 => usize::MAX,
            most => most,
        };
        Box::new(Exchange {
            settings,
            protocol,
            tries: selection.tries().min(most),
            selection,
            cookie: Bytes::new(),
            peer: None,
            upstream: None,
            is_tls: false,
            started: daemun_event::now(),
            watches_client: watches_client(request, settings),
            streams,
            wants_fresh: false,
            outgoing: Outgoing::default(),
            is_mute: false,
            input: Bytes::new(),
            failure: None,
        })
    }

    /// Asks until there is a response that is to be passed on: its head stands in the request's record.
    pub async fn run(&mut self, request: &mut Request) -> Result<(), Ended> {
        loop {
            let failure = match self.attempt(request).await {
                Ok(()) => match self.unwanted(request) {
                    None => return Ok(()),
                    Some(failure) => failure,
                },
                Err(Fault::Ended(ended)) => return Err(ended),
                Err(Fault::Failed(Failure::Error)) if self.is_stale(request) => {
                    self.give_up_stale(request);
                    continue;
                }
                Err(Fault::Failed(Failure::InvalidHeader)) if self.is_untouched() => {
                    self.give_up_stale(request);
                    continue;
                }
                Err(Fault::Failed(failure)) => failure,
            };
            self.next(request, failure)?;
        }
    }

    /// Whether a response's status is one that another server may better.
    fn unwanted(&self, request: &Request) -> Option<Failure> {
        let status = request.upstream.as_ref()?.head.status;
        let kind = next::of_status(status)?;
        let may_ask = self.tries > 1 && self.may_go_on(request, kind);
        may_ask.then_some(Failure::Answered(Status(status)))
    }

    /// Gives a peer up: an error where no other is to be asked.
    fn next(&mut self, request: &mut Request, failure: Failure) -> Result<(), Ended> {
        if failure == Failure::Timeout {
            let error = io::Error::from(rustix::io::Errno::TIMEDOUT);
            log!(request.log(), Error, *request, "upstream timed out"; error);
        }
        if let Some(peer) = self.peer.take() {
            let attempt = if failure.is_innocent() { Attempt::Next } else { Attempt::Failed };
            if self.selection.done(peer, attempt) {
                log!(request.log(), Warn, *request, "upstream server temporarily disabled");
            }
            self.tries = self.tries.saturating_sub(1).min(self.selection.tries());
        }
        let status = failure.status();
        if let Some(record) = &mut request.upstream {
            record.last_try().status = status.0;
        }
        if failure == Failure::NoLive || self.tries == 0 || !self.may_go_on(request, failure.kind())
        {
            self.failure = Some(failure);
            return Err(Ended::Status(status));
        }
        self.upstream = None;
        Ok(())
    }

    /// Whether the connection was kept, its server had closed it before the request came, and the request may be sent
    /// once more.
    fn is_stale(&self, request: &mut Request) -> bool {
        let is_kept = self.upstream.as_ref().is_some_and(|upstream| upstream.is_kept);
        is_kept
            && request.upstream_record().last_try().bytes_received == 0
            && self.may_go_on(request, Failures::ERROR)
    }

    /// Whether a server has said that it did nothing with the request, on a connection that was kept;
    /// then it may have it on another one, whatever its method. A body that is passed on as it comes
    /// is with whoever got its head.
    fn is_untouched(&self) -> bool {
        self.protocol.is_untouched() && !self.wants_fresh && !self.outgoing.comes_in_pieces()
    }

    /// Nobody is to blame: the same request is sent on a new connection.
    fn give_up_stale(&mut self, request: &mut Request) {
        request.upstream_record().last_try().status = Status::BAD_GATEWAY.0;
        request.scoreboard().count(Rare::StaleRetries);
        if let Some(peer) = self.peer.take() {
            self.selection.done(peer, Attempt::Stale);
        }
        self.upstream = None;
        self.wants_fresh = true;
    }

    fn may_go_on(&self, request: &Request, kind: Failures) -> bool {
        let timeout = *self.settings.next_upstream_timeout;
        let age = Duration::from_millis(daemun_event::now().saturating_sub(self.started));
        let was_sent = self.upstream.is_some();
        next::allows(request, *self.settings.next_upstream, kind, was_sent)
            && !self.outgoing.has_taken()
            && (timeout.is_zero() || age < timeout)
    }

    async fn attempt(&mut self, request: &mut Request) -> Result<(), Fault> {
        request.doing = "";
        self.protocol.begin_again();
        // What the request says of tries is true of those before this one.
        self.outgoing.begin(request, &mut *self.protocol, self.streams)?;
        request.doing = "connecting to upstream";
        request.upstream_record().begin_try();
        let Ok(peer) = self.selection.next(request).await else {
            Self::name_peer(request, self.selection.group().name.as_str().into(), false);
            log!(request.log(), Error, *request, "no live upstreams");
            return Err(Failure::NoLive.into());
        };
        request.upstream_record().forget_earlier();
        self.bind_client(request);
        let is_unix = matches!(peer.address, Address::Unix(_));
        Self::name_peer(request, Arc::clone(&peer.name), is_unix);
        let tls_name = self
            .is_tls
            .then(|| tls::server_name(request, self.settings, &self.selection.group().name));
        let manner = self.manner();
        let peer = self.peer.insert(peer);
        if !self.wants_fresh
            && let Some(upstream) =
                kept::take(self.selection.group(), peer, manner, tls_name.as_deref())
        {
            self.upstream = Some(upstream);
            request.upstream_record().last_try().connect_time = Some(0);
            return self.ask(request).await;
        }
        // What is rare waits in a place of its own: every request has room for the future of the usual way.
        let connected = Box::pin(connect::connect(
            request,
            self.settings,
            &peer.address,
            &peer.name,
            self.watches_client,
            tls_name,
        ));
        self.upstream = Some(connected.await.map_err(|why| match why {
            NotConnected::Failed => Fault::from(Failure::Error),
            NotConnected::TimedOut => Failure::Timeout.into(),
            NotConnected::ClientLeft => client_left(request),
            NotConnected::Broken => Status::INTERNAL_SERVER_ERROR.into(),
        })?);
        let last = request.upstream_record().last_try();
        last.connect_time = Some(last.age());
        self.ask(request).await
    }

    /// What makes connections alike.
    fn manner(&self) -> Manner {
        Manner { owner: owner(self.settings), is_http2: self.protocol.is_http2() }
    }

    /// `sticky cookie`: the client is told of its peer, and not of one that was asked before.
    fn bind_client(&mut self, request: &mut Request) {
        let mut cookie = Vec::new();
        if !self.selection.cookie(request, &mut cookie) {
            return;
        }
        let headers = &mut request.response.headers;
        headers.retain(|header| !(header.name == SET_COOKIE && header.value == self.cookie));
        self.cookie = cookie.into();
        headers.push(Header { name: SET_COOKIE, value: self.cookie.clone() });
    }

    fn name_peer(request: &mut Request, name: Arc<str>, is_unix: bool) {
        let last = request.upstream_record().last_try();
        last.peer = Some(name);
        last.is_unix = is_unix;
    }

    /// Sends the request and reads the response's head, which may come before all of the request is sent.
    async fn ask(&mut self, request: &mut Request) -> Result<(), Fault> {
        request.doing = "sending request to upstream";
        if self.outgoing.comes_in_pieces()
            && *request.core().connection.tcp_nodelay
            && let Some(upstream) = &self.upstream
        {
            // Without it, or on a UNIX socket, the pace differs, not the content.
            let _ = upstream.stream.set_nodelay(true);
        }
        if self.protocol.is_http2()
            && let Some(upstream) = &mut self.upstream
        {
            self.protocol.attach(upstream.http2.take().unwrap_or_else(Link::new));
        }
        // Its storage is the record's, and goes back there.
        let head = std::mem::take(&mut request.upstream_record().head);
        let mut reading = Reading { head, ..Reading::default() };
        // Of the present wait, until something moves.
        let mut deadline = None;
        loop {
            let sending = self.send(request, &mut reading)?;
            if sending.has_moved {
                deadline = None;
            }
            // Nothing more is sent where that has failed.
            let sends = !self.outgoing.is_sent(request) && reading.broken.is_none();
            if !sends && !reading.has_begun {
                reading.has_begun = true;
                request.doing = "reading response header from upstream";
                deadline = None;
            }
            if !sends && self.protocol.answers_at_once() {
                reading.buffer = Some(Buffer::with_capacity(0));
                self.parse_head(request, &mut reading).await?;
                return Ok(());
            }
            match self.read_head(request, &mut reading).await? {
                Progress::Done => return Ok(()),
                Progress::Some => {
                    deadline = None;
                    if self.protocol.is_http2() {
                        // It may have let more be sent, or asked for an answer.
                        continue;
                    }
                }
                Progress::None => {}
            }
            if sending.rests {
                next_turn().await;
                continue;
            }
            let Some(upstream) = &self.upstream else { return Err(Failure::Error.into()) };
            let stream = &upstream.stream;
            if sending.waits_for_client {
                Box::pin(wait_for_body(request, stream)).await?;
                continue;
            }
            let timeout = match sends {
                false => *self.settings.read_timeout,
                true => *self.settings.send_timeout,
            };
            let deadline = *deadline.get_or_insert_with(|| Deadline::after(timeout));
            let sends = sends && !sending.is_held;
            let ready = Either { stream, deadline, sends };
            match connect::wait(request, ready, self.watches_client).await {
                Ok(()) => {}
                Err(Interruption::TimedOut) => return Err(Failure::Timeout.into()),
                Err(Interruption::ClientLeft) => return Err(client_left(request)),
                Err(Interruption::Failed(error)) => {
                    connect::tell(request, "waiting for upstream failed", error);
                    return Err(Failure::Error.into());
                }
            }
        }
    }

    /// Sends what can be sent at once. That it fails is told once it is known that there is no answer either: a server may
    /// have given one and closed, without reading all of the request.
    fn send(&mut self, request: &mut Request, reading: &mut Reading) -> Result<Sending, Fault> {
        let mut sending = Sending::default();
        let Some(upstream) = &mut self.upstream else { return Ok(sending) };
        let before = upstream.sent;
        self.outgoing.queue_control(request, &mut *self.protocol);
        while reading.broken.is_none() && !self.outgoing.is_sent(request) {
            if upstream.sent - before >= IN_A_TURN as u64 {
                sending.rests = true;
                break;
            }
            match self.outgoing.advance(request, &mut *self.protocol, upstream) {
                Ok(Advance::Sent) => sending.has_moved = true,
                Ok(Advance::WaitsForClient) => {
                    sending.waits_for_client = true;
                    break;
                }
                Ok(Advance::IsHeld) => {
                    sending.is_held = true;
                    break;
                }
                Err(outgoing::Fault::Failed(error)) if error.kind() == ErrorKind::WouldBlock => {
                    break;
                }
                Err(outgoing::Fault::Failed(error)) => reading.broken = Some(error),
                Err(outgoing::Fault::Refused(status)) => return Err(status.into()),
            }
        }
        Ok(sending)
    }

    /// Reads what is there.
    async fn read_head(
        &mut self,
        request: &mut Request,
        reading: &mut Reading,
    ) -> Result<Progress, Fault> {
        let mut progress = Progress::None;
        let mut turn = Turn::default();
        loop {
            let Some(upstream) = &mut self.upstream else { return Ok(Progress::None) };
            if !upstream.transport().may_be_readable() {
                return Ok(progress);
            }
            let capacity = (*self.settings.buffer_size).max(Buffer::SIZE);
            let buffer = match &mut reading.buffer {
                Some(buffer) => buffer,
                none => none.insert(buffer_of(request, capacity)?),
            };
            if !has_room(buffer) {
                return Err(too_big(request));
            }
            let received = match upstream.transport().try_recv_into(buffer) {
                Ok(0) => {
                    self.tell_closed(request, reading);
                    return Err(Failure::Error.into());
                }
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(progress),
                Err(error) => {
                    let (what, error) = match reading.broken.take() {
                        Some(broken) => ("writev() failed", broken),
                        None => ("recv() failed", error),
                    };
                    request.doing = "reading response header from upstream";
                    connect::tell(request, what, error);
                    return Err(Failure::Error.into());
                }
            };
            request.upstream_record().last_try().bytes_received += received as u64;
            progress = Progress::Some;
            if self.parse_head(request, reading).await? {
                return Ok(Progress::Done);
            }
            turn.spend(received).await;
        }
    }

    /// The upstream has closed the connection before there was an answer.
    fn tell_closed(&mut self, request: &mut Request, reading: &mut Reading) {
        if let Some(begun) = reading.buffer.take() {
            self.leave_head(request, reading, &begun);
        }
        if let Some(error) = reading.broken.take() {
            request.doing = "sending request to upstream";
            return connect::tell(request, "writev() failed", error);
        }
        request.doing = "reading response header from upstream";
        let what = "upstream prematurely closed connection";
        match self.is_stale(request) {
            true => log!(request.log(), Info, *request, "{}", what),
            false => log!(request.log(), Error, *request, "{}", what),
        }
    }

    /// Whether the head is complete.
    async fn parse_head(
        &mut self,
        request: &mut Request,
        reading: &mut Reading,
    ) -> Result<bool, Fault> {
        request.doing = "reading response header from upstream";
        // It may lead to a file that the upstream has just written.
        daemun_event::next_moment();
        let Some(mut buffer) = reading.buffer.take() else { return Ok(false) };
        loop {
            match self.protocol.read_head(request, &buffer, &mut reading.head) {
                Err(_) => {
                    self.leave_head(request, reading, &buffer);
                    return Err(Failure::InvalidHeader.into());
                }
                Ok(HeadStep::Incomplete { consumed }) => {
                    let length = self.protocol.head_length().unwrap_or(buffer.len());
                    if length >= *self.settings.buffer_size {
                        return Err(too_big(request));
                    }
                    buffer.consume(consumed);
                    reading.buffer = Some(buffer);
                    return Ok(false);
                }
                Ok(HeadStep::EarlyHints { consumed }) => {
                    let hints = self.protocol.take_head_bytes();
                    let hints =
                        hints.unwrap_or_else(|| Bytes::copy_from_slice(&buffer[..consumed]));
                    reading.hints += hints.len();
                    Box::pin(early_hints::pass(
                        request,
                        self.settings,
                        &mut reading.head,
                        hints,
                        reading.hints,
                    ))
                    .await;
                    buffer.consume(consumed);
                }
                Ok(HeadStep::Interim { consumed }) => {
                    reading.head.clear();
                    buffer.consume(consumed);
                }
                Ok(HeadStep::Done { consumed }) => {
                    let length = self.protocol.head_length().unwrap_or(consumed);
                    if length > *self.settings.buffer_size {
                        return Err(too_big(request));
                    }
                    let status = reading.head.status;
                    if is_interim(status) && !self.is_asked_for(request, status) {
                        let log = request.log();
                        log!(log, Error, *request, "upstream sent unexpected status {}", status);
                        self.leave_head(request, reading, &buffer);
                        return Err(Failure::InvalidHeader.into());
                    }
                    self.settle_head(request, reading, buffer, consumed);
                    return Ok(true);
                }
            }
        }
    }

    /// Whether a status that is no response's, since another follows, is what was asked for.
    fn is_asked_for(&self, request: &Request, status: u16) -> bool {
        status == Status::SWITCHING_PROTOCOLS.0 && self.protocol.asks_to_upgrade(request)
    }

    /// A head is of no use. What could be read of it is known to variables.
    fn leave_head(&mut self, request: &mut Request, reading: &mut Reading, received: &[u8]) {
        let bytes = self.protocol.take_head_bytes();
        reading.head.bytes = bytes.unwrap_or_else(|| Bytes::copy_from_slice(received));
        std::mem::swap(&mut request.upstream_record().head, &mut reading.head);
    }

    fn settle_head(
        &mut self,
        request: &mut Request,
        reading: &mut Reading,
        buffer: Buffer,
        consumed: usize,
    ) {
        let is_whole = reading.head.content_length == Some((buffer.len() - consumed) as u64);
        // A buffer that a response fits into is free again as soon as that is sent.
        let mut bytes = if is_whole { lend(buffer) } else { share(buffer) };
        let head = bytes.split_to(consumed);
        self.input = bytes;
        reading.head.bytes = self.protocol.take_head_bytes().unwrap_or(head);
        let record = request.upstream_record();
        std::mem::swap(&mut record.head, &mut reading.head);
        let status = record.head.status;
        let last = record.last_try();
        last.header_time = Some(last.age());
        if last.status == 0 {
            last.status = status;
        }
        self.selection.head_came(request);
    }

    /// The head has been taken over: what follows is a body.
    pub fn begin_body(&mut self, request: &Request) {
        if let Some(record) = &request.upstream {
            self.protocol.begin_body(request, &record.head);
        }
    }

    /// Ends the exchange: the connection is closed, or kept for another request.
    pub fn finish(&mut self, request: &mut Request, keeps: bool) {
        request.upstream_record().settle_time();
        let Some(peer) = self.peer.take() else { return };
        if keeps && self.protocol.is_http2() {
            // Answers to what the upstream has said last.
            let _ = self.send(request, &mut Reading::default());
        }
        if let Some(mut upstream) = self.upstream.take()
            && keeps
            && self.outgoing.is_whole(request)
        {
            upstream.http2 = self.protocol.detach();
            kept::keep(self.selection.group(), Arc::clone(&peer), self.manner(), upstream);
        }
        self.selection.done(peer, Attempt::Good);
    }

    /// Goes on with the request while its response comes, where the protocol lets that be; errors are
    /// told by what comes of the response, or does not.
    pub fn poll_send(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Result<(), Status> {
        if !self.protocol.is_http2() || self.is_mute {
            return Ok(());
        }
        loop {
            let mut reading = Reading::default();
            let sending = match self.send(request, &mut reading) {
                Ok(sending) => sending,
                Err(Fault::Ended(Ended::Status(status))) => return Err(status),
                Err(_) => return Err(Status::BAD_REQUEST),
            };
            if reading.broken.is_some() {
                self.is_mute = true;
                return Ok(());
            }
            if sending.rests {
                cx.waker().wake_by_ref();
                return Ok(());
            }
            if sending.waits_for_client {
                match request.poll_arrival(cx) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(_)) => return Err(Status::BAD_REQUEST),
                    Poll::Pending => return Ok(()),
                }
            }
            if sending.is_held || self.outgoing.is_sent(request) {
                return Ok(());
            }
            let Some(upstream) = &self.upstream else { return Ok(()) };
            if Pin::new(&mut upstream.stream.writable(Deadline::NEVER)).poll(cx).is_pending() {
                return Ok(());
            }
        }
    }

    /// The name of the group, and the peer in it that is being asked.
    pub fn peer(&self) -> Option<(&str, &Peer)> {
        Some((&self.selection.group().name, self.peer.as_deref()?))
    }

    pub fn watches_client(&self) -> bool {
        self.watches_client
    }

    /// The response is for the client alone: one that has left ends the exchange, unless that is to go on.
    pub fn is_for_client(&mut self, request: &Request) {
        self.watches_client = watches_client(request, self.settings);
    }
}

impl Drop for Exchange {
    /// The client has gone in the middle of the response, which says nothing against the peer.
    fn drop(&mut self) {
        if let Some(peer) = self.peer.take() {
            self.selection.done(peer, Attempt::Good);
        }
    }
}

/// What has been read of a head.
#[derive(Default)]
struct Reading {
    buffer: Option<Buffer>,
    head: Head,
    /// Bytes of early hints.
    hints: usize,
    /// The request is sent, and the response awaited.
    has_begun: bool,
    /// Why the request could not be sent to its end.
    broken: Option<io::Error>,
}

/// Whether there is room to receive; what was consumed makes some.
fn has_room(buffer: &mut Buffer) -> bool {
    if buffer.spare().is_empty() {
        buffer.compact();
    }
    !buffer.spare().is_empty()
}

/// Room for the head, whose size an administrator chose.
fn buffer_of(request: &Request, capacity: usize) -> Result<Buffer, Fault> {
    Buffer::try_with_capacity(capacity).map_err(|error| {
        log!(request.log(), Emerg, *request, "malloc({}) failed", capacity; error);
        Status::INTERNAL_SERVER_ERROR.into()
    })
}

fn too_big(request: &Request) -> Fault {
    log!(request.log(), Error, *request, "upstream sent too big header");
    Failure::InvalidHeader.into()
}

fn is_interim(status: u16) -> bool {
    (100..200).contains(&status)
}

/// How far sending came.
#[derive(Default)]
struct Sending {
    has_moved: bool,
    /// Nothing is left to send until the client sends more of its body.
    waits_for_client: bool,
    /// More could be sent at once, but others go first.
    rests: bool,
    /// The upstream lets nothing more be sent at present.
    is_held: bool,
}

enum Progress {
    None,
    Some,
    Done,
}

/// Waits for more of the client's body, or for an answer that comes before that.
async fn wait_for_body(request: &Request, upstream: &Stream) -> Result<(), Fault> {
    let timeout = *request.core().client.body_timeout;
    let deadline = Deadline::after(timeout);
    let ready = poll_fn(|cx| {
        // The time that the client has is the upstream's affair while there is one.
        if let Poll::Ready(result) = request.poll_arrival(cx) {
            return Poll::Ready(result);
        }
        Pin::new(&mut upstream.readable(deadline)).poll(cx)
    });
    ready.await.map_err(|error| match error.kind() {
        ErrorKind::TimedOut => Status::REQUEST_TIMEOUT.into(),
        _ => Status::BAD_REQUEST.into(),
    })
}

/// Names a location to the connections that are kept for it alone.
fn owner(settings: &'static Settings) -> usize {
    std::ptr::from_ref(settings).addr()
}

/// A client is watched where its leaving ends the exchange. For what is asked for the sake of another request, whoever has
/// the connection does that.
fn watches_client(request: &Request, settings: &Settings) -> bool {
    !goes_on_alone(request, settings) && !request.is_subrequest() && !request.is_post_action
}

/// Whether a response is read to its end without a client: what is kept as a file is wanted all the same.
fn goes_on_alone(request: &Request, settings: &Settings) -> bool {
    *settings.ignore_client_abort || settings.store.is_some() || request.fetches_for_cache()
}

fn client_left(request: &Request) -> Fault {
    connect::tell_client_left(request);
    Fault::Ended(Ended::ClientLeft)
}

/// Received bytes that several may hold. The buffer itself where it is well filled, else a copy.
pub fn share(buffer: Buffer) -> Bytes {
    match buffer.len() * 4 < buffer.capacity() {
        true => Bytes::copy_from_slice(&buffer),
        false => lend(buffer),
    }
}

/// The buffer's bytes; it goes back to its pool with the last of them.
fn lend(buffer: Buffer) -> Bytes {
    struct Lent(Buffer);

    impl AsRef<[u8]> for Lent {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    Bytes::from_owner(Lent(buffer))
}

/// Waits until a stream may be read from, or sent to where something is left to send.
struct Either<'s> {
    stream: &'s Stream,
    deadline: Deadline,
    sends: bool,
}

impl Future for Either<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        if self.sends
            && let Poll::Ready(result) = Pin::new(&mut self.stream.writable(self.deadline)).poll(cx)
        {
            return Poll::Ready(result);
        }
        Pin::new(&mut self.stream.readable(self.deadline)).poll(cx)
    }
}
