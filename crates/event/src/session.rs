//! Pooled tasks for the engine's sessions: slots that are refilled in place.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::reactor;
use crate::tasks::Body;
use crate::waker::TaskName;

/// The payload of a panic that ended a session.
pub struct Panicked(pub Box<dyn Any + Send>);

/// Runs futures made from an `I` and yields their `O`. A slot, once made, is used again and
/// again: a session that starts and ends allocates nothing.
///
/// A session that has to wait is a task of this reactor; when it is woken, the reactor calls
/// [`Handler::session`](crate::Handler) with its slot, and the owner polls it. A reactor has one
/// such pool.
pub struct Sessions<I, O> {
    new_slot: Box<dyn Fn() -> BoxedSlot<I, O>>,
    slots: Vec<Entry<I, O>>,
    free: Vec<u32>,
    future_size: usize,
}

struct Entry<I, O> {
    slot: BoxedSlot<I, O>,
    /// A slot keeps its task for life, so starting a session does not touch the reactor.
    task: TaskName,
    running: bool,
}

impl<I: 'static, O: 'static> Sessions<I, O> {
    pub fn new<F, M>(make: M) -> Sessions<I, O>
    where
        F: Future<Output = O> + 'static,
        M: Fn(I) -> F + 'static,
    {
        let make = Rc::new(make);
        Sessions {
            new_slot: Box::new(move || Box::pin(Refill { make: make.clone(), future: None })),
            slots: Vec::new(),
            free: Vec::new(),
            future_size: size_of::<F>(),
        }
    }

    /// Starts a session and polls it at once. `Pending`: it is a task now.
    pub fn start(&mut self, input: I) -> Poll<Result<O, Panicked>> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.add_slot(),
        };
        self.slots[slot as usize].running = true;
        self.advance(slot, Some(input))
    }

    /// Polls the session in `slot`; `Pending` also where it ended already.
    pub fn poll(&mut self, slot: u32) -> Poll<Result<O, Panicked>> {
        match self.slots.get(slot as usize) {
            Some(entry) if entry.running => self.advance(slot, None),
            _ => Poll::Pending,
        }
    }

    /// Sessions that wait at present.
    pub fn running(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Slots that are free and were needed once: how many, where that is more than is worth keeping.
    pub fn slack(&self) -> Option<usize> {
        let free = self.free.len();
        (free > KEPT && free > self.slots.len() / 2).then_some(free)
    }

    /// Gives back the memory of free slots, as far as none behind them runs; those in front are used
    /// first from now on.
    pub fn trim(&mut self) {
        let needed = self.slots.iter().rposition(|entry| entry.running).map_or(0, |last| last + 1);
        let keep = needed.max(KEPT).min(self.slots.len());
        for entry in self.slots.drain(keep..) {
            forget(&entry.task);
        }
        self.slots.shrink_to_fit();
        self.free.retain(|slot| (*slot as usize) < keep);
        self.free.sort_unstable_by(|one, other| other.cmp(one));
        self.free.shrink_to_fit();
    }

    /// Bytes of one session's future.
    pub fn future_size(&self) -> usize {
        self.future_size
    }

    /// Drops every session that waits.
    pub fn abort_all(&mut self) {
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize].running {
                // a panic on the way out changes nothing any more
                let _ = self.end(slot);
            }
        }
    }

    fn advance(&mut self, slot: u32, input: Option<I>) -> Poll<Result<O, Panicked>> {
        let entry = &mut self.slots[slot as usize];
        let session = &mut entry.slot;
        let polled = catch_unwind(AssertUnwindSafe(|| {
            if let Some(input) = input {
                session.as_mut().fill(input);
            }
            entry.task.poll(|cx| session.as_mut().poll(cx))
        }));
        let output = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(Panicked(panic)),
        };
        Poll::Ready(self.end(slot).and(output))
    }

    /// Drops the slot's future and makes the slot free.
    fn end(&mut self, slot: u32) -> Result<(), Panicked> {
        let entry = &mut self.slots[slot as usize];
        entry.running = false;
        self.free.push(slot);
        catch_unwind(AssertUnwindSafe(|| entry.slot.as_mut().clear())).map_err(Panicked)
    }

    #[cold]
    fn add_slot(&mut self) -> u32 {
        let slot = self.slots.len() as u32;
        let task = reactor::with(|inner| {
            let (index, generation) = inner.tasks().insert(Body::Session { slot });
            TaskName::new(inner.id(), generation, index)
        });
        self.slots.push(Entry { slot: (self.new_slot)(), task, running: false });
        slot
    }
}

impl<I, O> Drop for Sessions<I, O> {
    fn drop(&mut self) {
        let slots = std::mem::take(&mut self.slots);
        slots.iter().for_each(|entry| forget(&entry.task));
    }
}

/// Slots that are kept whatever comes.
const KEPT: usize = 256;

/// Takes a slot's task off its reactor.
fn forget(task: &TaskName) {
    reactor::try_with(|inner| {
        if inner.id() == task.reactor() {
            inner.tasks().remove(task.slot());
        }
    });
}

type BoxedSlot<I, O> = Pin<Box<dyn Slot<I, O>>>;

/// A place for one future of an unnamed type.
trait Slot<I, O> {
    fn fill(self: Pin<&mut Self>, input: I);
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O>;
    fn clear(self: Pin<&mut Self>);
}

struct Refill<F, M> {
    make: Rc<M>,
    /// Pinned with the struct: it is never moved out, only replaced through `Pin::set`.
    future: Option<F>,
}

impl<F, M> Refill<F, M> {
    fn future(self: Pin<&mut Self>) -> Pin<&mut Option<F>> {
        // SAFETY: `future` is pinned whenever the struct is: nothing moves it, there is no `Drop`
        // impl, and the struct is `Unpin` only where `F` is.
        unsafe { self.map_unchecked_mut(|refill| &mut refill.future) }
    }
}

impl<I, F: Future, M: Fn(I) -> F> Slot<I, F::Output> for Refill<F, M> {
    fn fill(mut self: Pin<&mut Self>, input: I) {
        let future = (self.make)(input);
        self.as_mut().future().set(Some(future));
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.future().as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }

    fn clear(self: Pin<&mut Self>) {
        self.future().set(None);
    }
}
