//! A connection between requests, and the contract between engines and protocols.
//!
//! An engine accepts connections and watches those that wait; a protocol serves what came in.
//! A [`Connection`] is all that is left of one while it waits: it has no task and no buffer.

use std::time::Duration;

use daemun_event::{Deadline, Millis, Peer, Stream};

/// A connection without a request in hand.
pub struct Connection {
    pub stream: Stream,
    pub peer: Peer,
    /// Which of the engine's listening sockets it came from.
    pub listener: u16,
    /// Requests answered so far.
    pub requests: u32,
    /// `$connection`.
    pub number: u64,
    /// When it was accepted, on the reactor's clock.
    pub started: Millis,
    /// The bytes of a request head that is not complete yet.
    pub partial: Option<Box<Vec<u8>>>,
}

/// What a parked connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The first byte of the first request.
    FirstByte,
    /// The rest of a request head; the deadline stays where it was when the head began.
    Head,
    /// The next request.
    KeepAlive,
}

/// How long a connection may be parked, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub reason: Reason,
    pub until: Deadline,
}

impl Wait {
    pub fn first_byte(timeout: Duration) -> Wait {
        Wait {
            reason: Reason::FirstByte,
            until: Deadline::after(timeout),
        }
    }

    pub fn keep_alive(timeout: Duration) -> Wait {
        Wait {
            reason: Reason::KeepAlive,
            until: Deadline::after(timeout),
        }
    }

    pub fn head(until: Deadline) -> Wait {
        Wait {
            reason: Reason::Head,
            until,
        }
    }
}

/// What becomes of a connection when its session ends.
pub enum Outcome {
    /// Nothing more to do until the peer sends something.
    Park { connection: Connection, wait: Wait },
    /// Close it.
    Close(Connection),
    /// The session closed it, or gave it away.
    Closed,
}

/// What an engine runs on its connections.
pub trait Protocol: 'static {
    /// Serves what the peer sent, or will send at once, until there is nothing left in hand.
    fn serve(&self, connection: Connection) -> impl Future<Output = Outcome> + 'static;

    /// How long a connection waits for its first byte where `listener` accepted it.
    fn first_byte_timeout(&self, listener: u16) -> Duration;

    /// A parked connection's time is up: log it and let it go.
    fn timed_out(&self, connection: Connection, reason: Reason);

    /// A parked connection has to make room for another: let it go.
    fn shed(&self, connection: Connection, reason: Reason);
}
