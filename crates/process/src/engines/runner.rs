//! Who runs an engine's sessions.

use std::task::Poll;
use std::time::Duration;

use daemun_core::connection::{Connection, Outcome, Protocol};
use daemun_event::Panicked;

/// What became of a session.
pub type Ended<P> = Result<Outcome<<P as Protocol>::Rest>, Panicked>;

/// What is done with a new connection.
pub enum Welcome<P: Protocol> {
    Begun(Poll<Ended<P>>),
    /// It is to wait for its first byte before anybody asks it for a request.
    Parked(Connection),
}

/// Runs sessions: on the engine's own thread, or on others.
pub trait Runner<P: Protocol> {
    /// Runs a session on a connection that has something to receive. `Pending`: its end is told by
    /// [`poll`](Self::poll) or [`next_ended`](Self::next_ended).
    fn serve(&mut self, connection: Connection) -> Poll<Ended<P>>;

    /// Goes on with a response that drains.
    fn finish(&mut self, rest: P::Rest) -> Poll<Ended<P>>;

    /// A session of this thread was woken.
    fn poll(&mut self, slot: u32) -> Poll<Ended<P>>;

    /// Takes a new connection.
    fn welcome(&mut self, connection: Connection) -> Welcome<P>;

    /// Sessions that run, wherever.
    fn running(&self) -> usize;

    /// Whether there is somebody to serve another connection.
    fn has_room(&self) -> bool {
        true
    }

    /// A session that ended on another thread.
    fn next_ended(&mut self) -> Option<Ended<P>> {
        None
    }

    /// The engine's turn is over: sends what it brought to other threads. `waits` says that the engine
    /// is to be woken by whatever ends there.
    fn end_turn(&mut self, _waits: bool) {}

    /// How long [`next_ended`](Self::next_ended) may wait at most; `None`: nothing can end there.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Calls `work` on every thread that serves, and `then` once it was everywhere.
    fn on_each_thread(&mut self, work: fn(), then: Box<dyn FnOnce() + Send>) {
        work();
        then();
    }

    /// The process is about to end: other threads keep nothing that waits.
    fn leave(&mut self) {}

    /// Whether far more sessions ran at once than do now, so that [`trim`](Self::trim) is worth it.
    fn has_slack(&self) -> bool {
        false
    }

    /// Gives back what those needed.
    fn trim(&mut self) {}

    /// Ends all sessions as they are; how many there were.
    fn abort_all(&mut self) -> usize;
}
