//! Logs whose paths have variables: opened for each turn, or kept open by `open_log_file_cache`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::rc::Rc;
use std::time::Duration;

use daemun_event::Millis;
use daemun_http::files::as_path;
use foldhash::fast::RandomState;
use lru::LruCache;

/// `open_log_file_cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileCache {
    pub max: usize,
    /// What was not used for so long is closed.
    pub inactive: Duration,
    /// After so long the path is looked at again: it may lead to another file.
    pub valid: Duration,
    /// How often a file is used before it stays open.
    pub min_uses: usize,
}

struct Entry {
    /// `None` for one that was not used often enough.
    file: Option<Rc<File>>,
    uses: usize,
    used: Millis,
    checked: Millis,
}

/// The files that a thread keeps open, the one used last in front.
pub(super) struct OpenPaths(LruCache<Box<[u8]>, Entry, RandomState>);

impl Default for OpenPaths {
    fn default() -> OpenPaths {
        OpenPaths(LruCache::unbounded_with_hasher(RandomState::default()))
    }
}

impl OpenPaths {
    /// The file at `path`, open for appending.
    pub fn file(&mut self, path: &[u8], cache: Option<FileCache>) -> io::Result<Rc<File>> {
        let Some(cache) = cache else {
            return open(path);
        };
        let now = daemun_event::now();
        self.close_inactive(now, cache.inactive);
        if self.0.get(path).is_none() {
            let file = Some(open(path)?);
            let entry = Entry { file, uses: 0, used: now, checked: now };
            self.0.put(path.into(), entry);
            self.close_beyond(cache.max);
        }
        let entry = self.0.get_mut(path).expect("an entry that was just made");
        entry.uses += 1;
        entry.used = now;
        let file = match entry.file.take() {
            Some(file) if entry.is_trusted(&file, path, now, cache.valid) => file,
            _ => {
                entry.checked = now;
                open(path)?
            }
        };
        if entry.uses >= cache.min_uses {
            entry.file = Some(Rc::clone(&file));
        }
        Ok(file)
    }

    fn close_beyond(&mut self, max: usize) {
        while self.0.len() > max {
            self.0.pop_lru();
        }
    }

    fn close_inactive(&mut self, now: Millis, inactive: Duration) {
        let limit = u128::from(now).saturating_sub(inactive.as_millis());
        while self.0.peek_lru().is_some_and(|(_, entry)| u128::from(entry.used) < limit) {
            self.0.pop_lru();
        }
    }
}

impl Entry {
    fn is_trusted(&mut self, file: &File, path: &[u8], now: Millis, valid: Duration) -> bool {
        if u128::from(now - self.checked) < valid.as_millis() {
            return true;
        }
        self.checked = now;
        match (file.metadata(), std::fs::metadata(as_path(path))) {
            (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}

fn open(path: &[u8]) -> io::Result<Rc<File>> {
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(0o644).open(as_path(path))?;
    Ok(Rc::new(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE: FileCache = FileCache {
        max: 2,
        inactive: Duration::from_secs(10),
        valid: Duration::from_secs(60),
        min_uses: 2,
    };

    /// Asks for each file in turn and tells which of the files are open after that.
    fn open_after(folder: &str, uses: &[&str]) -> Vec<String> {
        let folder = std::env::temp_dir().join(format!("{folder}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut paths = OpenPaths::default();
        let reactor = daemun_event::Reactor::open(None).unwrap();
        for name in uses {
            let path = folder.join(name);
            let file = paths.file(path.as_os_str().as_encoded_bytes(), Some(CACHE));
            assert_eq!(file.is_err(), name.contains('/'), "{name}");
        }
        drop(reactor);
        std::fs::remove_dir_all(&folder).unwrap();
        let open = paths.0.iter().filter(|(_, entry)| entry.file.is_some());
        let names =
            open.map(|(path, _)| as_path(path).file_name().unwrap().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_used_often_stays_open() {
        assert_eq!(open_after("often", &["a", "a", "b"]), ["a"]);
        assert_eq!(open_after("few", &["a", "a", "b", "b", "c", "c"]), ["b", "c"]);
    }

    #[test]
    fn what_cannot_be_opened_takes_no_place() {
        assert_eq!(open_after("failing", &["a", "a", "b", "b", "no/c", "no/d"]), ["a", "b"]);
    }
}
