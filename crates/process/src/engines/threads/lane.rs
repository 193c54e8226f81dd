//! A thread: its reactor, and the one connection that it serves.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use daemun_core::connection::{AsStream, Connection, Outcome, Protocol, Wait};
use daemun_event::{Handler, Reactor, Sessions};
use daemun_shm::{Stage, WorkerSlot};
use daemun_sys::limits;

use super::Crew;
use super::pool::{Back, Job, Pool};
use crate::engines::engine::count_parked;
use crate::engines::runner::Ended;
use crate::engines::{Notice, Report};

/// Starts the threads and waits until all of them can serve. Some that cannot are reported, as are
/// those that would leave no descriptors to serve with; an error is the reason of the last one, where
/// not one can.
pub(super) fn start_all<P: Protocol>(
    crew: &Crew<P>,
    pool: &Arc<Pool<P>>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let (says, heard) = mpsc::channel();
    let mut threads = Vec::with_capacity(crew.threads);
    let mut failure = None;
    for number in 0..crew.threads {
        if let Err(error) = leaves_descriptors(number) {
            failure = Some(error);
            break;
        }
        let started = start(crew, pool, number, says.clone())
            .and_then(|thread| heard.recv().map_err(io::Error::other)?.map(|()| thread));
        match started {
            Ok(thread) => threads.push(thread),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if threads.is_empty() => return Err(error),
        Some(error) => {
            (crew.report)(Notice::ThreadsMissing {
                wanted: crew.threads,
                running: threads.len(),
                error,
            });
        }
        None => {}
    }
    Ok(threads)
}

/// Whether one more than so many threads can serve: each needs some for itself, for its connection and
/// for a file or an upstream.
fn leaves_descriptors(running: usize) -> io::Result<()> {
    const EACH: u64 = 4;
    let left = limits::descriptors_left()?;
    // Those that run have their own already.
    match left < EACH + running as u64 * EACH / 2 {
        true => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        false => Ok(()),
    }
}

fn start<P: Protocol>(
    crew: &Crew<P>,
    pool: &Arc<Pool<P>>,
    number: usize,
    says: mpsc::Sender<io::Result<()>>,
) -> io::Result<JoinHandle<()>> {
    let full = || io::Error::other("the scoreboard is full");
    let counters = crew.counters.for_thread().ok_or_else(full)?;
    let (make, pool) = (Arc::clone(&crew.make), Arc::clone(pool));
    let (method, report) = (crew.method.clone(), Arc::clone(&crew.report));
    let name = format!("worker thread {number}");
    thread::Builder::new().name(name).stack_size(crew.stack).spawn(move || {
        let reactor = match Reactor::open(Some(&method)) {
            Ok(reactor) => reactor,
            Err(error) => return drop(says.send(Err(io::Error::other(error.to_string())))),
        };
        let number = pool.join(daemun_event::remote());
        let lane = Lane::new(make(counters.clone()), counters, Arc::clone(&pool), report);
        // Nobody listens any more where the process gave up.
        let _ = says.send(Ok(()));
        Thread { reactor, lane, pool, number, jobs: 0 }.run();
    })
}

struct Thread<P: Protocol> {
    reactor: Reactor,
    lane: Lane<P>,
    pool: Arc<Pool<P>>,
    number: usize,
    jobs: u32,
}

impl<P: Protocol> Thread<P> {
    /// So many jobs are done one after another before the reactor sees to anything else.
    const IN_A_ROW: u32 = 32;

    fn run(mut self) {
        while !self.pool.ends() {
            match self.pool.take(self.number) {
                Some(job) => {
                    daemun_event::next_moment();
                    self.serve(job);
                }
                None => {
                    self.reactor.end_turn();
                    self.turn(None);
                }
            }
        }
        self.reactor.end_turn();
    }

    fn serve(&mut self, job: Job) {
        self.jobs += 1;
        if self.jobs.is_multiple_of(Self::IN_A_ROW) {
            self.turn(Some(Duration::ZERO));
        }
        self.reactor.begin_turn();
        self.lane.start(job.connection);
        let ended = loop {
            if let Some(ended) = self.lane.ended.take() {
                break ended;
            }
            self.pool.pauses();
            self.turn(None);
            self.pool.goes_on();
            self.lane.obey();
        };
        self.pool.give_back(Back { place: job.place, ended });
    }

    fn turn(&mut self, limit: Option<Duration>) {
        if let Err(error) = self.reactor.turn(&mut self.lane, limit) {
            (self.lane.report)(Notice::WatchFailed { error });
        }
    }
}

/// The connection that a thread serves.
struct Lane<P: Protocol> {
    protocol: Rc<P>,
    sessions: Sessions<Connection, Outcome<P::Rest>>,
    /// It waits here for its next request, where threads keep their connections.
    parked: Option<Connection>,
    ended: Option<Ended<P>>,
    pool: Arc<Pool<P>>,
    counters: WorkerSlot,
    report: Report,
}

impl<P: Protocol> Lane<P> {
    fn new(protocol: Rc<P>, counters: WorkerSlot, pool: Arc<Pool<P>>, report: Report) -> Lane<P> {
        let serving = Rc::clone(&protocol);
        let sessions = Sessions::new(move |connection| Rc::clone(&serving).serve(connection));
        counters.set_stage(Stage::Waiting);
        Lane { protocol, sessions, parked: None, ended: None, pool, counters, report }
    }

    fn start(&mut self, connection: Connection) {
        self.counters.set_stage(Stage::Reading);
        let session = self.sessions.start(connection);
        self.settle(session);
    }

    fn settle(&mut self, session: Poll<Ended<P>>) {
        let Poll::Ready(ended) = session else { return };
        match ended {
            Ok(Outcome::Park { connection, wait }) if self.pool.keeps() => {
                self.park(connection, wait);
            }
            Ok(Outcome::Again(connection)) => self.start(connection),
            ended => self.end(ended),
        }
    }

    fn park(&mut self, connection: Connection, wait: Wait) {
        match connection.stream.park(0, wait.until) {
            Ok(()) => {
                count_parked(&self.counters, wait.reason, 1);
                self.parked = Some(Connection { waited: wait.reason, ..connection });
            }
            Err(error) => {
                (self.report)(Notice::WatchFailed { error });
                drop(connection);
                self.end(Ok(Outcome::Closed));
            }
        }
    }

    fn end(&mut self, ended: Ended<P>) {
        let ended = ended.map(off_reactor);
        if matches!(ended, Ok(Outcome::Closed) | Err(_)) {
            self.counters.active(-1);
        }
        self.counters.set_stage(Stage::Waiting);
        self.ended = Some(ended);
    }

    /// Does what the pool wants of a thread that waits.
    fn obey(&mut self) {
        if self.pool.aborts() {
            self.sessions.abort_all();
            drop(self.unpark());
            self.end(Ok(Outcome::Closed));
        } else if !self.pool.keeps()
            && let Some((connection, wait)) = self.unpark()
        {
            self.end(Ok(Outcome::Park { connection, wait }));
        }
    }

    fn unpark(&mut self) -> Option<(Connection, Wait)> {
        let connection = self.parked.take()?;
        let wait = Wait { reason: connection.waited, until: connection.stream.deadline() };
        count_parked(&self.counters, wait.reason, -1);
        connection.stream.unpark();
        Some((connection, wait))
    }
}

/// Takes what is left of a connection off this thread's reactor; closes what is to be closed.
fn off_reactor<R: AsStream>(mut outcome: Outcome<R>) -> Outcome<R> {
    match &mut outcome {
        Outcome::Park { connection, .. } | Outcome::Again(connection) => {
            connection.stream.leave();
            if let Some(relay) = connection.relay_mut() {
                relay.upstream.leave();
            }
        }
        Outcome::Drain(rest) => rest.stream().leave(),
        Outcome::Close(_) | Outcome::Closed => return Outcome::Closed,
    }
    outcome
}

impl<P: Protocol> Handler for Lane<P> {
    fn parked_ready(&mut self, _token: u32) {
        if let Some((connection, _)) = self.unpark() {
            self.start(connection);
        }
    }

    fn parked_expired(&mut self, _token: u32) {
        if let Some((connection, _)) = self.unpark() {
            let outcome = self.protocol.timed_out(connection);
            self.settle(Poll::Ready(Ok(outcome)));
        }
    }

    fn acceptable(&mut self, _token: u32) {}

    fn session(&mut self, slot: u32) {
        let session = self.sessions.poll(slot);
        self.settle(session);
    }
}
