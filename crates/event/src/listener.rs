//! Listening sockets.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags};

use crate::backends::{Key, Level};
use crate::sources::Owner;
use crate::{Peer, Stream, reactor};

/// After so many accepts a shared listener goes to the end of the kernel's list of those to
/// wake, or else the first worker gets most connections.
const TURN: u8 = 16;

/// A listening socket, non-blocking, told about through [`Handler::acceptable`](crate::Handler).
/// It starts paused; dropping it takes it off the reactor.
pub struct Listener {
    fd: Arc<OwnedFd>,
    token: u32,
    level: Level,
    key: Cell<Option<Key>>,
    accepted: Cell<u8>,
}

impl Listener {
    /// `shared` says that other processes or threads accept from it too.
    pub fn new(fd: Arc<OwnedFd>, token: u32, shared: bool) -> Listener {
        let level = if shared { Level::SharedListener } else { Level::Listener };
        Listener { fd, token, level, key: Cell::new(None), accepted: Cell::new(0) }
    }

    /// Begins, or goes on, to report connections. Twice is once.
    pub fn resume(&self) -> io::Result<()> {
        if self.key.get().is_some() {
            return Ok(());
        }
        reactor::with(|inner| {
            let key = inner.sources().insert(Owner::Listener, self.token);
            if let Err(error) = inner.backend().add_level(self.fd.as_fd(), key, self.level) {
                inner.sources().remove(key.slot());
                return Err(error);
            }
            self.key.set(Some(key));
            Ok(())
        })
    }

    /// Stops reporting; connections queue up in the kernel. Twice is once.
    pub fn pause(&self) -> io::Result<()> {
        let Some(key) = self.key.take() else {
            return Ok(());
        };
        reactor::try_with(|inner| {
            inner.sources().remove(key.slot());
            inner.backend().remove(self.fd.as_fd(), key)
        })
        .unwrap_or(Ok(()))
    }

    /// Whether connections are reported.
    pub fn is_active(&self) -> bool {
        self.key.get().is_some()
    }

    /// The next connection, `WouldBlock` where there is none, else accept(2)'s errors.
    pub fn accept(&self) -> io::Result<(Stream, Peer)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        if let Some(accepted) = self.take_accepted() {
            reactor::next_moment();
            return accepted;
        }
        let (fd, address) = rustix::net::acceptfrom_with(&self.fd, flags)?;
        self.take_turn()?;
        reactor::next_moment();
        Ok((Stream::new(fd), peer(address)))
    }

    /// A connection that the backend accepted ahead. One whose peer is gone again was reset before
    /// anybody looked at it, and is dropped without a word.
    fn take_accepted(&self) -> Option<io::Result<(Stream, Peer)>> {
        loop {
            let accepted = reactor::try_with(|inner| {
                inner.completes.then(|| inner.backend().take_accepted(self.fd.as_fd())).flatten()
            });
            let fd = match accepted.flatten()? {
                Ok(fd) => fd,
                Err(error) => return Some(Err(error)),
            };
            return match rustix::net::getpeername(&fd) {
                Ok(address) => Some(Ok((Stream::new(fd), peer(address)))),
                Err(Errno::NOTCONN | Errno::INVAL) => continue,
                Err(error) => Some(Err(error.into())),
            };
        }
    }

    fn take_turn(&self) -> io::Result<()> {
        if self.level != Level::SharedListener || !self.is_active() {
            return Ok(());
        }
        self.accepted.set(self.accepted.get() + 1);
        if self.accepted.get() < TURN {
            return Ok(());
        }
        self.accepted.set(0);
        self.pause()?;
        self.resume()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // it can only fail for a descriptor that is not watched, which is what we want
        let _ = self.pause();
    }
}

fn peer(address: Option<SocketAddrAny>) -> Peer {
    match address.map(SocketAddr::try_from) {
        Some(Ok(ip)) => ip.into(),
        _ => Peer::Unix,
    }
}
