//! Counts by owner: how many of something each process holds of an entry.
//!
//! A hold is one word, the owner's bits below the count's, so that one store changes it. The first
//! stand in the record; further ones in cells of their own, which are in the chain of the entry's
//! hash and name the entry.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::cell::{Kind, State};
use super::{Entry, LockedTable, Record};
use crate::Owner;

/// The word of an owner that holds so many.
pub(super) fn word(owner: Owner, count: u32) -> u64 {
    u64::from(count) << Owner::BITS | owner.bits()
}

/// How many one owner can hold of one entry.
const MOST: u64 = (1 << (64 - Owner::BITS)) - 1;

impl<R: Record> LockedTable<'_, R> {
    /// The owner holds one more. False where there is no room for that.
    #[must_use]
    pub fn hold(&self, entry: Entry, owner: Owner) -> bool {
        if let Some((place, count)) = self.hold_of(entry, owner) {
            let count = (u64::from(count) + 1).min(MOST);
            place.store(word(owner, count as u32), Relaxed);
            return true;
        }
        let place = self.holds(entry).find(|place| place.load(Relaxed) == 0);
        let Some(place) = place.or_else(|| self.more_holds(entry)) else { return false };
        place.store(word(owner, 1), Relaxed);
        true
    }

    /// The owner holds one less. What nobody holds stays an entry until it is
    /// [retired](Self::retire).
    pub fn release(&self, entry: Entry, owner: Owner) {
        let Some((place, count)) = self.hold_of(entry, owner) else { return };
        let left = if count > 1 { word(owner, count - 1) } else { 0 };
        place.store(left, Relaxed);
    }

    /// How many are held, by all.
    pub fn held(&self, entry: Entry) -> u64 {
        self.holds(entry).map(|place| place.load(Relaxed) >> Owner::BITS).sum()
    }

    /// How many that owner holds.
    pub fn held_by(&self, entry: Entry, owner: Owner) -> u32 {
        self.hold_of(entry, owner).map_or(0, |(_, count)| count)
    }

    /// Forgets what owners held who do not live.
    pub fn drop_dead(&self, entry: Entry, is_alive: impl Fn(Owner) -> bool) {
        let dead = self.holds(entry).filter(|place| {
            let owner = Owner::from_bits(place.load(Relaxed));
            owner.is_some_and(|owner| !is_alive(owner))
        });
        dead.for_each(|place| place.store(0, Relaxed));
    }

    pub(super) fn free_holds(&self, entry: Entry) {
        while let Some(index) = self.hold_cells(entry).next() {
            self.cell(index).set_state(State::new(Kind::Free, 0, 0, self.next_generation()));
            self.unlink_chain(index);
            self.give_back(index);
        }
    }

    fn hold_of(&self, entry: Entry, owner: Owner) -> Option<(&AtomicU64, u32)> {
        let mut holds = self.holds(entry);
        let place = holds.find(|place| Owner::from_bits(place.load(Relaxed)) == Some(owner))?;
        Some((place, (place.load(Relaxed) >> Owner::BITS) as u32))
    }

    fn holds(&self, entry: Entry) -> impl Iterator<Item = &AtomicU64> {
        let further = self.hold_cells(entry).flat_map(|index| self.payload_words(index));
        self.record(entry).holds().iter().chain(further)
    }

    fn hold_cells(&self, entry: Entry) -> impl Iterator<Item = u32> {
        let hash = self.cell(entry.0).hash.load(Relaxed);
        self.chain(hash)
            .filter(|(_, cell)| cell.state(Relaxed).kind() == Kind::Holds)
            .filter(move |(_, cell)| cell.older.load(Relaxed) == entry.0)
            .map(|(index, _)| index)
    }

    fn more_holds(&self, entry: Entry) -> Option<&AtomicU64> {
        let index = self.take()?;
        let (cell, hash) = (self.cell(index), self.cell(entry.0).hash.load(Relaxed));
        self.payload_words(index).iter().for_each(|place| place.store(0, Relaxed));
        cell.hash.store(hash, Relaxed);
        // no queue has it, so the place that leads on in one names the entry
        cell.older.store(entry.0, Relaxed);
        cell.set_state(State::new(Kind::Holds, 0, 0, self.next_generation()));
        self.link_chain(index, hash);
        self.payload_words(index).first()
    }
}
