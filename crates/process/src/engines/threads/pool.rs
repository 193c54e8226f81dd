//! What the threads of a process share: the queue of jobs, who is idle, and what ended.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// A thread that was woken and has not come yet. It wakes the next one itself if there is
    /// still work then: one that is quick does the work of several, and nobody is woken in vain.
    woken: Option<usize>,
}

struct Member {
    remote: Remote,
    is_idle: bool,
}

impl<P: Protocol> Pool<P> {
    pub fn new(engine: Remote, keeps: bool) -> Pool<P> {
        Pool {
            work: Mutex::default(),
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
        work.threads.push(Member { remote, is_idle: false });
        work.threads.len() - 1
    }

    pub fn push(&self, job: Job) {
        let mut work = self.work();
        work.jobs.push_back(job);
        let woken = work.wake_one();
        drop(work);
        if let Some(remote) = woken {
            remote.nudge();
        }
    }

    /// The next job for a thread. Without one, the thread is idle: it is nudged once there is.
    pub fn take(&self, number: usize) -> Option<Job> {
        let mut work = self.work();
        if work.woken == Some(number) {
            work.woken = None;
        }
        let Some(job) = work.jobs.pop_front() else {
            work.rest(number);
            return None;
        };
        work.stir(number);
        let woken = match work.jobs.is_empty() {
            true => None,
            false => work.wake_one(),
        };
        drop(work);
        if let Some(remote) = woken {
            remote.nudge();
        }
        Some(job)
    }

    /// Tells how a job ended.
    pub fn give_back(&self, back: Back<P>) {
        self.back.lock().unwrap_or_else(PoisonError::into_inner).push(back);
        self.has_back.store(true, Ordering::SeqCst);
        // Either this sees that the engine hurries, or the engine, which looks after it began to
        // hurry, sees what was given back.
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
    /// Whom to wake, unless somebody is on the way already.
    fn wake_one(&mut self) -> Option<Remote> {
        if self.woken.is_some() {
            return None;
        }
        let number = self.idle.pop()?;
        self.threads[number].is_idle = false;
        self.woken = Some(number);
        Some(self.threads[number].remote.clone())
    }

    fn rest(&mut self, number: usize) {
        if !self.threads[number].is_idle {
            self.threads[number].is_idle = true;
            self.idle.push(number);
        }
    }

    /// A thread found work without being woken for it.
    fn stir(&mut self, number: usize) {
        if self.threads[number].is_idle {
            self.threads[number].is_idle = false;
            self.idle.retain(|idle| *idle != number);
        }
    }
}
