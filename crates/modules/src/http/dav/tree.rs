//! Files and folders as the methods need them.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use daemun_http::files::as_path;
use daemun_http::moving;
use daemun_http::request::Request;
use daemun_http::status::Status;

use super::refuse;

/// Copies what is in a folder to another one, which is there; what can't be copied is logged and left out.
pub(super) fn copy_folder(request: &Request, from: &Path, to: &Path) -> Result<(), Status> {
    let entries = fs::read_dir(from).map_err(|error| tell(request, &error, "opendir()", from))?;
    for entry in entries.filter_map(Result::ok) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let Ok(info) = fs::metadata(&source) else { continue };
        if info.is_dir() {
            let access = moving::folder_access(info.permissions().mode() & 0o777);
            if let Err(error) = moving::create_folder(&target, access) {
                tell(request, &error, "mkdir()", &target);
            }
            copy_folder(request, &source, &target)?;
            let kept = info.modified().and_then(|time| File::open(&target)?.set_modified(time));
            if let Err(error) = kept {
                tell(request, &error, "utimes()", &target);
            }
        } else if info.is_file()
            && let Err(error) = moving::copy(&source, &target)
        {
            tell(request, &error, "open()", &target);
        }
    }
    Ok(())
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
