//! Descriptors: duplicates, redirections, flags.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Makes `target` name what `source` names, in one step and under `target`'s old number,
/// close-on-exec.
///
/// Whoever writes to `target` meanwhile reaches one file or the other, never neither: that is how a
/// log is reopened.
pub fn redirect(target: BorrowedFd<'_>, source: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are open for the call; `target` stays open and owned by its holder.
    check(unsafe { libc::dup3(source.as_raw_fd(), target.as_raw_fd(), libc::O_CLOEXEC) })?;
    Ok(())
}

/// Makes the standard error of this process, and of what it executes, go to `source`.
pub fn redirect_stderr(source: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `source` is open for the call; descriptor 2 belongs to the whole process and nobody
    // owns it.
    check(unsafe { libc::dup2(source.as_raw_fd(), libc::STDERR_FILENO) })?;
    Ok(())
}

/// Says whether files could be created in `folder`, by the effective user.
pub fn check_writable(folder: &Path) -> io::Result<()> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    let mode = libc::W_OK | libc::X_OK;
    // SAFETY: `path` is a terminated string that lives through the call.
    check(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS) })?;
    Ok(())
}

/// Owns what a call that makes a descriptor returned: socket(2), accept(2), signalfd(2).
pub(crate) fn fresh(result: libc::c_int) -> io::Result<OwnedFd> {
    let number = check(result)?;
    // SAFETY: callers pass nothing but the result of such a call, so the number is new and nobody
    // else's.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
