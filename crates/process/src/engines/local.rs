//! Sessions on the thread that accepts: thousands under `native`, one at a time under `prefork`.

use std::rc::Rc;
use std::task::Poll;

use daemun_core::connection::{Connection, Outcome, Protocol, Reason};
use daemun_event::Sessions;

use super::runner::{Ended, Runner, Welcome};

pub struct Local<P: Protocol> {
    sessions: Sessions<Connection, Outcome<P::Rest>>,
    eagerness: Eagerness,
}

impl<P: Protocol> Local<P> {
    /// `protocol` must not let a session [drain](Outcome::Drain): here that would spare nothing.
    pub fn new(protocol: Rc<P>) -> Local<P> {
        let sessions = Sessions::new(move |connection| Rc::clone(&protocol).serve(connection));
        Local { sessions, eagerness: Eagerness::new() }
    }
}

impl<P: Protocol> Runner<P> for Local<P> {
    #[inline]
    fn serve(&mut self, connection: Connection) -> Poll<Ended<P>> {
        self.sessions.start(connection)
    }

    fn finish(&mut self, _rest: P::Rest) -> Poll<Ended<P>> {
        debug_assert!(false, "a session drains where its own thread serves on");
        Poll::Ready(Ok(Outcome::Closed))
    }

    #[inline]
    fn poll(&mut self, slot: u32) -> Poll<Ended<P>> {
        self.sessions.poll(slot)
    }

    fn welcome(&mut self, connection: Connection) -> Welcome<P> {
        if !self.eagerness.tries() {
            return Welcome::Parked(connection);
        }
        let session = self.sessions.start(connection);
        self.eagerness.learn(!waits_for_first_byte(&session));
        Welcome::Begun(session)
    }

    fn running(&self) -> usize {
        self.sessions.running()
    }

    #[inline]
    fn has_slack(&self) -> bool {
        self.sessions.slack().is_some()
    }

    fn trim(&mut self) {
        self.sessions.trim();
    }

    fn abort_all(&mut self) -> usize {
        let aborted = self.sessions.running();
        self.sessions.abort_all();
        aborted
    }
}

fn waits_for_first_byte<R, E>(session: &Poll<Result<Outcome<R>, E>>) -> bool {
    matches!(session, Poll::Ready(Ok(Outcome::Park { wait, .. })) if wait.reason == Reason::FirstByte)
}

/// Whether to ask a new connection for its request at once. That spares a registration where the request is there, and
/// costs a system call where it is not; which is so changes with load and distance, and the last connections tell.
struct Eagerness {
    score: u8,
    skipped: u8,
}

impl Eagerness {
    const MOST: u8 = 15;
    /// So many connections are not asked before one is again.
    const PROBE: u8 = 32;

    fn new() -> Eagerness {
        Eagerness { score: Self::MOST, skipped: 0 }
    }

    fn tries(&mut self) -> bool {
        if self.score > Self::MOST / 2 || self.skipped == Self::PROBE {
            self.skipped = 0;
            return true;
        }
        self.skipped += 1;
        false
    }

    fn learn(&mut self, had_request: bool) {
        self.score = match had_request {
            true => (self.score + 2).min(Self::MOST),
            false => self.score.saturating_sub(1),
        };
    }
}
