//! What a thread remembers of files: small ones whole, open ones where `open_file_cache` asks for it.
//!
//! A copy is looked at by stat(2) after each request has come, one look for all that have come by then; an open file once
//! in `open_file_cache_valid`. A copy must never be stale, so it is kept only where it was read while the file stood
//! still, on a local file system, and the clock was past its times by more than their granularity; and it is read again
//! once a minute, for what changes a file without a trace, such as a mapping in memory.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use daemun_event::Millis;
use lru::LruCache;

use crate::core::files::{DisableSymlinks, OpenFileCache, SETTINGS};
use crate::date;
use crate::files::{self, FileInfo, Opened};
use crate::request::Request;
use crate::response::LastModified;
use crate::trace::Event;

/// A file as handlers see it: with its content, or open.
pub struct Known {
    pub info: FileInfo,
    pub modified: LastModified,
    pub etag: Bytes,
    content: Content,
}

/// Where a file's bytes come from.
#[derive(Clone)]
pub enum Content {
    Memory(Bytes),
    Open(Arc<File>),
}

impl Known {
    pub fn content(&self) -> &Content {
        &self.content
    }

    fn new(info: FileInfo, content: Content) -> Known {
        let etag = format!("\"{:x}-{:x}\"", info.modified, info.size);
        Known { info, modified: LastModified::new(info.modified), etag: etag.into(), content }
    }
}

/// Files longer than this are not kept in memory: sendfile(2) serves them better.
const LARGEST: u64 = 16 * 1024;

/// A copy is older than its file's last change by this much, or it is not kept: times are coarse.
const SETTLED: Duration = Duration::from_secs(2);

/// A copy is read again after this.
const REREAD: Millis = 60_000;

/// What identifies a state of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of_path(path: &[u8]) -> Option<Stamp> {
        let stat = rustix::fs::stat(path).ok()?;
        Some(Stamp {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).ok()?,
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        })
    }

    fn of_file(file: &File) -> io::Result<Stamp> {
        let metadata = file.metadata()?;
        Ok(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether the last change is long enough ago for another one to show in the times.
    fn is_settled(&self, now: SystemTime) -> bool {
        let before = date::seconds(now).saturating_sub(SETTLED.as_secs()) as i64;
        self.modified.0 < before && self.changed.0 < before
    }
}

struct Entry {
    result: Result<Rc<Known>, i32>,
    stamp: Option<Stamp>,
    /// When the path was last looked at, and when the content was read.
    checked: Millis,
    /// The reactor's moment of that look.
    moment: u64,
    read: Millis,
    used: Millis,
    uses: u32,
}

impl Entry {
    /// Bytes of content in memory.
    fn weight(&self) -> usize {
        match &self.result {
            Ok(known) => match &known.content {
                Content::Memory(bytes) => bytes.len() + 512,
                Content::Open(_) => 0,
            },
            Err(_) => 0,
        }
    }
}

struct Cache {
    entries: LruCache<Box<[u8]>, Entry, foldhash::fast::RandomState>,
    weight: usize,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(Cache {
        entries: LruCache::unbounded_with_hasher(foldhash::fast::RandomState::default()),
        weight: 0,
    });
}

/// Over how many threads or processes a `content_cache` is shared out.
static SHARES: AtomicUsize = AtomicUsize::new(1);

/// Shares `content_cache` out over so many, so that its bound holds for all of them together.
pub fn share_out(shares: usize) {
    SHARES.store(shares, Ordering::Relaxed);
}

/// Bytes of stored responses that a thread may keep in memory, by the request's settings: as many as of files.
pub fn memory_of(request: &Request) -> usize {
    share_of(*request.settings(&SETTINGS).content_cache)
}

fn share_of(bytes: usize) -> usize {
    match SHARES.load(Ordering::Relaxed) {
        0 | 1 => bytes,
        shares => bytes / shares,
    }
}

/// What the request's settings allow to remember.
struct Policy {
    /// Bytes of content, 0 for none.
    memory: usize,
    open: Option<OpenFileCache>,
    valid: Millis,
    min_uses: u32,
    errors: bool,
}

impl Policy {
    fn of(request: &Request) -> Policy {
        let settings = request.settings(&SETTINGS);
        let follows_links = *settings.disable_symlinks == DisableSymlinks::Off;
        // Where threads read files, none are remembered: the worker would have to read them first.
        let is_remembered = follows_links && !request.core().sending.aio.uses_threads();
        Policy {
            memory: if is_remembered { share_of(*settings.content_cache) } else { 0 },
            open: if follows_links { *settings.open_file_cache } else { None },
            valid: settings.open_file_cache_valid.as_millis() as Millis,
            min_uses: *settings.open_file_cache_min_uses,
            errors: *settings.open_file_cache_errors,
        }
    }
}

/// The file at `path`: remembered, or opened.
pub fn find(request: &mut Request, path: &[u8]) -> io::Result<Rc<Known>> {
    let found = remembered_or_opened(request, path);
    request.trace(|_| Event::File { path: path.to_vec(), exists: found.is_ok() });
    found
}

fn remembered_or_opened(request: &mut Request, path: &[u8]) -> io::Result<Rc<Known>> {
    let policy = Policy::of(request);
    if policy.memory == 0 && policy.open.is_none() {
        let Opened { file, info } = files::open(request, path)?;
        return Ok(Rc::new(Known::new(info, Content::Open(file))));
    }
    let remembered = CACHE.with_borrow_mut(|cache| cache.find(path, &policy));
    if let Some(result) = remembered {
        return result.map_err(io::Error::from_raw_os_error);
    }
    let opened = files::open(request, path);
    CACHE.with_borrow_mut(|cache| cache.learn(path, opened, &policy))
}

impl Cache {
    fn find(&mut self, path: &[u8], policy: &Policy) -> Option<Result<Rc<Known>, i32>> {
        let entry = self.entries.get_mut(path)?;
        let now = daemun_event::now();
        let is_whole =
            matches!(&entry.result, Ok(known) if matches!(known.content, Content::Memory(_)));
        let moment = daemun_event::moment();
        // An open descriptor shows what is written to its file, a copy does not.
        let trusted = entry.moment == moment
            || !is_whole
                && policy.open.is_some()
                && now.saturating_sub(entry.checked) < policy.valid;
        if is_whole && now.saturating_sub(entry.read) >= REREAD {
            return None;
        }
        if !trusted {
            if !(is_whole || policy.open.is_some()) || entry.stamp != Stamp::of_path(path) {
                return None;
            }
            entry.checked = now;
            entry.moment = moment;
        }
        entry.used = now;
        entry.uses = entry.uses.saturating_add(1);
        Some(entry.result.clone())
    }

    fn learn(
        &mut self,
        path: &[u8],
        opened: io::Result<Opened>,
        policy: &Policy,
    ) -> io::Result<Rc<Known>> {
        let uses = self.forget(path) + 1;
        let now = daemun_event::now();
        let mut entry = Entry {
            result: Err(0),
            stamp: None,
            checked: now,
            moment: daemun_event::moment(),
            read: now,
            used: now,
            uses,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if let Some(code) =
                    error.raw_os_error().filter(|_| policy.open.is_some() && policy.errors)
                {
                    entry.result = Err(code);
                    self.keep(path, entry, policy);
                }
                return Err(error);
            }
        };
        let copy = copy_of(&opened, policy);
        let is_whole = copy.is_some();
        let (content, stamp) = match copy {
            Some((bytes, stamp)) => (Content::Memory(bytes), Some(stamp)),
            None => (Content::Open(Arc::clone(&opened.file)), Stamp::of_file(&opened.file).ok()),
        };
        let known = Rc::new(Known::new(opened.info, content));
        if is_whole || (policy.open.is_some() && uses >= policy.min_uses) {
            entry.result = Ok(Rc::clone(&known));
            entry.stamp = stamp;
            self.keep(path, entry, policy);
        }
        Ok(known)
    }

    /// Drops what is remembered of a path; how often it was used.
    fn forget(&mut self, path: &[u8]) -> u32 {
        let Some(entry) = self.entries.pop(path) else {
            return 0;
        };
        self.weight -= entry.weight();
        entry.uses
    }

    fn keep(&mut self, path: &[u8], entry: Entry, policy: &Policy) {
        self.weight += entry.weight();
        let now = entry.used;
        self.entries.put(path.into(), entry);
        let most = policy.open.map_or(usize::MAX, |open| open.max);
        while self.weight > policy.memory || self.entries.len() > most {
            self.drop_oldest();
        }
        let inactive = policy.open.map_or(u64::MAX, |open| open.inactive.as_millis() as u64);
        while self
            .entries
            .peek_lru()
            .is_some_and(|(_, oldest)| now.saturating_sub(oldest.used) > inactive)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, entry)) = self.entries.pop_lru() {
            self.weight -= entry.weight();
        }
    }
}

/// The content of a small file, if it may be kept.
fn copy_of(opened: &Opened, policy: &Policy) -> Option<(Bytes, Stamp)> {
    let Opened { file, info } = opened;
    if !info.is_file || info.size > LARGEST || info.size as usize + 512 > policy.memory {
        return None;
    }
    let before = Stamp::of_file(file).ok()?;
    if !before.is_settled(SystemTime::now()) || !is_local(file) {
        return None;
    }
    let mut content = vec![0; info.size as usize];
    file.read_exact_at(&mut content, 0).ok()?;
    let after = Stamp::of_file(file).ok()?;
    (before == after && after.size == info.size).then(|| (content.into(), after))
}

/// Whether the file system is one whose times can be trusted: another machine does not change it.
fn is_local(file: &File) -> bool {
    const EXT: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const F2FS: u64 = 0xf2f5_2010;
    const TMPFS: u64 = 0x0102_1994;
    const OVERLAY: u64 = 0x794c_7630;
    const ZFS: u64 = 0x2fc1_2fc1;
    rustix::fs::fstatfs(file).is_ok_and(|fs| {
        matches!(fs.f_type as u64, EXT | XFS | BTRFS | F2FS | TMPFS | OVERLAY | ZFS)
    })
}
