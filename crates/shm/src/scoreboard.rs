//! What each worker does now, and what all have done since the start.
//!
//! A worker writes to its own slot only, on cache lines of its own, so counting costs a plain
//! add. `stub_status` and the status page sum over all slots; what a dead worker counted is
//! folded into a base by the master.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::region::{Region, Shareable};

/// A sum over workers, in `stub_status`'s terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub accepted: u64,
    pub handled: u64,
    pub requests: u64,
    /// Connections open, those that wait included.
    pub active: i64,
    pub reading: i64,
    pub writing: i64,
    /// Connections that wait for a request.
    pub waiting: i64,
}

/// The stage of a worker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WorkerState {
    /// The slot is free.
    Empty,
    Starting,
    Running,
    /// It finishes what it has and takes nothing new.
    Leaving,
}

impl WorkerState {
    fn from_bits(bits: u8) -> WorkerState {
        match bits {
            1 => WorkerState::Starting,
            2 => WorkerState::Running,
            3 => WorkerState::Leaving,
            _ => WorkerState::Empty,
        }
    }
}

/// The table of all workers of an instance.
pub struct Scoreboard {
    slots: Region<Slot>,
    /// Connections numbered so far, by all workers.
    numbers: Region<AtomicU64>,
}

/// A slot takes two cache lines, since processors fetch them in pairs.
#[derive(Default)]
#[repr(C, align(128))]
struct Slot {
    accepted: AtomicU64,
    handled: AtomicU64,
    requests: AtomicU64,
    active: AtomicI64,
    reading: AtomicI64,
    writing: AtomicI64,
    waiting: AtomicI64,
    generation: AtomicU64,
    pid: AtomicU32,
    state: AtomicU8,
}

// SAFETY: all fields are atomics, of which zero is a value, and none needs dropping.
unsafe impl Shareable for Slot {}

/// The slot where the master folds in what dead workers counted.
const BASE: usize = 0;

impl Scoreboard {
    /// Workers that fit.
    pub const CAPACITY: usize = 1024;

    pub fn new() -> io::Result<Arc<Scoreboard>> {
        let slots = Region::new(1 + Self::CAPACITY)?;
        Ok(Arc::new(Scoreboard { slots, numbers: Region::new(1)? }))
    }

    /// Takes a free slot for a worker that is about to be forked; `None` where all are taken.
    /// Called by the master, and by it alone.
    pub fn claim(self: &Arc<Self>, generation: u64) -> Option<WorkerSlot> {
        let empty = |slot: &Slot| slot.state.load(Relaxed) == WorkerState::Empty as u8;
        let index = 1 + self.slots[1..].iter().position(empty)?;
        let slot = &self.slots[index];
        slot.generation.store(generation, Relaxed);
        slot.pid.store(0, Relaxed);
        slot.state.store(WorkerState::Starting as u8, Relaxed);
        Some(WorkerSlot { board: self.clone(), index })
    }

    /// Called by the master when the worker in the slot `index` has been reaped: keeps what it
    /// counted, forgets what it had open, and frees the slot.
    pub fn retire(&self, index: usize) {
        let (base, dead) = (&self.slots[BASE], &self.slots[index]);
        for (base, dead) in [
            (&base.accepted, &dead.accepted),
            (&base.handled, &dead.handled),
            (&base.requests, &dead.requests),
        ] {
            add(base, dead.swap(0, Relaxed));
        }
        for gauge in [&dead.active, &dead.reading, &dead.writing, &dead.waiting] {
            gauge.store(0, Relaxed);
        }
        dead.pid.store(0, Relaxed);
        dead.state.store(WorkerState::Empty as u8, Relaxed);
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for slot in self.slots.iter() {
            totals.accepted += slot.accepted.load(Relaxed);
            totals.handled += slot.handled.load(Relaxed);
            totals.requests += slot.requests.load(Relaxed);
            totals.active += slot.active.load(Relaxed);
            totals.reading += slot.reading.load(Relaxed);
            totals.writing += slot.writing.load(Relaxed);
            totals.waiting += slot.waiting.load(Relaxed);
        }
        totals
    }

    /// The workers there are: pid, generation, state.
    pub fn workers(&self) -> impl Iterator<Item = (u32, u64, WorkerState)> {
        self.slots[1..].iter().filter_map(|slot| {
            let state = WorkerState::from_bits(slot.state.load(Relaxed));
            let worker = (slot.pid.load(Relaxed), slot.generation.load(Relaxed), state);
            (state != WorkerState::Empty).then_some(worker)
        })
    }
}

/// A worker's own slot. Only that worker adds to it.
#[derive(Clone)]
pub struct WorkerSlot {
    board: Arc<Scoreboard>,
    index: usize,
}

/// The counters; gauges go down as well.
impl WorkerSlot {
    #[inline]
    pub fn accepted(&self) {
        add(&self.slot().accepted, 1);
    }

    #[inline]
    pub fn handled(&self) {
        add(&self.slot().handled, 1);
    }

    #[inline]
    pub fn requests(&self) {
        add(&self.slot().requests, 1);
    }

    #[inline]
    pub fn active(&self, change: i64) {
        shift(&self.slot().active, change);
    }

    #[inline]
    pub fn reading(&self, change: i64) {
        shift(&self.slot().reading, change);
    }

    #[inline]
    pub fn writing(&self, change: i64) {
        shift(&self.slot().writing, change);
    }

    #[inline]
    pub fn waiting(&self, change: i64) {
        shift(&self.slot().waiting, change);
    }
}

impl WorkerSlot {
    /// For [`Scoreboard::retire`].
    pub fn index(&self) -> usize {
        self.index
    }

    /// A number that no other connection of the instance has (`$connection`); from 1 on.
    pub fn next_connection(&self) -> u64 {
        self.board.numbers[0].fetch_add(1, Relaxed) + 1
    }

    pub fn generation(&self) -> u64 {
        self.slot().generation.load(Relaxed)
    }

    pub fn pid(&self) -> u32 {
        self.slot().pid.load(Relaxed)
    }

    pub fn set_pid(&self, pid: u32) {
        self.slot().pid.store(pid, Relaxed);
    }

    pub fn state(&self) -> WorkerState {
        WorkerState::from_bits(self.slot().state.load(Relaxed))
    }

    pub fn set_state(&self, state: WorkerState) {
        self.slot().state.store(state as u8, Relaxed);
    }

    pub fn scoreboard(&self) -> &Arc<Scoreboard> {
        &self.board
    }

    #[inline]
    fn slot(&self) -> &Slot {
        &self.board.slots[self.index]
    }
}

/// One writer, so a load and a store do: no locked instruction.
#[inline]
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
}

#[inline]
fn shift(gauge: &AtomicI64, change: i64) {
    gauge.store(gauge.load(Relaxed).wrapping_add(change), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_worker_leaves_its_counts_and_none_of_its_connections() {
        let board = Scoreboard::new().unwrap();
        let (first, second) = (board.claim(1).unwrap(), board.claim(1).unwrap());
        for slot in [&first, &second] {
            slot.accepted();
            slot.handled();
            slot.requests();
            slot.requests();
            slot.active(1);
            slot.waiting(1);
        }
        board.retire(first.index());

        let expected = Totals {
            accepted: 2,
            handled: 2,
            requests: 4,
            active: 1,
            waiting: 1,
            ..Totals::default()
        };
        assert_eq!(board.totals(), expected);
        let again = board.claim(2).unwrap();
        assert_eq!(again.index(), first.index());
        assert_eq!(board.totals(), expected);
    }

    #[test]
    fn a_full_board_has_no_slot_until_a_worker_is_reaped() {
        let board = Scoreboard::new().unwrap();
        let slots: Vec<_> = (0..Scoreboard::CAPACITY).map(|_| board.claim(1).unwrap()).collect();
        assert!(board.claim(1).is_none());
        board.retire(slots[500].index());
        assert_eq!(board.claim(1).unwrap().index(), slots[500].index());
    }

    #[test]
    fn workers_are_listed_with_generation_and_state() {
        let board = Scoreboard::new().unwrap();
        let slot = board.claim(3).unwrap();
        slot.set_pid(4711);
        slot.set_state(WorkerState::Leaving);
        let workers: Vec<_> = board.workers().collect();
        assert_eq!(workers, [(4711, 3, WorkerState::Leaving)]);
    }

    #[test]
    fn workers_do_not_share_cache_lines() {
        assert_eq!(size_of::<Slot>(), 128);
        assert_eq!(align_of::<Slot>(), 128);
    }
}
