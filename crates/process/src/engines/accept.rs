//! Listening sockets of an engine, and when to leave them alone.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use daemun_event::{Deadline, Listener, Peer, Stream, Timer};

/// How long accepting pauses at most after it failed: where descriptors ran out others may hold
/// them, so that no close of ours ever tells of free ones. nginx's `accept_mutex_delay`.
const RETRY: Duration = Duration::from_millis(500);

/// The number of the timer that ends such a pause.
pub(super) const RETRY_TIMER: u32 = 0;

/// A listening socket as an engine gets it.
pub struct Socket {
    pub descriptor: Arc<OwnedFd>,
    /// The place of its address in the configuration: [`Connection::listener`](daemun_core::connection::Connection).
    pub listener: u16,
    /// Other workers accept from it too.
    pub shared: bool,
}

/// What came of asking for a connection.
pub(super) enum Asked {
    Accepted(Stream, Peer, u16),
    /// There is none.
    Nobody,
    /// One was there, but is gone; ask again.
    Aborted(io::Error),
    /// Mostly a shortage of descriptors or memory. Asking again would fail at once.
    Failed(io::Error),
}

pub(super) struct Acceptor {
    listeners: Vec<(Listener, u16)>,
    paused: bool,
    retry: Option<Timer>,
}

impl Acceptor {
    /// Begins to listen.
    pub(super) fn new(sockets: Vec<Socket>) -> io::Result<Acceptor> {
        let listener = |(socket, index): (Socket, u32)| {
            let listener = Listener::new(socket.descriptor, index, socket.shared);
            (listener, socket.listener)
        };
        let listeners: Vec<_> = sockets.into_iter().zip(0..).map(listener).collect();
        listeners.iter().try_for_each(|(listener, _)| listener.resume())?;
        Ok(Acceptor { listeners, paused: false, retry: None })
    }

    pub(super) fn len(&self) -> usize {
        self.listeners.len()
    }

    /// Asks the listener at `index`, which may be gone.
    pub(super) fn ask(&self, index: usize) -> Asked {
        let Some((socket, listener)) = self.listeners.get(index) else {
            return Asked::Nobody;
        };
        match socket.accept() {
            Ok((stream, peer)) => Asked::Accepted(stream, peer, *listener),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Asked::Nobody,
            Err(error) if concerns_one_connection(&error) => Asked::Aborted(error),
            Err(error) => Asked::Failed(error),
        }
    }

    /// Has nothing reported any more; [`ask`](Self::ask) goes on to work.
    pub(super) fn leave(&self) -> io::Result<()> {
        self.listeners.iter().try_for_each(|(listener, _)| listener.pause())
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Paused because nobody could serve, not because accepting failed.
    pub(super) fn waits_for_room(&self) -> bool {
        self.paused && self.retry.is_none()
    }

    /// Leaves connections in the kernel's queue until [`resume`](Self::resume).
    pub(super) fn pause(&mut self) -> io::Result<()> {
        self.paused = true;
        self.leave()
    }

    /// As [`pause`](Self::pause), and has the handler's `timer` called after a while.
    pub(super) fn pause_for_a_while(&mut self) -> io::Result<()> {
        self.retry = Some(Timer::new(RETRY_TIMER, Deadline::after(RETRY)));
        self.pause()
    }

    pub(super) fn resume(&mut self) -> io::Result<()> {
        self.paused = false;
        self.retry = None;
        self.listeners.iter().try_for_each(|(listener, _)| listener.resume())
    }

    /// Stops for good. The sockets stay open in whoever else holds them.
    pub(super) fn close(&mut self) {
        self.listeners.clear();
        self.retry = None;
        self.paused = false;
    }
}

/// accept(2) also hands out network errors of the connection that it would have returned.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINTR
                | libc::ECONNABORTED
                | libc::EPERM
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENONET
                | libc::ETIMEDOUT
        )
    )
}
