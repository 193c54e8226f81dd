//! Connections that have been upgraded: bytes pass both ways until one side has had enough.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use daemun_core::log;
use daemun_event::{Buffer, Deadline, Stream, next_turn};

use super::connect;
use super::exchange::{Exchange, share};
use crate::request::Request;

/// An upstream's side of a relay, until the head of the response is sent.
pub struct Relay {
    exchange: Box<Exchange>,
}

impl Relay {
    pub fn new(exchange: Box<Exchange>) -> Relay {
        Relay { exchange }
    }

    /// Passes bytes until one side ends, fails or falls silent.
    pub async fn run(mut self, request: &mut Request) {
        request.doing = "proxying upgraded connection";
        let mut waiting = Waiting {
            from_upstream: std::mem::take(&mut self.exchange.input),
            from_client: Bytes::copy_from_slice(&request.head.bytes[request.consumed..]),
            upstream_ended: false,
            client_ended: false,
        };
        request.consumed = request.head.bytes.len();
        if let Err(error) = self.pass(request, &mut waiting).await {
            tell(request, error);
        }
        request.doing = "";
        self.exchange.finish(request, false);
    }

    async fn pass(&mut self, request: &mut Request, waiting: &mut Waiting) -> Result<(), Fault> {
        let mut in_a_row = 0;
        loop {
            let moved = self.pass_down(request, waiting)? | self.pass_up(request, waiting)?;
            if waiting.is_over() {
                return Ok(());
            }
            in_a_row += 1;
            if moved && in_a_row < IN_A_ROW {
                continue;
            }
            in_a_row = 0;
            match moved {
                true => next_turn().await,
                false => self.wait(request, waiting).await?,
            }
        }
    }

    /// Passes what there is from the upstream to the client: whether that was something.
    fn pass_down(&mut self, request: &mut Request, waiting: &mut Waiting) -> Result<bool, Fault> {
        let Some(upstream) = &mut self.exchange.upstream else { return Ok(false) };
        let mut moved = false;
        if waiting.from_upstream.is_empty()
            && !waiting.upstream_ended
            && let Some(bytes) = receive(&upstream.stream, *self.exchange.settings.buffer_size)?
        {
            request.upstream_record().last_try().bytes_received += bytes.len() as u64;
            waiting.upstream_ended = bytes.is_empty();
            waiting.from_upstream = bytes;
            moved = true;
        }
        let sent = send(&request.connection().stream, &mut waiting.from_upstream)?;
        request.sent += sent as u64;
        Ok(moved || sent > 0)
    }

    /// The same from the client to the upstream.
    fn pass_up(&mut self, request: &mut Request, waiting: &mut Waiting) -> Result<bool, Fault> {
        let Some(upstream) = &mut self.exchange.upstream else { return Ok(false) };
        let mut moved = false;
        if waiting.from_client.is_empty()
            && !waiting.client_ended
            && let Some(bytes) =
                receive(&request.connection().stream, *self.exchange.settings.buffer_size)?
        {
            waiting.client_ended = bytes.is_empty();
            waiting.from_client = bytes;
            moved = true;
        }
        let sent = send(&upstream.stream, &mut waiting.from_client)?;
        upstream.sent += sent as u64;
        request.upstream_record().last_try().bytes_sent = upstream.sent;
        Ok(moved || sent > 0)
    }

    /// Waits for bytes from either side that has none waiting, and for room where there are some.
    async fn wait(&mut self, request: &Request, waiting: &Waiting) -> Result<(), Fault> {
        let Some(upstream) = &self.exchange.upstream else { return Ok(()) };
        let (upstream, client) = (&upstream.stream, &request.connection().stream);
        let settings = self.exchange.settings;
        let to_client = *request.core().sending.send_timeout;
        let (down, up) = (!waiting.from_upstream.is_empty(), !waiting.from_client.is_empty());
        let sends_down = Deadline::after(to_client);
        let sends_up = Deadline::after(*settings.send_timeout);
        let reads = Deadline::after(*settings.read_timeout);
        poll_fn(|cx| {
            if down && let Poll::Ready(result) = writable(client, sends_down, cx) {
                return Poll::Ready(result.map_err(|_| Fault::ClientTimedOut));
            }
            if up && let Poll::Ready(result) = writable(upstream, sends_up, cx) {
                return Poll::Ready(result.map_err(|_| Fault::TimedOut));
            }
            if !up
                && !waiting.client_ended
                && let Poll::Ready(result) = readable(client, Deadline::NEVER, cx)
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
        Fault::TimedOut => log!(request.log(), Error, *request, "upstream timed out"; timed_out),
        Fault::ClientTimedOut => {
            log!(request.log(), Info, *request, "client timed out"; timed_out);
        }
        Fault::Failed(error) => connect::tell(request, "relaying failed", error),
    }
}

fn readable(stream: &Stream, deadline: Deadline, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(&mut stream.readable(deadline)).poll(cx)
}

fn writable(stream: &Stream, deadline: Deadline, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(&mut stream.writable(deadline)).poll(cx)
}

/// What is there: no bytes are the end, `None` is nothing. A reset is an end, too.
fn receive(stream: &Stream, most: usize) -> io::Result<Option<Bytes>> {
    if !stream.may_be_readable() {
        return Ok(None);
    }
    let mut buffer = Buffer::with_capacity(most);
    match stream.try_recv_into(&mut buffer) {
        Ok(_) => Ok(Some(share(buffer))),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(_) => Ok(Some(Bytes::new())),
    }
}

/// Sends what the kernel takes.
fn send(stream: &Stream, bytes: &mut Bytes) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match stream.try_send(bytes, false) {
        Ok(sent) => {
            bytes.advance(sent);
            Ok(sent)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error),
    }
}
