//! The threads of a pool and the tasks that wait for them.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use super::PoolSpec;
use crate::log;
use crate::log::Log;

/// Bytes of a thread's stack. Tasks are system calls with little around them.
const STACK: usize = 128 << 10;

/// A running pool. Its threads end with it.
pub struct ThreadPool(Arc<Shared>);

struct Shared {
    spec: &'static PoolSpec,
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    /// Tasks admitted and not yet done, whether or not a thread has them.
    pending: usize,
    threads: usize,
    closed: bool,
}

type Task = Box<dyn FnOnce() + Send>;

impl ThreadPool {
    pub(super) fn new(spec: &'static PoolSpec) -> ThreadPool {
        ThreadPool(Arc::new(Shared { spec, queue: Mutex::default(), filled: Condvar::new() }))
    }

    /// A place for one task; `None`, and a line in the log, where as many wait as may, or no thread
    /// can be started.
    pub fn admit(&self, log: &Log) -> Option<Ticket> {
        let PoolSpec { name, threads, max_queue } = self.0.spec;
        let mut queue = self.0.lock();
        if queue.pending >= threads.saturating_add(*max_queue) {
            let waiting = queue.pending - threads;
            drop(queue);
            log!(
                log,
                Error,
                (),
                "thread pool \"{}\" queue overflow: {} tasks waiting",
                name,
                waiting
            );
            return None;
        }
        if queue.pending == queue.threads && queue.threads < *threads {
            match self.0.start_thread() {
                Ok(()) => queue.threads += 1,
                Err(error) => {
                    log!(log, Alert, (), "pthread_create() failed"; error);
                    if queue.threads == 0 {
                        return None;
                    }
                }
            }
        }
        queue.pending += 1;
        drop(queue);
        Some(Ticket(Arc::clone(&self.0)))
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.filled.notify_all();
    }
}

impl Shared {
    fn start_thread(self: &Arc<Self>) -> io::Result<()> {
        let pool = Arc::clone(self);
        let builder = thread::Builder::new().name("thread pool".to_owned()).stack_size(STACK);
        builder.spawn(move || pool.work()).map(drop)
    }

    /// A thread's life. What a task throws its job rethrows where it is awaited.
    fn work(&self) {
        while let Some(task) = self.next() {
            task();
        }
    }

    fn next(&self) -> Option<Task> {
        let mut queue = self.lock();
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                return Some(task);
            }
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to have one task run.
pub struct Ticket(Arc<Shared>);

impl Ticket {
    /// Has a thread run `work`. The job yields its result to the task that awaits it; where nobody
    /// does any more, the work is done all the same.
    pub fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Job<T> {
        let result = Arc::new(Mutex::new(Outcome { result: None, waker: None }));
        let (pool, told) = (Arc::clone(&self.0), Arc::clone(&result));
        let task = Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            // Before the result is seen: whoever sees it may ask for the place at once.
            drop(self);
            let waker = {
                let mut outcome = lock(&told);
                outcome.result = Some(result);
                outcome.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        });
        pool.lock().tasks.push_back(task);
        pool.filled.notify_one();
        Job(result)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.lock().pending -= 1;
    }
}

/// A task's result, once it is there. A panic in the task is one where this is awaited.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Job<T>(Arc<Mutex<Outcome<T>>>);

struct Outcome<T> {
    result: Option<Result<T, Box<dyn Any + Send>>>,
    waker: Option<Waker>,
}

impl<T> Future for Job<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut outcome = lock(&self.0);
        match outcome.result.take() {
            Some(Ok(result)) => Poll::Ready(result),
            Some(Err(panic)) => {
                drop(outcome);
                resume_unwind(panic)
            }
            None => {
                outcome.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn lock<T>(outcome: &Mutex<Outcome<T>>) -> MutexGuard<'_, Outcome<T>> {
    outcome.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use daemun_event::{Handler, Reactor};

    use super::*;
    use crate::log::{Level, Memory, Target, Threshold};

    struct Nobody;

    impl Handler for Nobody {
        fn parked_ready(&mut self, _token: u32) {}
        fn parked_expired(&mut self, _token: u32) {}
        fn acceptable(&mut self, _token: u32) {}
        fn session(&mut self, _slot: u32) {}
    }

    fn pool(threads: usize, max_queue: usize) -> ThreadPool {
        let spec = PoolSpec { name: "p".to_owned(), threads, max_queue };
        ThreadPool::new(Box::leak(Box::new(spec)))
    }

    fn admit(pool: &ThreadPool) -> Ticket {
        pool.admit(&Log::silent()).expect("room for a task")
    }

    /// A task that tells when it begins and ends when it is told.
    fn gate() -> (impl FnOnce() + Send, Receiver<()>, Sender<()>) {
        let (begun, has_begun) = channel();
        let (release, released) = channel();
        let work = move || {
            let _ = begun.send(());
            let _ = released.recv();
        };
        (work, has_begun, release)
    }

    #[test]
    fn results_come_back_to_the_reactor_that_awaits_them() {
        let pool = pool(2, 10);
        let mut reactor = Reactor::open(None).unwrap();
        let sum = reactor.block_on(&mut Nobody, async {
            let here = thread::current().id();
            let mut sum = 0;
            for number in 0..50 {
                let job = admit(&pool).run(move || (number, thread::current().id()));
                let (result, there) = job.await;
                assert_ne!(here, there);
                sum += result;
            }
            sum
        });
        assert_eq!(sum.unwrap(), (0..50).sum());
    }

    #[test]
    fn a_full_queue_is_told_and_takes_tasks_again_later() {
        let pool = pool(1, 1);
        let (work, begun, release) = gate();
        let running = admit(&pool).run(work);
        begun.recv().unwrap();
        let waiting = admit(&pool);

        let memory = Arc::new(Memory::new(4096));
        let log =
            Log::new(vec![(Target::Memory(Arc::clone(&memory)), Threshold::of(Level::Error))]);
        assert!(pool.admit(&log).is_none());
        let line = memory.text();
        assert!(line.contains("thread pool \"p\" queue overflow: 1 tasks waiting"), "{line}");

        drop(waiting);
        assert!(pool.admit(&log).is_some());
        drop((running, release));
    }

    #[test]
    fn threads_are_as_many_as_there_is_work_for() {
        let pool = pool(8, 100);
        let gates: Vec<_> = (0..3).map(|_| gate()).collect();
        let mut ends = Vec::new();
        for (work, begun, release) in gates {
            let job = admit(&pool).run(work);
            begun.recv().unwrap();
            ends.push((job, release));
        }
        assert_eq!(pool.0.lock().threads, 3);
    }

    #[test]
    fn a_panic_goes_to_whoever_awaits_and_leaves_the_thread() {
        let pool = pool(1, 1);
        let mut reactor = Reactor::open(None).unwrap();
        let results = reactor.block_on(&mut Nobody, async {
            let mut job = admit(&pool).run(|| panic!("in a task"));
            let panicked = poll_fn(|cx| {
                let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut job).poll(cx)));
                polled.map_or(Poll::Ready(true), |polled| polled.map(|()| false))
            });
            (panicked.await, admit(&pool).run(|| 7).await)
        });
        assert_eq!(results.unwrap(), (true, 7));
    }
}
