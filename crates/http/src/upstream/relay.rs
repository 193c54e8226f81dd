//! Connections that have been upgraded: bytes pass both ways until one side has had enough.

mod facts;
mod release;

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use daemun_core::{connection, log};
use daemun_event::{Buffer, Deadline, Sleep, Stream, next_turn, sleep_until};
use daemun_tls::Transport;
use daemun_upstream::{Peer, Selection};

use super::connect::{self, Upstream};
use super::exchange::{Exchange, share};
use crate::h2::Handle;
use crate::request::Request;
use facts::Course;
use release::Ticket;

pub use release::release_relays;

/// An upstream's side of a relay.
pub struct Relay {
    upstream: Upstream,
    /// What has come from it and waits for the head of the response to be sent.
    input: Bytes,
    limits: Limits,
    /// When it will have been silent for too long.
    silence: Deadline,
    /// Whose connections it is counted among.
    place: Place,
    /// When all is over whatever passes.
    until: Deadline,
    /// It ends here, whoever else leaves.
    stays: bool,
}

/// What the location has to say about the upstream's side.
#[derive(Clone, Copy)]
struct Limits {
    buffer_size: usize,
    read_timeout: Duration,
    send_timeout: Duration,
}

/// What counts the connection at its peer, for as long as it is kept.
enum Place {
    Asked(Box<Exchange>),
    /// It came from another process.
    Arrived(Box<(Selection, Arc<Peer>)>),
    /// This configuration has no such peer.
    Unknown,
}

impl Place {
    fn of(request: &Request, peer: Option<(String, daemun_core::listen::Address)>) -> Place {
        let arrived = peer.and_then(|(group, address)| {
            let mut selection = request.config.upstreams.named(&group)?.select();
            let peer = selection.resume(&address)?;
            Some(Place::Arrived(Box::new((selection, peer))))
        });
        arrived.unwrap_or(Place::Unknown)
    }

    /// The name of the group, and the peer in it.
    fn peer(&self) -> Option<(&str, &Peer)> {
        match self {
            Place::Asked(exchange) => exchange.peer(),
            Place::Arrived(arrived) => Some((&arrived.0.group().name, &arrived.1)),
            Place::Unknown => None,
        }
    }
}

/// Longer facts do not travel: their relay ends where it began.
const LONGEST: usize = 48 * 1024;

/// How a relay ends here.
enum End {
    /// One side has had enough.
    Over,
    /// It may go on elsewhere: nothing that was read waits to be written.
    Released,
}

impl Relay {
    /// `None` where the exchange has no connection any more.
    pub fn new(mut exchange: Box<Exchange>) -> Option<Relay> {
        let upstream = exchange.upstream.take()?;
        let limits = Limits {
            buffer_size: *exchange.settings.buffer_size,
            read_timeout: *exchange.settings.read_timeout,
            send_timeout: *exchange.settings.send_timeout,
        };
        Some(Relay {
            upstream,
            input: std::mem::take(&mut exchange.input),
            limits,
            silence: Deadline::after(limits.read_timeout),
            place: Place::Asked(exchange),
            until: Deadline::NEVER,
            stays: false,
        })
    }

    /// Goes on with what another process had, and makes the request the one that led to it. `None` where that cannot be
    /// understood.
    pub fn resume(request: &mut Request, relay: connection::Relay) -> Option<Relay> {
        let Course { limits, rest, sent, peer } = facts::read(&relay.facts, request)?;
        let upstream = Upstream {
            stream: relay.upstream,
            requests: 1,
            started: request.started,
            is_kept: false,
            sent,
            tls: relay.tls,
            http2: None,
        };
        Some(Relay {
            upstream,
            input: Bytes::new(),
            limits,
            silence: Deadline::after(rest),
            place: Place::of(request, peer),
            until: relay.until,
            stays: relay.stays,
        })
    }

    /// The same, which nobody else can go on with.
    pub fn that_stays(mut self) -> Relay {
        self.stays = true;
        self
    }

    /// Passes bytes until one side ends, fails or falls silent; `Some` where it is to go on elsewhere before that.
    pub async fn run(mut self, request: &mut Request) -> Option<Box<connection::Relay>> {
        request.doing = "proxying upgraded connection";
        let mut waiting = Waiting {
            from_upstream: std::mem::take(&mut self.input),
            from_client: Bytes::copy_from_slice(&request.head.bytes[request.consumed..]),
            upstream_ended: false,
            client_ended: false,
        };
        request.consumed = request.head.bytes.len();
        loop {
            match self.pass(request, &mut waiting).await {
                Ok(End::Over) => break,
                Ok(End::Released) => match self.facts(request) {
                    Some(facts) => return Some(self.leave(facts)),
                    None => self.stays = true,
                },
                Err(_) if self.until.has_passed() => break,
                Err(error) => {
                    tell(request, error);
                    break;
                }
            }
        }
        request.doing = "";
        request.upstream_record().settle_time();
        None
    }

    /// What its next owner has to know, unless that is too much.
    fn facts(&self, request: &mut Request) -> Option<Vec<u8>> {
        let facts = facts::write(request, &Course::of(self));
        (facts.len() <= LONGEST).then_some(facts)
    }

    fn leave(self, facts: Vec<u8>) -> Box<connection::Relay> {
        let Relay { upstream: Upstream { stream, tls, .. }, until, stays, .. } = self;
        Box::new(connection::Relay { upstream: stream, tls, facts, until, stays })
    }

    async fn pass(&mut self, request: &mut Request, waiting: &mut Waiting) -> Result<End, Fault> {
        let ticket = (!self.stays).then(Ticket::new);
        let mut in_a_row = 0;
        loop {
            let moved = self.pass_down(request, waiting)? | self.pass_up(request, waiting)?;
            if waiting.is_over() {
                return Ok(End::Over);
            }
            if waiting.is_empty() && ticket.as_ref().is_some_and(Ticket::is_released) {
                return Ok(End::Released);
            }
            in_a_row += 1;
            if moved {
                self.silence = Deadline::after(self.limits.read_timeout);
                if in_a_row < IN_A_ROW {
                    continue;
                }
            }
            in_a_row = 0;
            match moved {
                true => next_turn().await,
                false => self.wait(request, waiting, ticket.as_ref()).await?,
            }
        }
    }

    /// Passes what there is from the upstream to the client: whether that was something.
    fn pass_down(&mut self, request: &mut Request, waiting: &mut Waiting) -> Result<bool, Fault> {
        let mut moved = false;
        if waiting.from_upstream.is_empty()
            && !waiting.upstream_ended
            && let Some(bytes) = receive(&mut self.upstream.transport(), self.limits.buffer_size)?
        {
            request.upstream_record().last_try().bytes_received += bytes.len() as u64;
            waiting.upstream_ended = bytes.is_empty();
            waiting.from_upstream = bytes;
            moved = true;
        }
        let sent = send_to_client(request, &mut waiting.from_upstream)?;
        request.sent += sent as u64;
        Ok(moved || sent > 0)
    }

    /// The same from the client to the upstream.
    fn pass_up(&mut self, request: &mut Request, waiting: &mut Waiting) -> Result<bool, Fault> {
        let mut moved = false;
        if waiting.from_client.is_empty()
            && !waiting.client_ended
            && let Some(bytes) = receive_from_client(request, self.limits.buffer_size)?
        {
            waiting.client_ended = bytes.is_empty();
            waiting.from_client = bytes;
            moved = true;
        }
        let sent = send(&mut self.upstream.transport(), &mut waiting.from_client)?;
        self.upstream.sent += sent as u64;
        request.upstream_record().last_try().bytes_sent = self.upstream.sent;
        Ok(moved || sent > 0)
    }

    /// Waits for bytes from either side that has none waiting, for room where there are some, and to be told to leave.
    async fn wait(
        &mut self,
        request: &mut Request,
        waiting: &Waiting,
        ticket: Option<&Ticket>,
    ) -> Result<(), Fault> {
        let down = !waiting.from_upstream.is_empty() || has_unsent(request);
        let up = !waiting.from_client.is_empty() || self.upstream.transport().has_unsent();
        let (upstream, client) = (&self.upstream.stream, Client::of(request));
        let to_client = *request.core().sending.send_timeout;
        let until = self.until;
        let sends_down = Deadline::after(to_client).min(until);
        let sends_up = Deadline::after(self.limits.send_timeout).min(until);
        let reads = self.silence.min(until);
        let mut client = client;
        poll_fn(|cx| {
            if let Some(ticket) = ticket {
                if ticket.is_released() && waiting.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                ticket.wake(cx);
            }
            if down && let Poll::Ready(result) = client.poll_writable(sends_down, cx) {
                return Poll::Ready(result.map_err(|_| Fault::ClientTimedOut));
            }
            if up && let Poll::Ready(result) = writable(upstream, sends_up, cx) {
                return Poll::Ready(result.map_err(|_| Fault::TimedOut));
            }
            if !up
                && !waiting.client_ended
                && let Poll::Ready(result) = client.poll_readable(until, cx)
            {
                return Poll::Ready(result.map_err(Fault::Failed));
            }
            if !down && !waiting.upstream_ended {
                return readable(upstream, reads, cx)
                    .map(|result| result.map_err(|_| Fault::TimedOut));
            }
            Poll::Pending
        })
        .await
    }
}

/// How often bytes are passed on before others have their turn.
const IN_A_ROW: usize = 16;

/// What was received from one side and waits for the other.
struct Waiting {
    from_upstream: Bytes,
    from_client: Bytes,
    upstream_ended: bool,
    client_ended: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.from_upstream.is_empty() && self.from_client.is_empty()
    }

    /// Whoever ended has nothing left to be passed on.
    fn is_over(&self) -> bool {
        self.upstream_ended && self.from_upstream.is_empty()
            || self.client_ended && self.from_client.is_empty()
            || self.upstream_ended && self.client_ended
    }
}

/// Why a relay ends before one of its sides does.
enum Fault {
    TimedOut,
    ClientTimedOut,
    Failed(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Failed(error)
    }
}

fn tell(request: &Request, fault: Fault) {
    let timed_out = io::Error::from(rustix::io::Errno::TIMEDOUT);
    match fault {
        Fault::TimedOut => log!(request.log(), Info, *request, "upstream timed out"; timed_out),
        Fault::ClientTimedOut => {
            log!(request.log(), Info, *request, "client timed out"; timed_out);
        }
        Fault::Failed(error) => connect::tell(request, "relaying failed", error),
    }
}

/// The client's side, by what carries it.
enum Client<'r> {
    Socket(&'r Stream),
    /// A stream of HTTP/2, and the time to send that its session does not know.
    Stream(&'r Handle, Option<Sleep>),
}

impl Client<'_> {
    fn of(request: &Request) -> Client<'_> {
        match request.stream() {
            None => Client::Socket(&request.connection().stream),
            Some(handle) => Client::Stream(handle, None),
        }
    }

    fn poll_readable(&mut self, until: Deadline, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Client::Socket(stream) => readable(stream, until, cx),
            Client::Stream(handle, _) => handle.poll_arrival(cx).map(Ok),
        }
    }

    fn poll_writable(&mut self, until: Deadline, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Client::Socket(stream) => writable(stream, until, cx),
            Client::Stream(handle, sleep) => {
                if handle.poll_room(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                let sleep = sleep.get_or_insert_with(|| sleep_until(until));
                Pin::new(sleep).poll(cx).map(|()| Err(ErrorKind::TimedOut.into()))
            }
        }
    }
}

fn has_unsent(request: &mut Request) -> bool {
    request.stream().is_none() && request.connection_mut().transport().has_unsent()
}

/// What there is from the client, as [`receive`] tells it.
fn receive_from_client(request: &mut Request, most: usize) -> io::Result<Option<Bytes>> {
    let Some(handle) = request.stream() else {
        return receive(&mut request.connection_mut().transport(), most);
    };
    if !handle.has_arrived() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    match handle.try_receive(&mut bytes) {
        Ok(_) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(_) => Ok(Some(Bytes::new())),
    }
}

/// Sends what the client takes.
fn send_to_client(request: &mut Request, bytes: &mut Bytes) -> io::Result<usize> {
    let Some(handle) = request.stream() else {
        return send(&mut request.connection_mut().transport(), bytes);
    };
    if bytes.is_empty() {
        return Ok(0);
    }
    match handle.try_send(bytes, false) {
        Ok(sent) => {
            bytes.advance(sent);
            Ok(sent)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error),
    }
}

fn readable(stream: &Stream, deadline: Deadline, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(&mut stream.readable(deadline)).poll(cx)
}

fn writable(stream: &Stream, deadline: Deadline, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(&mut stream.writable(deadline)).poll(cx)
}

/// What is there: no bytes are the end, `None` is nothing. A reset is an end, too.
fn receive(transport: &mut Transport<'_>, most: usize) -> io::Result<Option<Bytes>> {
    if !transport.may_be_readable() {
        return Ok(None);
    }
    let mut buffer = Buffer::try_with_capacity(most)?;
    match transport.try_recv_into(&mut buffer) {
        Ok(_) => Ok(Some(share(buffer))),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(_) => Ok(Some(Bytes::new())),
    }
}

/// Sends what the kernel takes.
fn send(transport: &mut Transport<'_>, bytes: &mut Bytes) -> io::Result<usize> {
    if bytes.is_empty() {
        transport.flush()?;
        return Ok(0);
    }
    match transport.try_send(bytes, false) {
        Ok(sent) => {
            bytes.advance(sent);
            Ok(sent)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error),
    }
}
