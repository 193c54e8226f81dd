//! HTTP/2 with clients: sessions over the machine of [`daemun_proto::http2`].
//!
//! ```text
//!   engine ── session ── Shared ── Handle ── a task for each request
//!             reads,      machine,   body in,     phases, response
//!             writes      streams    frames out
//! ```
//!
//! A connection's session is one future of the engine, as it is for HTTP/1. It reads and writes the socket, and begins a
//! task for each request. Tasks reach the session's connection through a [`Handle`], which is a number, since requests
//! may not hold what belongs to one thread: the connection is found among those of the thread.

mod head;
mod respond;
mod session;
mod shared;
mod start;
mod turns;

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use daemun_sys::socket::{self, TcpInfo};

use crate::client::Client;
use crate::request::Request;
use shared::{Attempt, Key};

pub use session::{Ended, is_kept, serve};
pub use shared::take_leave;
pub use start::{Start, is_agreed, of_bytes};

/// A request's stream.
#[derive(Clone)]
pub struct Handle {
    key: Key,
    id: u32,
    pub client: Arc<Client>,
    /// `$connection_requests`.
    pub requests: u32,
    /// Bytes of the request's header block.
    pub length: u32,
    /// The stream is to be a tunnel (RFC 8441): its head is answered, and bytes go both ways.
    pub is_tunnel: bool,
}

impl Handle {
    /// Ready once the client has given the stream up, or has gone.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = shared::with(self.key, |shared| {
            // Of a body that breaks a rule no answer is wanted but that.
            shared.poll_stream(self.id, cx, |stream| stream.is_malformed)
        });
        polled.unwrap_or(Poll::Ready(()))
    }

    /// Whether what came of the body breaks a rule.
    fn is_malformed(&self) -> bool {
        shared::with(self.key, |shared| shared.is_malformed(self.id)).unwrap_or(false)
    }

    /// Ready once there is more of the body, or there will be nothing more.
    pub fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = shared::with(self.key, |shared| {
            shared.poll_stream(self.id, cx, |stream| {
                !stream.inbox.is_empty() || stream.has_ended || stream.is_malformed
            })
        });
        polled.unwrap_or(Poll::Ready(()))
    }

    /// Appends what has come of the body; 0 is its end.
    pub fn try_receive(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let received = shared::with(self.key, |shared| shared.try_receive(self.id, bytes));
        received.unwrap_or_else(|| Err(io::ErrorKind::ConnectionReset.into()))
    }

    /// All of the body was received, whether or not its end was.
    pub fn has_no_more(&self) -> bool {
        shared::with(self.key, |shared| shared.has_no_more(self.id)).unwrap_or(false)
    }

    /// Sends what may be sent now.
    pub fn try_send(&self, bytes: &[u8], is_last: bool) -> io::Result<usize> {
        let data = shared::Data { bytes, is_last, most: usize::MAX, goes_on: false };
        let cx = &mut Context::from_waker(Waker::noop());
        match shared::with(self.key, |shared| shared.send_data(self.id, data, cx)) {
            Some(Attempt::Sent(sent)) => Ok(sent),
            Some(Attempt::Closed | Attempt::Waits) => Err(io::ErrorKind::WouldBlock.into()),
            Some(Attempt::Gone) | None => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// Ready once something may be sent.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = shared::with(self.key, |shared| shared.poll_room(self.id, cx));
        polled.unwrap_or(Poll::Ready(()))
    }

    /// Whether [`Handle::try_receive`] has something to tell.
    pub fn has_arrived(&self) -> bool {
        shared::with(self.key, |shared| shared.has_arrived(self.id)).unwrap_or(true)
    }

    /// Lets the client send all of its body, which goes to a file where it is long.
    pub fn open_window(&self) {
        let _ = shared::with(self.key, |shared| shared.open_window(self.id));
    }

    /// Sends fields as an interim response.
    pub fn send_interim<'f>(
        &self,
        status: u16,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) {
        // A client that has gone is noticed when the response is sent.
        let _ = shared::with(self.key, |shared| {
            let block = respond::block(status, fields);
            shared.send_interim(self.id, &block);
        });
    }

    pub fn tcp_info(&self) -> Option<TcpInfo> {
        shared::with(self.key, |shared| socket::tcp_info(&shared.connection.stream).ok()).flatten()
    }
}

impl Request {
    /// Whether it came by HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.head.version() == daemun_proto::http1::Version::HTTP_2
    }

    /// Whether its client wants a tunnel, and says so as HTTP/2 has it.
    pub fn is_tunnel(&self) -> bool {
        self.stream().is_some_and(|handle| handle.is_tunnel)
    }
}

/// What a frame carries: bytes that were taken for it.
type Payload = Bytes;
