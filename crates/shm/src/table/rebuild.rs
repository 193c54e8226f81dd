//! After a death: what is derived is made anew from the cells.

use std::sync::atomic::Ordering::Relaxed;

use super::cell::{Kind, State};
use super::{QUEUES, Record, Table, texts};

impl<R: Record> Table<R> {
    /// One look at each cell. Whoever dies in here leaves it to the next, who begins again.
    pub(super) fn rebuild(&self) {
        self.clear_derived();
        let used = Self::FIRST..self.header().fresh.load(Relaxed).min(self.count);
        let mut in_use = vec![false; used.end as usize];
        let mut queued: [Vec<u32>; QUEUES] = Default::default();
        for index in used.clone().filter(|index| self.is(*index, Kind::Entry)) {
            if !self.mark_text(index, &mut in_use) {
                continue;
            }
            in_use[index as usize] = true;
            queued[usize::from(self.cell(index).state(Relaxed).queue())].push(index);
            self.link_chain(index, self.cell(index).hash.load(Relaxed));
        }
        for index in used.clone().filter(|index| self.is(*index, Kind::Holds)) {
            let entry = self.cell(index).older.load(Relaxed);
            let has_entry =
                used.contains(&entry) && self.is(entry, Kind::Entry) && in_use[entry as usize];
            let is_held = self.payload_words(index).iter().any(|hold| hold.load(Relaxed) != 0);
            if has_entry && is_held {
                in_use[index as usize] = true;
                self.link_chain(index, self.cell(index).hash.load(Relaxed));
            }
        }
        for (number, mut entries) in queued.into_iter().enumerate() {
            entries.sort_unstable_by_key(|index| {
                let cell = self.cell(*index);
                (cell.record.age(), cell.state(Relaxed).generation())
            });
            entries.into_iter().for_each(|index| self.link_newest(index, number as u8));
        }
        for index in used.rev() {
            self.header().taken.add(1);
            if !in_use[index as usize] {
                self.header().generation.add(1);
                let generation = self.header().generation.get();
                self.cell(index).set_state(State::new(Kind::Free, 0, 0, generation));
                self.give_back(index);
            }
        }
    }

    fn clear_derived(&self) {
        let header = self.header();
        header.free.store(0, Relaxed);
        header.taken.set(0);
        for queue in &header.queues {
            queue.newest.store(0, Relaxed);
            queue.oldest.store(0, Relaxed);
            queue.length.set(0);
            queue.weight.set(0);
        }
        let heads = self.cells()[Self::FIRST as usize..].iter().map(|cell| &cell.head);
        heads.for_each(|head| head.store(0, Relaxed));
    }

    fn is(&self, index: u32, kind: Kind) -> bool {
        self.cell(index).state(Relaxed).is_whole(kind)
    }

    /// Marks the further cells of an entry's text; false where the text is not whole, which no
    /// death brings about.
    fn mark_text(&self, index: u32, in_use: &mut [bool]) -> bool {
        let cell = self.cell(index);
        let length = cell.state(Relaxed).length();
        let Some(mut next) = texts::first_piece(&cell.record, length) else { return true };
        for _ in 1..self.cells_for(length) {
            let is_piece = (Self::FIRST as usize..in_use.len()).contains(&(next as usize))
                && self.is(next, Kind::Text)
                && !in_use[next as usize];
            if !is_piece {
                return false;
            }
            in_use[next as usize] = true;
            next = self.cell(next).hash.load(Relaxed);
        }
        next == 0
    }
}
