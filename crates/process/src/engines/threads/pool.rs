//! What the threads of a process share: the queue of jobs, who is idle, and what ended.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use daemun_core::connection::{Connection, Protocol};
use daemun_event::Remote;

use crate::engines::runner::Ended;

/// A connection to serve. It is on no reactor.
pub(super) struct Job {
    pub connection: Connection,
    /// For the [`Back`] that tells of its end.
    pub place: u32,
}

/// How a job ended. What is left of the connection is on no reactor.
pub(super) struct Back<P: Protocol> {
    pub place: u32,
    pub ended: Ended<P>,
}

pub(super) struct Pool<P: Protocol> {
    work: Mutex<Work>,
    /// More threads than this run only where some of them wait.
    processors: usize,
    back: Mutex<Vec<Back<P>>>,
    has_back: AtomicBool,
    engine: Remote,
    /// The engine is to be woken for each job that ends.
    hurries: AtomicBool,
    keeps: AtomicBool,
    leaves: AtomicBool,
    aborts: AtomicBool,
    ends: AtomicBool,
}

#[derive(Default)]
struct Work {
    jobs: VecDeque<Job>,
    threads: Vec<Member>,
    /// Threads without work, the one that became so last on top: its caches are warm.
    idle: Vec<usize>,
    /// Threads that were woken and have not come yet.
    woken: usize,
    /// Threads that run a job and do not wait.
    running: usize,
    /// Jobs taken so far.
    taken: u64,
}

struct Member {
    remote: Remote,
    state: Rest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Awake,
    Idle,
    Woken,
}

/// How far the queue had come when the engine last looked.
#[derive(Default)]
pub(super) struct Progress {
    taken: u64,
    /// Something was left in it.
    pub is_waited_for: bool,
}

impl<P: Protocol> Pool<P> {
    pub fn new(engine: Remote, keeps: bool) -> Pool<P> {
        Pool {
            work: Mutex::default(),
            processors: thread::available_parallelism().map_or(1, NonZero::get),
            back: Mutex::default(),
            has_back: AtomicBool::new(false),
            engine,
            hurries: AtomicBool::new(false),
            keeps: AtomicBool::new(keeps),
            leaves: AtomicBool::new(false),
            aborts: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        }
    }

    /// Adds the calling thread; its number.
    pub fn join(&self, remote: Remote) -> usize {
        let mut work = self.work();
        work.threads.push(Member { remote, state: Rest::Awake });
        work.threads.len() - 1
    }

    /// Adds jobs, and wakes as many threads as there are processors for them; one in any case where
    /// nothing was taken since the last time.
    pub fn push(&self, jobs: &mut Vec<Job>, progress: &mut Progress) {
        let mut work = self.work();
        let is_stalled = progress.is_waited_for && progress.taken == work.taken;
        work.jobs.extend(jobs.drain(..));
        progress.taken = work.taken;
        progress.is_waited_for = !work.jobs.is_empty();
        let forced = if is_stalled && progress.is_waited_for { work.wake() } else { None };
        let mut woken: Vec<Remote> = forced.into_iter().collect();
        while work.needs_another(self.processors)
            && let Some(remote) = work.wake()
        {
            woken.push(remote);
        }
        drop(work);
        for remote in woken {
            remote.nudge();
        }
    }

    /// The next job for a thread. Without one, the thread is idle: it is nudged once there is.
    pub fn take(&self, number: usize) -> Option<Job> {
        let mut work = self.work();
        work.arrives(number);
        let Some(job) = work.jobs.pop_front() else {
            work.rests(number);
            return None;
        };
        work.running += 1;
        work.taken += 1;
        self.wake_another(work);
        Some(job)
    }

    /// A thread's job waits for something: there is room for another one on its processor.
    pub fn pauses(&self) {
        let mut work = self.work();
        work.running -= 1;
        self.wake_another(work);
    }

    pub fn goes_on(&self) {
        self.work().running += 1;
    }

    fn wake_another(&self, mut work: MutexGuard<'_, Work>) {
        let woken = work.needs_another(self.processors).then(|| work.wake()).flatten();
        drop(work);
        if let Some(remote) = woken {
            remote.nudge();
        }
    }

    /// Tells how a job ended.
    pub fn give_back(&self, back: Back<P>) {
        self.work().running -= 1;
        self.back.lock().unwrap_or_else(PoisonError::into_inner).push(back);
        self.has_back.store(true, Ordering::SeqCst);
        // Either this sees that the engine hurries, or the engine, which looks once more as it begins
        // to hurry, sees what was given back.
        if self.hurries.load(Ordering::SeqCst) {
            self.engine.nudge();
        }
    }

    /// Moves what ended to `returned`.
    pub fn collect(&self, returned: &mut Vec<Back<P>>) {
        if self.has_back.swap(false, Ordering::SeqCst) {
            let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *back, returned);
        }
    }

    pub fn hurry(&self, hurries: bool) {
        // A process that leaves waits for each of the rest.
        let hurries = hurries || self.leaves.load(Ordering::Relaxed);
        self.hurries.store(hurries, Ordering::SeqCst);
        if hurries && self.has_back.load(Ordering::SeqCst) {
            self.engine.nudge();
        }
    }

    /// Whether a connection that waits stays with its thread.
    pub fn keeps(&self) -> bool {
        self.keeps.load(Ordering::Relaxed)
    }

    /// From now on every connection that waits comes back.
    pub fn keep_nothing(&self) {
        self.keeps.store(false, Ordering::SeqCst);
        self.leaves.store(true, Ordering::SeqCst);
        self.nudge_all();
    }

    pub fn aborts(&self) -> bool {
        self.aborts.load(Ordering::Relaxed)
    }

    /// Ends what runs.
    pub fn abort(&self) {
        self.aborts.store(true, Ordering::SeqCst);
        self.nudge_all();
    }

    pub fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// Ends the threads, and what they run.
    pub fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
        self.abort();
    }

    /// Sends an errand to each thread.
    pub fn on_each<W: FnOnce() + Send + 'static>(&self, errand: impl Fn() -> W) {
        self.work().threads.iter().for_each(|member| {
            member.remote.run(errand());
        });
    }

    fn nudge_all(&self) {
        self.work().threads.iter().for_each(|member| {
            member.remote.nudge();
        });
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Whether there is a job that nobody is about to take, and a processor for it.
    fn needs_another(&self, processors: usize) -> bool {
        self.jobs.len() > self.woken && self.running + self.woken < processors
    }

    /// Whom to wake.
    fn wake(&mut self) -> Option<Remote> {
        let number = self.idle.pop()?;
        self.woken += 1;
        let member = &mut self.threads[number];
        member.state = Rest::Woken;
        Some(member.remote.clone())
    }

    /// A thread looks for a job, woken for it or not.
    fn arrives(&mut self, number: usize) {
        match std::mem::replace(&mut self.threads[number].state, Rest::Awake) {
            Rest::Awake => {}
            Rest::Woken => self.woken -= 1,
            Rest::Idle => self.idle.retain(|idle| *idle != number),
        }
    }

    fn rests(&mut self, number: usize) {
        self.threads[number].state = Rest::Idle;
        self.idle.push(number);
    }
}
