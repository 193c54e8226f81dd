//! Queues of entries, from the oldest to the newest.

use std::sync::atomic::Ordering::Relaxed;

use super::cell::Kind;
use super::{Entry, LockedTable, Record, Table};

impl<R: Record> LockedTable<'_, R> {
    /// Makes the entry the newest of that queue, wherever it was before.
    pub fn move_to(&self, entry: Entry, queue: u8) {
        let cell = self.cell(entry.0);
        let state = cell.state(Relaxed);
        if state.queue() == queue
            && self.header().queues[usize::from(queue)].newest.load(Relaxed) == entry.0
        {
            return;
        }
        let weight = cell.record.weight();
        if state.queue() != queue {
            cell.set_state(state.with_queue(queue));
        }
        self.unlink_queue(entry.0, state.queue(), weight);
        self.link_newest(entry.0, queue);
    }

    /// Makes the entry the newest of the queue that it is in.
    pub fn touch(&self, entry: Entry) {
        self.move_to(entry, self.queue(entry));
    }

    pub fn queue(&self, entry: Entry) -> u8 {
        self.cell(entry.0).state(Relaxed).queue()
    }

    /// What stands at the end of the queue; in queue 0 nothing does.
    pub fn oldest(&self, queue: u8) -> Option<Entry> {
        some(self.header().queues[usize::from(queue)].oldest.load(Relaxed))
    }

    /// What came into the queue after this entry.
    pub fn newer(&self, entry: Entry) -> Option<Entry> {
        some(self.cell(entry.0).newer.load(Relaxed))
    }
}

impl<R: Record> Table<R> {
    pub(super) fn link_newest(&self, index: u32, number: u8) {
        let queue = &self.header().queues[usize::from(number)];
        let cell = self.cell(index);
        queue.length.add(1);
        queue.weight.add(cell.record.weight());
        cell.newer.store(0, Relaxed);
        cell.older.store(0, Relaxed);
        if number == 0 {
            return;
        }
        let newest = queue.newest.load(Relaxed);
        cell.older.store(newest, Relaxed);
        match newest {
            0 => queue.oldest.store(index, Relaxed),
            newest => self.cell(newest).newer.store(index, Relaxed),
        }
        queue.newest.store(index, Relaxed);
    }

    pub(super) fn unlink_queue(&self, index: u32, number: u8, weight: i64) {
        let queue = &self.header().queues[usize::from(number)];
        queue.length.add(-1);
        queue.weight.add(-weight);
        if number == 0 {
            return;
        }
        let cell = self.cell(index);
        let (newer, older) = (cell.newer.load(Relaxed), cell.older.load(Relaxed));
        match newer {
            0 => queue.newest.store(older, Relaxed),
            newer => self.cell(newer).older.store(older, Relaxed),
        }
        match older {
            0 => queue.oldest.store(newer, Relaxed),
            older => self.cell(older).newer.store(newer, Relaxed),
        }
    }

    pub(super) fn add_weight(&self, queue: u8, change: i64) {
        if change != 0 {
            self.header().queues[usize::from(queue)].weight.add(change);
        }
    }

    /// The entry still is one; for those who remember one from an earlier lock, together with its
    /// version.
    pub fn is_entry(&self, entry: Entry) -> bool {
        self.cell(entry.0).state(Relaxed).kind() == Kind::Entry
    }
}

fn some(index: u32) -> Option<Entry> {
    (index != 0).then_some(Entry(index))
}
