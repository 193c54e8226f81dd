//! A connected socket: TCP or UNIX, non-blocking.

use std::fs::File;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::{Buffer, Deadline};

/// A connected socket. It registers with the reactor of the thread when it first has to wait.
///
/// The `try_` functions never wait: they answer `WouldBlock`, without a system call where the
/// socket is known not to be ready. The others wait until their deadline and then answer
/// `TimedOut`. At most one task waits in each direction.
pub struct Stream {
    fd: OwnedFd,
}

impl Stream {
    /// `fd` must be non-blocking.
    pub fn new(fd: OwnedFd) -> Stream {
        Stream { fd }
    }

    /// Connects over TCP.
    pub async fn connect(_address: SocketAddr, _deadline: Deadline) -> io::Result<Stream> {
        todo!()
    }

    /// Connects to a UNIX socket.
    pub async fn connect_unix(_path: &Path, _deadline: Deadline) -> io::Result<Stream> {
        todo!()
    }

    /// Takes it off the reactor and gives the descriptor back, open.
    pub fn into_fd(self) -> OwnedFd {
        todo!()
    }

    /// Bytes received; zero is the peer's end.
    pub fn try_recv(&self, _bytes: &mut [u8]) -> io::Result<usize> {
        todo!()
    }

    /// As [`try_recv`](Self::try_recv), waiting.
    pub async fn recv(&self, _bytes: &mut [u8], _deadline: Deadline) -> io::Result<usize> {
        todo!()
    }

    /// Receives into a buffer's spare room.
    pub async fn recv_into(&self, _buffer: &mut Buffer, _deadline: Deadline) -> io::Result<usize> {
        todo!()
    }

    /// Receives into a buffer that is taken from the pool once there is something to receive;
    /// an empty one is the peer's end.
    pub async fn recv_pooled(&self, _deadline: Deadline) -> io::Result<Buffer> {
        todo!()
    }

    /// Bytes taken by the kernel. `more`: more follows at once (MSG_MORE).
    pub fn try_send(&self, _bytes: &[u8], _more: bool) -> io::Result<usize> {
        todo!()
    }

    /// Bytes taken of several slices at once.
    pub fn try_send_vectored(&self, _slices: &[IoSlice<'_>], _more: bool) -> io::Result<usize> {
        todo!()
    }

    /// Bytes taken of `file` from `*offset`, which moves on; at most `count`. Zero: the file is
    /// shorter than that.
    pub fn try_send_file(
        &self,
        _file: &File,
        _offset: &mut u64,
        _count: usize,
    ) -> io::Result<usize> {
        todo!()
    }

    /// Sends all of `bytes`; the deadline moves on with every byte taken.
    pub async fn send_all(&self, _bytes: &[u8], _timeout: std::time::Duration) -> io::Result<()> {
        todo!()
    }

    /// Waits until there may be something to receive.
    pub async fn readable(&self, _deadline: Deadline) -> io::Result<()> {
        todo!()
    }

    /// Waits until there may be room to send.
    pub async fn writable(&self, _deadline: Deadline) -> io::Result<()> {
        todo!()
    }

    /// Whether the peer is known to have closed its side; what it sent before may still wait.
    pub fn peer_closed(&self) -> bool {
        todo!()
    }

    /// Whether a receive may yield something, as far as is known without asking the kernel.
    pub fn may_be_readable(&self) -> bool {
        todo!()
    }

    /// Gives readiness to [`Handler::parked_ready`](crate::Handler) under `token`, and the
    /// deadline to `parked_expired`, until [`unpark`](Self::unpark). Makes a system call only
    /// where the stream never waited before.
    pub fn park(&self, _token: u32, _deadline: Deadline) -> io::Result<()> {
        todo!()
    }

    /// Gives readiness back to tasks. No system call.
    pub fn unpark(&self) {
        todo!()
    }

    pub fn set_nodelay(&self, _on: bool) -> io::Result<()> {
        todo!()
    }

    /// TCP_CORK: hold back partial segments.
    pub fn set_cork(&self, _on: bool) -> io::Result<()> {
        todo!()
    }

    /// Ends our side of the conversation (FIN), for a lingering close.
    pub fn shutdown_send(&self) -> io::Result<()> {
        todo!()
    }

    /// Makes close answer with RST (`reset_timedout_connection`).
    pub fn reset_on_close(&self) -> io::Result<()> {
        todo!()
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
