//! What a connection reads from and writes to: a socket alone, or a socket and what protects it.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use daemun_event::{Buffer, Deadline, Stream};

use crate::session::Session;

/// A view of a connection's two parts, for as long as a function works on them.
///
/// The functions mean what those of [`Stream`] mean. Sent bytes count once they are protected; some of
/// them may wait until [`flush`](Self::flush) says that none does.
pub struct Transport<'c> {
    pub stream: &'c Stream,
    session: Option<&'c mut Session>,
}

impl<'c> Transport<'c> {
    #[inline]
    pub fn new(stream: &'c Stream, session: Option<&'c mut Session>) -> Transport<'c> {
        Transport { stream, session }
    }

    /// Bytes go to the socket as they are, so that the kernel may send files.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.session.is_none()
    }

    #[inline]
    pub fn try_recv(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.stream.try_recv(bytes) };
        let mut rest = &mut *bytes;
        session.receive(self.stream, rest.len(), &mut |piece| {
            let (room, behind) = std::mem::take(&mut rest).split_at_mut(piece.len());
            room.copy_from_slice(piece);
            rest = behind;
        })
    }

    #[inline]
    pub fn try_recv_append(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.stream.try_recv_append(bytes) };
        let room = bytes.capacity() - bytes.len();
        session.receive(self.stream, room, &mut |piece| bytes.extend_from_slice(piece))
    }

    pub fn try_recv_into(&mut self, buffer: &mut Buffer) -> io::Result<usize> {
        let received = self.try_recv(buffer.spare())?;
        buffer.advance(received);
        Ok(received)
    }

    /// An empty buffer is the peer's end.
    pub async fn recv_pooled(&mut self, deadline: Deadline) -> io::Result<Buffer> {
        let mut buffer = Buffer::new();
        loop {
            match self.try_recv_into(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result.map(|_| buffer),
            }
            self.stream.readable(deadline).await?;
        }
    }

    #[inline]
    pub fn try_send(&mut self, bytes: &[u8], more: bool) -> io::Result<usize> {
        match &mut self.session {
            None => self.stream.try_send(bytes, more),
            Some(session) => session.send(self.stream, bytes, more),
        }
    }

    /// Only where the transport [is plain](Self::is_plain).
    pub fn try_send_file(&self, file: &File, offset: &mut u64, count: usize) -> io::Result<usize> {
        debug_assert!(self.is_plain(), "the kernel knows no keys");
        self.stream.try_send_file(file, offset, count)
    }

    /// Sends all of `bytes`, where each wait for room may last `timeout`.
    pub async fn send_all(&mut self, mut bytes: &[u8], timeout: Duration) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_send(bytes, false) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stream.writable(Deadline::after(timeout)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        let deadline = Deadline::after(timeout);
        poll_fn(|cx| self.poll_flushed(deadline, cx)).await
    }

    /// Sends what waits; whether nothing does any more.
    #[inline]
    pub fn flush(&mut self) -> io::Result<bool> {
        match &mut self.session {
            None => Ok(true),
            Some(session) => session.flush(self.stream),
        }
    }

    #[inline]
    pub fn has_unsent(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_unsent())
    }

    /// Ready once nothing waits to be sent.
    pub fn poll_flushed(
        &mut self,
        deadline: Deadline,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.flush()? {
                return Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.stream.writable(deadline)).poll(cx) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
        }
    }

    /// Whether a receive may yield something, as far as is known without asking the kernel.
    #[inline]
    pub fn may_be_readable(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_plain())
            || self.stream.may_be_readable()
    }

    /// Tells the peer that nothing more will come, where there are words for that.
    pub fn close(&mut self) -> io::Result<bool> {
        match &mut self.session {
            None => Ok(true),
            Some(session) => session.close(self.stream),
        }
    }

    /// Ends our side of the conversation.
    pub fn shutdown_send(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session
            && !session.close(self.stream)?
        {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.stream.shutdown_send()
    }
}
