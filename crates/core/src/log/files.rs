//! Log files: each path opened once for a configuration, shared by error and access logs, reopened
//! as one.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use daemun_sys::trusted::{self, How};
use daemun_sys::{clock, descriptor};

use super::Log;
use crate::log;

/// A file that is only ever appended to. It has a path from the start and a descriptor once
/// [`OpenFiles::open`] ran.
#[derive(Debug)]
pub struct OpenFile {
    path: PathBuf,
    file: OnceLock<File>,
    /// The second in which the disk was found full: nothing more is tried within it.
    full_at: AtomicI64,
}

impl OpenFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor, which keeps its number when the file is reopened.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.get().map(AsFd::as_fd)
    }

    /// Appends in one write(2), or fails. A full disk is left alone for the rest of the second.
    pub fn append(&self, bytes: &[u8]) -> io::Result<()> {
        match self.append_some(bytes)? {
            length if length < bytes.len() => Err(io::ErrorKind::WriteZero.into()),
            _ => Ok(()),
        }
    }

    /// As [`OpenFile::append`]; the number of bytes that were taken.
    pub fn append_some(&self, bytes: &[u8]) -> io::Result<usize> {
        let Some(mut file) = self.file.get() else {
            return Ok(bytes.len());
        };
        if self.full_at.load(Ordering::Relaxed) == clock::now() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = io::Write::write(&mut file, bytes);
        if let Err(error) = &written
            && error.kind() == io::ErrorKind::StorageFull
        {
            self.full_at.store(clock::now(), Ordering::Relaxed);
        }
        written
    }

    fn open(&self) -> io::Result<()> {
        if self.file.get().is_none() {
            let file = append_to(&self.path)?;
            let _ = self.file.set(file);
        }
        Ok(())
    }

    fn reopen(&self, owner: Option<u32>) -> Result<(), Failure> {
        let fresh =
            append_to(&self.path).map_err(|error| Failure::new("open()", &self.path, error))?;
        if let Some(uid) = owner {
            give(&fresh, uid).map_err(|error| Failure::new("chown()", &self.path, error))?;
        }
        let Some(file) = self.file.get() else {
            let _ = self.file.set(fresh);
            return Ok(());
        };
        descriptor::redirect(file.as_fd(), fresh.as_fd())
            .map_err(|error| Failure::new("dup3()", &self.path, error))
    }
}

/// The files of one configuration.
#[derive(Debug, Default)]
pub struct OpenFiles {
    files: Mutex<Vec<Arc<OpenFile>>>,
}

impl OpenFiles {
    /// The file of that path, the same value each time. Opens nothing yet: setters record.
    pub fn register(&self, path: &Path) -> Arc<OpenFile> {
        let mut files = self.lock();
        if let Some(file) = files.iter().find(|file| file.path == path) {
            return Arc::clone(file);
        }
        let file = Arc::new(OpenFile {
            path: path.to_owned(),
            file: OnceLock::new(),
            full_at: AtomicI64::new(i64::MIN),
        });
        files.push(Arc::clone(&file));
        file
    }

    /// Opens, and creates with mode 0644, all that are not open yet. The first failure is returned.
    pub fn open(&self) -> Result<(), Failure> {
        for file in self.lock().iter() {
            file.open().map_err(|error| Failure::new("open()", &file.path, error))?;
        }
        Ok(())
    }

    /// What keeps [`OpenFiles::open`] from succeeding. Nothing is created (`-t`).
    pub fn check_all(&self) -> Vec<Failure> {
        let files = self.lock();
        let failures = files.iter().filter_map(|file| {
            let error = check_appendable(&file.path).err()?;
            Some(Failure::new("open()", &file.path, error))
        });
        failures.collect()
    }

    /// USR1: opens every path anew, gives the files to `owner`, and lets the old files go.
    /// What cannot be opened is reported and stays with its old file.
    pub fn reopen(&self, owner: Option<u32>, log: &Log) {
        for file in self.lock().iter() {
            if let Err(failure) = file.reopen(owner) {
                log!(log, Emerg, (), "{failure}");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<OpenFile>>> {
        self.files.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A call on a path that failed, in nginx's words: `open() "/a" failed (2: No such file or
/// directory)`.
#[derive(Debug)]
pub struct Failure {
    call: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl Failure {
    pub fn new(call: &'static str, path: &Path, error: io::Error) -> Failure {
        Failure { call, path: path.to_owned(), error }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Failure { call, path, error } = self;
        write!(f, "{call} \"{}\" failed{}", path.display(), super::Errno(error))
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    trusted::open(path, How::Append)
}

/// Opens what is there, and asks the folder for what is not: `-t` leaves no trace.
fn check_appendable(path: &Path) -> io::Result<()> {
    match trusted::open(path, How::Look) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            descriptor::check_writable(folder.unwrap_or(Path::new(".")))
        }
        other => other.map(drop),
    }
}

/// Makes `uid` the owner, who may then read and write: workers reopen logs without the master's
/// rights.
fn give(file: &File, uid: u32) -> io::Result<()> {
    let metadata = file.metadata()?;
    // What has another name elsewhere, or is no file, is somebody's own.
    if !metadata.is_file() || metadata.nlink() > 1 {
        return Ok(());
    }
    if metadata.uid() != uid {
        std::os::unix::fs::fchown(file, Some(uid), None)?;
    }
    if metadata.mode() & 0o600 != 0o600 {
        file.set_permissions(Permissions::from_mode((metadata.mode() & 0o7777) | 0o600))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("daemun-files-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn one_path_is_one_file_and_reopening_follows_the_path() {
        let folder = folder("reopen");
        let path = folder.join("access.log");
        let files = OpenFiles::default();
        let first = files.register(&path);
        assert!(Arc::ptr_eq(&first, &files.register(&path)));
        files.open().unwrap();
        first.append(b"old\n").unwrap();

        std::fs::rename(&path, folder.join("access.log.1")).unwrap();
        first.append(b"still old\n").unwrap();
        files.reopen(None, &Log::silent());
        first.append(b"new\n").unwrap();

        assert_eq!(std::fs::read(folder.join("access.log.1")).unwrap(), b"old\nstill old\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"new\n");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn checking_creates_nothing() {
        let folder = folder("check");
        let files = OpenFiles::default();
        files.register(&folder.join("error.log"));
        assert!(files.check_all().is_empty());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);

        files.register(&folder.join("missing/error.log"));
        let sentence = files.check_all()[0].to_string();
        assert!(
            sentence.ends_with("missing/error.log\" failed (2: No such file or directory)"),
            "{sentence}"
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
