//! Users and groups: looking them up, and becoming one.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;

use crate::descriptor::check;

/// A user's number and primary group; `None` where there is no such user.
pub fn user(name: &str) -> io::Result<Option<(u32, u32)>> {
    let name = CString::new(name)?;
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let found = look_up(|buffer, result| {
        // SAFETY: name, entry and buffer are valid for the call; on success `result` is null or
        // `entry`.
        unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                result,
            )
        }
    })?;
    // SAFETY: the call reported the entry as found, so it filled it.
    Ok(found.then(|| unsafe { (entry.assume_init_ref().pw_uid, entry.assume_init_ref().pw_gid) }))
}

/// A group's number; `None` where there is no such group.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name)?;
    let mut entry = MaybeUninit::<libc::group>::uninit();
    let found = look_up(|buffer, result| {
        // SAFETY: name, entry and buffer are valid for the call; on success `result` is null or
        // `entry`.
        unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                result,
            )
        }
    })?;
    // SAFETY: the call reported the entry as found, so it filled it.
    Ok(found.then(|| unsafe { entry.assume_init_ref().gr_gid }))
}

/// Calls with a growing buffer, since entries (a group's members) have no bound.
fn look_up<E>(mut call: impl FnMut(&mut [u8], *mut *mut E) -> libc::c_int) -> io::Result<bool> {
    let mut buffer = vec![0u8; 4096];
    loop {
        let mut result = std::ptr::null_mut();
        match call(&mut buffer, &mut result) {
            0 => return Ok(!result.is_null()),
            libc::ERANGE => buffer.resize(buffer.len() * 2, 0),
            libc::ENOENT => return Ok(false),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

pub fn set_group(gid: u32) -> io::Result<()> {
    // SAFETY: takes a number only; glibc applies it to every thread.
    check(unsafe { libc::setgid(gid) })?;
    Ok(())
}

/// The supplementary groups of `name`, and `gid`.
pub fn set_supplementary_groups(name: &str, gid: u32) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: `name` is a terminated string that lives through the call.
    check(unsafe { libc::initgroups(name.as_ptr(), gid) })?;
    Ok(())
}

/// There is no way back.
pub fn set_user(uid: u32) -> io::Result<()> {
    // SAFETY: takes a number only; glibc applies it to every thread.
    check(unsafe { libc::setuid(uid) })?;
    Ok(())
}

/// Whether files can be given to `uid`: with the right to do so, and where this process's user
/// namespace knows that user. Without /proc that counts as so.
pub fn check_chown(uid: u32) -> io::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let rights = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    if rights.is_some_and(|rights| rights & (1 << CAP_CHOWN) == 0) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let knows = |line: &str| {
        let numbers: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
        matches!(numbers[..], [first, _, count] if (first..first + count).contains(&uid.into()))
    };
    match map.is_empty() || map.lines().any(knows) {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// capabilities(7).
const CAP_CHOWN: u32 = 0;

/// Allows a core dump after a change of user.
pub fn allow_core_dump() -> io::Result<()> {
    // SAFETY: this request takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_and_strangers_are_not() {
        assert_eq!(user("root").unwrap(), Some((0, 0)));
        assert_eq!(group("root").unwrap(), Some(0));
        assert_eq!(user("nobody-of-that-name").unwrap(), None);
        assert_eq!(group("nobody-of-that-name").unwrap(), None);
    }
}
