//! Lines that wait to be written: until the turn of the event loop ends, or until a buffer is full.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use daemun_core::log;
use daemun_core::log::{Log, OpenFile};
use daemun_http::files::as_path;
use daemun_sys::clock;
use flate2::Compression;
use flate2::write::GzEncoder;
use foldhash::fast::RandomState;

use super::paths::{FileCache, OpenPaths};

/// `buffer=`, `flush=` and `gzip=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Buffering {
    pub size: usize,
    pub flush: Option<Duration>,
    /// 1 (fast) to 9 (small).
    pub gzip: Option<u32>,
}

/// A file that logs name, with the buffer that all of them share.
pub(super) struct LogFile {
    file: Arc<OpenFile>,
    buffering: OnceLock<Buffering>,
}

impl LogFile {
    pub fn new(file: Arc<OpenFile>) -> LogFile {
        LogFile { file, buffering: OnceLock::new() }
    }

    pub fn is(&self, file: &Arc<OpenFile>) -> bool {
        Arc::ptr_eq(&self.file, file)
    }

    /// Asks for a buffer; `false` where there is another one already.
    pub fn buffer(&self, buffering: Buffering) -> bool {
        *self.buffering.get_or_init(|| buffering.clone()) == buffering
    }
}

/// More than this does not wait for the end of the turn.
const ENOUGH: usize = 64 * 1024;

/// A complaint about a file is repeated after this many seconds.
const REPEAT: i64 = 60;

/// The lines of one file.
struct Lines {
    file: Arc<LogFile>,
    bytes: Vec<u8>,
    /// A timer will flush the buffer.
    is_timed: bool,
    complaints: Complaints,
}

/// The lines of a path with variables.
struct PathLines {
    file: Rc<File>,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Pending {
    /// By the file's address, which [`Lines`] keeps from being used again.
    files: HashMap<usize, Lines, RandomState>,
    /// What the end of the turn has to write.
    due: Vec<usize>,
    paths: HashMap<Box<[u8]>, PathLines, RandomState>,
    open_paths: OpenPaths,
    path_complaints: Complaints,
    is_hooked: bool,
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::default();
}

/// Adds a line to a file.
pub(super) fn append(file: &Arc<LogFile>, write: impl FnOnce(&mut Vec<u8>)) {
    PENDING.with_borrow_mut(|pending| {
        pending.hook();
        let key = Arc::as_ptr(file).addr();
        let lines = pending.files.entry(key).or_insert_with(|| Lines::new(file));
        let start = lines.bytes.len();
        write(&mut lines.bytes);
        lines.bytes.push(b'\n');
        if file.buffering.get().is_some() {
            lines.keep_within_buffer(start, key);
        } else if lines.bytes.len() >= ENOUGH {
            lines.write_all();
        } else if start == 0 {
            pending.due.push(key);
        }
    });
}

/// Adds a line to the file at a path. The error is that of opening it.
pub(super) fn append_to_path(
    path: &[u8],
    cache: Option<FileCache>,
    write: impl FnOnce(&mut Vec<u8>),
) -> io::Result<()> {
    PENDING.with_borrow_mut(|pending| {
        pending.hook();
        if !pending.paths.contains_key(path) {
            let file = pending.open_paths.file(path, cache)?;
            let bytes = Vec::new();
            pending.paths.insert(path.into(), PathLines { file, bytes });
        }
        if let Some(lines) = pending.paths.get_mut(path) {
            write(&mut lines.bytes);
            lines.bytes.push(b'\n');
        }
        Ok(())
    })
}

/// Writes everything that waits on this thread, buffers included: before files are reopened, and at the end.
pub fn flush() {
    PENDING.with_borrow_mut(|pending| {
        pending.write_due();
        pending.files.values_mut().for_each(Lines::write_all);
    });
}

impl Pending {
    /// Asks the thread's reactor, once, to be called at the end of its turns.
    fn hook(&mut self) {
        if self.is_hooked {
            return;
        }
        self.is_hooked = true;
        let last = FlushAtEnd;
        daemun_event::at_turn_end(move || {
            let _ = &last;
            PENDING.with_borrow_mut(Pending::write_due);
        });
    }

    fn write_due(&mut self) {
        for key in self.due.drain(..) {
            if let Some(lines) = self.files.get_mut(&key) {
                lines.write_all();
            }
        }
        for (path, lines) in self.paths.drain() {
            let written = (&*lines.file).write(&lines.bytes);
            self.path_complaints.check(as_path(&path), written, lines.bytes.len());
        }
    }
}

/// Lives as long as the reactor that writes the lines.
struct FlushAtEnd;

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        // At the thread's end there may be nothing left to flush.
        let _ = PENDING.try_with(|pending| {
            let mut pending = pending.borrow_mut();
            pending.write_due();
            pending.files.values_mut().for_each(Lines::write_all);
            pending.is_hooked = false;
        });
    }
}

impl Lines {
    fn new(file: &Arc<LogFile>) -> Lines {
        Lines {
            file: Arc::clone(file),
            bytes: Vec::new(),
            is_timed: false,
            complaints: Complaints::default(),
        }
    }

    /// Writes what was there before the line that begins at `start` if both do not fit, and the line itself if it is
    /// longer than the buffer.
    fn keep_within_buffer(&mut self, start: usize, key: usize) {
        let Some(buffering) = self.file.buffering.get() else {
            return;
        };
        let (size, flush) = (buffering.size, buffering.flush);
        if self.bytes.len() > size {
            self.write_first(start);
        }
        if self.bytes.len() > size {
            self.write_all();
        }
        if let Some(delay) = flush
            && !self.bytes.is_empty()
            && !self.is_timed
        {
            self.is_timed = true;
            daemun_event::spawn(flush_later(key, delay));
        }
    }

    fn write_all(&mut self) {
        self.write_first(self.bytes.len());
    }

    fn write_first(&mut self, length: usize) {
        if length == 0 {
            return;
        }
        let bytes = &self.bytes[..length];
        let file = &self.file.file;
        let gzip = self.file.buffering.get().and_then(|buffering| buffering.gzip);
        let (result, length_written) = match gzip {
            None => (file.append_some(bytes), length),
            Some(level) => match compress(bytes, level) {
                Ok(member) => (file.append_some(&member), member.len()),
                Err(error) => (Err(error), length),
            },
        };
        self.complaints.check(file.path(), result, length_written);
        self.bytes.drain(..length);
    }
}

async fn flush_later(key: usize, delay: Duration) {
    daemun_event::sleep(delay).await;
    PENDING.with_borrow_mut(|pending| {
        if let Some(lines) = pending.files.get_mut(&key) {
            lines.is_timed = false;
            lines.write_all();
        }
    });
}

/// A gzip member of its own.
fn compress(bytes: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// When a file was complained about last: a full disk does not fill the error log too.
#[derive(Default)]
struct Complaints {
    last: i64,
}

impl Complaints {
    fn check(&mut self, path: &Path, result: io::Result<usize>, length: usize) {
        if matches!(result, Ok(written) if written == length) {
            return;
        }
        let now = clock::now();
        if now - self.last < REPEAT {
            return;
        }
        self.last = now;
        let (log, path) = (Log::current(), path.display());
        match result {
            Ok(written) => {
                log!(
                    log,
                    Alert,
                    (),
                    "write() to \"{}\" was incomplete: {} of {}",
                    path,
                    written,
                    length
                );
            }
            Err(error) => log!(log, Alert, (), "write() to \"{}\" failed", path; error),
        }
    }
}
