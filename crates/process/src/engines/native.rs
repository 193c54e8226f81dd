//! nginx's model: one loop a process runs thousands of sessions and watches what is parked.

use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::task::Poll;

use daemun_core::connection::{Connection, Outcome, Protocol, Reason, Wait};
use daemun_event::{Handler, Millis, Panicked, Peer, Reactor, Sessions, Stream, now};
use daemun_shm::WorkerSlot;

use super::accept::{Acceptor, Asked, Socket};
use super::parked::Parked;
use super::{Notice, Report};

/// What an engine needs to know of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that may be open, active and parked: `worker_connections`, less what the
    /// worker needs for itself.
    pub connections: usize,
    /// `multi_accept`.
    pub multi_accept: bool,
}

/// The engine of one worker. It is the [`Handler`] of the worker's reactor.
pub struct Engine<P: Protocol> {
    protocol: Rc<P>,
    limits: Limits,
    acceptor: Acceptor,
    parked: Parked,
    sessions: Sessions<Connection, Outcome>,
    /// Connections open, parked and active.
    open: usize,
    eagerness: Eagerness,
    /// Each of the two shortages that an engine meets is reported once while it lasts.
    exhausted: Episode,
    failing: Episode,
    counters: WorkerSlot,
    report: Report,
}

impl<P: Protocol> Engine<P> {
    /// Begins to accept from `sockets`.
    pub fn new(
        reactor: &Reactor,
        protocol: Rc<P>,
        sockets: Vec<Socket>,
        limits: Limits,
        counters: WorkerSlot,
        report: Report,
    ) -> io::Result<Engine<P>> {
        reactor.reserve(limits.connections);
        let serving = protocol.clone();
        Ok(Engine {
            protocol,
            limits,
            acceptor: Acceptor::new(sockets)?,
            parked: Parked::with_capacity(limits.connections),
            sessions: Sessions::new(move |connection| serving.clone().serve(connection)),
            open: 0,
            eagerness: Eagerness::new(),
            exhausted: Episode::default(),
            failing: Episode::default(),
            counters,
            report,
        })
    }

    /// Sessions that have a request in hand.
    pub fn active(&self) -> usize {
        self.sessions.running()
    }

    /// Connections that wait.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Bytes of a session's future.
    pub fn session_size(&self) -> usize {
        self.sessions.future_size()
    }

    /// Leaves the listening sockets. What the kernel had handed out to them is served.
    pub fn stop_accepting(&mut self) {
        self.watch(|acceptor| acceptor.leave());
        for listener in 0..self.acceptor.len() {
            while self.accept(listener).is_continue() {}
        }
        self.acceptor.close();
    }

    /// Takes all parked connections, for another generation or to be closed. Those whose session
    /// ends later are parked first, so ask again while any is [active](Self::active).
    pub fn drain_parked(&mut self) -> impl Iterator<Item = Connection> {
        std::iter::from_fn(|| {
            let connection = self.parked.take_any()?;
            self.count_parked(connection.waited, -1);
            self.closed();
            Some(connection)
        })
    }

    /// Parks a connection that another generation had; it comes back where there is no room.
    pub fn adopt(&mut self, connection: Connection, wait: Wait) -> Result<(), Connection> {
        if self.open >= self.limits.connections {
            return Err(connection);
        }
        self.parked.insert(connection, wait).map_err(|(connection, error)| {
            (self.report)(Notice::WatchFailed { error });
            connection
        })?;
        self.opened();
        self.count_parked(wait.reason, 1);
        Ok(())
    }

    /// Ends all sessions as they are: `worker_shutdown_timeout`.
    pub fn abort_active(&mut self) {
        let aborted = self.sessions.running();
        self.sessions.abort_all();
        (0..aborted).for_each(|_| self.closed());
    }

    /// Accepts and starts one connection. Breaks where there is none, or none may be taken.
    fn accept(&mut self, listener: usize) -> ControlFlow<()> {
        if self.is_full() && !self.parked.has_idle() {
            self.report_exhausted();
            self.watch(Acceptor::pause);
            return ControlFlow::Break(());
        }
        match self.acceptor.ask(listener) {
            Asked::Accepted(stream, peer, listener) => {
                if self.is_full() {
                    self.report_exhausted();
                    self.shed_oldest();
                }
                self.begin(stream, peer, listener);
                ControlFlow::Continue(())
            }
            Asked::Nobody => ControlFlow::Break(()),
            Asked::Aborted(error) => {
                (self.report)(Notice::AcceptFailed { listener: listener as u16, error });
                ControlFlow::Continue(())
            }
            Asked::Failed(error) => self.recover(listener as u16, error),
        }
    }

    /// Descriptors ran out, or worse: the longest parked connection goes; without one, accepting
    /// pauses.
    fn recover(&mut self, listener: u16, error: io::Error) -> ControlFlow<()> {
        if self.failing.begins() {
            (self.report)(Notice::AcceptFailed { listener, error });
        }
        if self.shed_oldest() {
            return ControlFlow::Continue(());
        }
        self.watch(Acceptor::pause_for_a_while);
        ControlFlow::Break(())
    }

    fn is_full(&self) -> bool {
        self.open >= self.limits.connections
    }

    fn report_exhausted(&mut self) {
        if self.exhausted.begins() {
            (self.report)(Notice::ConnectionsExhausted { limit: self.limits.connections });
        }
    }

    fn shed_oldest(&mut self) -> bool {
        let Some(connection) = self.parked.take_oldest() else {
            return false;
        };
        self.count_parked(connection.waited, -1);
        self.protocol.shed(connection);
        self.open -= 1;
        self.counters.active(-1);
        true
    }

    /// A connection that was just accepted often brings its request along.
    fn begin(&mut self, stream: Stream, peer: Peer, listener: u16) {
        self.counters.accepted();
        self.counters.handled();
        self.opened();
        let connection = Connection {
            stream,
            peer,
            listener,
            waited: Reason::FirstByte,
            requests: 0,
            number: self.counters.next_connection(),
            started: now(),
            partial: None,
        };
        if !self.eagerness.tries() {
            let wait = self.protocol.first_wait(&connection);
            return self.park(connection, wait);
        }
        let session = self.sessions.start(connection);
        self.eagerness.learn(!waits_for_first_byte(&session));
        self.settle(session);
    }

    /// Does what a session left to do.
    #[inline]
    fn settle(&mut self, session: Poll<Result<Outcome, Panicked>>) {
        let Poll::Ready(ended) = session else { return };
        match ended {
            Ok(Outcome::Park { connection, wait }) => self.park(connection, wait),
            Ok(Outcome::Close(connection)) => {
                drop(connection);
                self.closed();
            }
            Ok(Outcome::Closed) => self.closed(),
            Err(Panicked(panic)) => {
                (self.report)(Notice::Panicked(panic));
                self.closed();
            }
        }
    }

    fn park(&mut self, connection: Connection, wait: Wait) {
        match self.parked.insert(connection, wait) {
            Ok(()) => self.count_parked(wait.reason, 1),
            Err((connection, error)) => {
                (self.report)(Notice::WatchFailed { error });
                drop(connection);
                self.closed();
            }
        }
    }

    fn opened(&mut self) {
        self.open += 1;
        self.counters.active(1);
    }

    /// A connection is gone: there is room for another.
    fn closed(&mut self) {
        self.open -= 1;
        self.counters.active(-1);
        if self.acceptor.is_paused() && !self.is_full() {
            self.watch(Acceptor::resume);
        }
    }

    fn watch(&mut self, change: fn(&mut Acceptor) -> io::Result<()>) {
        if let Err(error) = change(&mut self.acceptor) {
            (self.report)(Notice::WatchFailed { error });
        }
    }

    /// Counts as `stub_status` does: a begun request head is being read, all else waits.
    fn count_parked(&self, reason: Reason, change: i64) {
        match reason {
            Reason::Head => self.counters.reading(change),
            Reason::FirstByte | Reason::KeepAlive => self.counters.waiting(change),
            Reason::Held => {}
        }
    }
}

fn waits_for_first_byte(session: &Poll<Result<Outcome, Panicked>>) -> bool {
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

/// A trouble that lasts while it is met again within a second.
#[derive(Default)]
struct Episode {
    last: Option<Millis>,
}

impl Episode {
    const GAP: Millis = 1000;

    /// Notes the trouble; true where it is a new one.
    fn begins(&mut self) -> bool {
        let last = self.last.replace(now());
        last.is_none_or(|last| now() - last > Self::GAP)
    }
}

impl<P: Protocol> Handler for Engine<P> {
    fn parked_ready(&mut self, slot: u32) {
        let connection = self.parked.take(slot);
        self.count_parked(connection.waited, -1);
        let session = self.sessions.start(connection);
        self.settle(session);
    }

    fn parked_expired(&mut self, slot: u32) {
        let connection = self.parked.take(slot);
        self.count_parked(connection.waited, -1);
        let outcome = self.protocol.timed_out(connection);
        self.settle(Poll::Ready(Ok(outcome)));
    }

    fn acceptable(&mut self, listener: u32) {
        while self.accept(listener as usize).is_continue() && self.limits.multi_accept {}
    }

    fn session(&mut self, slot: u32) {
        let session = self.sessions.poll(slot);
        self.settle(session);
    }

    /// Perhaps there are descriptors again.
    fn timer(&mut self, _token: u32) {
        self.watch(Acceptor::resume);
    }
}
