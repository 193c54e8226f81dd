//! The table with the lock of its zone: entries come, change and go.

use std::ops::Deref;
use std::sync::atomic::{Ordering, fence};

use super::cell::{Cell, Kind, State};
use super::{Entry, New, Record, Table, Version, holds};
use crate::zone::Locked;

/// A table whose lock is held, until this is dropped.
#[must_use = "dropping it unlocks the zone"]
pub struct LockedTable<'t, R: Record> {
    table: &'t Table<R>,
    _locked: Locked<'t>,
}

impl<'t, R: Record> LockedTable<'t, R> {
    pub(super) fn new(table: &'t Table<R>, locked: Locked<'t>) -> LockedTable<'t, R> {
        LockedTable { table, _locked: locked }
    }

    /// The entry of that text.
    pub fn find(&self, hash: u32, text: &[u8]) -> Option<Entry> {
        self.find_where(hash, |entry| self.has_text(entry, text))
    }

    /// The first entry of that hash that `is_it`.
    pub fn find_where(&self, hash: u32, is_it: impl Fn(Entry) -> bool) -> Option<Entry> {
        self.chain(hash)
            .filter(|(_, cell)| cell.state(Ordering::Relaxed).kind() == Kind::Entry)
            .filter(|(_, cell)| cell.has_hash(hash))
            .map(|(index, _)| Entry(index))
            .find(|entry| is_it(*entry))
    }

    /// A new entry, with what `fill` makes of its record, which holds anything before. `None` where
    /// there is not room enough, or the text is longer than 65,535 bytes.
    pub fn insert(&self, new: New<'_>, fill: impl FnOnce(&R)) -> Option<Entry> {
        let New { hash, text, queue, holder } = new;
        if text.len() > usize::from(u16::MAX) || self.cells_for(text.len()) > self.room() {
            return None;
        }
        let index = self.take()?;
        let cell = self.cell(index);
        let generation = self.next_generation();
        // whoever still reads what stood here before sees that it is none any more
        fence(Ordering::Release);
        fill(&cell.record);
        self.write_text(&cell.record, text, generation);
        for (place, hold) in cell.record.holds().iter().enumerate() {
            let first = holder.filter(|_| place == 0);
            hold.store(first.map_or(0, |owner| holds::word(owner, 1)), Ordering::Relaxed);
        }
        cell.hash.store(hash, Ordering::Relaxed);
        cell.set_state(State::new(Kind::Entry, queue, text.len(), generation));
        self.link_chain(index, hash);
        self.link_newest(index, queue);
        Some(Entry(index))
    }

    /// Changes the record where one store is not enough. Those who look without the lock see all of
    /// it or nothing; and where this process dies before the end, the entry is given up.
    pub fn change<T>(&self, entry: Entry, change: impl FnOnce(&R) -> T) -> T {
        let cell = self.cell(entry.0);
        let state = cell.state(Ordering::Relaxed);
        debug_assert!(state.is_whole(Kind::Entry), "entries are changed, one change at a time");
        let before = cell.record.weight();
        cell.set_state(state.changing());
        fence(Ordering::Release);
        let result = change(&cell.record);
        let changed =
            State::new(Kind::Entry, state.queue(), state.length(), self.next_generation());
        cell.set_state(changed);
        self.add_weight(state.queue(), cell.record.weight() - before);
        result
    }

    /// The entry is no more. Its place is somebody else's from now on.
    pub fn retire(&self, entry: Entry) {
        let cell = self.cell(entry.0);
        let state = cell.state(Ordering::Relaxed);
        debug_assert_eq!(state.kind(), Kind::Entry, "entries are retired once");
        let weight = cell.record.weight();
        cell.set_state(State::new(Kind::Free, 0, 0, self.next_generation()));
        self.unlink_queue(entry.0, state.queue(), weight);
        self.free_holds(entry);
        self.unlink_chain(entry.0);
        self.free_text(&cell.record, state.length());
        self.give_back(entry.0);
    }

    /// [`version`](Table::version), for what this process does with the entry next.
    pub fn current(&self, entry: Entry) -> Version {
        self.cell(entry.0).state(Ordering::Relaxed).version()
    }

    /// Cells that are free.
    pub fn room(&self) -> usize {
        self.capacity() - self.taken()
    }

    /// All entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let fresh = self.header().fresh.load(Ordering::Relaxed);
        (Table::<R>::FIRST..fresh)
            .filter(|index| self.cell(*index).state(Ordering::Relaxed).kind() == Kind::Entry)
            .map(Entry)
    }

    pub(super) fn chain(&self, hash: u32) -> impl Iterator<Item = (u32, &Cell<R>)> {
        let mut next = self.head(hash).load(Ordering::Relaxed);
        std::iter::from_fn(move || {
            let index = next;
            (index != 0).then(|| {
                let cell = self.cell(index);
                next = cell.next.load(Ordering::Relaxed);
                (index, cell)
            })
        })
    }

    pub(super) fn next_generation(&self) -> i64 {
        self.header().generation.add(1);
        self.header().generation.get()
    }

    /// A free cell, which is counted as taken.
    pub(super) fn take(&self) -> Option<u32> {
        let header = self.header();
        let free = header.free.load(Ordering::Relaxed);
        let index = if free != 0 {
            header.free.store(self.cell(free).next.load(Ordering::Relaxed), Ordering::Relaxed);
            free
        } else {
            let fresh = header.fresh.load(Ordering::Relaxed);
            if fresh >= self.count {
                return None;
            }
            header.fresh.store(fresh + 1, Ordering::Relaxed);
            fresh
        };
        header.taken.add(1);
        Some(index)
    }
}

impl<R: Record> Table<R> {
    pub(super) fn link_chain(&self, index: u32, hash: u32) {
        let (cell, head) = (self.cell(index), self.head(hash));
        cell.next.store(head.load(Ordering::Relaxed), Ordering::Relaxed);
        head.store(index, Ordering::Release);
    }

    pub(super) fn unlink_chain(&self, index: u32) {
        let cell = self.cell(index);
        let mut place = self.head(cell.hash.load(Ordering::Relaxed));
        loop {
            let next = place.load(Ordering::Relaxed);
            debug_assert_ne!(next, 0, "what is in use is in the chain of its hash");
            if next == index || next == 0 {
                break;
            }
            place = &self.cell(next).next;
        }
        place.store(cell.next.load(Ordering::Relaxed), Ordering::Release);
    }

    /// The cell, whose state says already that it is free, goes to the free ones.
    pub(super) fn give_back(&self, index: u32) {
        let header = self.header();
        self.cell(index).next.store(header.free.load(Ordering::Relaxed), Ordering::Relaxed);
        header.free.store(index, Ordering::Relaxed);
        header.taken.add(-1);
    }
}

impl<R: Record> Deref for LockedTable<'_, R> {
    type Target = Table<R>;

    fn deref(&self) -> &Table<R> {
        self.table
    }
}
