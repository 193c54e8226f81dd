//! Process models: who runs active connections, and who watches parked ones.

mod accept;
pub mod native;
mod parked;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::io;

pub use accept::Socket;

/// What an engine has to say to the error log.
pub enum Notice {
    /// `worker_connections` is reached: parked connections are closed, or accepting pauses. Said
    /// once while it lasts.
    ConnectionsExhausted { limit: usize },
    /// accept(2) failed on this listener. Where descriptors ran out, it is said once while that
    /// lasts.
    AcceptFailed { listener: u16, error: io::Error },
    /// The event backend could not watch a connection, which was closed, or a listener.
    WatchFailed { error: io::Error },
    /// A session panicked and is gone, and its connection with it.
    Panicked(Box<dyn Any + Send>),
}

/// Takes an engine's notices.
pub type Report = Box<dyn Fn(Notice)>;
