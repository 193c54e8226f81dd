//! What watches descriptors: chosen by name (`use` of nginx) when the reactor is opened.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
mod io_uring;
mod poll;
mod portable;
mod select;
mod unread;

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

pub use crate::sources::Key;

use crate::sources::READ;

/// A readiness report: who, and the bits `READ`, `WRITE`, `HUP`, `ONCE`, `HELD`
/// and `QUEUES`.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub key: Key,
    pub ready: u8,
}

/// What the tasks of a connection wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    Read,
    Write,
    /// The end of what the peer sends, whatever it sends before.
    End,
}

/// How a level-triggered descriptor is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Whatever it is, it becomes readable.
    Readable,
    /// A listening socket.
    Listener,
    /// One that others watch as well; wake one of us where the system can.
    SharedListener,
}

/// What a backend had received for a connection, and the `READ` and `HELD` bits after that.
pub struct Received {
    pub result: io::Result<usize>,
    pub ready: u8,
}

/// The operations of a backend.
pub trait Backend {
    fn name(&self) -> &'static str;

    /// Watches a connection for what it receives, and for room to send where that is the interest.
    /// Each change to ready is reported once, the first report comes at once where it is ready
    /// already.
    ///
    /// Room to send is there nearly always: watched from the start, it would wake the reactor for
    /// nothing once a connection.
    fn add(&mut self, fd: BorrowedFd<'_>, key: Key, interest: Interest) -> io::Result<()>;

    /// Watches a connection in both directions from now on.
    fn add_sends(&mut self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()>;

    /// Watches a descriptor and reports it in every wait while it is readable.
    fn add_level(&mut self, fd: BorrowedFd<'_>, key: Key, level: Level) -> io::Result<()>;

    /// Stops watching an open descriptor that goes on to live.
    fn remove(&mut self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()>;

    /// A connection is about to be closed. Nothing to do where closing ends the watch.
    fn forget(&mut self, _key: Key) {}

    /// Watches the descriptor by which other threads end a wait.
    fn add_notifier(&mut self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        self.add_level(fd, key, Level::Readable)
    }

    /// Whether each write to the notifier is reported once, so that nobody has to read it empty.
    fn reports_each_notice(&self) -> bool {
        false
    }

    /// Whether a connection may stay watched while another thread receives from it and closes it.
    fn watches_lent(&self) -> bool {
        false
    }

    /// Whether [`rearm`](Self::rearm) must be called: the system reports levels, and the backend
    /// made changes of them by muting what it has reported.
    fn needs_rearm(&self) -> bool {
        false
    }

    /// Somebody waits for this direction again.
    fn rearm(&mut self, _fd: BorrowedFd<'_>, _key: Key, _interest: Interest) -> io::Result<()> {
        Ok(())
    }

    /// Whether it accepts and receives ahead, and takes what is to be sent: by the functions below,
    /// which are of use only where this is so.
    fn completes(&self) -> bool {
        false
    }

    /// What a receive may yield now, of a connection that was reported as readable. Since then somebody may have received
    /// all there was and asked for more: recv(2) would overtake what the backend receives.
    fn receivable(&mut self, _key: Key) -> u8 {
        READ
    }

    /// Passes on what was received of a connection that was reported with `HELD`: at most so many bytes, in pieces.
    fn take_received(&mut self, _key: Key, _most: usize, _sink: &mut dyn FnMut(&[u8])) -> Received {
        Received { result: Err(io::ErrorKind::WouldBlock.into()), ready: READ }
    }

    /// Has a connection's readiness told instead of receiving ahead, which suits long responses better. It is to be
    /// asked for before the first receive.
    fn tell_readiness(&mut self, _key: Key) {}

    /// Whether something has been received of a connection, or its end, that was not reported yet.
    fn has_received(&mut self, _key: Key) -> bool {
        false
    }

    /// Ends receiving ahead for a connection, until it is [rearmed](Self::rearm). False where bytes
    /// are here already, and are to be taken.
    fn hold_back(&mut self, _key: Key) -> io::Result<bool> {
        Ok(true)
    }

    /// Takes all of `bytes`, to be sent with the next wait. False where they are to be sent at once,
    /// after a [flush](Self::flush).
    fn send(&mut self, _key: Key, _bytes: &[u8]) -> bool {
        false
    }

    /// Sends what was taken. False where the kernel has no room for it yet: `QUEUES` is reported
    /// once it had.
    fn flush(&mut self, _key: Key) -> io::Result<bool> {
        Ok(true)
    }

    /// The next connection that was accepted, or failed to be.
    fn take_accepted(&mut self, _listener: BorrowedFd<'_>) -> Option<io::Result<OwnedFd>> {
        None
    }

    /// Appends what became ready within `timeout`. A signal ends the wait early, without error.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;
}

/// The names that [`open`] knows on this system, best first.
pub const NAMES: &[&str] = &[
    #[cfg(target_os = "linux")]
    "io_uring",
    #[cfg(target_os = "linux")]
    "epoll",
    #[cfg(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "openbsd",
        target_os = "netbsd",
        target_os = "dragonfly"
    ))]
    "kqueue",
    #[cfg(any(target_os = "illumos", target_os = "solaris"))]
    "eventport",
    "portable",
    "poll",
    "select",
];

/// The best of those that tell of readiness: every system of this kind has it, and allows it.
pub const READINESS: &str = if cfg!(target_os = "linux") { "epoll" } else { NAMES[0] };

/// The most descriptors that a method can watch, where that is a limit of its own.
pub fn most_descriptors(name: &str) -> Option<usize> {
    (name == "select").then_some(select::DESCRIPTORS)
}

/// Opens the backend called `name`.
pub fn open(name: &str) -> Result<Box<dyn Backend>, OpenError> {
    let name = NAMES.iter().find(|known| **known == name).ok_or(OpenError::Unknown)?;
    match *name {
        #[cfg(target_os = "linux")]
        "epoll" => epoll::open(),
        #[cfg(target_os = "linux")]
        "io_uring" => io_uring::open(),
        "poll" => poll::open(),
        "select" => select::open(),
        _ => portable::open(name),
    }
}

/// Whether [`open`] would succeed, as far as that can be told without going on to use it.
pub fn probe(name: &str) -> Result<(), OpenError> {
    open(name).map(drop)
}

/// Why a backend could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// No backend has this name.
    Unknown,
    /// This build or kernel does not have it.
    Unsupported {
        reason: String,
    },
    Io(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Unknown => f.write_str("invalid event type"),
            OpenError::Unsupported { reason } => f.write_str(reason),
            OpenError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}
