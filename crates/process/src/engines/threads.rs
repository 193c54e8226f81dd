//! Sessions on a pool of threads, one at a time on each: Apache's `worker` and `event`.
//!
//! ```text
//! the engine's thread            the pool                         a thread
//!   accepts, watches ──job──▶  queue, who is idle  ──job──▶  runs the session on its own reactor
//!   settles          ◀──────────  what ended  ◀──────────── with its outcome
//! ```
//!
//! Under `event` a connection comes back as soon as it waits, or its response only has to be sent:
//! that goes on here, on the engine's thread. Under `worker` it stays with its thread until it is
//! closed. While it is away its registration stays here, so that coming and going costs no system
//! call; what ended is collected when the engine wakes anyway, for nothing can happen to a
//! connection that waits before the engine's reactor tells of it.

mod lane;
mod pool;

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use daemun_core::connection::{AsStream, Connection, Outcome, Protocol};
use daemun_event::{Millis, Registration, Sessions, now};
use daemun_shm::WorkerSlot;

use self::pool::{Back, Job, Pool, Progress};
use super::Report;
use super::runner::{Ended, Runner, Welcome};
use super::slab::Slab;

/// Makes a protocol for a thread, which counts in its own place.
pub type MakeProtocol<P> = Arc<dyn Fn(WorkerSlot) -> Rc<P> + Send + Sync>;

/// The threads of a process.
pub struct Crew<P> {
    pub threads: usize,
    /// Bytes of stack for each.
    pub stack: usize,
    /// `use`.
    pub method: String,
    /// A thread keeps its connection until that is closed.
    pub keeps: bool,
    /// `async_request_worker_factor`.
    pub factor: f64,
    pub make: MakeProtocol<P>,
    pub counters: WorkerSlot,
    pub report: Report,
}

pub struct Threads<P: Protocol> {
    pool: Arc<Pool<P>>,
    threads: Vec<JoinHandle<()>>,
    keeps: bool,
    factor: f64,
    /// Places on this thread's reactor of connections that are away.
    lent: Slab<Registration>,
    /// What this turn has brought for the threads.
    ready: Vec<Job>,
    returned: Vec<Back<P>>,
    /// Jobs that nobody has taken for a whole turn are given to one thread more.
    progress: Progress,
    /// When something last went to the threads, or came back.
    moved: Millis,
    /// Nothing has moved for a while: the engine sleeps, and whatever comes back wakes it.
    is_quiet: bool,
    draining: Sessions<P::Rest, Outcome<P::Rest>>,
    counters: WorkerSlot,
}

impl<P: Protocol> Threads<P> {
    /// What ended elsewhere is looked for at least so often while anything is away: timers of
    /// connections that came back start no later than that. Where nothing moves for as long, looking
    /// would cost more than to be woken.
    const COLLECT: Duration = Duration::from_millis(50);
    /// As many threads run as there are processors, but those may all wait for a disk: where jobs are
    /// left for this long, another thread is woken.
    const STALLED: Duration = Duration::from_millis(2);

    /// Starts the threads. `protocol` is this thread's own, for what drains. An error says that no
    /// thread at all could be started.
    pub fn start(crew: &Crew<P>, protocol: Rc<P>) -> io::Result<Threads<P>> {
        let pool = Arc::new(Pool::new(daemun_event::remote(), crew.keeps));
        let threads = lane::start_all(crew, &pool)?;
        let finish = move |rest| Rc::clone(&protocol).finish(rest);
        Ok(Threads {
            pool,
            threads,
            keeps: crew.keeps,
            factor: crew.factor,
            lent: Slab::default(),
            ready: Vec::new(),
            returned: Vec::new(),
            progress: Progress::default(),
            moved: now(),
            is_quiet: false,
            draining: Sessions::new(finish),
            counters: crew.counters.clone(),
        })
    }

    fn drained(&self, session: Poll<Ended<P>>) -> Poll<Ended<P>> {
        if session.is_ready() {
            self.counters.draining(-1);
        }
        session
    }

    /// Gives a connection that came back its registration again.
    fn welcome_back(&mut self, back: Back<P>) -> Ended<P> {
        let registration = self.lent.remove(back.place);
        let mut ended = back.ended;
        match &mut ended {
            Ok(Outcome::Park { connection, .. } | Outcome::Again(connection)) => {
                connection.stream.attach(registration);
            }
            // Its stream registers anew where it has to wait, which is rare enough.
            Ok(Outcome::Drain(rest)) => registration.leave(rest.stream().as_fd()),
            Ok(Outcome::Close(_) | Outcome::Closed) | Err(_) => drop(registration),
        }
        ended
    }
}

impl<P: Protocol> Runner<P> for Threads<P> {
    fn serve(&mut self, mut connection: Connection) -> Poll<Ended<P>> {
        let place = self.lent.insert(connection.stream.detach());
        self.ready.push(Job { connection, place });
        self.moved = now();
        Poll::Pending
    }

    fn finish(&mut self, rest: P::Rest) -> Poll<Ended<P>> {
        self.counters.draining(1);
        let session = self.draining.start(rest);
        self.drained(session)
    }

    fn poll(&mut self, slot: u32) -> Poll<Ended<P>> {
        let session = self.draining.poll(slot);
        self.drained(session)
    }

    /// A thread that keeps its connections takes a new one at once, as Apache's does.
    fn welcome(&mut self, connection: Connection) -> Welcome<P> {
        match self.keeps {
            true => Welcome::Begun(self.serve(connection)),
            false => Welcome::Parked(connection),
        }
    }

    fn running(&self) -> usize {
        self.lent.len() + self.draining.running()
    }

    /// Apache's rule for `event`: as many connections as there are threads, and some more for each
    /// idle one. Parked connections do not count.
    fn has_room(&self) -> bool {
        let threads = self.threads.len();
        let idle = threads.saturating_sub(self.lent.len());
        match self.keeps {
            true => idle > 0,
            false => {
                (self.running() as f64) < threads as f64 + self.factor * idle as f64 && idle > 0
            }
        }
    }

    fn next_ended(&mut self) -> Option<Ended<P>> {
        if self.returned.is_empty() {
            self.pool.collect(&mut self.returned);
        }
        let back = self.returned.pop()?;
        self.moved = now();
        Some(self.welcome_back(back))
    }

    fn end_turn(&mut self, waits: bool) {
        self.is_quiet = now() - self.moved >= Self::COLLECT.as_millis() as Millis;
        self.pool.hurry(waits || self.is_quiet);
        if !self.ready.is_empty() || self.progress.is_waited_for {
            self.pool.push(&mut self.ready, &mut self.progress);
        }
    }

    fn patience(&self) -> Option<Duration> {
        match self.lent.len() {
            0 => None,
            _ if self.progress.is_waited_for => Some(Self::STALLED),
            _ if self.is_quiet => None,
            _ => Some(Self::COLLECT),
        }
    }

    fn on_each_thread(&mut self, work: fn(), then: Box<dyn FnOnce() + Send>) {
        let errand = Arc::new(Errand { then: Mutex::new(Some(then)) });
        self.pool.on_each(|| {
            let errand = Arc::clone(&errand);
            move || {
                work();
                drop(errand);
            }
        });
        work();
    }

    fn leave(&mut self) {
        self.pool.keep_nothing();
    }

    fn has_slack(&self) -> bool {
        self.draining.slack().is_some()
    }

    fn trim(&mut self) {
        self.draining.trim();
    }

    /// Those on other threads end as soon as these look up, and are told of as ended.
    fn abort_all(&mut self) -> usize {
        self.pool.abort();
        let aborted = self.draining.running();
        self.draining.abort_all();
        self.counters.draining(-(aborted as i64));
        aborted
    }
}

/// Calls `then` once the last thread that has it lets it go, or is gone itself.
struct Errand {
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Drop for Errand {
    fn drop(&mut self) {
        let then = self.then.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(then) = then {
            then();
        }
    }
}

impl<P: Protocol> Drop for Threads<P> {
    fn drop(&mut self) {
        self.pool.end();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
