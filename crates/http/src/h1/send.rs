//! Sending a response: in one system call where it fits, else piece by piece as the client takes it.

mod pooled;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use daemun_core::connection::Relay as Relayed;
use daemun_core::debug;
use daemun_core::thread_pool::Ticket;
use daemun_event::{Deadline, next_turn};

use super::validate;
use super::write_head::{self, Framing};
use daemun_proto::http1::{Method, Version};

use crate::body::{self, Body, Chunk, FileRange};
use crate::core::sending;
use crate::file_reader::{self, Reader};
use crate::request::Request;
use crate::response::Header;
use crate::status::Status;
use crate::upstream::Relay;

thread_local! {
    /// The head, and a short body behind it, of the response that is being sent.
    static OUT: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(16 * 1024));
}

/// Bodies up to this length are copied behind the head: that costs less than a second slice.
const COPIED: usize = 16 * 1024;

/// What the kernel did not take at once.
struct Rest {
    bytes: Bytes,
    body: Body,
    framing: Framing,
}

/// What is left to send of a response that nothing produces any more.
pub struct Settled {
    bytes: Bytes,
    chunks: VecDeque<Chunk>,
    framing: Framing,
    /// A place in the thread pool that will read the first file.
    ticket: Option<Ticket>,
}

/// How far a response came.
pub enum Sent {
    Whole,
    /// The client has to take the rest, which may happen on another thread.
    Later(Settled),
    /// The head is sent, and what follows is passed on by another process.
    Elsewhere(Box<Relayed>),
}

/// Sends head and body; where `drains`, not what the client does not take at once of a body that is there. An error ends
/// the connection.
pub async fn response(request: &mut Request, mut body: Body, drains: bool) -> io::Result<Sent> {
    let holds_back = !*request.core().connection.tcp_nodelay;
    if holds_back {
        // Connections inherit TCP_NODELAY from their listener. Without it the pace differs, not the content.
        let _ = request.connection().stream.set_nodelay(false);
    }
    let ticket = pooled::admit(request, &mut body);
    if let Body::Relay(relay) = body {
        return Box::pin(relay_behind_head(request, *relay)).await;
    }
    let sent = match send_at_once(request, body)? {
        None => Ok(Sent::Whole),
        Some(rest) if drains => match settle(rest) {
            Ok(settled) => Ok(Sent::Later(Settled { ticket, ..settled })),
            Err(rest) => Box::pin(send_rest(request, rest, ticket)).await.map(|()| Sent::Whole),
        },
        Some(rest) => Box::pin(send_rest(request, rest, ticket)).await.map(|()| Sent::Whole),
    };
    if holds_back && !matches!(sent, Ok(Sent::Later(_))) {
        let _ = request.connection().stream.set_nodelay(true);
    }
    sent
}

/// Sends the head alone; what follows is passed both ways.
async fn relay_behind_head(request: &mut Request, relay: Relay) -> io::Result<Sent> {
    if let Some(rest) = send_at_once(request, Body::Empty)? {
        send_rest(request, rest, None).await?;
    }
    Ok(relay.run(request).await.map_or(Sent::Whole, Sent::Elsewhere))
}

/// Sends what [`response`] left.
pub async fn rest(request: &mut Request, settled: Settled) -> io::Result<()> {
    let Settled { bytes, chunks, framing, ticket } = settled;
    let rest = Rest { bytes, body: Body::Many(chunks), framing };
    let sent = send_rest(request, rest, ticket).await;
    if !*request.core().connection.tcp_nodelay {
        let _ = request.connection().stream.set_nodelay(true);
    }
    sent
}

/// A body that somebody still produces stays where it is.
fn settle(rest: Rest) -> Result<Settled, Rest> {
    let Rest { bytes, body, framing } = rest;
    let chunks = match body {
        Body::Stream(_) | Body::Relay(_) => return Err(Rest { bytes, body, framing }),
        Body::Empty => VecDeque::new(),
        Body::One(chunk) => VecDeque::from([chunk]),
        Body::Many(chunks) => chunks,
    };
    Ok(Settled { bytes, chunks, framing, ticket: None })
}

/// Sends as much as the kernel takes without waiting.
fn send_at_once(request: &mut Request, body: Body) -> io::Result<Option<Rest>> {
    OUT.with_borrow_mut(|out| {
        out.clear();
        let (body, framing) = prepare(request, body, out);
        request.sent_head = out.len() as u64;
        let body = append_short_body(request, body, framing, out);
        if matches!(body, Body::Stream(_)) {
            // What comes first of the body goes into the same packet.
            return Ok(Some(Rest { bytes: Bytes::copy_from_slice(out), body, framing }));
        }
        let more = !body.is_empty();
        let sent = try_send(request, out, more)?;
        if sent < out.len() {
            return Ok(Some(Rest { bytes: Bytes::copy_from_slice(&out[sent..]), body, framing }));
        }
        if out.capacity() > 4 * COPIED {
            *out = Vec::with_capacity(COPIED);
        }
        match body {
            Body::Empty if !framing.is_chunked && !has_unsent(request) => Ok(None),
            Body::One(Chunk::File(range)) if may_sendfile_at_once(request) => {
                send_file_at_once(request, range)
            }
            body => Ok(Some(Rest { bytes: Bytes::new(), body, framing })),
        }
    })
}

/// Settles length, framing and keep-alive, and writes the head.
fn prepare(request: &mut Request, body: Body, out: &mut Vec<u8>) -> (Body, Framing) {
    let status = request.response.status;
    let has_no_body = matches!(status, Status::NO_CONTENT | Status::NOT_MODIFIED)
        || status.0 < 200
        || request.head.method() == Method::Connect && status.0 < 300;
    if has_no_body && !request.response.is_foreign {
        request.response.content_type = None;
        request.response.content_length = None;
    } else if !has_no_body && request.response.content_length.is_none() {
        request.response.content_length = body.len();
    }
    // Without a head there is nothing that a body could be left out after.
    let is_headless = request.head.version() == Version::HTTP_09;
    let head_only = has_no_body || (request.head.method() == Method::Head && !is_headless);
    let may_chunk = *request.core().sending.chunked_transfer_encoding && request.is_http11();
    if may_chunk && !head_only && !request.response.trailers.is_empty() {
        request.response.content_length = None;
    }
    let is_open_ended = !head_only && request.response.content_length.is_none();
    let framing = Framing { is_chunked: is_open_ended && may_chunk };
    request.is_chunked = framing.is_chunked;
    if is_open_ended && !may_chunk {
        request.keepalive = false;
    }
    settle_keepalive(request);
    if is_headless {
        request.keepalive = false;
    } else {
        write_head::write(request, framing, out);
    }
    debug!(
        request.log(),
        Http, *request, "http response {} keepalive: {}", status.0, request.keepalive
    );
    (if head_only { Body::Empty } else { body }, framing)
}

/// The location's limits on how long the connection lives.
fn settle_keepalive(request: &mut Request) {
    let settings = &request.core().connection;
    let connection = request.connection();
    let age = Duration::from_millis(daemun_event::now().saturating_sub(connection.started));
    request.keepalive &= !settings.keepalive_timeout.is_zero()
        && connection.requests < *settings.keepalive_requests
        && age <= *settings.keepalive_time
        && !validate::is_disabled_for_browser(request, *settings.keepalive_disable);
}

/// Copies a short body behind the head; the rest of it, or all of a long one, is returned.
fn append_short_body(request: &Request, body: Body, framing: Framing, out: &mut Vec<u8>) -> Body {
    let Body::One(chunk) = &body else { return body };
    if chunk.len() > COPIED as u64 || framing.is_chunked || limits_rate(request) {
        return body;
    }
    match chunk {
        Chunk::Bytes(bytes) => {
            out.extend_from_slice(bytes);
            Body::Empty
        }
        Chunk::File(range) if may_read_at_once(request) && append_file(range, out) => Body::Empty,
        Chunk::File(_) => body,
    }
}

/// Neither the pool's threads nor `directio` are to read files.
fn may_read_at_once(request: &Request) -> bool {
    let settings = &request.core().sending;
    settings.directio.is_none() && !settings.aio.uses_threads()
}

/// False where the file has become shorter, or cannot be read: then nothing is appended.
fn append_file(range: &FileRange, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.resize(start + range.length as usize, 0);
    let is_whole = range.file.read_exact_at(&mut out[start..], range.offset).is_ok();
    if !is_whole {
        out.truncate(start);
    }
    is_whole
}

fn limits_rate(request: &Request) -> bool {
    request.limit_rate.is_some_and(|rate| rate > 0)
        || !matches!(*request.core().sending.limit_rate, sending::Amount::Fixed(0))
}

fn may_sendfile_at_once(request: &Request) -> bool {
    let settings = &request.core().sending;
    *settings.sendfile
        && may_read_at_once(request)
        && !limits_rate(request)
        && request.connection().tls().is_none()
}

/// Whether the last bytes are protected and not on their way yet.
fn has_unsent(request: &mut Request) -> bool {
    request.connection_mut().transport().has_unsent()
}

fn try_send(request: &mut Request, bytes: &[u8], more: bool) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match request.connection_mut().transport().try_send(bytes, more) {
        Ok(sent) => {
            request.sent += sent as u64;
            debug!(request.log(), Event, *request, "send: {} of {}", sent, bytes.len());
            Ok(sent)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error),
    }
}

fn send_file_at_once(request: &mut Request, mut range: FileRange) -> io::Result<Option<Rest>> {
    let most = chunk_size(*request.core().sending.sendfile_max_chunk);
    let mut budget = most;
    while range.length > 0 && budget > 0 {
        match try_send_file(request, &mut range, budget) {
            Ok(sent) => budget = budget.saturating_sub(sent),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    if range.length == 0 {
        return Ok(None);
    }
    let body = Body::One(Chunk::File(range));
    Ok(Some(Rest { bytes: Bytes::new(), body, framing: Framing { is_chunked: false } }))
}

fn chunk_size(configured: usize) -> usize {
    if configured == 0 { usize::MAX } else { configured }
}

fn try_send_file(request: &mut Request, range: &mut FileRange, most: usize) -> io::Result<usize> {
    let count = usize::try_from(range.length).unwrap_or(usize::MAX).min(most);
    let transport = request.connection_mut().transport();
    let sent = transport.try_send_file(&range.file, &mut range.offset, count)?;
    if sent == 0 {
        return Err(file_reader::has_become_shorter());
    }
    range.length -= sent as u64;
    request.sent += sent as u64;
    debug!(request.log(), Event, *request, "sendfile: {} of {}", sent, count);
    Ok(sent)
}

/// Sends what is left. What is kept as a file comes to its end also without the client.
async fn send_rest(request: &mut Request, rest: Rest, ticket: Option<Ticket>) -> io::Result<()> {
    let Rest { bytes, mut body, framing } = rest;
    let sent = send_pieces(request, bytes, &mut body, framing, ticket).await;
    if sent.is_err() && request.upstream.as_ref().is_some_and(|record| record.is_stored) {
        while let Some(Ok(_)) = body.next(request).await {}
    }
    sent
}

/// Sends piece by piece, waiting for the client and for `limit_rate`. Short pieces are gathered up to
/// `postpone_output`, for as long as the next one is there already.
async fn send_pieces(
    request: &mut Request,
    bytes: Bytes,
    body: &mut Body,
    framing: Framing,
    mut ticket: Option<Ticket>,
) -> io::Result<()> {
    let enough = *request.core().sending.postpone_output;
    let mut pace = Pace::new(request);
    let mut gathered = Vec::from(bytes);
    loop {
        let chunk = match poll_fn(|cx| Poll::Ready(body.poll_next(request, cx))).await {
            Poll::Ready(chunk) => chunk,
            Poll::Pending => {
                if request.sent > 0 || !body.holds_head() {
                    flush(request, body, &mut pace, &mut gathered, false).await?;
                }
                body.next(request).await
            }
        };
        let chunk = match chunk {
            None => break,
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => {
                if body::has_broken_off(&error) {
                    flush(request, body, &mut pace, &mut gathered, false).await?;
                }
                return Err(error);
            }
        };
        if chunk.is_empty() {
            continue;
        }
        if framing.is_chunked {
            gathered.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        }
        match chunk {
            Chunk::Bytes(bytes) if gathered.len() + bytes.len() <= COPIED => {
                gathered.extend_from_slice(&bytes);
            }
            Chunk::Bytes(bytes) => {
                flush(request, body, &mut pace, &mut gathered, true).await?;
                send_bytes(request, body, &mut pace, &bytes, false).await?;
            }
            Chunk::File(range) => {
                flush(request, body, &mut pace, &mut gathered, true).await?;
                match pooled::uses_threads(request) {
                    true => {
                        pooled::send_file(request, body, &mut pace, range, ticket.take()).await?
                    }
                    false => send_file(request, body, &mut pace, range).await?,
                }
            }
        }
        if framing.is_chunked {
            gathered.extend_from_slice(b"\r\n");
        }
        if gathered.len() >= enough {
            flush(request, body, &mut pace, &mut gathered, false).await?;
        }
    }
    if framing.is_chunked {
        gathered.extend_from_slice(&last_chunk(request));
    }
    flush(request, body, &mut pace, &mut gathered, false).await?;
    while !request.connection_mut().transport().flush()? {
        wait_for_client(request, body).await?;
    }
    Ok(())
}

async fn flush(
    request: &mut Request,
    body: &mut Body,
    pace: &mut Pace,
    gathered: &mut Vec<u8>,
    more: bool,
) -> io::Result<()> {
    send_bytes(request, body, pace, gathered, more).await?;
    gathered.clear();
    Ok(())
}

/// The end of a body in chunks, with the upstream's trailers and those of the configuration that have a value.
fn last_chunk(request: &mut Request) -> Vec<u8> {
    let mut out = b"0\r\n".to_vec();
    for trailer in std::mem::take(&mut request.response.late_trailers) {
        write_head::field(&mut out, &trailer.name, &trailer.value);
        request.response.sent_trailers.push(trailer);
    }
    for trailer in std::mem::take(&mut request.response.trailers) {
        let value = Bytes::from(trailer.value.boxed(request));
        if !value.is_empty() {
            write_head::field(&mut out, &trailer.name, &value);
            let name = trailer.name.clone();
            request.response.sent_trailers.push(Header { name, value });
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

async fn send_bytes(
    request: &mut Request,
    body: &mut Body,
    pace: &mut Pace,
    mut bytes: &[u8],
    more: bool,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let allowed = pace.allow(request, body).await?.min(bytes.len());
        let sent = try_send(request, &bytes[..allowed], more)?;
        if sent == 0 {
            wait_for_client(request, body).await?;
        }
        bytes = &bytes[sent..];
    }
    Ok(())
}

async fn send_file(
    request: &mut Request,
    body: &mut Body,
    pace: &mut Pace,
    mut range: FileRange,
) -> io::Result<()> {
    let settings = &request.core().sending;
    let is_plain = request.connection().tls().is_none();
    if !*settings.sendfile || !is_plain || file_reader::is_direct(request, &range) {
        return copy_file(request, body, pace, range).await;
    }
    let most = chunk_size(*settings.sendfile_max_chunk);
    while range.length > 0 {
        let allowed = pace.allow(request, body).await?.min(most);
        match try_send_file(request, &mut range, allowed) {
            // A client as fast as we are: others first.
            Ok(sent) if sent == allowed => next_turn().await,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait_for_client(request, body).await?
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends a file through memory, `output_buffers`' size at a time.
async fn copy_file(
    request: &mut Request,
    body: &mut Body,
    pace: &mut Pace,
    mut range: FileRange,
) -> io::Result<()> {
    let mut reader = Reader::new(request, &range);
    while range.length > 0 {
        let read = reader.read(&range)?;
        range.skip(read.len() as u64);
        send_bytes(request, body, pace, reader.bytes(read), range.length > 0).await?;
    }
    Ok(())
}

/// Waits until the client takes more; one that has closed its side will not. The body may go on meanwhile.
async fn wait_for_client(request: &mut Request, body: &mut Body) -> io::Result<()> {
    let timeout = *request.core().sending.send_timeout;
    let deadline = Deadline::after(timeout);
    poll_fn(|cx| {
        let stream = &request.connection().stream;
        let ready = Pin::new(&mut stream.writable(deadline)).poll(cx);
        if ready.is_ready() {
            return ready;
        }
        if Pin::new(&mut stream.closed(deadline)).poll(cx).is_ready() {
            return Poll::Ready(Err(body::client_left()));
        }
        body.poll_ahead(request, cx);
        Poll::Pending
    })
    .await
}

/// `limit_rate`: how much may be sent by now.
struct Pace {
    /// Bytes a second; 0: no limit.
    rate: u64,
    after: u64,
    started: daemun_event::Millis,
}

impl Pace {
    fn new(request: &mut Request) -> Pace {
        let settings = &request.core().sending;
        let rate = match request.limit_rate {
            Some(rate) => rate,
            None => settings.limit_rate.of(request),
        };
        let after = if rate == 0 { 0 } else { settings.limit_rate_after.of(request) };
        let started = request.started;
        Pace { rate, after, started }
    }

    /// Waits until something may be sent; how much that is.
    async fn allow(&mut self, request: &mut Request, body: &mut Body) -> io::Result<usize> {
        if self.rate == 0 {
            return Ok(usize::MAX);
        }
        loop {
            let seconds = daemun_event::now().saturating_sub(self.started) / 1000 + 1;
            let due = self.rate.saturating_mul(seconds).saturating_add(self.after);
            if due > request.sent {
                return Ok(usize::try_from(due - request.sent).unwrap_or(usize::MAX));
            }
            let pause = Duration::from_millis((request.sent - due) * 1000 / self.rate + 1);
            let deadline = Deadline::after(pause);
            let closed = poll_fn(|cx| {
                let stream = &request.connection().stream;
                let closed = Pin::new(&mut stream.closed(deadline)).poll(cx);
                if closed.is_pending() {
                    body.poll_ahead(request, cx);
                }
                closed
            });
            if closed.await.is_ok() {
                return Err(body::client_left());
            }
        }
    }
}
