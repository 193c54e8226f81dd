//! From a URI to a file: mapping, opening, and what `disable_symlinks` forbids on the way.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use daemun_core::{debug, log};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

use crate::core::files::{DisableSymlinks, Root, SETTINGS};
use crate::file_cache;
use crate::request::{Request, Text};
use crate::status::Status;
use crate::trace::Event;

/// Appends the path that the request's URI maps to; the length of its root part.
pub fn map_uri(request: &mut Request, path: &mut Vec<u8>) -> usize {
    let setting = &request.settings(&SETTINGS).root;
    let start = path.len();
    let mut skipped = 0;
    match &setting.root {
        Some(Root::Alias(root)) => {
            root.append(request, path);
            let whole = if request.adds_uri_to_alias { 0 } else { request.uri.len() };
            skipped = setting.alias_of.unwrap_or(whole);
        }
        Some(Root::Root(root)) => {
            root.append(request, path);
            if path.last() == Some(&b'/') {
                path.pop();
            }
        }
        None => {}
    }
    let root = path.len() - start;
    path.extend_from_slice(request.uri.get(skipped..).unwrap_or_default());
    root
}

/// Appends `root` or `alias` as configured.
pub fn append_root(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let setting = &request.settings(&SETTINGS).root;
    match &setting.root {
        Some(Root::Alias(root) | Root::Root(root)) => {
            root.append(request, out);
            if out.len() > 1
                && out.last() == Some(&b'/')
                && matches!(setting.root, Some(Root::Root(_)))
            {
                out.pop();
            }
            true
        }
        None => false,
    }
}

/// As [`append_root`], symbolic links resolved.
pub fn append_real_root(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let mut root = Vec::new();
    append_root(request, &mut root);
    match std::fs::canonicalize(as_path(&root)) {
        Ok(real) => {
            out.extend_from_slice(real.as_os_str().as_encoded_bytes());
            true
        }
        Err(error) => {
            log!(request.log(), Crit, *request, "realpath() \"{}\" failed", Text(&root); error);
            false
        }
    }
}

pub fn as_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// A file that was opened, or a folder, and what is known of it.
#[derive(Clone, Debug)]
pub struct Opened {
    pub file: Arc<File>,
    pub info: FileInfo,
}

/// What identifies a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileInfo {
    pub is_directory: bool,
    pub is_file: bool,
    /// By its owner.
    pub is_executable: bool,
    pub size: u64,
    /// Seconds since 1970.
    pub modified: i64,
    pub device: u64,
    pub inode: u64,
}

impl From<Metadata> for FileInfo {
    fn from(metadata: Metadata) -> FileInfo {
        FileInfo {
            is_directory: metadata.is_dir(),
            is_file: metadata.is_file(),
            is_executable: metadata.mode() & 0o100 != 0,
            size: metadata.len(),
            modified: metadata.mtime(),
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Opens the file at `path` as the location's settings have it.
pub fn open(request: &mut Request, path: &[u8]) -> io::Result<Opened> {
    debug!(request.log(), Http, *request, "open \"{}\"", Text(path));
    let settings = request.settings(&SETTINGS);
    let file = match &*settings.disable_symlinks {
        DisableSymlinks::Off => open_plain(as_path(path))?,
        DisableSymlinks::On { from } | DisableSymlinks::IfNotOwner { from } => {
            let trusted = match from {
                Some(from) => trusted_part(path, &from.value(request)),
                None => 0,
            };
            let check_owner =
                matches!(*settings.disable_symlinks, DisableSymlinks::IfNotOwner { .. });
            match trusted == path.len() {
                true => open_plain(as_path(path))?,
                false => open_checked(path, trusted, check_owner)?,
            }
        }
    };
    let file = File::from(file);
    let info = FileInfo::from(file.metadata()?);
    Ok(Opened { file: Arc::new(file), info })
}

/// What is at `path`; opened only where the location's settings ask for it.
pub fn test(request: &mut Request, path: &[u8]) -> io::Result<FileInfo> {
    let found = look_at(request, path);
    request.trace(|_| Event::File { path: path.to_vec(), exists: found.is_ok() });
    found
}

fn look_at(request: &mut Request, path: &[u8]) -> io::Result<FileInfo> {
    let settings = request.settings(&SETTINGS);
    if settings.open_file_cache.is_some() {
        return Ok(file_cache::find(request, path)?.info);
    }
    match *settings.disable_symlinks {
        DisableSymlinks::Off => Ok(FileInfo::from(std::fs::metadata(as_path(path))?)),
        _ => Ok(open(request, path)?.info),
    }
}

/// Fails unless there is a folder at `path`.
pub fn test_folder(request: &mut Request, path: &[u8]) -> io::Result<()> {
    match test(request, path)?.is_directory {
        true => Ok(()),
        false => Err(rustix::io::Errno::NOTDIR.into()),
    }
}

/// Whether a symbolic link in the way is what `disable_symlinks` forbids.
pub fn is_forbidden_link(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::MLINK))
}

/// Without waiting where the path is a FIFO.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

fn open_plain(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, FLAGS, Mode::empty())?)
}

/// How much of a path `from=` names: whole folders only.
fn trusted_part(path: &[u8], from: &[u8]) -> usize {
    match path.strip_prefix(from) {
        Some([] | [b'/', ..]) => from.len(),
        Some(_) if from.ends_with(b"/") => from.len(),
        _ => 0,
    }
}

/// Opens step by step, so that no symbolic link is followed behind the trusted part, or only to what its owner owns.
fn open_checked(path: &[u8], trusted: usize, check_owner: bool) -> io::Result<OwnedFd> {
    let (before, rest) = path.split_at(trusted);
    let start = if before.is_empty() { Path::new("/") } else { as_path(before) };
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(CWD, start, folder, Mode::empty())?;
    // What has a slash behind it is a folder.
    let is_folder = rest.ends_with(b"/");
    let rest: PathBuf =
        as_path(rest).components().filter(|part| *part != Component::RootDir).collect();
    let mut parts = rest.components().peekable();
    while let Some(part) = parts.next() {
        let name: &Path = part.as_ref();
        let is_last = parts.peek().is_none() && !is_folder;
        let flags = if is_last { FLAGS } else { folder };
        at = match open_part(&at, name, flags, check_owner) {
            // A link on the way is no folder, as nginx has it: the answer is 404, not 403.
            Err(error) if !is_last && !check_owner && is_forbidden_link(&error) => {
                return Err(rustix::io::Errno::NOTDIR.into());
            }
            opened => opened?,
        };
    }
    if rest.as_os_str().is_empty() || is_folder {
        at = rustix::fs::openat(&at, ".", FLAGS, Mode::empty())?;
    }
    Ok(at)
}

fn open_part(at: &OwnedFd, name: &Path, flags: OFlags, check_owner: bool) -> io::Result<OwnedFd> {
    let link = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(link.st_mode) != FileType::Symlink {
        return Ok(rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty())?);
    }
    if !check_owner {
        return Err(rustix::io::Errno::LOOP.into());
    }
    let opened = rustix::fs::openat(at.as_fd(), name, flags, Mode::empty())?;
    match rustix::fs::fstat(&opened)?.st_uid == link.st_uid {
        true => Ok(opened),
        false => Err(rustix::io::Errno::LOOP.into()),
    }
}

/// The status for a file that could not be opened; it is logged as the location has it.
pub fn refuse(request: &mut Request, path: &[u8], error: &io::Error) -> Status {
    use rustix::io::Errno;
    let status = match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Status::NOT_FOUND,
        Some(Errno::ACCESS | Errno::LOOP | Errno::MLINK) => Status::FORBIDDEN,
        _ => Status::INTERNAL_SERVER_ERROR,
    };
    let settings = request.settings(&SETTINGS);
    let call = match *settings.disable_symlinks {
        DisableSymlinks::Off => "open",
        _ => "openat",
    };
    let log = request.log();
    match status {
        Status::NOT_FOUND if !*settings.log_not_found => {}
        Status::NOT_FOUND | Status::FORBIDDEN => {
            log!(log, Error, *request, "{}() \"{}\" failed", call, Text(path); *error);
        }
        _ => log!(log, Crit, *request, "{}() \"{}\" failed", call, Text(path); *error),
    }
    status
}
