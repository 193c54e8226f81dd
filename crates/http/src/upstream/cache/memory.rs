//! Short responses that this thread has served from the cache: kept in memory, head and body.
//!
//! One is valid while its entry in the index is the same as when it was read, and its file as well, which stat(2) tells
//! once a moment: so whoever removes a file by hand sees that at once. No lock is taken, and nothing is opened or read.

use std::cell::{Cell, RefCell};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::rc::Rc;

use lru::LruCache;

use super::super::head::Head;
use super::caching::Stored;
use super::index::Located;
use super::place::Place;
use crate::file_cache;
use crate::request::Request;

/// Files longer than this are not kept: sendfile(2) serves them better.
pub const LARGEST: u64 = 16 * 1024;

/// A response as it was read.
pub struct Remembered {
    pub stored: Stored,
    /// The upstream's head, read by its protocol.
    pub head: Head,
    path: PathBuf,
    stamp: Stamp,
    located: Located,
    /// Purges that it has outlived.
    epoch: u64,
    /// The moment in which the file was looked at last.
    looked_at: Cell<u64>,
}

/// What identifies a state of a file.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub fn of(info: &Metadata) -> Stamp {
        let modified = (info.mtime(), info.mtime_nsec());
        Stamp { device: info.dev(), inode: info.ino(), size: info.len(), modified }
    }

    fn of_path(path: &std::path::Path) -> Option<Stamp> {
        let stat = rustix::fs::stat(path).ok()?;
        Some(Stamp {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).ok()?,
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
        })
    }
}

/// A cache, by its place in memory, and a key in it.
type Name = (usize, Box<[u8]>);

struct Memory {
    responses: LruCache<Name, Rc<Remembered>, foldhash::fast::RandomState>,
    bytes: usize,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::new(Memory {
        responses: LruCache::unbounded_with_hasher(foldhash::fast::RandomState::default()),
        bytes: 0,
    });
}

fn name(place: &'static Place, key: &[u8]) -> Name {
    (std::ptr::from_ref(place).addr(), key.into())
}

/// A response that is still fresh and still the cache's.
pub fn find(place: &'static Place, key: &[u8], now: i64) -> Option<Rc<Remembered>> {
    let found = MEMORY.with_borrow_mut(|memory| {
        (!memory.responses.is_empty()).then(|| memory.responses.get(&name(place, key)).cloned())
    });
    let found = found.flatten()?;
    let moment = daemun_event::moment();
    let is_valid = found.stored.head.valid_sec >= now
        && found.epoch == place.index.epoch()
        && place.index.is_current(&found.located, now.cast_unsigned())
        && (found.looked_at.get() == moment || Stamp::of_path(&found.path) == Some(found.stamp));
    if !is_valid {
        forget(place, key);
        return None;
    }
    found.looked_at.set(moment);
    Some(found)
}

/// Keeps a response that was read whole, as far as there is room.
pub fn keep(
    request: &Request,
    place: &'static Place,
    key: &[u8],
    stored: &Stored,
    located: Located,
    epoch: u64,
    path: PathBuf,
) {
    let most = file_cache::memory_of(request);
    let size = stored.bytes.len() + key.len() + 512;
    let is_whole = stored.bytes.len() as u64 == stored.length;
    // What may be another variant is looked for by its hash.
    if most < size || !is_whole || !stored.head.vary.is_empty() {
        return;
    }
    let Some(record) = &request.upstream else { return };
    let remembered = Remembered {
        stored: Stored { file: None, ..stored.clone() },
        head: record.head.clone(),
        path,
        stamp: stored.stamp,
        located,
        epoch,
        looked_at: Cell::new(daemun_event::moment()),
    };
    MEMORY.with_borrow_mut(|memory| {
        let former = memory.responses.put(name(place, key), Rc::new(remembered));
        memory.bytes += size;
        memory.bytes -= former.map_or(0, |former| former.stored.bytes.len() + key.len() + 512);
        while memory.bytes > most
            && let Some(((_, key), oldest)) = memory.responses.pop_lru()
        {
            memory.bytes -= oldest.stored.bytes.len() + key.len() + 512;
        }
    });
}

fn forget(place: &'static Place, key: &[u8]) {
    MEMORY.with_borrow_mut(|memory| {
        if let Some(former) = memory.responses.pop(&name(place, key)) {
            memory.bytes -= former.stored.bytes.len() + key.len() + 512;
        }
    });
}
