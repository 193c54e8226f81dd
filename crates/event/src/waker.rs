//! Wakers without allocation: all that a waker needs fits the pointer it carries.

use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use crate::reactor;
use crate::remote::{self, Message};

const _: () = assert!(usize::BITS == 64, "a task's name takes 64 bits");

/// Names a task across threads: 16 bits of the reactor, 16 of the task's generation, 32 of its
/// slot. A name that has outlived its task wakes another one at worst, which every future allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskName(u64);

impl TaskName {
    pub(crate) fn new(reactor: u16, generation: u16, slot: u32) -> TaskName {
        TaskName(u64::from(reactor) << 48 | u64::from(generation) << 32 | u64::from(slot))
    }

    pub(crate) fn reactor(self) -> u16 {
        (self.0 >> 48) as u16
    }

    pub(crate) fn generation(self) -> u16 {
        (self.0 >> 32) as u16
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }

    /// The task that a context polls, if its waker is one of ours.
    pub(crate) fn of(cx: &Context<'_>) -> Option<TaskName> {
        let waker = cx.waker();
        ptr::eq(waker.vtable(), &VTABLE).then(|| TaskName(waker.data().addr() as u64))
    }

    /// Calls `poll` with a context that wakes this task.
    pub(crate) fn poll<T>(self, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let data = ptr::without_provenance(self.0 as usize);
        // SAFETY: the functions of VTABLE read `data` only as a number, from any thread, and
        // own nothing, so RawWaker's contract holds and the waker need not be dropped.
        let waker = ManuallyDrop::new(unsafe { Waker::new(data, &VTABLE) });
        poll(&mut Context::from_waker(&waker))
    }

    fn wake(self) {
        let here = reactor::try_with(|inner| {
            let mine = inner.id() == self.reactor();
            if mine {
                inner.schedule(self);
            }
            mine
        });
        if here != Some(true) {
            wake_elsewhere(self);
        }
    }
}

#[cold]
fn wake_elsewhere(name: TaskName) {
    let reactor: Option<Arc<remote::Shared>> = remote::find(name.reactor());
    if let Some(reactor) = reactor {
        reactor.send(Message::Wake(name));
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &VTABLE),
    |data| TaskName(data.addr() as u64).wake(),
    |data| TaskName(data.addr() as u64).wake(),
    |_| {},
);
