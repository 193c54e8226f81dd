//! Listening sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::{Peer, Stream};

/// A listening socket, non-blocking, told about through [`Handler::acceptable`](crate::Handler).
/// It starts unregistered; dropping it takes it off the reactor.
pub struct Listener {
    fd: Arc<OwnedFd>,
}

impl Listener {
    /// `shared` says that other processes or threads accept from it too.
    pub fn new(fd: Arc<OwnedFd>, _token: u32, _shared: bool) -> Listener {
        Listener { fd }
    }

    /// Begins, or goes on, to report connections. Twice is once.
    pub fn resume(&self) -> io::Result<()> {
        todo!()
    }

    /// Stops reporting; connections queue up in the kernel. Twice is once.
    pub fn pause(&self) -> io::Result<()> {
        todo!()
    }

    pub fn is_active(&self) -> bool {
        todo!()
    }

    /// The next connection, `WouldBlock` where there is none, else accept(2)'s errors.
    pub fn accept(&self) -> io::Result<(Stream, Peer)> {
        todo!()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
