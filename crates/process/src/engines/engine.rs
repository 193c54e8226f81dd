//! What all process models share: accepting, parking, making room, counting. Who runs the sessions is the
//! [`Runner`]'s matter.

use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use daemun_core::connection::{Connection, Outcome, Protocol, Reason, Wait};
use daemun_event::{Deadline, Handler, Millis, Peer, Reactor, Stream, Timer, now};
use daemun_shm::{Stage, WorkerSlot};
use daemun_sys::allocator;

use super::accept::{Acceptor, Asked, RETRY_TIMER, Socket};
use super::parked::Parked;
use super::runner::{Ended, Runner, Welcome};
use super::shortage::{Episode, Reserve};
use super::{Notice, Report};

/// What an engine needs to know of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that may be open, active and parked: `worker_connections`, less what the
    /// worker needs for itself; one under prefork.
    pub connections: usize,
    /// `multi_accept`.
    pub multi_accept: bool,
    /// Being full is a shortage: it is reported, and idle connections make room. Elsewhere it is
    /// how connections find another process.
    pub sheds: bool,
}

/// What an engine starts with.
pub struct Parts<P> {
    pub protocol: Rc<P>,
    pub sockets: Vec<Socket>,
    pub limits: Limits,
    pub counters: WorkerSlot,
    pub report: Report,
}

/// The engine of one worker process. It is the [`Handler`] of the process's main reactor.
pub struct Engine<P: Protocol, R> {
    protocol: Rc<P>,
    limits: Limits,
    acceptor: Acceptor,
    parked: Parked,
    runner: R,
    /// Connections that have ended in this turn. They are closed once its log lines are written, since whoever reads
    /// to the end may look for those.
    ended: Vec<Connection>,
    /// Connections open, parked and active.
    open: usize,
    accepted: u64,
    /// Each of the two shortages that an engine meets is reported once while it lasts.
    exhausted: Episode,
    failing: Episode,
    scarce: Episode,
    low: Episode,
    next_search: Millis,
    reserve: Reserve,
    /// When what a burst of sessions needed is given back, and how long that one is waited for.
    calm: Option<Timer>,
    calming: Duration,
    counters: WorkerSlot,
    report: Report,
}

impl<P: Protocol, R: Runner<P>> Engine<P, R> {
    /// Begins to accept.
    pub fn new(reactor: &Reactor, parts: Parts<P>, runner: R) -> io::Result<Engine<P, R>> {
        let Parts { protocol, sockets, limits, counters, report } = parts;
        reactor.reserve(limits.connections);
        counters.set_stage(Stage::Waiting);
        Ok(Engine {
            protocol,
            limits,
            acceptor: Acceptor::new(sockets)?,
            parked: Parked::with_capacity(limits.connections),
            runner,
            ended: Vec::new(),
            open: 0,
            accepted: 0,
            exhausted: Episode::default(),
            failing: Episode::default(),
            scarce: Episode::default(),
            low: Episode::default(),
            next_search: 0,
            reserve: Reserve::of_process(),
            calm: None,
            calming: CALM,
            counters,
            report,
        })
    }

    /// Sessions that have a request in hand.
    pub fn active(&self) -> usize {
        self.runner.running()
    }

    #[cfg(test)]
    pub(super) fn has_slack(&self) -> bool {
        self.runner.has_slack()
    }

    /// Connections that wait here.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Connections open, parked and active.
    pub fn open(&self) -> usize {
        self.open
    }

    /// How many connections of another generation fit.
    pub fn room(&self) -> usize {
        self.limits.connections.saturating_sub(self.open)
    }

    /// Connections accepted so far: `max_connections_per_child`.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Leaves the listening sockets, and has what waits elsewhere in this process come back to be
    /// [drained](Self::drain_parked). What the kernel had handed out to the sockets is served.
    pub fn leave(&mut self) {
        self.watch(|acceptor| acceptor.leave());
        for listener in 0..self.acceptor.len() {
            while self.accept(listener).is_continue() {}
        }
        self.acceptor.close();
        self.runner.leave();
    }

    /// To be called after each turn of the reactor: hands out what the turn brought for other threads.
    pub fn end_turn(&mut self) {
        self.ended.clear();
        self.collect();
        if self.acceptor.waits_for_room() && !self.must_pause() {
            self.watch(Acceptor::resume);
        }
        self.runner.end_turn(self.acceptor.is_paused());
        if allocator::is_low() {
            self.find_memory();
        }
        if self.runner.has_slack() && self.calm.is_none() {
            self.calm = Some(Timer::new(CALM_TIMER, Deadline::after(self.calming)));
        }
    }

    /// The ballast was dropped: idle connections make room until there is some again.
    #[cold]
    fn find_memory(&mut self) {
        if now() < self.next_search || allocator::arm() {
            return;
        }
        self.next_search = now() + SEARCH;
        let mut closed = 0;
        while closed < SHED_FOR_MEMORY && self.shed_oldest() {
            closed += 1;
        }
        self.runner.trim();
        allocator::trim();
        if self.low.begins() {
            (self.report)(Notice::MemoryLow { closed });
        }
        allocator::arm();
    }

    /// Far fewer sessions run than once did, and have for a while.
    fn calm_down(&mut self) {
        self.calm = None;
        if !self.runner.has_slack() {
            return;
        }
        self.runner.trim();
        allocator::trim();
        // What is left stands before a session that lasts.
        let lasts = self.runner.has_slack();
        self.calming = if lasts { (self.calming * 2).min(LONGEST_CALM) } else { CALM };
    }

    /// Takes what ended on other threads.
    fn collect(&mut self) {
        while let Some(ended) = self.runner.next_ended() {
            match ended {
                Ok(Outcome::Closed) => self.gone(),
                Err(panicked) => {
                    (self.report)(Notice::Panicked(panicked.0));
                    self.gone();
                }
                ended => self.settle(Poll::Ready(ended)),
            }
        }
    }

    /// How long the reactor may wait for events before that has to be done again.
    pub fn patience(&self) -> Option<Duration> {
        self.runner.patience()
    }

    /// Takes all parked connections, for another generation or to be closed. Those whose session
    /// ends later are parked first, so ask again while any is [active](Self::active).
    pub fn drain_parked(&mut self) -> impl Iterator<Item = Connection> {
        std::iter::from_fn(|| self.take_parked())
    }

    /// Takes one of them.
    pub fn take_parked(&mut self) -> Option<Connection> {
        let connection = self.parked.take_any()?;
        self.count_parked(connection.waited, -1);
        self.closed();
        Some(connection)
    }

    /// Whether a connection of another generation may come. Where it is the last one that fits, the
    /// listening sockets are left first, with what this process was woken for and nobody else.
    pub fn makes_room(&mut self) -> bool {
        let is_last = self.room() == 1 && !self.limits.sheds;
        if is_last && !self.acceptor.is_paused() {
            self.watch(Acceptor::pause);
            for listener in 0..self.acceptor.len() {
                while self.accept(listener).is_continue() {}
            }
        }
        self.room() > 0
    }

    /// Parks a connection that another generation had; it comes back where there is no room.
    pub fn adopt(&mut self, connection: Connection, wait: Wait) -> Result<(), Connection> {
        if self.is_full() {
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

    /// Serves a connection at once that was served before, here or in another process; it comes back where there is no room.
    pub fn resume(&mut self, connection: Connection) -> Result<(), Connection> {
        if self.is_full() {
            return Err(connection);
        }
        self.opened();
        let session = self.runner.serve(connection);
        self.settle(session);
        Ok(())
    }

    /// Whether there is somebody to serve a connection that never waits.
    pub fn may_resume(&self) -> bool {
        !self.is_full() && self.runner.has_room()
    }

    /// Calls `work` on every thread of the process, and `then` on the last one.
    pub fn on_each_thread(&mut self, work: fn(), then: Box<dyn FnOnce() + Send>) {
        self.runner.on_each_thread(work, then);
    }

    /// Ends all sessions as they are: `worker_shutdown_timeout`.
    pub fn abort_active(&mut self) {
        (0..self.runner.abort_all()).for_each(|_| self.closed());
    }

    /// Accepts and starts one connection. Breaks where there is none, or none may be taken.
    fn accept(&mut self, listener: usize) -> ControlFlow<()> {
        if self.must_pause() {
            self.pause_while_full();
            return ControlFlow::Break(());
        }
        match self.acceptor.ask(listener) {
            Asked::Accepted(stream, peer, listener) => {
                if self.is_full() {
                    self.report_exhausted();
                    self.shed_oldest();
                } else if self.limits.sheds
                    && let Some(depth) = self.reserve.depth_of(&stream)
                {
                    self.spare_descriptors(depth);
                }
                self.begin(stream, peer, listener);
                // Whoever cannot take another one must not be woken for it: the kernel wakes one
                // process a connection, and that would be all.
                if !self.limits.sheds && self.must_pause() {
                    self.pause_while_full();
                    return ControlFlow::Break(());
                }
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

    /// Nobody here could serve another connection.
    fn must_pause(&self) -> bool {
        let may_shed = self.limits.sheds && self.parked.may_spare();
        ((self.is_full() || self.reserve.is_wanted) && !may_shed) || !self.runner.has_room()
    }

    /// Few descriptors are left, which requests in hand may need for files and upstreams: connections
    /// that wait go, or else no other one is accepted until one has ended.
    fn spare_descriptors(&mut self, count: u64) {
        if self.scarce.begins() {
            (self.report)(Notice::DescriptorsScarce { limit: self.reserve.limit });
        }
        self.reserve.is_wanted = !(0..count).all(|_| self.shed_oldest());
    }

    fn pause_while_full(&mut self) {
        if self.is_full() && self.limits.sheds {
            self.report_exhausted();
        }
        self.watch(Acceptor::pause);
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

    /// Closes the connection that has waited longest, where any may be closed. One that has something
    /// to say by now is served instead.
    fn shed_oldest(&mut self) -> bool {
        for _ in 0..SHEDDING_TRIES {
            let Some(connection) = self.parked.take_oldest() else {
                let head = self.parked.take_oldest_head();
                return head.map(|connection| self.shed(connection)).is_some();
            };
            if !connection.has_arrived() {
                self.shed(connection);
                return true;
            }
            self.count_parked(connection.waited, -1);
            let session = self.runner.serve(connection);
            self.settle(session);
        }
        false
    }

    fn shed(&mut self, connection: Connection) {
        self.count_parked(connection.waited, -1);
        self.protocol.shed(connection);
        self.open -= 1;
        self.counters.active(-1);
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
            pipelines: false,
            requests: 0,
            number: self.counters.next_connection(),
            started: now(),
            rare: None,
        };
        self.accepted += 1;
        match self.runner.welcome(connection) {
            Welcome::Begun(session) => self.settle(session),
            Welcome::Parked(connection) => {
                let wait = self.protocol.first_wait(&connection);
                self.park(connection, wait);
            }
        }
    }

    /// Does what a session left to do.
    #[inline]
    fn settle(&mut self, session: Poll<Ended<P>>) {
        let Poll::Ready(ended) = session else { return };
        match ended {
            Ok(Outcome::Park { connection, wait }) => self.park(connection, wait),
            Ok(Outcome::Close(connection)) => {
                self.ended.push(connection);
                self.closed();
            }
            Ok(Outcome::Closed) => self.closed(),
            Ok(Outcome::Drain(rest)) => {
                let session = self.runner.finish(rest);
                self.settle(session);
            }
            Ok(Outcome::Again(connection)) => {
                let session = self.runner.serve(connection);
                self.settle(session);
            }
            Err(panicked) => {
                (self.report)(Notice::Panicked(panicked.0));
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
        self.counters.active(-1);
        self.gone();
    }

    /// As [`closed`](Self::closed), of one that was counted out where it was closed.
    fn gone(&mut self) {
        self.open -= 1;
        self.reserve.is_wanted = false;
        if self.open == 0 {
            self.counters.set_stage(Stage::Waiting);
        }
        if self.acceptor.is_paused() && !self.must_pause() {
            self.watch(Acceptor::resume);
        }
    }

    fn watch(&mut self, change: fn(&mut Acceptor) -> io::Result<()>) {
        if let Err(error) = change(&mut self.acceptor) {
            (self.report)(Notice::WatchFailed { error });
        }
    }

    fn count_parked(&self, reason: Reason, change: i64) {
        count_parked(&self.counters, reason, change);
    }
}

/// Counts as `stub_status` does: a begun request head is being read, all else waits.
pub(super) fn count_parked(counters: &WorkerSlot, reason: Reason, change: i64) {
    match reason {
        Reason::Head => counters.reading(change),
        Reason::FirstByte | Reason::KeepAlive => counters.waiting(change),
        Reason::Held | Reason::Relay => {}
    }
    if change > 0 {
        counters.set_stage(stage_of(reason));
    }
}

/// What a process with one connection does while that is parked.
fn stage_of(reason: Reason) -> Stage {
    match reason {
        Reason::FirstByte | Reason::Head => Stage::Reading,
        Reason::Held | Reason::KeepAlive | Reason::Relay => Stage::KeepAlive,
    }
}

/// The acceptor's own has another number.
const CALM_TIMER: u32 = RETRY_TIMER + 1;
const CALM: Duration = Duration::from_secs(1);
const LONGEST_CALM: Duration = Duration::from_secs(60);

/// Connections that are looked at for one that may be closed.
const SHEDDING_TRIES: usize = 8;

/// How often memory is looked for where it ran out.
const SEARCH: Millis = 100;
/// Connections that are closed at once for that.
const SHED_FOR_MEMORY: usize = 64;

impl<P: Protocol, R: Runner<P>> Handler for Engine<P, R> {
    fn parked_ready(&mut self, slot: u32) {
        let connection = self.parked.take(slot);
        self.count_parked(connection.waited, -1);
        let session = self.runner.serve(connection);
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
        let session = self.runner.poll(slot);
        self.settle(session);
    }

    /// What came back is parked before its next request is told of.
    fn woke(&mut self) {
        self.ended.clear();
        self.collect();
    }

    fn timer(&mut self, token: u32) {
        match token {
            CALM_TIMER => self.calm_down(),
            // Perhaps there are descriptors again.
            _ => self.watch(Acceptor::resume),
        }
    }
}
