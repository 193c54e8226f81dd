//! Logs whose paths have variables: opened for each turn, or kept open by `open_log_file_cache`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
    file: Option<File>,
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
    /// Lends the file at `path`. The outer error is that of opening it.
    pub fn with<R>(
        &mut self,
        path: &[u8],
        cache: Option<FileCache>,
        take: impl FnOnce(&File) -> R,
    ) -> io::Result<R> {
        let Some(cache) = cache else {
            return Ok(take(&open(path)?));
        };
        let now = daemun_event::now();
        self.close_inactive(now, cache.inactive);
        if self.0.get(path).is_none() {
            let entry = Entry {
                file: None,
                uses: 0,
                used: now,
                checked: now,
            };
            self.0.put(path.into(), entry);
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
        let result = take(&file);
        if entry.uses >= cache.min_uses {
            entry.file = Some(file);
        }
        while self.0.len() > cache.max {
            self.0.pop_lru();
        }
        Ok(result)
    }

    fn close_inactive(&mut self, now: Millis, inactive: Duration) {
        let limit = u128::from(now).saturating_sub(inactive.as_millis());
        while self
            .0
            .peek_lru()
            .is_some_and(|(_, entry)| u128::from(entry.used) < limit)
        {
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

fn open(path: &[u8]) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .open(as_path(path))
}
