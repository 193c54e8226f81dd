//! Who this process is, process and thread numbers, user, group; and what it runs on.

use std::io;

use crate::descriptor::check;

/// The process's number.
pub fn pid() -> i32 {
    std::process::id() as i32
}

/// The parent's number; 1 or a subreaper's once the parent is gone.
pub fn parent_pid() -> i32 {
    std::os::unix::process::parent_id() as i32
}

/// The number of the namespace that [`pid`] is of; `None` without /proc.
pub fn pid_namespace() -> Option<u64> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let number = link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?;
    number.parse().ok()
}

/// The calling thread's number; the process's own on its first thread.
pub fn thread_id() -> i32 {
    // SAFETY: `gettid` takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// The effective user.
pub fn effective_uid() -> u32 {
    // SAFETY: `geteuid` takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// The machine's name; empty where the system will not say.
pub fn hostname() -> String {
    let mut name = [0u8; 256];
    // SAFETY: the buffer is valid for the length that is passed, and one byte of it stays zero.
    let result = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    if result == -1 {
        return String::new();
    }
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&name[..length]).into_owned()
}

/// The system's name and release, as uname(2) tells them: `Linux`, `6.1.0`.
pub fn system() -> io::Result<(String, String)> {
    // SAFETY: the record is arrays of bytes, for which all zeroes are empty texts.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the record is valid for the call.
    check(unsafe { libc::uname(&mut names) })?;
    Ok((text(&names.sysname), text(&names.release)))
}

fn text(field: &[libc::c_char]) -> String {
    let bytes: Vec<u8> =
        field.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
