//! What goes on beside the requests: the manager, which keeps caches within their bounds, and the loader, which finds
//! out what is there after a start. Each is a process of its own.

use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use daemun_core::log;
use daemun_core::log::Log;

use super::filling::disk_size;
use super::format::{FileHead, HEAD, KEY_MARK};
use super::index::{Filed, Victim};
use super::key;
use super::place::{Pace, Place, Registry};

/// Waits for so long; `false` where the process is to end.
pub type Pause<'p> = &'p mut dyn FnMut(Duration) -> bool;

/// How long after its start the loader begins.
const LOADING_DELAY: Duration = Duration::from_secs(60);
/// How long the manager rests where there is nothing to do.
const REST: Duration = Duration::from_secs(10);
/// A file that was not whole when its writer ended has not been written to for so long.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Keeps the caches within their bounds until it is told to end.
pub fn manage(caches: &Registry, log: &Log, pause: Pause<'_>) {
    loop {
        let next = caches.places().map(|place| visit(place, log)).min().unwrap_or(REST);
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
    if !pause(LOADING_DELAY) {
        return;
    }
    for place in caches.places() {
        if !place.index.begin_loading() {
            continue;
        }
        let mut loading =
            Loading { place, log, pause, work: Work::begin(&place.loader), foreign: 0 };
        if !loading.walk(&place.folder, 0) {
            place.index.stop_loading();
            return;
        }
        let foreign = loading.foreign;
        place.index.set_warm();
        let path = place.folder.display();
        if foreign > 0 {
            log!(log, Warn, (), "\"{}\" has {} files that are not of the cache", path, foreign);
        }
        let megabytes = place.index.size() as f64 / (1024.0 * 1024.0);
        let size = format!("{megabytes:.3}");
        log!(log, Notice, (), "http file cache: {} {}M, bsize: 4096", path, size);
    }
}

struct Loading<'l, 'p> {
    place: &'l Place,
    log: &'l Log,
    pause: Pause<'p>,
    work: Work<'l>,
    /// Files that are not the cache's.
    foreign: u64,
}

impl Loading<'_, '_> {
    /// Reads a folder that is so deep within the cache; `false` where the process is to end.
    fn walk(&mut self, folder: &Path, depth: usize) -> bool {
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
                true if depth < self.place.levels.len() => self.walk(&entry.path(), depth + 1),
                // Others' folders.
                true => true,
                false => {
                    self.look_at(&entry);
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
        let goes_on = (self.pause)(self.place.loader.sleep);
        self.work = Work::begin(&self.place.loader);
        goes_on
    }

    fn look_at(&mut self, entry: &DirEntry) {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.as_encoded_bytes();
        let Ok(info) = entry.metadata() else { return };
        if let Some((name, number)) = name.split_at_checked(32)
            && is_temporary(number)
            && key::from_hex(name).is_some()
        {
            let now = SystemTime::now();
            let age = info.modified().ok().and_then(|modified| now.duration_since(modified).ok());
            if info.is_file() && age.is_some_and(|age| age > ABANDONED) {
                self.remove(&path);
            }
            return;
        }
        let hash = key::from_hex(name).filter(|hash| self.place.file(hash) == path);
        let (Some(hash), true, true) = (hash, info.is_file(), info.len() > HEAD as u64) else {
            self.foreign += 1;
            return;
        };
        use std::os::unix::fs::MetadataExt;
        let filed = Filed { inode: info.ino(), size: disk_size(&info), body_start: 0 };
        if !self.place.index.add(&hash, filed, seconds()) && is_cached(&path) {
            if self.place.index.may_complain(seconds()) {
                let name = self.place.index.name();
                log!(
                    self.log,
                    Alert,
                    (),
                    "could not allocate node in cache keys zone \"{}\"",
                    name
                );
            }
            self.remove(&path);
        }
    }

    fn remove(&self, path: &Path) {
        if let Err(error) = fs::remove_file(path) {
            log!(self.log, Crit, (), "unlink() \"{}\" failed", path.display(); error);
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
