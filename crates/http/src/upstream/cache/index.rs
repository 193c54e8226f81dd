//! The index of a cache: an entry in shared memory for each response, in the order of last use.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use std::time::Duration;

use daemun_core::zones::ZoneRef;
use daemun_shm::{
    Entry as Cell, LockedTable, New, Owner, Record, Scoreboard, Table, Version, plain,
};

use super::caching::Outcome;
use super::key::Hash;
use super::purge::{self, Purge, Subject, Target, Verdict};
use super::saved;

plain! {
    pub struct Node {
        key: [AtomicU8; 16],
        /// Of an error that is kept without a file: until when. Of a file: until when nobody asks
        /// for another, since the last try has failed.
        valid_sec: AtomicU64,
        /// When somebody asked for it last, in seconds since 1970.
        used: AtomicU64,
        /// Bytes on the disk.
        size: AtomicU64,
        inode: AtomicU64,
        /// Who fetches the response; 0 for nobody.
        owner: AtomicU64,
        /// How long whoever waits for that waits at most, in milliseconds of the system's clock.
        until: AtomicU64,
        uses: AtomicU32,
        /// 1 where there is a file.
        exists: AtomicU32,
        error: AtomicU32,
        body_start: AtomicU32,
        /// Until when nobody waits for the response of another, since it was not one to be stored.
        passes_until: AtomicU64,
        /// How many purges there had been when its fetch began; 0 where that is not known. Of a purge: its number.
        epoch: AtomicU64,
    }
}

impl Record for Node {
    fn text(&self) -> &[AtomicU8] {
        &self.key
    }

    fn weight(&self) -> i64 {
        match self.exists.load(Relaxed) {
            1 => self.size.load(Relaxed).cast_signed(),
            _ => 0,
        }
    }

    fn age(&self) -> u64 {
        self.used.load(Relaxed)
    }
}

/// Entries stand in one queue, by their last use.
const QUEUE: u8 = 1;

/// What the table's words mean.
const IS_WARM: usize = 0;
const LOADER: usize = 1;
const WATERMARK: usize = 2;
const LAST_COMPLAINT: usize = 3;
/// Purges so far, and one.
const EPOCH: usize = 4;
/// 1 while what was saved of the index is all there is.
const IS_SAVED: usize = 6;
/// The number of the last purge that was given up for want of room: all that is older is gone.
const FOLDED: usize = 5;

/// Where the counts begin: apart from the words that each hit reads.
const COUNTS: usize = 8;

/// What is counted of a cache since its zone was made. Answers are counted when they are over, by
/// where they came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    Answered(Outcome),
    /// Bytes of bodies that were served from the cache.
    Served,
    /// Responses that were stored.
    Stored,
    /// Bytes on the disk that they took.
    Written,
    /// Entries that were removed for want of room, or because nobody asked for them.
    Removed,
}

impl Count {
    fn word(self) -> usize {
        COUNTS
            + match self {
                Count::Answered(outcome) => outcome as usize,
                Count::Served => 8,
                Count::Stored => 9,
                Count::Written => 10,
                Count::Removed => 11,
            }
    }
}

/// Purges stand in a queue of their own.
const PURGES: u8 = 2;

/// How many entries make room for one at most.
const VICTIMS: usize = 2;

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// A status that stands for the response.
    Error(u16),
    /// There is a file, or may be one.
    Asked {
        exists: bool,
        /// What came last could not be stored: requests do not wait for each other.
        passes: bool,
        /// The last try to fetch another has just failed.
        rests: bool,
    },
    /// It was asked for too few times.
    Scarce,
    /// Nobody asked before.
    New,
    /// There is no room for it.
    Full,
}

/// What is known of a response that was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    Nothing,
    /// A status that stands for it, and until when.
    Error(u16, u64),
    /// It is not to be stored: nobody waits for one until then.
    Passes(u64),
    /// The one that is there stays, and nobody asks for another until then.
    Failed(u64),
}

/// What became of the wish to fetch a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody else does. What was claimed bears this number.
    Mine(u64),
    Others,
}

/// A file as it is in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filed {
    pub inode: u64,
    pub size: u64,
    pub body_start: u16,
    /// How many purges there had been when its fetch began; 0 where that is not known.
    pub epoch: u64,
}

/// An entry with a file, as it is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Hash,
    /// When somebody asked for it last, in seconds since 1970.
    pub used: u64,
    pub filed: Filed,
}

/// Where an entry stood, and its state.
#[derive(Clone, Copy, Debug)]
pub struct Located {
    entry: Cell,
    version: Version,
    key: Hash,
}

/// An entry that was taken out of the index: its file is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim {
    pub key: Hash,
    pub has_file: bool,
}

pub struct Index {
    zone: ZoneRef,
    table: OnceLock<Option<Table<Node>>>,
    inactive: Duration,
    folder: PathBuf,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("zone", &self.zone).finish_non_exhaustive()
    }
}

/// The present process, as the index names it.
static ME: AtomicU64 = AtomicU64::new(0);

/// Tells who claims in this process.
pub fn serve_as(owner: Owner) {
    ME.store(owner.bits(), Relaxed);
}

/// Milliseconds of the system's clock, which all processes share.
pub fn monotonic() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

impl Index {
    pub fn new(zone: ZoneRef, inactive: Duration, folder: PathBuf) -> Index {
        Index { zone, table: OnceLock::new(), inactive, folder }
    }

    pub fn name(&self) -> &str {
        self.zone.name()
    }

    fn table(&self) -> Option<&Table<Node>> {
        let open = || {
            let table = Table::open(self.zone.zone()?, 0)?;
            recall_purges(&table, &self.folder);
            Some(table)
        };
        self.table.get_or_init(open).as_ref()
    }

    /// How many purges there have been.
    pub fn epoch(&self) -> u64 {
        self.table().map_or(0, |table| table.words()[EPOCH].get().cast_unsigned())
    }

    /// Purges: from now on nothing that matches is served.
    pub fn purge(&self, purge: &Purge) {
        if let Some(table) = self.table() {
            add_purge(&table.lock(), purge);
        }
    }

    /// Whether a response was purged since its fetch began, or since it was looked at last.
    pub fn judge(&self, hash: &Hash, subject: &Subject<'_>) -> Verdict {
        let Some(table) = self.table() else { return Verdict::Stays };
        let epoch = self.epoch();
        let known =
            table.peek(table.hash(hash), |node| node.is(hash), |node| node.epoch.load(Relaxed));
        if epoch <= 1 || known.is_some_and(|(_, _, known)| known == epoch) {
            return Verdict::Stays;
        }
        let locked = table.lock();
        let entry = locked.find(table.hash(hash), hash);
        let known = entry.map_or(0, |entry| locked.record(entry).epoch.load(Relaxed));
        let folded = locked.words()[FOLDED].get().cast_unsigned();
        let mut verdict = match known != 0 && known < folded {
            true => Verdict::Gone,
            false => Verdict::Stays,
        };
        for record in purges(&locked) {
            let node = locked.record(record);
            let is_older = match known {
                0 => subject.date <= node.valid_sec.load(Relaxed).cast_signed(),
                known => known < node.epoch.load(Relaxed),
            };
            let target = Target::of_text(&locked.text(record));
            if is_older && target.is_some_and(|target| target.matches(subject)) {
                let is_soft = node.error.load(Relaxed) == 1;
                verdict = verdict.max(if is_soft { Verdict::Stale } else { Verdict::Gone });
            }
        }
        if verdict == Verdict::Stays
            && let Some(entry) = entry
        {
            locked.record(entry).epoch.store(epoch, Relaxed);
        }
        verdict
    }

    /// The response was found to be true by a request that began after so many purges.
    pub fn outlives(&self, key: &Hash, epoch: u64) {
        let Some(table) = self.table() else { return };
        let locked = table.lock();
        if let Some(entry) = locked.find(table.hash(key), key) {
            locked.record(entry).epoch.store(epoch, Relaxed);
        }
    }

    /// The purges that are remembered, the number of the last one, and whether there are any.
    pub fn purges(&self) -> (Vec<Purge>, u64) {
        let Some(table) = self.table() else { return (Vec::new(), 0) };
        let locked = table.lock();
        let list = purges(&locked).filter_map(|record| {
            let node = locked.record(record);
            Some(Purge {
                target: Target::of_text(&locked.text(record))?,
                is_soft: node.error.load(Relaxed) == 1,
                time: node.valid_sec.load(Relaxed).cast_signed(),
            })
        });
        (list.collect(), locked.words()[EPOCH].get().cast_unsigned())
    }

    /// Forgets the purges up to that number: nothing is left that they match.
    pub fn forget_purges(&self, epoch: u64) {
        let Some(table) = self.table() else { return };
        let locked = table.lock();
        let old: Vec<Cell> = purges(&locked)
            .filter(|record| locked.record(*record).epoch.load(Relaxed) <= epoch)
            .collect();
        old.into_iter().for_each(|record| locked.retire(record));
    }

    /// Whether files may be there that the index does not know.
    pub fn is_cold(&self) -> bool {
        self.table().is_some_and(|table| table.words()[IS_WARM].get() == 0)
    }

    pub fn set_warm(&self) {
        if let Some(table) = self.table() {
            let _locked = table.lock();
            table.words()[IS_WARM].set(1);
            table.words()[LOADER].set(0);
        }
    }

    /// Makes the caller the one who reads the folders of a cold cache; `false` where another does, or none has to.
    pub fn begin_loading(&self) -> bool {
        let Some(table) = self.table() else { return false };
        let _locked = table.lock();
        let holder = i32::try_from(table.words()[LOADER].get()).unwrap_or(0);
        let is_alive = rustix::process::Pid::from_raw(holder)
            .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
        if table.words()[IS_WARM].get() != 0 || is_alive {
            return false;
        }
        table.words()[LOADER].set(std::process::id().into());
        true
    }

    pub fn stop_loading(&self) {
        if let Some(table) = self.table() {
            let _locked = table.lock();
            table.words()[LOADER].set(0);
        }
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.table().map_or(0, |table| table.weight().max(0).cast_unsigned())
    }

    /// Entries, and how many of them are too many.
    pub fn count(&self) -> (usize, usize) {
        let Some(table) = self.table() else { return (0, usize::MAX) };
        let count = table.queue_len(QUEUE);
        let watermark = usize::try_from(table.words()[WATERMARK].get()).unwrap_or(0);
        (count, if watermark == 0 { usize::MAX } else { watermark })
    }

    /// Somebody asks for a key; `counts` where that is the first time for one request.
    pub fn touch(
        &self,
        key: &Hash,
        min_uses: usize,
        counts: bool,
        now: u64,
    ) -> (Known, Vec<Victim>) {
        let Some(table) = self.table() else { return (Known::Full, Vec::new()) };
        let hash = table.hash(key);
        if min_uses <= 1
            && let Some((_, _, known)) =
                table.peek(hash, |node| node.is(key), |node| node.known_since(now))
            && let Some(known) = known
        {
            return (known, Vec::new());
        }
        let locked = table.lock();
        let Some(entry) = locked.find(hash, key) else {
            let (entry, victims) = insert(&locked, hash, key, now);
            let known = if entry.is_some() { Known::New } else { Known::Full };
            return (known, victims);
        };
        let node = locked.record(entry);
        if counts {
            node.uses.store(node.uses.load(Relaxed).saturating_add(1), Relaxed);
        }
        node.used.store(now, Relaxed);
        locked.touch(entry);
        let error = node.error.load(Relaxed);
        if error != 0 && node.valid_sec.load(Relaxed) >= now {
            return (Known::Error(error as u16), Vec::new());
        }
        if error != 0 {
            locked.change(entry, Node::renew);
            return (Known::New, Vec::new());
        }
        let exists = node.exists.load(Relaxed) == 1;
        let is_wanted = node.uses.load(Relaxed) as usize >= min_uses;
        let known = match exists || is_wanted {
            true => node.asked(),
            false => Known::Scarce,
        };
        (known, Vec::new())
    }

    /// Where the entry of a key stands.
    pub fn locate(&self, key: &Hash) -> Option<Located> {
        let table = self.table()?;
        let found = table.peek(table.hash(key), |node| node.is(key), |_| ());
        found.map(|(entry, version, ())| Located { entry, version, key: *key })
    }

    /// Whether nothing of an entry has changed; that it was used is noted once a second.
    #[inline]
    pub fn is_current(&self, located: &Located, now: u64) -> bool {
        let Some(table) = self.table() else { return false };
        if table.version(located.entry) != located.version {
            return false;
        }
        if table.record(located.entry).used.load(Relaxed) != now {
            self.touch(&located.key, 1, false, now);
        }
        true
    }

    /// Counts something that happened so many times.
    #[inline]
    pub fn count_up(&self, count: Count, times: u64) {
        if let Some(table) = self.table() {
            table.words()[count.word()].tally(times.cast_signed());
        }
    }

    /// How often something happened since the zone was made.
    pub fn counted(&self, count: Count) -> u64 {
        self.table().map_or(0, |table| table.words()[count.word()].get().cast_unsigned())
    }

    /// Claims to fetch a response, where nobody does who lives. `age`: for how many milliseconds, where that claim ends
    /// by itself.
    pub fn claim(&self, key: &Hash, board: &Scoreboard, age: u64, now: u64) -> Claim {
        let Some(table) = self.table() else { return Claim::Mine(0) };
        let locked = table.lock();
        let hash = table.hash(key);
        let found = locked.find(hash, key);
        let Some(entry) = found.or_else(|| insert(&locked, hash, key, now).0) else {
            return Claim::Mine(0);
        };
        let node = locked.record(entry);
        if node.is_claimed(board) {
            return Claim::Others;
        }
        let until = monotonic() + age;
        locked.change(entry, |node| {
            node.owner.store(ME.load(Relaxed), Relaxed);
            node.until.store(until, Relaxed);
        });
        Claim::Mine(until)
    }

    /// Whether somebody fetches the response.
    pub fn is_claimed(&self, key: &Hash, board: &Scoreboard) -> bool {
        let Some(table) = self.table() else { return false };
        let look = |node: &Node| node.is_claimed(board);
        match table.peek(table.hash(key), |node| node.is(key), look) {
            Some((_, _, is_claimed)) => is_claimed,
            None => {
                let locked = table.lock();
                let entry = locked.find(table.hash(key), key);
                entry.is_some_and(|entry| locked.record(entry).is_claimed(board))
            }
        }
    }

    /// A file has got its name. What has to go for it is returned.
    pub fn publish(&self, key: &Hash, filed: Filed, most: u64, now: u64) -> Vec<Victim> {
        let Some(table) = self.table() else { return Vec::new() };
        let locked = table.lock();
        let hash = table.hash(key);
        let (entry, mut victims) = match locked.find(hash, key) {
            Some(entry) => (Some(entry), Vec::new()),
            None => insert(&locked, hash, key, now),
        };
        if let Some(entry) = entry {
            locked.change(entry, |node| {
                node.set_filed(filed);
                node.error.store(0, Relaxed);
                node.valid_sec.store(0, Relaxed);
                node.passes_until.store(0, Relaxed);
                node.owner.store(0, Relaxed);
            });
        }
        locked.words()[Count::Stored.word()].tally(1);
        locked.words()[Count::Written.word()].tally(filed.size.cast_signed());
        // A file that is too large by itself is the manager's business.
        let was_saved = locked.words()[IS_SAVED].get() == 1;
        locked.words()[IS_SAVED].set(0);
        let can_fit = filed.size <= most;
        while can_fit
            && locked.weight() > most.min(i64::MAX as u64).cast_signed()
            && victims.len() < VICTIMS
        {
            match oldest(&locked).filter(|oldest| Some(*oldest) != entry) {
                Some(oldest) => victims.push(retire(&locked, oldest)),
                None => break,
            }
        }
        drop(locked);
        if was_saved {
            saved::mark_incomplete(&self.folder);
        }
        victims
    }

    /// All entries with a file, from the one that was used longest ago. No lock is held meanwhile:
    /// what changes may be missing, or be there though it has gone.
    pub fn entries(&self) -> Vec<Entry> {
        let Some(table) = self.table() else { return Vec::new() };
        let count = table.queue_len(QUEUE);
        let mut entries = Vec::with_capacity(count);
        let last = u32::try_from(table.capacity()).unwrap_or(u32::MAX).saturating_add(64);
        for cell in (0..last).filter_map(|number| table.entry(number)) {
            if entries.len() >= count {
                break;
            }
            let key = table.record(cell).key();
            let take = |node: &Node| {
                let filed = Filed {
                    inode: node.inode.load(Relaxed),
                    size: node.size.load(Relaxed),
                    body_start: 0,
                    epoch: 0,
                };
                let used = node.used.load(Relaxed);
                (node.exists.load(Relaxed) == 1).then_some(Entry { key, used, filed })
            };
            // Cells of other kinds hold remains, which are not found by their hash.
            if let Some((found, _, Some(entry))) =
                table.peek(table.hash(&key), |node| node.is(&key), take)
                && found == cell
            {
                entries.push(entry);
            }
        }
        entries.sort_by_key(|entry| entry.used);
        entries
    }

    /// Whether nothing was stored since the index was saved as a whole.
    pub fn is_saved(&self) -> bool {
        self.table().is_some_and(|table| table.words()[IS_SAVED].get() == 1)
    }

    /// Whether what is saved now is all there is, until a response is stored.
    pub fn set_saved(&self, is_complete: bool) {
        if let Some(table) = self.table() {
            let locked = table.lock();
            locked.words()[IS_SAVED].set(is_complete.into());
        }
    }

    /// A file was found that the index did not know.
    pub fn add(&self, key: &Hash, filed: Filed, now: u64) -> bool {
        let Some(table) = self.table() else { return false };
        let locked = table.lock();
        let hash = table.hash(key);
        let found = locked.find(hash, key);
        if let Some(entry) = found
            && locked.record(entry).exists.load(Relaxed) == 1
        {
            return true;
        }
        let entry = match found {
            Some(entry) => Some(entry),
            None if locked.room() > 0 => insert(&locked, hash, key, now).0,
            None => {
                set_watermark(&locked);
                None
            }
        };
        if let Some(entry) = entry {
            locked.change(entry, |node| {
                node.set_filed(filed);
                node.uses.store(node.uses.load(Relaxed).max(1), Relaxed);
            });
        }
        entry.is_some()
    }

    /// What was claimed is fetched no more. An error may stand for the response.
    pub fn release(&self, key: &Hash, claim: Option<u64>, remains: Remains, keeps: bool) {
        let Some(table) = self.table() else { return };
        let locked = table.lock();
        let Some(entry) = locked.find(table.hash(key), key) else { return };
        locked.change(entry, |node| {
            let is_mine = claim.is_some_and(|until| node.until.load(Relaxed) == until)
                && node.owner.load(Relaxed) == ME.load(Relaxed);
            if is_mine {
                node.owner.store(0, Relaxed);
            }
            match remains {
                Remains::Nothing => {}
                Remains::Error(error, until) => {
                    node.error.store(error.into(), Relaxed);
                    node.valid_sec.store(until, Relaxed);
                }
                Remains::Passes(until) => node.passes_until.store(until, Relaxed),
                Remains::Failed(until) => {
                    if node.exists.load(Relaxed) == 1 && node.error.load(Relaxed) == 0 {
                        node.valid_sec.store(until, Relaxed);
                    }
                }
            }
        });
        let node = locked.record(entry);
        let is_empty = node.exists.load(Relaxed) == 0
            && node.error.load(Relaxed) == 0
            && node.owner.load(Relaxed) == 0
            && !matches!(remains, Remains::Passes(_));
        if is_empty && !keeps {
            locked.retire(entry);
        }
    }

    /// The file is gone, or no use.
    pub fn lose(&self, key: &Hash) {
        let Some(table) = self.table() else { return };
        let locked = table.lock();
        if let Some(entry) = locked.find(table.hash(key), key) {
            locked.change(entry, |node| node.exists.store(0, Relaxed));
        }
    }

    /// Takes the entry out that was used longest ago, where that is longer than `inactive`; else how many seconds it may
    /// still stay.
    pub fn expire(&self, now: u64) -> Result<Victim, u64> {
        let Some(table) = self.table() else { return Err(10) };
        let locked = table.lock();
        let Some(entry) = locked.oldest(QUEUE) else {
            return Err(self.inactive.as_secs().min(10));
        };
        let expires = locked.record(entry).used.load(Relaxed) + self.inactive.as_secs();
        if expires > now {
            return Err((expires - now).min(10));
        }
        let node = locked.record(entry);
        if node.owner.load(Relaxed) != 0 && node.until.load(Relaxed) > monotonic() {
            // It is being fetched.
            node.used.store(now, Relaxed);
            locked.touch(entry);
            return Err(1);
        }
        Ok(retire(&locked, entry))
    }

    /// Takes the entry out that was used longest ago and is not being fetched.
    pub fn force_out(&self) -> Option<Victim> {
        let locked = self.table()?.lock();
        let entry = oldest(&locked)?;
        Some(retire(&locked, entry))
    }

    /// Whether that there is no room has not been told within this second.
    pub fn may_complain(&self, now: u64) -> bool {
        let Some(table) = self.table() else { return false };
        let last = &table.words()[LAST_COMPLAINT];
        let is_new = last.get() != now.cast_signed();
        last.set(now.cast_signed());
        is_new
    }
}

/// The purges that a former server has left for this one, for whoever opens the table first.
fn recall_purges(table: &Table<Node>, folder: &Path) {
    let locked = table.lock();
    if locked.words()[EPOCH].get() == 0 {
        locked.words()[EPOCH].set(1);
        purge::load(folder).iter().for_each(|purge| add_purge(&locked, purge));
    }
}

/// Adds a purge, as the newest. They take a sixteenth of the zone at most.
fn add_purge(locked: &LockedTable<'_, Node>, purge: &Purge) {
    let text = purge.target.text();
    let hash = locked.hash(&text);
    if let Some(same) = locked.find(hash, &text) {
        locked.retire(same);
    }
    let most = (locked.capacity() / 16).max(4);
    let needed = locked.cells_for(text.len());
    while locked.queue_len(PURGES) >= most || locked.room() < needed {
        let victim = match locked.oldest(PURGES) {
            Some(record) if locked.queue_len(PURGES) >= most => {
                let number = locked.record(record).epoch.load(Relaxed);
                locked.words()[FOLDED].set(number.cast_signed());
                record
            }
            _ => match oldest(locked) {
                Some(entry) => entry,
                None => break,
            },
        };
        locked.retire(victim);
    }
    locked.words()[EPOCH].add(1);
    let epoch = locked.words()[EPOCH].get().cast_unsigned();
    let new = New { hash, text: &text, queue: PURGES, holder: None };
    let added = locked.insert(new, |node| {
        node.renew();
        node.uses.store(0, Relaxed);
        node.used.store(epoch, Relaxed);
        node.owner.store(0, Relaxed);
        node.until.store(0, Relaxed);
        node.epoch.store(epoch, Relaxed);
        node.valid_sec.store(purge.time.cast_unsigned(), Relaxed);
        node.error.store(purge.is_soft.into(), Relaxed);
    });
    if added.is_none() {
        locked.words()[FOLDED].set(epoch.cast_signed());
    }
}

fn purges<'l>(locked: &'l LockedTable<'_, Node>) -> impl Iterator<Item = Cell> + 'l {
    std::iter::successors(locked.oldest(PURGES), |record| locked.newer(*record))
}

/// A new entry, for which another may have to go where there is no room.
fn insert(
    locked: &LockedTable<'_, Node>,
    hash: u32,
    key: &Hash,
    now: u64,
) -> (Option<Cell>, Vec<Victim>) {
    let mut victims = Vec::new();
    if locked.room() == 0 {
        set_watermark(locked);
        if let Some(oldest) = oldest(locked) {
            victims.push(retire(locked, oldest));
        }
    }
    let new = New { hash, text: key, queue: QUEUE, holder: None };
    let entry = locked.insert(new, |node| {
        node.renew();
        node.uses.store(1, Relaxed);
        node.used.store(now, Relaxed);
        node.owner.store(0, Relaxed);
        node.until.store(0, Relaxed);
    });
    (entry, victims)
}

/// As nginx has it: a full index is to have an eighth of its entries free.
fn set_watermark(locked: &LockedTable<'_, Node>) {
    let count = locked.queue_len(QUEUE);
    locked.words()[WATERMARK].set((count - count / 8) as i64);
}

/// What goes first: the first that is not being fetched among those that were used longest ago.
fn oldest(locked: &LockedTable<'_, Node>) -> Option<Cell> {
    const LOOKED_AT: usize = 20;
    let now = monotonic();
    let entries =
        std::iter::successors(locked.oldest(QUEUE), |entry| locked.newer(*entry)).take(LOOKED_AT);
    let is_idle = |entry: &Cell| {
        let node = locked.record(*entry);
        node.owner.load(Relaxed) == 0 || node.until.load(Relaxed) <= now
    };
    entries.into_iter().find(is_idle)
}

fn retire(locked: &LockedTable<'_, Node>, entry: Cell) -> Victim {
    locked.words()[Count::Removed.word()].tally(1);
    let node = locked.record(entry);
    let key = node.key();
    let has_file = node.exists.load(Relaxed) == 1;
    locked.retire(entry);
    Victim { key, has_file }
}

impl Node {
    fn key(&self) -> Hash {
        std::array::from_fn(|place| self.key[place].load(Relaxed))
    }

    fn is(&self, key: &Hash) -> bool {
        self.key.iter().zip(key).all(|(place, byte)| place.load(Relaxed) == *byte)
    }

    /// What is known, where the last use need not be noted anew.
    fn known_since(&self, now: u64) -> Option<Known> {
        let is_plain = self.exists.load(Relaxed) == 1 && self.error.load(Relaxed) == 0;
        (is_plain && self.used.load(Relaxed) == now).then(|| self.asked())
    }

    fn asked(&self) -> Known {
        let (exists, now) = (self.exists.load(Relaxed) == 1, self.used.load(Relaxed));
        Known::Asked {
            exists,
            passes: self.passes_until.load(Relaxed) > now,
            rests: exists && self.valid_sec.load(Relaxed) > now,
        }
    }

    /// Forgets the response.
    fn renew(&self) {
        for number in [&self.exists, &self.error, &self.body_start] {
            number.store(0, Relaxed);
        }
        for number in [&self.valid_sec, &self.size, &self.inode, &self.passes_until, &self.epoch] {
            number.store(0, Relaxed);
        }
    }

    fn set_filed(&self, filed: Filed) {
        self.inode.store(filed.inode, Relaxed);
        self.size.store(filed.size, Relaxed);
        self.body_start.store(filed.body_start.into(), Relaxed);
        self.epoch.store(filed.epoch, Relaxed);
        self.exists.store(1, Relaxed);
    }

    /// Whether somebody who lives fetches it, and has not done so for too long.
    fn is_claimed(&self, board: &Scoreboard) -> bool {
        let Some(owner) = Owner::from_bits(self.owner.load(Relaxed)) else { return false };
        self.until.load(Relaxed) > monotonic() && board.is_alive(owner)
    }
}
