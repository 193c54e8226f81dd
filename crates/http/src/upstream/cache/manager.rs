//! What goes on beside the requests: the manager, which keeps caches within their bounds, and the loader, which finds
//! out what is there after a start. Each is a process of its own.

use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use daemun_core::log;
use daemun_core::log::Log;

use super::filling::disk_size;
use super::format::{FileHead, HEAD, KEY_MARK, VALID_AT};
use super::index::{Filed, Victim};
use super::key::{self, Hash};
use super::place::{Pace, Place, Registry};
use super::{purge, saved};

/// Waits for so long; `false` where the process is to end.
pub type Pause<'p> = &'p mut dyn FnMut(Duration) -> bool;

/// How long after its start the loader begins.
const LOADING_DELAY: Duration = Duration::from_secs(60);
/// How long the manager rests where there is nothing to do.
const REST: Duration = Duration::from_secs(10);
/// A file that was not whole when its writer ended has not been written to for so long.
const ABANDONED: Duration = Duration::from_secs(3600);

/// How often the index is saved, for a start after a crash.
const SAVING: Duration = Duration::from_secs(300);

/// Keeps the caches within their bounds until it is told to end, and saves their indices then.
pub fn manage(caches: &Registry, log: &Log, pause: Pause<'_>) {
    keep(caches, log, pause);
    caches.places().for_each(|place| save(place, log, true));
}

fn save(place: &Place, log: &Log, is_end: bool) {
    if let Err(error) = saved::save(place, is_end)
        // Nothing has been stored yet.
        && error.kind() != io::ErrorKind::NotFound
    {
        let path = place.folder.display();
        log!(log, Crit, (), "the index of \"{}\" could not be saved", path; error);
    }
}

fn keep(caches: &Registry, log: &Log, pause: Pause<'_>) {
    let mut saved = Instant::now();
    loop {
        if saved.elapsed() > SAVING {
            caches.places().for_each(|place| save(place, log, false));
            saved = Instant::now();
        }
        let next = caches.places().map(|place| visit(place, log)).min().unwrap_or(REST);
        for place in caches.places() {
            let mut rest = |time| {
                for place in caches.places() {
                    visit(place, log);
                }
                pause(time)
            };
            if !sweep(place, log, &mut rest) {
                return;
            }
        }
        if !pause(next.max(Duration::from_millis(1))) {
            return;
        }
    }
}

/// Removes what is too much; how long it may be until the next visit.
fn visit(place: &Place, log: &Log) -> Duration {
    let mut work = Work::begin(&place.manager);
    let rest = loop {
        match place.index.expire(seconds()) {
            Ok(victim) => remove(place, victim, log),
            Err(seconds) => break Duration::from_secs(seconds.max(1)),
        }
        if work.is_enough() {
            return place.manager.sleep;
        }
    };
    while has_too_much(place) {
        match place.index.force_out() {
            Some(victim) => remove(place, victim, log),
            None => return REST,
        }
        if work.is_enough() {
            return place.manager.sleep;
        }
    }
    rest.min(REST)
}

fn has_too_much(place: &Place) -> bool {
    let (count, most) = place.index.count();
    let lacks_room =
        || place.min_free > 0 && place.free().is_some_and(|free| free <= place.min_free);
    place.index.size() >= place.max_size || count >= most || lacks_room()
}

fn remove(place: &Place, victim: Victim, log: &Log) {
    if !victim.has_file {
        return;
    }
    let path = place.file(&victim.key);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log!(log, Crit, (), "unlink() \"{}\" failed", path.display(); error);
        }
        // Whoever looks after a cache may have removed it.
        _ => {}
    }
}

/// What is done between two pauses.
struct Work<'p> {
    pace: &'p Pace,
    files: usize,
    since: Instant,
}

impl<'p> Work<'p> {
    fn begin(pace: &'p Pace) -> Work<'p> {
        Work { pace, files: 0, since: Instant::now() }
    }

    /// Counts another file.
    fn is_enough(&mut self) -> bool {
        self.files += 1;
        self.files >= self.pace.files || self.since.elapsed() >= self.pace.threshold
    }
}

/// Reads the folders of caches whose files nobody knows.
pub fn load(caches: &Registry, log: &Log, pause: Pause<'_>) {
    caches.places().for_each(|place| restore(place, log));
    if !pause(LOADING_DELAY) {
        return;
    }
    for place in caches.places() {
        if !place.index.begin_loading() {
            continue;
        }
        let (pace, mut foreign) = (&place.loader, 0u64);
        let mut walk = Walk { place, log, pace, pause: &mut *pause, work: Work::begin(pace) };
        let mut look = |entry: &DirEntry| foreign += u64::from(!take(place, log, entry));
        if !walk.walk(&place.folder, 0, &mut look) {
            place.index.stop_loading();
            return;
        }
        place.index.set_warm();
        let path = place.folder.display();
        if foreign > 0 {
            log!(log, Warn, (), "\"{}\" has {} files that are not of the cache", path, foreign);
        }
        tell_size(place, log);
    }
}

/// Takes up what was saved of a cache's index.
fn restore(place: &Place, log: &Log) {
    if !place.index.begin_loading() {
        return;
    }
    match saved::restore(place) {
        Ok(true) => {
            place.index.set_warm();
            tell_size(place, log);
        }
        Ok(false) => place.index.stop_loading(),
        Err(error) => {
            place.index.stop_loading();
            let path = place.folder.display();
            log!(log, Warn, (), "the saved index of \"{}\" cannot be read", path; error);
        }
    }
}

fn tell_size(place: &Place, log: &Log) {
    let megabytes = place.index.size() as f64 / (1024.0 * 1024.0);
    let (path, size) = (place.folder.display(), format!("{megabytes:.3}"));
    log!(log, Notice, (), "http file cache: {} {}M, bsize: 4096", path, size);
}

/// Goes through a cache's folders, at a pace.
struct Walk<'w, 'p> {
    place: &'w Place,
    log: &'w Log,
    pace: &'w Pace,
    pause: Pause<'p>,
    work: Work<'w>,
}

impl Walk<'_, '_> {
    /// Reads a folder that is so deep within the cache; `false` where the process is to end.
    fn walk(&mut self, folder: &Path, depth: usize, look: &mut dyn FnMut(&DirEntry)) -> bool {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                let path = folder.display();
                log!(self.log, Crit, (), "opendir() \"{}\" failed", path; error);
                return true;
            }
        };
        for entry in entries.flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let goes_on = match is_folder {
                true if depth < self.place.levels.len() => {
                    self.walk(&entry.path(), depth + 1, look)
                }
                // Others' folders.
                true => true,
                false => {
                    look(&entry);
                    !self.work.is_enough() || self.rest()
                }
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    fn rest(&mut self) -> bool {
        let goes_on = (self.pause)(self.pace.sleep);
        self.work = Work::begin(self.pace);
        goes_on
    }
}

/// Takes a file into the index; `false` where it is none of the cache's.
fn take(place: &Place, log: &Log, entry: &DirEntry) -> bool {
    let (path, name) = (entry.path(), entry.file_name());
    let name = name.as_encoded_bytes();
    let Ok(info) = entry.metadata() else { return true };
    if purge::is_own(name) || name.starts_with(saved::FILE.as_bytes()) {
        return true;
    }
    if let Some((name, number)) = name.split_at_checked(32)
        && is_temporary(number)
        && key::from_hex(name).is_some()
    {
        let now = SystemTime::now();
        let age = info.modified().ok().and_then(|modified| now.duration_since(modified).ok());
        if info.is_file() && age.is_some_and(|age| age > ABANDONED) {
            remove_file(&path, log);
        }
        return true;
    }
    let hash = key::from_hex(name).filter(|hash| place.file(hash) == path);
    let (Some(hash), true, true) = (hash, info.is_file(), info.len() > HEAD as u64) else {
        return false;
    };
    let (inode, size) = (info.ino(), disk_size(&info));
    let filed = Filed { inode, size, body_start: 0, epoch: 0 };
    if !place.index.add(&hash, filed, seconds()) && is_cached(&path) {
        if place.index.may_complain(seconds()) {
            let name = place.index.name();
            log!(log, Alert, (), "could not allocate node in cache keys zone \"{}\"", name);
        }
        remove_file(&path, log);
    }
    true
}

fn remove_file(path: &Path, log: &Log) {
    if let Err(error) = fs::remove_file(path) {
        log!(log, Crit, (), "unlink() \"{}\" failed", path.display(); error);
    }
}

// === Purges ===

/// Goes through the files of a cache for what was purged, and forgets the purges; `false` where the process is to end.
fn sweep(place: &Place, log: &Log, pause: Pause<'_>) -> bool {
    let (purges, epoch) = place.index.purges();
    if purges.is_empty() {
        return true;
    }
    let pace = &place.manager;
    let mut walk = Walk { place, log, pace, pause, work: Work::begin(pace) };
    let mut look = |entry: &DirEntry| {
        let name = entry.file_name();
        let hash = key::from_hex(name.as_encoded_bytes());
        if let Some(hash) = hash.filter(|hash| place.file(hash) == entry.path()) {
            judge(place, log, &hash, &entry.path());
        }
    };
    if !walk.walk(&place.folder, 0, &mut look) {
        return false;
    }
    place.index.forget_purges(epoch);
    let (left, _) = place.index.purges();
    if let Err(error) = purge::store(&place.folder, &left)
        && error.kind() != io::ErrorKind::NotFound
    {
        let path = place.folder.display();
        log!(log, Crit, (), "purges could not be kept in \"{}\"", path; error);
    }
    true
}

/// Removes a file that was purged, and ends the life of one that was made stale.
fn judge(place: &Place, log: &Log, hash: &Hash, path: &Path) {
    const MOST: usize = 64 * 1024;
    let Ok(file) = File::options().read(true).write(true).open(path) else { return };
    let mut bytes = vec![0; MOST];
    let Ok(read) = file.read_at(&mut bytes, 0) else { return };
    let Ok(head) = FileHead::read(&bytes[..read]) else { return };
    let (start, end) = (usize::from(head.header_start), usize::from(head.body_start));
    let key = bytes.get(HEAD + KEY_MARK.len()..start.saturating_sub(1));
    let (Some(key), Some(own)) = (key, bytes[..read].get(start..end)) else { return };
    let main = purge::main_of(key);
    let subject = purge::Subject { key, main: &main, head: own, date: head.date };
    match place.index.judge(hash, &subject) {
        purge::Verdict::Stays => {}
        purge::Verdict::Gone => {
            place.index.lose(hash);
            remove_file(path, log);
        }
        purge::Verdict::Stale => {
            let valid = head.valid_sec.min(head.date - 1);
            if let Err(error) = file.write_all_at(&valid.to_le_bytes(), VALID_AT) {
                log!(log, Crit, (), "writing to \"{}\" failed", path.display(); error);
            }
        }
    }
}

/// `.0123456789` behind the name that a file will have.
fn is_temporary(end: &[u8]) -> bool {
    end.len() == 11 && end[0] == b'.' && end[1..].iter().all(u8::is_ascii_digit)
}

/// Whether a file is one of a cache, by what stands in it.
fn is_cached(path: &Path) -> bool {
    let mut bytes = [0; HEAD + KEY_MARK.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.is_ok() && FileHead::read(&bytes).is_ok() && bytes[HEAD..] == *KEY_MARK
}

/// Since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs())
}
