//! Whether what is derived agrees with the cells.

use std::sync::atomic::Ordering::Relaxed;

use super::cell::Kind;
use super::{LockedTable, QUEUES, Record, Table, texts};

impl<R: Record> LockedTable<'_, R> {
    /// Looks at everything: each cell in use is in one chain, each entry in the queue that its
    /// state names, each further cell belongs to something, each other cell is free, and the sums
    /// are right. The error tells what is not.
    pub fn check(&self) -> Result<(), String> {
        let fresh = self.header().fresh.load(Relaxed);
        let mut seen = vec![0; fresh as usize];
        self.check_chains(&mut seen)?;
        self.check_texts(&mut seen)?;
        self.check_queues()?;
        let taken = seen.iter().filter(|times| **times > 0).count();
        self.check_free(&mut seen)?;
        let rest = &seen[Table::<R>::FIRST as usize..];
        if let Some(index) = rest.iter().position(|times| *times != 1) {
            return Err(format!("cell {index} after the header is in {} places", rest[index]));
        }
        if taken != self.taken() {
            return Err(format!("{taken} cells are taken, and {} are said to be", self.taken()));
        }
        Ok(())
    }

    fn check_chains(&self, seen: &mut [u32]) -> Result<(), String> {
        for bucket in Table::<R>::FIRST..self.count {
            let mut next = self.cell(bucket).head.load(Relaxed);
            while next != 0 {
                let cell = self.cell(next);
                let state = cell.state(Relaxed);
                let head = self.head(cell.hash.load(Relaxed));
                let is_here = std::ptr::eq(head, &self.cell(bucket).head);
                let is_chained = state.is_whole(Kind::Entry) || state.is_whole(Kind::Holds);
                seen[next as usize] += 1;
                if !is_here || !is_chained || seen[next as usize] > 1 {
                    return Err(format!("cell {next} ({state:?}) is in the chain of {bucket}"));
                }
                let entry = cell.older.load(Relaxed);
                if state.kind() == Kind::Holds && !self.is_entry(super::Entry(entry)) {
                    return Err(format!("cell {next} holds cell {entry}, which is no entry"));
                }
                next = cell.next.load(Relaxed);
            }
        }
        Ok(())
    }

    fn check_texts(&self, seen: &mut [u32]) -> Result<(), String> {
        for entry in self.entries() {
            let cell = self.cell(entry.0);
            let length = cell.state(Relaxed).length();
            let mut next = texts::first_piece(&cell.record, length).unwrap_or(0);
            let mut pieces = 0;
            while next != 0 {
                if !self.cell(next).state(Relaxed).is_whole(Kind::Text) {
                    return Err(format!("cell {next} is no text of {}", entry.0));
                }
                (seen[next as usize], pieces) = (seen[next as usize] + 1, pieces + 1);
                next = self.cell(next).hash.load(Relaxed);
            }
            if pieces + 1 != self.cells_for(length) {
                return Err(format!("{pieces} further cells for a text of {length}"));
            }
        }
        Ok(())
    }

    fn check_queues(&self) -> Result<(), String> {
        let mut sums = [(0, 0); QUEUES];
        for entry in self.entries() {
            let (length, weight) = &mut sums[usize::from(self.queue(entry))];
            (*length, *weight) = (*length + 1, *weight + self.record(entry).weight());
        }
        for (number, (length, weight)) in sums.into_iter().enumerate() {
            let queue = number as u8;
            if (length, weight) != (self.queue_len(queue), self.queue_weight(queue)) {
                return Err(format!("queue {queue} has {length} entries of {weight}"));
            }
            let mut entries = 0;
            let (mut next, mut before) = (self.oldest(queue), 0);
            while let Some(entry) = next {
                let is_linked = self.cell(entry.0).older.load(Relaxed) == before;
                if !is_linked || self.queue(entry) != queue || entries > length {
                    return Err(format!("cell {} is not well in queue {queue}", entry.0));
                }
                (before, entries, next) = (entry.0, entries + 1, self.newer(entry));
            }
            let newest = self.header().queues[number].newest.load(Relaxed);
            if queue != 0 && (entries, newest) != (length, before) {
                return Err(format!("{entries} of {length} entries are in queue {queue}"));
            }
        }
        Ok(())
    }

    fn check_free(&self, seen: &mut [u32]) -> Result<(), String> {
        let mut next = self.header().free.load(Relaxed);
        while next != 0 {
            seen[next as usize] += 1;
            if !self.cell(next).state(Relaxed).is_whole(Kind::Free) || seen[next as usize] > 1 {
                return Err(format!("cell {next} is among the free ones"));
            }
            next = self.cell(next).next.load(Relaxed);
        }
        Ok(())
    }
}
