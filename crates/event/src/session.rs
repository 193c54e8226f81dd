//! Pooled tasks for the engine's sessions: slots that are refilled in place.

use std::any::Any;
use std::marker::PhantomData;
use std::task::Poll;

/// The payload of a panic that ended a session.
pub struct Panicked(pub Box<dyn Any + Send>);

/// Runs futures made from an `I` and yields their `O`. A slot, once made, is used again and
/// again: a session that starts and ends allocates nothing.
///
/// A session that has to wait is a task of this reactor; when it is woken, the reactor calls
/// [`Handler::session`](crate::Handler::session) with its slot, and the owner polls it.
pub struct Sessions<I, O> {
    marker: PhantomData<fn(I) -> O>,
}

impl<I: 'static, O: 'static> Sessions<I, O> {
    pub fn new<F, M>(_make: M) -> Sessions<I, O>
    where
        F: Future<Output = O> + 'static,
        M: Fn(I) -> F + 'static,
    {
        todo!()
    }

    /// Starts a session and polls it at once. `Pending`: it is a task now.
    pub fn start(&mut self, _input: I) -> Poll<Result<O, Panicked>> {
        todo!()
    }

    /// Polls the session in `slot`; `Pending` also where it ended already.
    pub fn poll(&mut self, _slot: u32) -> Poll<Result<O, Panicked>> {
        todo!()
    }

    /// Sessions that wait at present.
    pub fn running(&self) -> usize {
        todo!()
    }

    /// Bytes of one session's future.
    pub fn future_size(&self) -> usize {
        todo!()
    }

    /// Drops every session that waits.
    pub fn abort_all(&mut self) {
        todo!()
    }
}
