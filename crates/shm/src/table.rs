//! Tables in named zones: records of one kind, found by the hash of a key, in cells of 64 or 128
//! bytes.
//!
//! # Using one
//!
//! A record is declared with [`plain!`](crate::plain), and its [`Record`] says what the table has
//! to know. It takes what a cell has besides the table's own 28 bytes (32 where it is aligned to
//! eight): [`Table::open`] does not compile for other sizes. A master may open the table, or each
//! worker; the first one makes it.
//!
//! ```
//! # use std::sync::{Arc, atomic::{AtomicU8, AtomicU32, Ordering::Relaxed}};
//! # use daemun_shm::{New, Record, Table, Zone, plain};
//! plain! {
//!     struct Visits {
//!         times: AtomicU32,
//!         name: [AtomicU8; 32],
//!     }
//! }
//! impl Record for Visits {
//!     fn text(&self) -> &[AtomicU8] {
//!         &self.name
//!     }
//! }
//! let zone = Arc::new(Zone::new("visits", 1 << 20).unwrap());
//! let table: Table<Visits> = Table::open(&zone, 0).unwrap();
//! let locked = table.lock();
//! let hash = table.hash(b"tom");
//! let new = New { hash, text: b"tom", queue: 1, holder: None };
//! let entry = locked.insert(new, |visits| visits.times.store(1, Relaxed)).unwrap();
//! assert_eq!(locked.find(hash, b"tom"), Some(entry));
//! assert_eq!(locked.oldest(1), Some(entry));
//! ```
//!
//! - **Texts** of any length are a key, a value, or both: the beginning stands in the record
//!   ([`Record::text`]), the rest in further cells.
//! - **Queues** 1 to 7 each hold entries from the oldest to the newest; [`LockedTable::move_to`]
//!   makes an entry the newest of a queue. Queue 0 is none. Each has a count and the sum of its
//!   records' weights.
//! - **A full table** refuses to insert. What goes to make room is its user's business.
//! - **Readers without the lock** use [`Table::peek`], and remember a [`Version`]: while
//!   [`Table::version`] still says the same, nothing of that entry has been changed.
//! - **Counts and marks name their owner**: [`LockedTable::hold`] counts for each
//!   [`Owner`](crate::Owner), so that what the dead held can be told and dropped. A mark (somebody
//!   is updating this) is a field with an owner's bits.
//! - [`Table::words`] are 32 numbers that belong to the user, of which the table knows nothing.
//!
//! # When a process dies
//!
//! The truth is the cells' states, records, hashes and texts. An entry comes and goes by one store
//! of its state, which holds the kind of cell, the queue, the length of the text and a generation.
//! All else is derived: chains, queues, sums, the list of free cells. Where somebody died with the
//! lock held, whoever locks next makes all that anew from one look at each cell. What is changed in
//! a record is either changed by one store, or within [`LockedTable::change`]: the state is odd
//! meanwhile, and an entry that is found so after a death is given up.

mod cell;
mod check;
mod holds;
mod locked;
mod queues;
mod rebuild;
#[cfg(test)]
mod tests;
mod texts;

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use crate::Owner;
use crate::number::Number;
use crate::plain;
use crate::region::Plain;
use crate::zone::{Handle, Zone};
use cell::{Cell, Kind};
pub use locked::LockedTable;

/// What a table keeps in its cells.
pub trait Record: Plain {
    /// Where a text begins; at least four bytes where records have texts at all.
    fn text(&self) -> &[AtomicU8] {
        &[]
    }

    /// What the entry adds to the sums of the table and of its queue.
    fn weight(&self) -> i64 {
        0
    }

    /// Queues are put into this order when they are made anew after a death: the larger, the newer.
    /// What is equal stands in the order in which it was changed last.
    fn age(&self) -> u64 {
        0
    }

    /// Places for what the first owners hold; further ones take cells of their own.
    fn holds(&self) -> &[AtomicU64] {
        &[]
    }
}

/// An entry that is to be.
#[derive(Clone, Copy)]
pub struct New<'a> {
    /// By which it is found.
    pub hash: u32,
    pub text: &'a [u8],
    /// It becomes the newest of that queue; 0 for none.
    pub queue: u8,
    /// Somebody who holds it from the beginning; only where the record has a place for that.
    pub holder: Option<Owner>,
}

/// Where an entry stands. Without the lock it may be another's at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry(u32);

/// What an entry's state was: unequal once anything of it has changed but its queue and its place
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(u64);

/// A table in a zone.
pub struct Table<R> {
    zone: Arc<Zone>,
    start: Handle<Cell<R>>,
    /// Cells, the header's included.
    count: u32,
    kind: PhantomData<fn() -> R>,
}

/// Queues, the one that is none included.
const QUEUES: usize = 8;

plain! {
    struct Queue {
        newest: AtomicU32,
        oldest: AtomicU32,
        length: Number,
        weight: Number,
    }
}

plain! {
    /// What the run begins with; all but the numbers of cells, the seed, the generation and the
    /// words is derived.
    struct Header {
        /// The first cell that was never used.
        fresh: AtomicU32,
        /// The first of those that were given back.
        free: AtomicU32,
        /// All cells, the header's included.
        count: Number,
        /// Cells that are in use.
        taken: Number,
        /// The zone's deaths when the derived was last made anew.
        deaths: Number,
        generation: Number,
        seed: Number,
        queues: [Queue; QUEUES],
        words: [Number; 32],
    }
}

/// Bytes before the first cell that may hold an entry.
const HEADER: usize = 512;
const _: () = assert!(size_of::<Header>() <= HEADER);

impl<R: Record> Table<R> {
    const CELL: usize = size_of::<Cell<R>>();
    /// The first cell after the header; so 0 can stand for none.
    const FIRST: u32 = (HEADER / Self::CELL) as u32;

    /// The zone's table, made of all its free pages but `spare` where there is none. `None` where
    /// the zone has no room.
    pub fn open(zone: &Arc<Zone>, spare: usize) -> Option<Table<R>> {
        const { assert!(size_of::<Cell<R>>() == 64 || size_of::<Cell<R>>() == 128) };
        const { assert!(size_of::<R>().is_multiple_of(4), "records end where cells end") };
        let locked = zone.lock();
        let start = match Handle::<Cell<R>>::of(zone.root()) {
            Some(start) => start,
            None => {
                // somebody who died may have taken the pages without a word in the root
                locked.clear();
                let (start, count) = locked.allocate_rest::<Cell<R>>(spare)?;
                let header: &Header = zone.at(start.cast());
                header.count.set(u32::try_from(count).ok()?.into());
                header.seed.set(RandomState::new().hash_one(0) as i64);
                header.fresh.store(Self::FIRST, Ordering::Relaxed);
                header.deaths.set(zone.deaths());
                zone.root().set(start.number());
                start
            }
        };
        let count = u32::try_from(zone.at::<Header>(start.cast()).count.get()).ok()?;
        drop(locked);
        (count > Self::FIRST).then(|| Table { zone: zone.clone(), start, count, kind: PhantomData })
    }

    /// Waits for the lock of the zone. Where somebody died with it, the table is whole when this
    /// returns.
    ///
    /// # Panics
    /// Where this thread holds the lock.
    pub fn lock(&self) -> LockedTable<'_, R> {
        let locked = self.zone.lock();
        let deaths = self.zone.deaths();
        if self.header().deaths.get() != deaths {
            self.rebuild();
            self.header().deaths.set(deaths);
        }
        LockedTable::new(self, locked)
    }

    pub fn zone(&self) -> &Arc<Zone> {
        &self.zone
    }

    /// How many cells there are for entries and their texts.
    pub fn capacity(&self) -> usize {
        (self.count - Self::FIRST) as usize
    }

    /// How many of them are in use. Without the lock it may be out of date, as are the other sums.
    pub fn taken(&self) -> usize {
        usize::try_from(self.header().taken.get()).unwrap_or(0)
    }

    /// Entries, all queues together, the one that is none included.
    pub fn len(&self) -> usize {
        (0..QUEUES).map(|queue| self.queue_len(queue as u8)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of all weights.
    pub fn weight(&self) -> i64 {
        self.header().queues.iter().map(|queue| queue.weight.get()).sum()
    }

    pub fn queue_len(&self, queue: u8) -> usize {
        usize::try_from(self.header().queues[usize::from(queue)].length.get()).unwrap_or(0)
    }

    pub fn queue_weight(&self, queue: u8) -> i64 {
        self.header().queues[usize::from(queue)].weight.get()
    }

    /// The user's own numbers.
    pub fn words(&self) -> &[Number; 32] {
        &self.header().words
    }

    /// A hash that nobody outside can foresee, the same in all processes.
    pub fn hash(&self, key: &[u8]) -> u32 {
        let mut hasher = DefaultHasher::new();
        hasher.write_i64(self.header().seed.get());
        hasher.write(key);
        hasher.finish() as u32
    }

    /// What stands there: an entry's record while it is one.
    pub fn record(&self, entry: Entry) -> &R {
        &self.cell(entry.0).record
    }

    /// What [`Entry`] a number was that was kept elsewhere; whatever it was, it leads into the
    /// table.
    pub fn entry(&self, number: u32) -> Option<Entry> {
        (Self::FIRST..self.count).contains(&number).then_some(Entry(number))
    }

    /// The state of the entry now.
    #[inline]
    pub fn version(&self, entry: Entry) -> Version {
        self.cell(entry.0).version()
    }

    /// Looks without the lock for an entry of that hash that `is_it`, and what `take` makes of its
    /// record. Both may see a record that is being changed, of which the result is thrown away.
    /// `None` says little: it was not found, or changed three times while it was being read; ask
    /// again with the lock.
    pub fn peek<T>(
        &self,
        hash: u32,
        is_it: impl Fn(&R) -> bool,
        take: impl Fn(&R) -> T,
    ) -> Option<(Entry, Version, T)> {
        for _ in 0..3 {
            let mut next = self.head(hash).load(Ordering::Acquire);
            // a chain that is being changed may lead anywhere, and in circles
            for _ in 0..64 {
                if next < Self::FIRST || next >= self.count {
                    break;
                }
                let cell = self.cell(next);
                let state = cell.state(Ordering::Acquire);
                if state.is_whole(Kind::Entry) && cell.has_hash(hash) && is_it(&cell.record) {
                    let taken = take(&cell.record);
                    fence(Ordering::Acquire);
                    if cell.state(Ordering::Relaxed).version() != state.version() {
                        break;
                    }
                    return Some((Entry(next), state.version(), taken));
                }
                next = cell.next.load(Ordering::Acquire);
            }
        }
        None
    }

    fn header(&self) -> &Header {
        self.zone.at(self.start.cast())
    }

    fn cells(&self) -> &[Cell<R>] {
        self.zone.slice(self.start, self.count as usize)
    }

    /// # Panics
    /// Where there is no such cell.
    #[inline]
    fn cell(&self, index: u32) -> &Cell<R> {
        &self.cells()[index as usize]
    }

    /// Where the chain of that hash begins.
    fn head(&self, hash: u32) -> &AtomicU32 {
        let buckets = u64::from(self.count - Self::FIRST);
        let bucket = ((u64::from(hash) * buckets) >> 32) as u32;
        &self.cell(Self::FIRST + bucket).head
    }

    /// The bytes of a cell after the table's own, for what is no record.
    fn payload(&self, index: u32) -> &[AtomicU8] {
        let bytes: &[AtomicU8] =
            self.zone.slice(self.start.cast(), self.count as usize * Self::CELL);
        let start = index as usize * Self::CELL;
        &bytes[start + cell::OWN..start + Self::CELL]
    }

    /// The same as numbers, from the next multiple of eight on.
    fn payload_words(&self, index: u32) -> &[AtomicU64] {
        let words: &[AtomicU64] =
            self.zone.slice(self.start.cast(), self.count as usize * Self::CELL / 8);
        let start = index as usize * Self::CELL / 8;
        &words[start + cell::OWN.div_ceil(8)..start + Self::CELL / 8]
    }
}

impl Entry {
    /// To be kept elsewhere; never 0.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl<R> Clone for Table<R> {
    fn clone(&self) -> Self {
        Table { zone: self.zone.clone(), ..*self }
    }
}
