//! The environment of this process.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::descriptor::check;

/// Replaces the whole environment. For a process before it starts threads: readers in others would
/// race.
pub fn replace(variables: &[(OsString, OsString)]) -> io::Result<()> {
    let mut pairs = Vec::with_capacity(variables.len());
    for (name, value) in variables {
        pairs.push((CString::new(name.as_bytes())?, CString::new(value.as_bytes())?));
    }
    crate::process::require_one_thread()?;
    // SAFETY: this is the only thread, so nobody reads the environment meanwhile; `setenv` copies
    // both strings.
    unsafe {
        check(libc::clearenv())?;
        for (name, value) in &pairs {
            check(libc::setenv(name.as_ptr(), value.as_ptr(), 1))?;
        }
    }
    Ok(())
}
