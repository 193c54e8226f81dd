//! Files that are moved to their places: a name always stands for a whole file.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;

use crate::request_body::BodyFile;

/// How a file is put in its place.
pub struct Manner {
    /// The file's bits. Folders get a bit to search for each to read.
    pub access: u32,
    /// Seconds since 1970.
    pub modified: Option<i64>,
    /// Folders on the way are made.
    pub creates_folders: bool,
}

/// Gives a temporary file its name. An error leaves it as it was named.
pub fn put(file: &BodyFile, to: &Path, manner: &Manner) -> io::Result<()> {
    file.file.set_permissions(Permissions::from_mode(manner.access))?;
    if let Some(seconds) = manner.modified.and_then(|seconds| u64::try_from(seconds).ok()) {
        file.file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))?;
    }
    rename(&file.path, to, manner.creates_folders.then(|| folder_access(manner.access)))
}

/// Whoever may read a folder may search it.
pub fn folder_access(access: u32) -> u32 {
    access | (access & 0o444) >> 2
}

/// Moves a file, also to another file system, so that its new name always stands for a whole file. Where bits for
/// folders are given, those on the way are made.
pub fn rename(from: &Path, to: &Path, folder_access: Option<u32>) -> io::Result<()> {
    let renamed = fs::rename(from, to);
    let Err(error) = renamed else {
        return Ok(());
    };
    match (Errno::from_io_error(&error), folder_access) {
        (Some(Errno::NOENT), Some(access)) => {
            create_folders(to.parent().unwrap_or(to), access)?;
            rename(from, to, None)
        }
        (Some(Errno::XDEV), _) => {
            copy(from, to)?;
            fs::remove_file(from)
        }
        _ => Err(error),
    }
}

/// Copies a file with its bits and time, under a name of its own until it is whole.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut name = to.as_os_str().to_owned();
    name.push(format!(".{:05}{number:05}", std::process::id()));
    let temporary = Path::new(&name);
    let copied = copy_to(from, temporary).and_then(|()| fs::rename(temporary, to));
    if copied.is_err() {
        // There may be nothing to remove.
        let _ = fs::remove_file(temporary);
    }
    copied
}

/// With exactly these bits, whatever the process would leave out.
pub fn create_folder(path: &Path, access: u32) -> io::Result<()> {
    DirBuilder::new().mode(access).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(access))
}

fn copy_to(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let info = source.metadata()?;
    let mut target = File::options().write(true).create_new(true).open(to)?;
    io::copy(&mut source, &mut target)?;
    target.set_permissions(info.permissions())?;
    target.set_modified(info.modified()?)
}

fn create_folders(path: &Path, access: u32) -> io::Result<()> {
    match create_folder(path, access) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = path.parent() else {
                return Err(error);
            };
            create_folders(parent, access)?;
            create_folder(path, access)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }
}
