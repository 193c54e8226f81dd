//! Texts: the beginning stands in the record, the rest in cells that are chained by number.
//!
//! Where a text does not fit into the record, the record's last four bytes are the number of the
//! first further cell.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::cell::{self, Kind, State};
use super::{Entry, LockedTable, Record, Table};

/// Bytes of a cell's number.
const LINK: usize = 4;

impl<R: Record> Table<R> {
    /// A copy of the entry's text.
    pub fn text(&self, entry: Entry) -> Vec<u8> {
        let mut text = Vec::new();
        self.pieces(entry, |piece| {
            text.extend(piece.iter().map(|byte| byte.load(Relaxed)));
            true
        });
        text
    }

    pub fn has_text(&self, entry: Entry, text: &[u8]) -> bool {
        self.cell(entry.0).state(Relaxed).length() == text.len() && self.begins_with(entry, text)
    }

    pub fn begins_with(&self, entry: Entry, text: &[u8]) -> bool {
        let mut rest = text;
        self.pieces(entry, |piece| {
            let (here, after) = rest.split_at(rest.len().min(piece.len()));
            let is_same = piece.iter().zip(here).all(|(place, byte)| place.load(Relaxed) == *byte);
            rest = if is_same { after } else { rest };
            is_same && !after.is_empty()
        });
        rest.is_empty()
    }

    /// Cells that an entry with a text of that length takes.
    pub fn cells_for(&self, length: usize) -> usize {
        // how long a text may be to stand in a record alone is the same for all records
        let inline = self.cell(Self::FIRST).record.text().len();
        if length <= inline {
            return 1;
        }
        1 + (length - inline.saturating_sub(LINK)).div_ceil(Self::PIECE)
    }

    const PIECE: usize = Self::CELL - cell::OWN;

    /// Calls `each` with the parts of the text, in order, while it returns true.
    fn pieces(&self, entry: Entry, mut each: impl FnMut(&[AtomicU8]) -> bool) {
        let cell = self.cell(entry.0);
        let length = cell.state(Relaxed).length();
        let inline = cell.record.text();
        if length <= inline.len() {
            each(&inline[..length]);
            return;
        }
        let (here, link) = inline.split_at(inline.len() - LINK);
        let (mut left, mut next) = (length - here.len(), number(link));
        let mut goes_on = each(here);
        while goes_on && left > 0 && (Self::FIRST..self.count).contains(&next) {
            let here = left.min(Self::PIECE);
            goes_on = each(&self.payload(next)[..here]);
            left -= here;
            next = self.cell(next).hash.load(Relaxed);
        }
    }
}

impl<R: Record> LockedTable<'_, R> {
    /// Writes the text of an entry that is not published yet; there is room for it.
    pub(super) fn write_text(&self, record: &R, text: &[u8], generation: i64) {
        let inline = record.text();
        if text.len() <= inline.len() {
            write(inline, text);
            return;
        }
        let (here, link) = inline.split_at(inline.len().saturating_sub(LINK));
        debug_assert_eq!(link.len(), LINK, "a record of texts has room for a cell's number");
        write(here, text);
        // from the end, since each piece names the next
        let mut next = 0;
        for piece in text[here.len()..].chunks(Table::<R>::PIECE).rev() {
            let Some(index) = self.take() else { break };
            write(self.payload(index), piece);
            let cell = self.cell(index);
            cell.hash.store(next, Relaxed);
            cell.set_state(State::new(Kind::Text, 0, 0, generation));
            next = index;
        }
        write(link, &next.to_ne_bytes());
    }

    /// Gives the further cells of a text back.
    pub(super) fn free_text(&self, record: &R, length: usize) {
        let Some(mut next) = first_piece(record, length) else { return };
        while next != 0 {
            let cell = self.cell(next);
            let after = cell.hash.load(Relaxed);
            cell.set_state(State::new(Kind::Free, 0, 0, self.next_generation()));
            self.give_back(next);
            next = after;
        }
    }
}

/// The number of the first further cell, where there is one.
pub(super) fn first_piece<R: Record>(record: &R, length: usize) -> Option<u32> {
    let inline = record.text();
    (length > inline.len() && inline.len() >= LINK).then(|| number(&inline[inline.len() - LINK..]))
}

fn write(place: &[AtomicU8], text: &[u8]) {
    place.iter().zip(text).for_each(|(place, byte)| place.store(*byte, Relaxed));
}

fn number(bytes: &[AtomicU8]) -> u32 {
    let bytes = std::array::from_fn(|place| bytes[place].load(Relaxed));
    u32::from_ne_bytes(bytes)
}
