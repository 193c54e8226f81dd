//! poll(2): waiting for a few descriptors, where an event loop would be too much.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::descriptor::check;

/// Waits until one can be read (or has ended), or `limit` passed; says which. An interruption is an
/// empty answer.
pub fn readable(descriptors: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|descriptor| libc::pollfd {
            fd: descriptor.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // Rounded up: a loop that waits for a moment must not spin before it.
    let milliseconds = match limit {
        Some(limit) => i32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
        None => -1,
    };
    // SAFETY: the array is valid for its length, and its descriptors are open.
    match check(unsafe {
        libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, milliseconds)
    }) {
        Ok(_) => Ok(polled.iter().map(|entry| entry.revents != 0).collect()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Ok(vec![false; descriptors.len()])
        }
        Err(error) => Err(error),
    }
}
