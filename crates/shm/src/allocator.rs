//! Dividing a zone: pages of small things of one size each, and runs of pages for large ones.
//!
//! Every step is one store after which the tables are whole, except for runs: of one that was begun, pages may stay
//! behind that [`Allocator::repair`] finds.

use std::num::NonZeroU32;

use crate::number::Number;

/// Bytes.
pub(crate) const PAGE: usize = 4096;

/// The smallest thing, and what all are aligned to: bytes.
pub(crate) const UNIT: usize = 64;

const UNITS_A_PAGE: usize = PAGE / UNIT;

/// Sizes of small things: 64, 128, … 2048 bytes.
const CLASSES: usize = 6;

/// What a zone begins with: numbers, then two for each page, its kind and its map.
pub(crate) struct Allocator<'m> {
    header: &'m [Number; HEADER],
    /// What the page holds: see the constants.
    kinds: &'m [Number],
    /// Of a page of small things: a bit for each that is in use.
    maps: &'m [Number],
    /// All of the zone's memory.
    memory: &'m [Number],
}

const HEADER: usize = 2 + CLASSES + 1;
const ROOT: usize = 0;
const DEATHS: usize = 1;
/// For each size, a page with room, perhaps.
const HINTS: usize = 2;
/// A page below which none is free.
const FIRST_FREE: usize = 2 + CLASSES;

const FREE: i64 = 0;
/// Belongs to the run before it.
const CONTINUED: i64 = -1;
/// The allocator's own.
const RESERVED: i64 = -2;
/// From here on: small things, the class on top of it. Above 0 and below, a run's length in pages.
const SMALL: i64 = 1 << 40;

impl<'m> Allocator<'m> {
    /// `memory` is whole pages, zeroes at first.
    pub fn new(memory: &'m [Number]) -> Allocator<'m> {
        let pages = size_of_val(memory) / PAGE;
        let (header, rest) = memory.split_first_chunk().expect("a zone has room for its header");
        let (kinds, rest) = rest.split_at(pages);
        let allocator = Allocator { header, kinds, maps: &rest[..pages], memory };
        if allocator.kinds[0].get() != RESERVED {
            allocator.kinds[..allocator.own_pages()].iter().for_each(|kind| kind.set(RESERVED));
        }
        allocator
    }

    pub fn root(&self) -> &'m Number {
        &self.header[ROOT]
    }

    pub fn deaths(&self) -> &'m Number {
        &self.header[DEATHS]
    }

    /// Room for `size` bytes, zeroed: its place in units.
    pub fn allocate(&self, size: usize) -> Option<NonZeroU32> {
        let unit = match class_of(size) {
            Some(class) => self.allocate_small(class)?,
            None => self.allocate_run(size.div_ceil(PAGE))? * UNITS_A_PAGE,
        };
        let words = UNIT / size_of::<Number>();
        let place = &self.memory[unit * words..];
        place[..size.div_ceil(size_of::<Number>())].iter().for_each(|word| word.set(0));
        NonZeroU32::new(u32::try_from(unit).ok()?)
    }

    /// The free pages at the end of the memory but `spare` of them, in one run, as they are: its place in units and
    /// its length in bytes.
    pub fn allocate_rest(&self, spare: usize) -> Option<(NonZeroU32, usize)> {
        let taken = self.kinds.iter().rposition(|kind| kind.get() != FREE)?;
        let length =
            self.kinds.len().checked_sub(taken + 1 + spare).filter(|length| *length > 0)?;
        let first = taken + 1;
        self.kinds[first + 1..first + length].iter().for_each(|kind| kind.set(CONTINUED));
        self.kinds[first].set(length as i64);
        let unit = NonZeroU32::new(u32::try_from(first * UNITS_A_PAGE).ok()?)?;
        Some((unit, length * PAGE))
    }

    pub fn free(&self, unit: NonZeroU32) {
        let unit = unit.get() as usize;
        let page = unit / UNITS_A_PAGE;
        match self.kinds[page].get() {
            kind if kind >= SMALL => {
                let class = (kind - SMALL) as usize;
                self.free_small(page, class, (unit % UNITS_A_PAGE) >> class);
            }
            length if length > 0 => self.free_run(page, length as usize),
            _ => debug_assert!(false, "what is freed was allocated"),
        }
    }

    pub fn clear(&self) {
        let own = self.own_pages();
        self.kinds[own..].iter().for_each(|kind| kind.set(FREE));
        self.header[HINTS..].iter().for_each(|hint| hint.set(0));
    }

    /// Finds the pages of runs that were begun and not finished, or not wholly freed.
    pub fn repair(&self) {
        let mut left = 0;
        for kind in &self.kinds[self.own_pages()..] {
            match kind.get() {
                CONTINUED if left > 0 => left -= 1,
                CONTINUED => kind.set(FREE),
                length if length > 0 && length < SMALL => left = length - 1,
                _ => left = 0,
            }
        }
        self.header[FIRST_FREE].set(0);
    }

    fn own_pages(&self) -> usize {
        let words = HEADER + self.kinds.len() + self.maps.len();
        (words * size_of::<Number>()).div_ceil(PAGE)
    }

    fn allocate_small(&self, class: usize) -> Option<usize> {
        let hint = &self.header[HINTS + class];
        let page = match usize::try_from(hint.get()) {
            Ok(page) if self.has_room(page, class) => page,
            _ => self.page_with_room(class)?,
        };
        hint.set(page as i64);
        let map = self.maps[page].get() as u64;
        let index = map.trailing_ones() as usize;
        self.maps[page].set((map | 1 << index) as i64);
        Some(page * UNITS_A_PAGE + (index << class))
    }

    fn has_room(&self, page: usize, class: usize) -> bool {
        let holds_class =
            self.kinds.get(page).is_some_and(|kind| kind.get() == SMALL + class as i64);
        holds_class && (self.maps[page].get() as u64).trailing_ones() < things_a_page(class)
    }

    fn page_with_room(&self, class: usize) -> Option<usize> {
        let partial = (self.own_pages()..self.kinds.len()).find(|page| self.has_room(*page, class));
        partial.or_else(|| {
            let page = self.free_pages(1)?;
            self.maps[page].set(0);
            self.kinds[page].set(SMALL + class as i64);
            Some(page)
        })
    }

    fn free_small(&self, page: usize, class: usize, index: usize) {
        let map = self.maps[page].get() as u64 & !(1 << index);
        self.maps[page].set(map as i64);
        if map == 0 {
            self.kinds[page].set(FREE);
            self.note_free(page);
        } else {
            self.header[HINTS + class].set(page as i64);
        }
    }

    fn allocate_run(&self, length: usize) -> Option<usize> {
        let first = self.free_pages(length)?;
        self.kinds[first + 1..first + length].iter().for_each(|kind| kind.set(CONTINUED));
        self.kinds[first].set(length as i64);
        Some(first)
    }

    fn free_run(&self, first: usize, length: usize) {
        self.kinds[first].set(FREE);
        self.kinds[first + 1..first + length].iter().for_each(|kind| kind.set(FREE));
        self.note_free(first);
    }

    /// The first of so many free pages in a row.
    fn free_pages(&self, length: usize) -> Option<usize> {
        let from =
            usize::try_from(self.header[FIRST_FREE].get()).unwrap_or(0).max(self.own_pages());
        let mut row = 0;
        let mut any_free = None;
        for page in from..self.kinds.len() {
            if self.kinds[page].get() != FREE {
                row = 0;
                continue;
            }
            any_free.get_or_insert(page);
            row += 1;
            if row == length {
                // pages before the first free one are taken; after one alone is taken, so is that one
                let next =
                    any_free.filter(|first| *first != page || length > 1).unwrap_or(page + 1);
                self.header[FIRST_FREE].set(next as i64);
                return Some(page + 1 - length);
            }
        }
        None
    }

    fn note_free(&self, page: usize) {
        let first = &self.header[FIRST_FREE];
        first.set(first.get().min(page as i64));
    }
}

/// `None` for what takes whole pages.
fn class_of(size: usize) -> Option<usize> {
    (0..CLASSES).find(|class| size <= UNIT << class)
}

fn things_a_page(class: usize) -> u32 {
    (UNITS_A_PAGE >> class) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::region::Region;

    fn memory(pages: usize) -> Region<Number> {
        Region::new(pages * PAGE / size_of::<Number>()).unwrap()
    }

    /// Allocates until there is no room.
    fn fill(allocator: &Allocator<'_>, size: usize) -> Vec<NonZeroU32> {
        std::iter::from_fn(|| allocator.allocate(size)).collect()
    }

    #[test]
    fn every_size_fills_its_pages() {
        for (size, number) in [(1, 7 * 64), (64, 7 * 64), (65, 7 * 32), (128, 7 * 32), (2048, 14)] {
            let memory = memory(8);
            let units = fill(&Allocator::new(&memory), size);
            assert_eq!(units.len(), number, "{size}");
            assert_eq!(units.iter().collect::<HashSet<_>>().len(), number, "{size}");
        }
        let memory = memory(8);
        assert_eq!(fill(&Allocator::new(&memory), 2049).len(), 7);
        assert_eq!(Allocator::new(&memory).allocate(1), None);
    }

    #[test]
    fn what_is_freed_can_be_had_again_in_any_size() {
        let memory = memory(8);
        let allocator = Allocator::new(&memory);
        for size in [64, 2048, 100, 3 * PAGE, 512, 7 * PAGE, 64] {
            let units = fill(&allocator, size);
            assert!(!units.is_empty(), "{size}");
            units.iter().rev().for_each(|unit| allocator.free(*unit));
        }
    }

    #[test]
    fn runs_do_not_overlap_small_things() {
        let memory = memory(16);
        let allocator = Allocator::new(&memory);
        let small = allocator.allocate(64).unwrap();
        let run = allocator.allocate(3 * PAGE).unwrap().get() as usize;
        let other = allocator.allocate(128).unwrap();
        for unit in [small, other] {
            let unit = unit.get() as usize;
            assert!(unit < run || unit >= run + 3 * UNITS_A_PAGE);
        }
        assert_eq!(allocator.allocate(16 * PAGE), None);
    }

    #[test]
    fn a_run_that_was_not_finished_is_found() {
        let memory = memory(8);
        let allocator = Allocator::new(&memory);
        let whole = allocator.allocate(2 * PAGE).unwrap();
        // its maker died before the last store
        let torn = allocator.allocate(3 * PAGE).unwrap().get() as usize / UNITS_A_PAGE;
        allocator.kinds[torn].set(FREE);
        allocator.repair();
        assert_eq!(fill(&allocator, PAGE).len(), 5);
        allocator.free(whole);
        assert_eq!(fill(&allocator, PAGE).len(), 2);
    }

    #[test]
    fn clearing_gives_everything_back() {
        let memory = memory(8);
        let allocator = Allocator::new(&memory);
        fill(&allocator, 300);
        allocator.clear();
        assert_eq!(fill(&allocator, PAGE).len(), 7);
    }
}
