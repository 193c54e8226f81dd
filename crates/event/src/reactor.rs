//! The reactor: a turn waits once and hands out what happened.

use std::any::Any;
use std::io;
use std::time::{Duration, SystemTime};

use crate::backends::OpenError;
use crate::{Millis, Remote};

/// The engine's side of a reactor: what happens to things that are no tasks.
pub trait Handler {
    /// A parked stream has something to receive, or its peer is gone.
    fn parked_ready(&mut self, token: u32);

    /// A parked stream's deadline passed.
    fn parked_expired(&mut self, token: u32);

    /// A listener has a connection.
    fn acceptable(&mut self, token: u32);

    /// A session of [`Sessions`](crate::Sessions) was woken: poll it.
    fn session(&mut self, slot: u32);

    /// A [`Timer`](crate::Timer) fired.
    fn timer(&mut self, _token: u32) {}
}

/// A thread's event loop. Opening it makes it the one that this thread's streams, timers and
/// tasks use; there can be one a thread at a time.
pub struct Reactor {
    // `!Send`
    marker: std::marker::PhantomData<*const ()>,
}

impl Reactor {
    /// `method` as in `use`; `None` is the best that the system has.
    pub fn open(_method: Option<&str>) -> Result<Reactor, OpenError> {
        todo!()
    }

    /// Room for `connections` streams without growing.
    pub fn reserve(&self, _connections: usize) {
        todo!()
    }

    /// The backend's name.
    pub fn method(&self) -> &'static str {
        todo!()
    }

    /// Waits once, for events, the next timer or `limit`, and hands out what happened.
    pub fn turn(
        &mut self,
        _handler: &mut impl Handler,
        _limit: Option<Duration>,
    ) -> io::Result<()> {
        todo!()
    }

    /// Turns until `future` is done.
    pub fn block_on<F: Future>(
        &mut self,
        _handler: &mut impl Handler,
        _future: F,
    ) -> io::Result<F::Output> {
        todo!()
    }

    /// What to do with the payload of a panic in a spawned task.
    pub fn on_panic(&self, _report: impl Fn(Box<dyn Any + Send>) + 'static) {
        todo!()
    }
}

/// This thread's clock: milliseconds since its reactor was opened, as of this turn.
pub fn now() -> Millis {
    todo!()
}

/// The time of day, as of this turn.
pub fn wall_clock() -> SystemTime {
    todo!()
}

/// Runs `task` on this thread's reactor, from its next turn on.
pub fn spawn(_task: impl Future<Output = ()> + 'static) {
    todo!()
}

/// Calls `hook` at the end of every turn, for as long as the reactor lives.
pub fn at_turn_end(_hook: impl FnMut() + 'static) {
    todo!()
}

/// A handle to this thread's reactor for other threads.
pub fn remote() -> Remote {
    todo!()
}
