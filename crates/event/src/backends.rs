//! What watches descriptors: chosen by name (`use` of nginx) when the reactor is opened.

mod epoll;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use crate::sources::Key;

/// A readiness report: who, and the `READ`, `WRITE`, `HUP` bits.
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
}

/// How a level-triggered descriptor is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Alone,
    /// Others watch it as well; wake one of us where the system can.
    Shared,
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

    /// Appends what became ready within `timeout`. A signal ends the wait early, without error.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;
}

/// The names that [`open`] knows, best first.
pub const NAMES: &[&str] = &["epoll"];

/// Opens the backend called `name`.
pub fn open(name: &str) -> Result<Box<dyn Backend>, OpenError> {
    match name {
        "epoll" => epoll::open(),
        _ => Err(OpenError::Unknown),
    }
}

/// Why a backend could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// No backend has this name.
    Unknown,
    /// This build or kernel does not have it.
    Unsupported {
        reason: &'static str,
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
