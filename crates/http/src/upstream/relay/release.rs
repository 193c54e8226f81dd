//! When the relays of a thread are to go on elsewhere, and how they hear of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::{Context, Waker};

thread_local! {
    static IS_ON: Cell<bool> = const { Cell::new(false) };
    static WAITING: RefCell<BTreeMap<u64, Waker>> = const { RefCell::new(BTreeMap::new()) };
}

/// Has every relay of this thread leave as soon as nothing that it has read waits to be written: those there are, and those
/// that begin.
pub fn release_relays() {
    IS_ON.set(true);
    WAITING.take().into_values().for_each(Waker::wake);
}

/// A relay that can be told to leave.
pub(super) struct Ticket(u64);

impl Ticket {
    pub fn new() -> Ticket {
        thread_local! {
            static LAST: Cell<u64> = const { Cell::new(0) };
        }
        LAST.set(LAST.get() + 1);
        Ticket(LAST.get())
    }

    /// Relays of this thread leave.
    pub fn is_released(&self) -> bool {
        IS_ON.get()
    }

    /// Has the task woken when they begin to.
    pub fn wake(&self, cx: &Context<'_>) {
        WAITING.with_borrow_mut(|waiting| {
            let waker = waiting.entry(self.0).or_insert_with(|| cx.waker().clone());
            waker.clone_from(cx.waker());
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        WAITING.with_borrow_mut(|waiting| waiting.remove(&self.0));
    }
}
