//! What each worker does now, and what all have done since the start.
//!
//! A slot belongs to a process, or to one of its threads. Whoever it belongs to is the only one that
//! writes to it, on cache lines of its own, so counting costs a plain add. Counters are never
//! reset: the next owner of a slot goes on from where the last one stopped, and a sum over all slots
//! never runs backward, whatever dies when. What is open right now (the gauges) ends with the process.
//!
//! The master [claims](Scoreboard::claim) a slot for each process before it forks and
//! [retires](Scoreboard::retire) it, with those of its threads, when the process is reaped. Threads
//! take slots on their own: [`WorkerSlot::for_thread`].

mod current;
mod owner;
mod rare;
mod slot;
mod view;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::SystemTime;

pub use current::CurrentRequest;
pub use owner::Owner;
pub use rare::{Rare, RareTotals};
pub use slot::{Mpm, Stage, WorkerState};
pub use view::{ProcessView, WorkerView};
pub use worker::WorkerSlot;

use crate::region::Region;
use current::Current;
use slot::{FREE, Slot};

/// A sum over workers, in `stub_status`'s terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub accepted: u64,
    pub handled: u64,
    pub requests: u64,
    /// Bytes of responses that the kernel took, heads included.
    pub sent: u64,
    /// Milliseconds that requests took; counted only where somebody can see it.
    pub busy: u64,
    pub rare: RareTotals,
    /// Connections open, those that wait included.
    pub active: i64,
    pub reading: i64,
    pub writing: i64,
    /// Connections that wait for a request.
    pub waiting: i64,
}

/// The table of all workers of an instance.
pub struct Scoreboard {
    /// The first stays unused, so that 0 can stand for "no slot".
    slots: Region<Slot>,
    /// What each slot's worker serves at the moment, for the status page.
    current: Region<Current>,
    /// [`NUMBERS`], [`HIGHEST`], and [`Rare`] from [`RARE`] on.
    shared: Region<AtomicU64>,
    started: SystemTime,
}

/// Connections numbered so far, by all workers.
const NUMBERS: usize = 0;
/// The highest slot that was ever taken: nobody has to look further. On another pair of cache
/// lines than the numbers, which change all the time.
const HIGHEST: usize = 16;
/// They are in a line with what hardly changes.
const RARE: usize = 17;

impl Scoreboard {
    /// Workers that fit. Slots that were never taken cost no memory.
    pub const CAPACITY: usize = 65_535;

    pub fn new() -> io::Result<Arc<Scoreboard>> {
        Scoreboard::with_capacity(Self::CAPACITY)
    }

    /// For so many processes and threads.
    pub fn with_capacity(capacity: usize) -> io::Result<Arc<Scoreboard>> {
        Ok(Arc::new(Scoreboard {
            slots: Region::new(1 + capacity)?,
            current: Region::new(1 + capacity)?,
            shared: Region::new(RARE + Rare::COUNT)?,
            started: SystemTime::now(),
        }))
    }

    /// When the master started.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// Takes a free slot for a worker that is about to be forked; `None` where all are taken.
    /// Called by the master, and by it alone.
    pub fn claim(self: &Arc<Self>, generation: u64) -> Option<WorkerSlot> {
        let index = (1..self.slots.len()).find(|&index| {
            let owner = &self.slots[index].owner;
            let own = index as u32;
            owner.load(Relaxed) == FREE
                && owner.compare_exchange(FREE, own, Acquire, Relaxed).is_ok()
        })?;
        let slot = &self.slots[index];
        slot.begin(generation, 0);
        slot.incarnation.store(slot.incarnation.load(Relaxed).wrapping_add(1), Relaxed);
        slot.state.store(WorkerState::Starting as u8, Release);
        self.shared[HIGHEST].fetch_max(index as u64, Relaxed);
        Some(WorkerSlot::of_process(self.clone(), index))
    }

    /// Called by the master when the process in the slot `index` has been reaped: forgets what it
    /// and its threads had open, keeps what they counted, and frees their slots.
    pub fn retire(&self, index: usize) {
        for slot in self.used().filter(|slot| slot.owner.load(Relaxed) == index as u32) {
            slot.clear();
            slot.owner.store(FREE, Release);
        }
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals { rare: self.rare(), ..Totals::default() };
        for slot in self.used() {
            slot.add_to(&mut totals);
        }
        totals
    }

    /// The slots that are, or were, taken.
    fn used(&self) -> impl Iterator<Item = &Slot> {
        self.slots[1..=self.highest()].iter()
    }

    fn highest(&self) -> usize {
        self.shared[HIGHEST].load(Relaxed) as usize
    }

    /// Takes a slot for a thread of the process whose own slot is `process`. Threads of several
    /// processes may ask at once. A slot is taken in two steps: it becomes the process's, and then
    /// the thread's. Dying in between leaves nothing behind, since the first step alone is what
    /// [`retire`](Self::retire) undoes; and a slot that a thread gave back stays its process's, for
    /// the gauges may still hold connections that other threads close.
    fn claim_for_thread(&self, process: usize) -> Option<usize> {
        let own = process as u32;
        let after = process + 1..self.slots.len();
        let index = after.chain(1..process).find(|&index| {
            let Slot { owner, state, .. } = &self.slots[index];
            let belongs = match owner.load(Relaxed) {
                FREE => owner.compare_exchange(FREE, own, Acquire, Relaxed).is_ok(),
                other => other == own,
            };
            let (empty, taken) = (WorkerState::Empty as u8, WorkerState::Filling as u8);
            belongs && state.compare_exchange(empty, taken, Acquire, Relaxed).is_ok()
        })?;
        self.shared[HIGHEST].fetch_max(index as u64, Relaxed);
        let (slot, process) = (&self.slots[index], &self.slots[process]);
        slot.begin(process.generation.load(Relaxed), process.pid.load(Relaxed));
        slot.mpm.store(process.mpm.load(Relaxed), Relaxed);
        slot.state.store(WorkerState::Running as u8, Release);
        Some(index)
    }
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
            slot.sent(100);
            slot.active(1);
            slot.waiting(1);
        }
        board.retire(first.index());

        let expected = Totals {
            accepted: 2,
            handled: 2,
            requests: 4,
            sent: 200,
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
        let board = Scoreboard::with_capacity(100).unwrap();
        let slots: Vec<_> = (0..100).map(|_| board.claim(1).unwrap()).collect();
        assert!(board.claim(1).is_none());
        assert!(slots[0].for_thread().is_none());
        board.retire(slots[50].index());
        assert_eq!(board.claim(1).unwrap().index(), slots[50].index());
    }

    #[test]
    fn a_process_takes_its_threads_slots_along_when_it_dies() {
        let board = Scoreboard::with_capacity(4).unwrap();
        let (first, second) = (board.claim(1).unwrap(), board.claim(1).unwrap());
        let dead: Vec<_> = (0..2).map(|_| first.for_thread().unwrap()).collect();
        dead.iter().for_each(|thread| {
            thread.requests();
            thread.active(1);
        });
        assert!(second.for_thread().is_none());
        // As in a process that is killed: nothing runs that would give them back.
        dead.into_iter().for_each(std::mem::forget);
        board.retire(first.index());

        assert_eq!((board.totals().requests, board.totals().active), (2, 0));
        let threads: Vec<_> = (0..3).map(|_| second.for_thread().unwrap()).collect();
        assert_eq!(board.processes().count(), 1);
        assert_eq!(board.workers().count(), threads.len());
    }

    #[test]
    fn a_thread_gives_its_slot_back_and_keeps_its_connections() {
        let board = Scoreboard::with_capacity(2).unwrap();
        let process = board.claim(1).unwrap();
        let thread = process.for_thread().unwrap();
        let (index, again) = (thread.index(), thread.clone());
        thread.active(1);
        drop(thread);
        assert!(process.for_thread().is_none(), "another handle still holds it");
        drop(again);
        assert_eq!(board.totals().active, 1);

        let next = process.for_thread().unwrap();
        assert_eq!(next.index(), index);
        next.active(-1);
        assert_eq!(board.totals().active, 0);
    }

    #[test]
    fn threads_that_ask_at_once_get_slots_of_their_own() {
        let board = Scoreboard::with_capacity(400).unwrap();
        let processes: Vec<_> = (0..4).map(|_| board.claim(1).unwrap()).collect();
        let askers: Vec<_> = processes
            .iter()
            .cycle()
            .take(8)
            .cloned()
            .map(|process| {
                std::thread::spawn(move || {
                    (0..40).map(|_| process.for_thread().unwrap()).collect::<Vec<_>>()
                })
            })
            .collect();
        let slots: Vec<_> = askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect();
        let mut indexes: Vec<_> = slots.iter().map(WorkerSlot::index).collect();
        indexes.sort_unstable();
        indexes.dedup();
        assert_eq!(indexes.len(), 8 * 40);
    }
}
