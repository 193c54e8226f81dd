//! Files and folders as the methods need them.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use daemun_http::files::as_path;
use daemun_http::request::Request;
use daemun_http::status::Status;
use rustix::io::Errno;

use super::refuse;

/// Moves a file, also to another file system, so that its new name always stands for a whole file. Where bits for
/// folders are given, those on the way are made.
pub(super) fn rename(from: &Path, to: &Path, folder_access: Option<u32>) -> io::Result<()> {
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
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
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

fn copy_to(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let info = source.metadata()?;
    let mut target = File::options().write(true).create_new(true).open(to)?;
    io::copy(&mut source, &mut target)?;
    target.set_permissions(info.permissions())?;
    target.set_modified(info.modified()?)
}

/// Copies what is in a folder to another one, which is there; what can't be copied is logged and left out.
pub(super) fn copy_folder(request: &Request, from: &Path, to: &Path) -> Result<(), Status> {
    let entries = fs::read_dir(from).map_err(|error| tell(request, &error, "opendir()", from))?;
    for entry in entries.filter_map(Result::ok) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let Ok(info) = fs::metadata(&source) else { continue };
        if info.is_dir() {
            let access = super::folder_access(info.permissions().mode() & 0o777);
            if let Err(error) = create_folder(&target, access) {
                tell(request, &error, "mkdir()", &target);
            }
            copy_folder(request, &source, &target)?;
            let kept = info.modified().and_then(|time| File::open(&target)?.set_modified(time));
            if let Err(error) = kept {
                tell(request, &error, "utimes()", &target);
            }
        } else if info.is_file()
            && let Err(error) = copy(&source, &target)
        {
            tell(request, &error, "open()", &target);
        }
    }
    Ok(())
}

/// With exactly these bits, whatever the process would leave out.
pub(super) fn create_folder(path: &Path, access: u32) -> io::Result<()> {
    DirBuilder::new().mode(access).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(access))
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

pub(super) fn delete_file(request: &Request, path: &[u8]) -> Result<(), Status> {
    fs::remove_file(as_path(path))
        .map_err(|error| refuse(request, &error, Status::NOT_FOUND, "unlink()", path))
}

/// Deletes a folder with all that is in it; what stays is logged.
pub(super) fn delete_folder(request: &Request, path: &[u8]) -> Result<(), Status> {
    delete_content(request, as_path(path))?;
    fs::remove_dir(as_path(path))
        .map_err(|error| refuse(request, &error, Status::NOT_FOUND, "rmdir()", path))
}

fn delete_content(request: &Request, folder: &Path) -> Result<(), Status> {
    let entries = fs::read_dir(folder).map_err(|error| {
        tell(request, &error, "opendir()", folder);
        Status::INTERNAL_SERVER_ERROR
    })?;
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let deleted = match is_folder {
            true => {
                delete_content(request, &path)?;
                fs::remove_dir(&path)
            }
            false => fs::remove_file(&path),
        };
        if let Err(error) = deleted {
            tell(request, &error, if is_folder { "rmdir()" } else { "unlink()" }, &path);
        }
    }
    Ok(())
}

fn tell(request: &Request, error: &io::Error, call: &str, path: &Path) -> Status {
    refuse(request, error, Status::NOT_FOUND, call, path.as_os_str().as_bytes())
}
