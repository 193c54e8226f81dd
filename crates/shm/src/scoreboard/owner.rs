//! Processes as what they hold in shared memory names them.

use std::num::NonZeroU64;
use std::sync::atomic::Ordering::Relaxed;

use super::{Scoreboard, WorkerSlot};

/// A process of the instance: its slot, and how many had that slot before it. What a process holds
/// in a zone bears this, so that whoever comes across it can tell whether its holder lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(NonZeroU64);

/// Bits of an incarnation; the slot's index stands above them.
const INCARNATION: u32 = 24;

impl Owner {
    /// Bits that [`bits`](Self::bits) may have.
    pub const BITS: u32 = 16 + INCARNATION;

    /// To be kept in a zone; never 0, which stands for nobody.
    pub fn bits(self) -> u64 {
        self.0.get()
    }

    /// What [`bits`](Self::bits) gave; `None` for 0.
    pub fn from_bits(bits: u64) -> Option<Owner> {
        NonZeroU64::new(bits & ((1 << Self::BITS) - 1)).map(Owner)
    }

    fn of(slot: usize, incarnation: u32) -> Owner {
        let incarnation = u64::from(incarnation) & ((1 << INCARNATION) - 1);
        let bits = (slot as u64) << INCARNATION | incarnation;
        Owner(NonZeroU64::new(bits).expect("no process has slot 0"))
    }

    fn slot(self) -> usize {
        (self.0.get() >> INCARNATION) as usize
    }
}

impl WorkerSlot {
    /// The process that this slot belongs to, its own or its thread's.
    pub fn owner(&self) -> Owner {
        let slots = &self.scoreboard().slots;
        let process = slots[self.index()].owner.load(Relaxed) as usize;
        Owner::of(process, slots[process].incarnation.load(Relaxed))
    }
}

impl Scoreboard {
    /// The process has not been reaped. What a dead one held is anybody's to give back.
    pub fn is_alive(&self, owner: Owner) -> bool {
        let index = owner.slot();
        let Some(slot) = self.slots.get(index) else { return false };
        let has_slot = slot.owner.load(Relaxed) == index as u32;
        has_slot && Owner::of(index, slot.incarnation.load(Relaxed)) == owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_ends_with_its_process_and_not_with_its_slot() {
        let board = Scoreboard::with_capacity(4).unwrap();
        let first = board.claim(1).unwrap();
        let owner = first.owner();
        assert_eq!(first.for_thread().unwrap().owner(), owner, "a thread holds for its process");
        assert_eq!(Owner::from_bits(owner.bits()), Some(owner));
        assert!(board.is_alive(owner));
        board.retire(first.index());
        assert!(!board.is_alive(owner));
        let second = board.claim(1).unwrap();
        assert_eq!(second.index(), first.index());
        assert!(!board.is_alive(owner) && board.is_alive(second.owner()));
    }
}
