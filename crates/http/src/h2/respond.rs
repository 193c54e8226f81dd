//! Sending a response on a stream.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use daemun_event::{Millis, Sleep, now, sleep};
use daemun_proto::http1::Method;
use daemun_proto::http2::hpack::encode;
use daemun_proto::http2::{Code, Part};
use daemun_shm::Rare;

use super::shared::{self, Attempt, Data};
use super::{Handle, Payload};
use crate::body::{self, Body, Chunk, FileRange};
use crate::core::http2;
use crate::file_reader::Reader;
use crate::h1::write_head::{self, Framing};
use crate::request::Request;
use crate::response::Header;
use crate::special_response;
use crate::status::Status;
use crate::upstream::Relay;

/// A header block.
pub(super) fn block<'f>(
    status: u16,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> Vec<u8> {
    let mut block = Vec::new();
    encode::status(status, &mut block);
    fields.for_each(|(name, value)| encode::field(name, value, &mut block));
    block
}

/// Sends head and body; an error leaves the stream unfinished.
pub(super) async fn response(
    request: &mut Request,
    handle: &Handle,
    mut body: Body,
) -> io::Result<()> {
    if let Body::Relay(relay) = body {
        return Box::pin(tunnel(request, handle, *relay)).await;
    }
    if handle.is_tunnel && request.response.status.0 < 300 {
        // There is no tunnel, and a success would say that there is.
        request.response.reset();
        body = special_response::build(request, Status::NOT_IMPLEMENTED);
    }
    let status = request.response.status;
    let has_no_body = matches!(status, Status::NO_CONTENT | Status::NOT_MODIFIED) || status.0 < 200;
    if has_no_body && !request.response.is_foreign {
        request.response.content_type = None;
        request.response.content_length = None;
    } else if !has_no_body && request.response.content_length.is_none() {
        request.response.content_length = body.len();
    }
    let head_only = has_no_body || request.head.method() == Method::Head;
    if head_only {
        body = Body::Empty;
    }
    let first = match body.is_empty() || !body.holds_head() {
        true => None,
        false => body.next(request).await.transpose()?,
    };
    let has_trailers = !head_only
        && (!request.response.trailers.is_empty() || !request.response.late_trailers.is_empty());
    let is_end = body.is_empty() && first.is_none() && !has_trailers;
    let block = head_block(request);
    let part = if is_end { Part::End } else { Part::Head };
    let own = request.response.headers.iter().find(|field| is_priority(field));
    let sent = shared::with(handle.key, |shared| {
        if let Some(own) = own {
            shared.update_priority(handle.id, &own.value);
        }
        shared.send_block(handle.id, &block, part)
    });
    let sent = sent.ok_or_else(body::client_left)?;
    request.sent_head = sent as u64;
    request.sent += sent as u64;
    if is_end {
        return Ok(());
    }
    let mut sender = Sender::new(request, handle);
    let mut next = first;
    loop {
        let chunk = match next.take() {
            Some(chunk) => Some(chunk),
            None => sender.next_chunk(request, &mut body).await?,
        };
        let Some(chunk) = chunk else { break };
        match chunk {
            Chunk::Bytes(bytes) => sender.push(request, &mut body, bytes).await?,
            Chunk::File(range) => sender.push_file(request, &mut body, range).await?,
        }
    }
    let trailers = trailers_of(request);
    let is_last = trailers.is_empty();
    sender.finish(request, &mut body, is_last).await?;
    if !is_last {
        let mut block = Vec::new();
        for Header { name, value } in &trailers {
            encode::field(name, value, &mut block);
        }
        let sent =
            shared::with(handle.key, |shared| shared.send_block(handle.id, &block, Part::End));
        request.sent += sent.unwrap_or_default() as u64;
        request.response.sent_trailers.extend(trailers);
    }
    Ok(())
}

/// Sends the head, and passes bytes both ways until one side has had enough.
async fn tunnel(request: &mut Request, handle: &Handle, relay: Relay) -> io::Result<()> {
    request.response.status = Status::OK;
    request.response.content_length = None;
    request.response.content_type = None;
    request.response.headers.retain(|field| !is_of_handshake(field));
    let block = head_block(request);
    let sent = shared::with(handle.key, |shared| shared.send_block(handle.id, &block, Part::Head));
    request.sent_head = sent.ok_or_else(body::client_left)? as u64;
    request.sent += request.sent_head;
    // There is no successor that could take a stream over.
    let _ = relay.that_stays().run(request).await;
    let _ = handle.try_send(&[], true);
    Ok(())
}

/// What says in HTTP/1 that a WebSocket begins.
fn is_of_handshake(field: &Header) -> bool {
    field.name.eq_ignore_ascii_case(b"sec-websocket-accept") || concerns_connection(&field.name)
}

/// The fields that HTTP/1 would have, less those that concern a connection.
fn head_block(request: &mut Request) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    let keepalive = std::mem::replace(&mut request.keepalive, true);
    write_head::write(request, Framing { is_chunked: false }, &mut text);
    request.keepalive = keepalive;
    let mut block = Vec::with_capacity(text.len());
    encode::status(request.response.status.0, &mut block);
    for line in text.split(|byte| *byte == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !concerns_connection(name) {
            encode::field(name, value, &mut block);
        }
    }
    block
}

fn is_priority(field: &Header) -> bool {
    field.name.eq_ignore_ascii_case(b"priority")
}

/// RFC 9113, section 8.2.2.
fn concerns_connection(name: &[u8]) -> bool {
    let names: [&[u8]; 5] =
        [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The upstream's, and those of the configuration that have a value.
fn trailers_of(request: &mut Request) -> Vec<Header> {
    let mut trailers = std::mem::take(&mut request.response.late_trailers);
    for trailer in std::mem::take(&mut request.response.trailers) {
        let value = Bytes::from(trailer.value.boxed(request));
        if !value.is_empty() {
            let name = trailer.name.clone();
            trailers.push(Header { name, value });
        }
    }
    trailers
}

/// A stalled stream has to take so many bytes in each `send_timeout`, or all that there are: windows that are opened by
/// crumbs hold no response up for ever.
const LEAST: u64 = 16 * 1024;

/// How a body goes out.
struct Sender<'h> {
    handle: &'h Handle,
    /// The most that a frame carries.
    most: usize,
    /// What is to be sent and may be the last.
    held: Payload,
    timeout: Duration,
    /// When the client has waited too long.
    stall: Option<Sleep>,
    /// Bytes that went since that was set.
    moved: u64,
    rate: u64,
    after: u64,
    started: Millis,
}

impl<'h> Sender<'h> {
    fn new(request: &mut Request, handle: &'h Handle) -> Sender<'h> {
        let most = *request.settings(&http2::SETTINGS).chunk_size;
        let settings = &request.core().sending;
        let timeout = *settings.send_timeout;
        let rate = match request.limit_rate {
            Some(rate) => rate,
            None => settings.limit_rate.of(request),
        };
        let after = match rate {
            0 => 0,
            _ => settings.limit_rate_after.of(request),
        };
        let started = request.started;
        let held = Payload::new();
        Sender { handle, most, held, timeout, stall: None, moved: 0, rate, after, started }
    }

    /// The next piece of the body; what is held goes out where that has to be waited for.
    async fn next_chunk(
        &mut self,
        request: &mut Request,
        body: &mut Body,
    ) -> io::Result<Option<Chunk>> {
        let polled = poll_fn(|cx| Poll::Ready(body.poll_next(request, cx))).await;
        let next = match polled {
            Poll::Ready(next) => next,
            Poll::Pending => {
                self.flush(request, body, false).await?;
                poll_fn(|cx| {
                    let next = body.poll_next(request, cx);
                    if next.is_pending() && self.handle.poll_gone(cx).is_ready() {
                        // The body is told in its own way where it asks for the client.
                        return body.poll_next(request, cx);
                    }
                    next
                })
                .await
            }
        };
        match next {
            Some(Err(error)) if body::has_broken_off(&error) => {
                self.flush(request, body, false).await?;
                Err(error)
            }
            next => next.transpose(),
        }
    }

    async fn push(
        &mut self,
        request: &mut Request,
        body: &mut Body,
        bytes: Bytes,
    ) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let joined = self.held.len() + bytes.len();
        if !self.held.is_empty() && joined <= self.most {
            // Short pieces go together.
            let mut both = Vec::with_capacity(joined);
            both.extend_from_slice(&self.held);
            both.extend_from_slice(&bytes);
            self.held = both.into();
            return Ok(());
        }
        self.flush(request, body, false).await?;
        self.held = bytes;
        Ok(())
    }

    async fn push_file(
        &mut self,
        request: &mut Request,
        body: &mut Body,
        mut range: FileRange,
    ) -> io::Result<()> {
        let mut reader = Reader::new(request, &range);
        while range.length > 0 {
            let read = reader.read(&range)?;
            range.skip(read.len() as u64);
            let bytes = Bytes::copy_from_slice(reader.bytes(read));
            self.push(request, body, bytes).await?;
        }
        Ok(())
    }

    async fn finish(
        &mut self,
        request: &mut Request,
        body: &mut Body,
        is_last: bool,
    ) -> io::Result<()> {
        self.flush(request, body, is_last).await
    }

    /// Sends what is held.
    async fn flush(
        &mut self,
        request: &mut Request,
        body: &mut Body,
        is_last: bool,
    ) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.held);
        let mut is_over = !is_last && bytes.is_empty();
        while !is_over {
            let allowed = self.allowance(request).await?.min(self.most);
            let sent = self.send(request, body, &bytes, is_last, allowed).await?;
            request.sent += sent as u64;
            self.moved += sent as u64;
            let _ = bytes.split_to(sent);
            is_over = bytes.is_empty();
        }
        Ok(())
    }

    async fn send(
        &mut self,
        request: &mut Request,
        body: &mut Body,
        bytes: &[u8],
        is_last: bool,
        most: usize,
    ) -> io::Result<usize> {
        let handle = self.handle;
        let goes_on = self.rate == 0;
        poll_fn(|cx| {
            let attempt = shared::with(handle.key, |shared| {
                shared.send_data(handle.id, Data { bytes, is_last, most, goes_on }, cx)
            });
            match attempt.unwrap_or(Attempt::Gone) {
                Attempt::Sent(sent) => {
                    if self.moved >= LEAST {
                        (self.stall, self.moved) = (None, 0);
                    }
                    return Poll::Ready(Ok(sent));
                }
                Attempt::Gone => return Poll::Ready(Err(body::client_left())),
                Attempt::Closed | Attempt::Waits => {}
            }
            body.poll_ahead(request, cx);
            let stall = self.stall.get_or_insert_with(|| sleep(self.timeout));
            match Pin::new(stall).poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) if self.moved >= LEAST => {
                    (self.stall, self.moved) = (None, 0);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Ready(()) => {
                    request.scoreboard().count(Rare::Http2Stalls);
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
            }
        })
        .await
    }

    /// `limit_rate`: how much may be sent by now.
    async fn allowance(&mut self, request: &Request) -> io::Result<usize> {
        if self.rate == 0 {
            return Ok(usize::MAX);
        }
        loop {
            let seconds = now().saturating_sub(self.started) / 1000 + 1;
            let due = self.rate.saturating_mul(seconds).saturating_add(self.after);
            if due > request.sent {
                return Ok(usize::try_from(due - request.sent).unwrap_or(usize::MAX));
            }
            let pause = Duration::from_millis((request.sent - due) * 1000 / self.rate + 1);
            if request.goes_within(pause).await {
                return Err(body::client_left());
            }
        }
    }
}

/// Ends a stream whose response broke off, or of a client that was too late.
pub(super) fn break_off(handle: &Handle, is_late: bool) {
    let code = if is_late { Code::PROTOCOL_ERROR } else { Code::INTERNAL_ERROR };
    let _ = shared::with(handle.key, |shared| shared.reset(handle.id, code));
}
