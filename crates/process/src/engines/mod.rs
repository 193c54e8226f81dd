//! Process models: who runs active connections, and who watches parked ones.
//!
//! | `mpm` | the engine's runner | its connections |
//! |---|---|---|
//! | `native` | [`Local`] | as many as `worker_connections` |
//! | `prefork` | [`Local`] | one |
//! | `worker` | [`Threads`] that keep a connection for its whole life | one a thread |
//! | `event` | [`Threads`] that give a connection back once it waits | as many as `worker_connections` |

mod accept;
mod engine;
mod local;
mod parked;
mod runner;
mod shortage;
mod slab;
#[cfg(test)]
mod tests;
mod threads;

use std::any::Any;
use std::io;
use std::sync::Arc;

pub use accept::Socket;
pub use engine::{Engine, Limits, Parts};
pub use local::Local;
pub use runner::Runner;
pub use threads::{Crew, Threads};

/// What an engine has to say to the error log.
pub enum Notice {
    /// `worker_connections` is reached: parked connections are closed, or accepting pauses. Said
    /// once while it lasts.
    ConnectionsExhausted { limit: usize },
    /// Few descriptors are left of so many, and are kept for requests in hand: parked connections are
    /// closed, or accepting pauses. Said once while it lasts.
    DescriptorsScarce { limit: u64 },
    /// accept(2) failed on this listener. Where descriptors ran out, it is said once while that
    /// lasts.
    AcceptFailed { listener: u16, error: io::Error },
    /// Memory ran out, and idle connections were closed to have some again. Said once while it lasts.
    MemoryLow { closed: usize },
    /// The event backend could not watch a connection, which was closed, or a listener.
    WatchFailed { error: io::Error },
    /// Fewer threads serve than were asked for.
    ThreadsMissing { wanted: usize, running: usize, error: io::Error },
    /// A session panicked and is gone, and its connection with it.
    Panicked(Box<dyn Any + Send>),
}

/// Takes an engine's notices.
pub type Report = Arc<dyn Fn(Notice) + Send + Sync>;
