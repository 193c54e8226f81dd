//! Who this process is: process and thread numbers, user, group.

/// The process's number.
pub fn pid() -> i32 {
    std::process::id() as i32
}

/// The parent's number; 1 or a subreaper's once the parent is gone.
pub fn parent_pid() -> i32 {
    std::os::unix::process::parent_id() as i32
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
