//! Response bodies: what a handler gives, what filters wrap, what the connection sends.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::request::Request;
use crate::upstream::Relay;

/// Part of an open file.
#[derive(Clone, Debug)]
pub struct FileRange {
    pub file: Arc<File>,
    pub offset: u64,
    pub length: u64,
}

impl FileRange {
    /// Leaves out the first bytes, which have been sent.
    pub fn skip(&mut self, count: u64) {
        self.offset += count;
        self.length -= count;
    }

    /// Whether another range of the same file begins where this one ends.
    pub fn is_followed_by(&self, next: &FileRange) -> bool {
        Arc::ptr_eq(&self.file, &next.file) && self.offset + self.length == next.offset
    }
}

/// A piece of a body that is there.
#[derive(Clone, Debug)]
pub enum Chunk {
    Bytes(Bytes),
    File(FileRange),
}

impl Chunk {
    pub fn len(&self) -> u64 {
        match self {
            Chunk::Bytes(bytes) => bytes.len() as u64,
            Chunk::File(range) => range.length,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part from `start`, `length` bytes long; both lie inside the chunk.
    pub fn slice(&self, start: u64, length: u64) -> Chunk {
        debug_assert!(start + length <= self.len());
        match self {
            Chunk::Bytes(bytes) => {
                Chunk::Bytes(bytes.slice(start as usize..(start + length) as usize))
            }
            Chunk::File(range) => Chunk::File(FileRange {
                file: Arc::clone(&range.file),
                offset: range.offset + start,
                length,
            }),
        }
    }
}

/// What a body yields next; `None` is its end.
pub type NextChunk = Poll<Option<io::Result<Chunk>>>;

/// A body broke off, and that has been logged.
pub fn told() -> io::Error {
    io::ErrorKind::ResourceBusy.into()
}

/// Whether a body broke off that its source had begun: what came of it is the client's. Nothing more is sent of one that
/// a filter could not make.
pub fn has_broken_off(error: &io::Error) -> bool {
    error.kind() == told().kind()
}

/// The client went away while its response was being made or sent.
pub fn client_left() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "client prematurely closed connection")
}

/// A body can't be made, which has been logged: what there is of the response is not sent.
pub fn refused() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// A body that is produced while it is sent: by a handler, or by a filter from the body that it wraps.
///
/// It stays on its thread, and it is given the request that it answers each time, so that it may evaluate variables
/// and begin subrequests.
pub trait BodyStream {
    fn poll_next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> NextChunk;

    /// Whether the head waits for the first bytes, since they are short of coming, or may not come at all.
    fn holds_head(&self) -> bool {
        false
    }

    /// How long it may be silent until what came before has to reach the client, for who holds that back to send it
    /// with more; `None`: however long.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Nothing before this offset is wanted: where the body begins now.
    fn skip_to(&mut self, _offset: u64) -> u64 {
        0
    }

    /// The client takes nothing at present: whoever can store what comes goes on, and is polled again for it.
    fn poll_ahead(&mut self, _request: &mut Request, _cx: &mut Context<'_>) {}
}

/// The body of a response.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    One(Chunk),
    Many(VecDeque<Chunk>),
    Stream(Box<dyn BodyStream>),
    /// Behind the head the client speaks to an upstream, in a protocol of theirs.
    Relay(Box<Relay>),
}

impl Body {
    pub fn bytes(bytes: impl Into<Bytes>) -> Body {
        Body::One(Chunk::Bytes(bytes.into()))
    }

    pub fn stream(stream: impl BodyStream + 'static) -> Body {
        Body::Stream(Box::new(stream))
    }

    /// The length, where it is known.
    pub fn len(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::One(chunk) => Some(chunk.len()),
            Body::Many(chunks) => Some(chunks.iter().map(Chunk::len).sum()),
            Body::Stream(_) | Body::Relay(_) => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Takes the next piece, or waits for it.
    pub async fn next(&mut self, request: &mut Request) -> Option<io::Result<Chunk>> {
        std::future::poll_fn(|cx| self.poll_next(request, cx)).await
    }

    /// Whether the head has to wait for the first bytes.
    pub fn holds_head(&self) -> bool {
        matches!(self, Body::Stream(stream) if stream.holds_head())
    }

    /// Lets a body that is produced go on while the client takes nothing.
    pub fn poll_ahead(&mut self, request: &mut Request, cx: &mut Context<'_>) {
        if let Body::Stream(stream) = self {
            stream.poll_ahead(request, cx);
        }
    }

    /// As [`BodyStream::skip_to`].
    pub fn skip_to(&mut self, offset: u64) -> u64 {
        match self {
            Body::Stream(stream) => stream.skip_to(offset),
            _ => 0,
        }
    }

    /// As [`BodyStream::patience`].
    pub fn patience(&self) -> Option<Duration> {
        match self {
            Body::Stream(stream) => stream.patience(),
            _ => None,
        }
    }

    pub fn poll_next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        match self {
            Body::Stream(stream) => stream.poll_next(request, cx),
            Body::Many(chunks) => Poll::Ready(chunks.pop_front().map(Ok)),
            Body::Relay(_) => Poll::Ready(None),
            Body::One(_) | Body::Empty => Poll::Ready(match std::mem::take(self) {
                Body::One(chunk) => Some(Ok(chunk)),
                _ => None,
            }),
        }
    }
}
