//! The reactor: a turn waits once and hands out what happened.

use std::any::Any;
use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use crate::backends::{self, Backend, Event, OpenError};
use crate::buffer::Pool;
use crate::clock::{self, Clock};
use crate::remote::{Message, Shared};
use crate::sources::{HUP, Key, NONE, Owner, READ, RECEIVABLE, Sources, Waiter};
use crate::tasks::{Body, Spawned, Tasks};
use crate::waker::TaskName;
use crate::watch::Watches;
use crate::wheel::{Target, Wheel};
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

    /// The reactor has waited, and is about to hand out what happened.
    fn woke(&mut self) {}
}

/// A thread's event loop. Opening it makes it the one that this thread's streams, timers and
/// tasks use; there can be one a thread at a time.
pub struct Reactor {
    inner: Rc<Inner>,
    /// The turn's events.
    events: Vec<Event>,
    /// The turn's share of [`Inner::posted`].
    posted: Vec<Key>,
}

impl Reactor {
    /// `method` as in `use`; `None` is the best of those that every system of this kind has.
    ///
    /// # Panics
    /// Where the thread has a reactor already.
    pub fn open(method: Option<&str>) -> Result<Reactor, OpenError> {
        Reactor::with_clock(method, clock::Source::System)
    }

    /// A reactor for tests: its clock stands still while there is something to do, and leaps to
    /// the next timer otherwise.
    pub fn open_leaping(method: Option<&str>) -> Result<Reactor, OpenError> {
        Reactor::with_clock(method, clock::Source::Leaping)
    }

    fn with_clock(method: Option<&str>, clock: clock::Source) -> Result<Reactor, OpenError> {
        assert!(CURRENT.get().is_null(), "this thread has a reactor");
        let backend = backends::open(method.unwrap_or(backends::READINESS))?;
        let inner = Rc::new(Inner::new(backend, Clock::new(clock))?);
        CURRENT.set(Rc::as_ptr(&inner));
        Ok(Reactor { inner, events: Vec::new(), posted: Vec::new() })
    }

    /// Room for `connections` streams without growing.
    pub fn reserve(&self, connections: usize) {
        self.inner.sources().reserve(connections + 64);
        self.inner.wheel().reserve(connections + 64);
    }

    /// Waits once, for events, the next timer or `limit`, and hands out what happened.
    pub fn turn(&mut self, handler: &mut impl Handler, limit: Option<Duration>) -> io::Result<()> {
        self.wait(limit)?;
        handler.woke();
        self.dispatch_events(handler);
        self.dispatch_posted(handler);
        self.expire_timers(handler);
        self.run_tasks(handler);
        self.inner.run_hooks();
        Ok(())
    }

    /// For work that was begun outside of a turn: reads the clock.
    pub fn begin_turn(&self) {
        self.inner.clock.update();
    }

    /// For work that was done outside of a turn: calls what was to be called at its end.
    pub fn end_turn(&mut self) {
        self.inner.run_hooks();
    }

    /// Turns until `future` is done.
    pub fn block_on<F: Future>(
        &mut self,
        handler: &mut impl Handler,
        future: F,
    ) -> io::Result<F::Output> {
        let mut future = pin!(future);
        let (slot, generation) = self.inner.tasks().insert(Body::Outer);
        let name = TaskName::new(self.inner.id(), generation, slot);
        loop {
            if let Poll::Ready(output) = name.poll(|cx| future.as_mut().poll(cx)) {
                self.inner.tasks().remove(slot);
                return Ok(output);
            }
            self.inner.outer_woken.set(false);
            while !self.inner.outer_woken.get() {
                self.turn(handler, None)?;
            }
        }
    }

    /// What to do with the payload of a panic in a spawned task.
    pub fn on_panic(&self, report: impl Fn(Box<dyn Any + Send>) + 'static) {
        *self.inner.on_panic.borrow_mut() = Rc::new(report);
    }

    fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let inner = &*self.inner;
        self.events.clear();
        if inner.clock.leaps() {
            inner.backend().wait(Some(Duration::ZERO), &mut self.events)?;
            if self.events.is_empty() {
                inner.leap(limit);
            }
        } else {
            let patience = inner.patience(limit);
            inner.backend().wait(patience, &mut self.events)?;
        }
        inner.clock.update();
        Ok(())
    }

    fn dispatch_events(&mut self, handler: &mut impl Handler) {
        for index in 0..self.events.len() {
            let event = self.events[index];
            match self.inner.told(event) {
                Told::Nothing => {}
                Told::Tasks([read, write]) => {
                    self.inner.wake(read);
                    self.inner.wake(write);
                }
                Told::Parked(token) => handler.parked_ready(token),
                Told::Listener(token) => handler.acceptable(token),
                Told::Watch(index) => self.inner.call_watch(index),
                Told::Notifier => self.inner.receive(),
            }
        }
    }

    fn dispatch_posted(&mut self, handler: &mut impl Handler) {
        std::mem::swap(&mut *self.inner.posted.borrow_mut(), &mut self.posted);
        for key in self.posted.drain(..) {
            if let Told::Parked(token) = self.inner.told(Event { key, ready: 0 }) {
                handler.parked_ready(token);
            }
        }
    }

    fn expire_timers(&mut self, handler: &mut impl Handler) {
        let now = self.inner.clock.now();
        loop {
            let target = self.inner.wheel().pop(now);
            match target {
                None => return,
                Some(Target::Token(token)) => handler.timer(token),
                Some(Target::Waiter(waiter)) => self.inner.wake(Waiter(waiter)),
                Some(Target::Source(slot)) => match self.inner.timed_out(slot) {
                    Told::Tasks([read, write]) => {
                        self.inner.wake(read);
                        self.inner.wake(write);
                    }
                    Told::Parked(token) => handler.parked_expired(token),
                    _ => {}
                },
            }
        }
    }

    /// Polls each task that is queued now; what they wake waits for the next turn.
    fn run_tasks(&mut self, handler: &mut impl Handler) {
        let queued = self.inner.tasks().ready();
        for _ in 0..queued {
            let Some((slot, generation, body)) = self.inner.tasks().pop() else {
                return;
            };
            match body {
                Body::Session { slot } => handler.session(slot),
                Body::Spawned(future) => self.inner.run_spawned(slot, generation, future),
                Body::Outer => self.inner.outer_woken.set(true),
                Body::Free { .. } | Body::Taken => {}
            }
        }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        // futures may own streams, which still find the reactor while they are dropped
        let tasks = self.inner.tasks().drain();
        drop(tasks);
        drop(self.inner.hooks.take());
        self.inner.drop_watches();
        self.inner.remote.unregister();
        CURRENT.set(ptr::null());
    }
}

/// This thread's clock: milliseconds since its reactor was opened, as of this turn.
pub fn now() -> Millis {
    with(|inner| inner.clock.now())
}

/// The same moment on the clock that all processes share: milliseconds of CLOCK_MONOTONIC.
pub fn shared_now() -> Millis {
    with(|inner| inner.clock.shared_now())
}

/// The time of day, as of this turn. What is dropped together with the reactor has no turn any
/// more, but may still have to tell when it ended.
pub fn wall_clock() -> SystemTime {
    try_with(|inner| inner.clock.wall()).unwrap_or_else(SystemTime::now)
}

/// The present moment's number. All that this thread works on had come before the moment began, so whatever was learned
/// of the outside world in a moment holds for all work done in it, as if each had looked for itself.
pub fn moment() -> u64 {
    with(|inner| inner.clock.moment())
}

/// Begins another moment, for work that comes in the middle of a turn, or after a change of our own.
pub fn next_moment() {
    // Without a reactor nothing has been learned.
    try_with(|inner| inner.clock.next_moment());
}

/// The name of the method by which this thread's reactor learns about events.
pub fn method() -> &'static str {
    with(|inner| inner.backend().name())
}

/// Runs `task` on this thread's reactor, from its next turn on.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    let task: Spawned = Box::pin(task);
    with(|inner| {
        let (slot, _) = inner.tasks().insert(Body::Spawned(task));
        inner.tasks().schedule_slot(slot);
    });
}

/// Calls `hook` at the end of every turn, for as long as the reactor lives.
pub fn at_turn_end(hook: impl FnMut() + 'static) {
    with(|inner| inner.hooks.borrow_mut().push(Box::new(hook)));
}

/// A handle to this thread's reactor for other threads.
pub fn remote() -> Remote {
    with(|inner| Remote(inner.remote.clone()))
}

thread_local! {
    static CURRENT: Cell<*const Inner> = const { Cell::new(ptr::null()) };
}

/// Calls `f` with the thread's reactor.
///
/// # Panics
/// Where the thread has none.
pub(crate) fn with<R>(f: impl FnOnce(&Inner) -> R) -> R {
    try_with(f).expect("this thread has no reactor")
}

/// As [`with`], or nothing where the thread has no reactor. `f` belongs to this crate and never
/// drops a `Reactor`.
#[inline]
pub(crate) fn try_with<R>(f: impl FnOnce(&Inner) -> R) -> Option<R> {
    let current = CURRENT.get();
    // SAFETY: a pointer in CURRENT is that of an `Rc` whose `Reactor` lives on this thread (it is
    // `!Send`) and clears CURRENT before it lets go; `f` does not drop the `Reactor`.
    unsafe { current.as_ref() }.map(f)
}

/// A part of the reactor that is reached through the thread. Each part has its own cell, borrowed
/// for a moment and never across code from outside this crate.
pub(crate) struct Inner {
    backend: RefCell<Box<dyn Backend>>,
    /// The backend accepts and receives ahead.
    pub(crate) completes: bool,
    /// The backend has to be told who waits.
    pub(crate) needs_rearm: bool,
    sources: RefCell<Sources>,
    wheel: RefCell<Wheel>,
    tasks: RefCell<Tasks>,
    foreign: RefCell<Foreign>,
    pool: RefCell<Pool>,
    watches: RefCell<Watches>,
    /// Parked streams that were ready when they were parked.
    posted: RefCell<Vec<Key>>,
    hooks: RefCell<Vec<Box<dyn FnMut()>>>,
    on_panic: RefCell<Rc<PanicReport>>,
    outer_woken: Cell<bool>,
    clock: Clock,
    remote: Arc<Shared>,
}

type PanicReport = dyn Fn(Box<dyn Any + Send>);

/// Whom an event concerns.
enum Told {
    Nothing,
    Tasks([Waiter; 2]),
    Parked(u32),
    Listener(u32),
    Watch(u32),
    Notifier,
}

impl Inner {
    fn new(backend: Box<dyn Backend>, clock: Clock) -> Result<Inner, OpenError> {
        let remote = Shared::register().map_err(OpenError::Io)?;
        let inner = Inner {
            completes: backend.completes(),
            needs_rearm: backend.needs_rearm(),
            backend: RefCell::new(backend),
            sources: RefCell::new(Sources::new()),
            wheel: RefCell::new(Wheel::new()),
            tasks: RefCell::new(Tasks::new()),
            foreign: RefCell::default(),
            pool: RefCell::default(),
            watches: RefCell::default(),
            posted: RefCell::default(),
            hooks: RefCell::default(),
            on_panic: RefCell::new(Rc::new(|_| {})),
            outer_woken: Cell::new(false),
            clock,
            remote,
        };
        let key = inner.sources().insert(Owner::Notifier, NONE);
        let notifier = inner.remote.notifier();
        inner.backend().add_notifier(notifier, key).map_err(OpenError::Io)?;
        Ok(inner)
    }

    pub(crate) fn id(&self) -> u16 {
        self.remote.id
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    pub(crate) fn backend(&self) -> RefMut<'_, Box<dyn Backend>> {
        self.backend.borrow_mut()
    }

    pub(crate) fn sources(&self) -> RefMut<'_, Sources> {
        self.sources.borrow_mut()
    }

    pub(crate) fn wheel(&self) -> RefMut<'_, Wheel> {
        self.wheel.borrow_mut()
    }

    pub(crate) fn tasks(&self) -> RefMut<'_, Tasks> {
        self.tasks.borrow_mut()
    }

    pub(crate) fn pool(&self) -> RefMut<'_, Pool> {
        self.pool.borrow_mut()
    }

    pub(crate) fn watches(&self) -> RefMut<'_, Watches> {
        self.watches.borrow_mut()
    }

    pub(crate) fn schedule(&self, name: TaskName) {
        self.tasks().schedule(name);
    }

    /// Has a parked stream told of in the next turn.
    pub(crate) fn post(&self, key: Key) {
        self.posted.borrow_mut().push(key);
    }

    /// The task or the waker behind `cx`. What is returned is told once and then gone.
    pub(crate) fn waiter(&self, cx: &Context<'_>) -> Waiter {
        match TaskName::of(cx) {
            Some(name) if name.reactor() == self.id() => Waiter(Waiter::TASK | name.slot()),
            _ => {
                let waker = cx.waker().clone();
                Waiter(Waiter::FOREIGN | self.foreign.borrow_mut().insert(waker))
            }
        }
    }

    /// Forgets a waiter that is not to be told.
    pub(crate) fn discard(&self, waiter: Waiter) {
        if waiter != Waiter::NONE && waiter.0 & Waiter::FOREIGN == Waiter::FOREIGN {
            let waker = self.foreign.borrow_mut().remove(waiter.0 & !Waiter::FOREIGN);
            drop(waker);
        }
    }

    pub(crate) fn wake(&self, waiter: Waiter) {
        if waiter == Waiter::NONE {
            return;
        }
        if waiter.0 & Waiter::FOREIGN != Waiter::FOREIGN {
            self.tasks().schedule_slot(waiter.0 & !Waiter::TASK);
            return;
        }
        let waker = self.foreign.borrow_mut().remove(waiter.0 & !Waiter::FOREIGN);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How long the backend may wait.
    fn patience(&self, limit: Option<Duration>) -> Option<Duration> {
        if self.is_busy() {
            return Some(Duration::ZERO);
        }
        let timer = self.wheel().next().map(|next| {
            // it was read when the turn began, so this errs on the late side
            Duration::from_millis(next.saturating_sub(self.clock.now()))
        });
        match (timer, limit) {
            (Some(timer), Some(limit)) => Some(timer.min(limit)),
            (timer, limit) => timer.or(limit),
        }
    }

    fn is_busy(&self) -> bool {
        !self.posted.borrow().is_empty() || self.tasks().ready() > 0
    }

    fn leap(&self, limit: Option<Duration>) {
        if let Some(patience) = self.patience(limit) {
            self.clock.leap(self.clock.now() + patience.as_millis() as Millis);
        }
    }

    /// Notes an event on its source.
    #[inline]
    fn told(&self, event: Event) -> Told {
        let mut sources = self.sources.borrow_mut();
        let Some(source) = sources.find(event.key) else {
            return Told::Nothing;
        };
        let mut ready = event.ready;
        // Since the report came, somebody may have asked the backend for more.
        if self.completes && ready & READ != 0 {
            ready = ready & !READ | self.backend().receivable(event.key);
        }
        source.ready |= ready;
        match source.owner {
            Owner::Tasks => Told::Tasks(source.take_waiters(ready)),
            Owner::Parked if source.ready & (RECEIVABLE | HUP) != 0 => Told::Parked(source.read),
            Owner::Parked | Owner::Free => Told::Nothing,
            Owner::Listener => Told::Listener(source.read),
            Owner::Watch => Told::Watch(source.read),
            Owner::Notifier => Told::Notifier,
        }
    }

    /// The timer of a source fired.
    fn timed_out(&self, slot: u32) -> Told {
        let mut sources = self.sources.borrow_mut();
        let source = sources.at(slot);
        source.timer = NONE;
        match source.owner {
            // each looks at its own deadline and waits on if that has not come
            Owner::Tasks => Told::Tasks(source.take_waiters(HUP)),
            Owner::Parked => Told::Parked(source.read),
            _ => Told::Nothing,
        }
    }

    fn run_spawned(&self, slot: u32, generation: u16, mut future: Spawned) {
        let name = TaskName::new(self.id(), generation, slot);
        let poll = || name.poll(|cx| future.as_mut().poll(cx));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => self.tasks().put_back(slot, future),
            Ok(Poll::Ready(())) => {
                self.tasks().remove(slot);
            }
            Err(panic) => {
                self.tasks().remove(slot);
                let report = self.on_panic.borrow().clone();
                report(panic);
            }
        }
    }

    fn call_watch(&self, index: u32) {
        let callback = self.watches().callback(index);
        if let Some(callback) = callback {
            callback.borrow_mut()();
        }
    }

    fn drop_watches(&self) {
        let watches = self.watches.take();
        drop(watches);
    }

    /// Takes what other threads sent.
    fn receive(&self) {
        let is_level = !self.backend.borrow().reports_each_notice();
        for message in self.remote.receive(is_level) {
            match message {
                Message::Wake(name) => self.schedule(name),
                Message::Run(work) => work(),
                Message::Nudge => {}
            }
        }
    }

    fn run_hooks(&self) {
        if self.hooks.borrow().is_empty() {
            return;
        }
        let mut hooks = self.hooks.take();
        hooks.iter_mut().for_each(|hook| hook());
        let added = self.hooks.replace(hooks);
        self.hooks.borrow_mut().extend(added);
    }
}

impl Waiter {
    /// Marks a task's slot.
    pub(crate) const TASK: u32 = 0b10 << 30;
    /// Marks a place among the foreign wakers.
    pub(crate) const FOREIGN: u32 = 0b11 << 30;
}

/// Wakers of combinators that poll their parts with wakers of their own.
#[derive(Default)]
struct Foreign {
    wakers: Vec<Option<Waker>>,
    free: Vec<u32>,
}

impl Foreign {
    fn insert(&mut self, waker: Waker) -> u32 {
        if let Some(index) = self.free.pop() {
            self.wakers[index as usize] = Some(waker);
            return index;
        }
        self.wakers.push(Some(waker));
        self.wakers.len() as u32 - 1
    }

    fn remove(&mut self, index: u32) -> Option<Waker> {
        let waker = self.wakers.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(waker)
    }
}
