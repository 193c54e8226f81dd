//! Descriptors that are no connections: signals, channels, pipes.

use std::io;
use std::os::fd::OwnedFd;

/// Calls back while a descriptor is readable (level-triggered), until it is dropped.
pub struct Watch {}

impl Watch {
    pub fn new(_fd: OwnedFd, _callback: impl FnMut() + 'static) -> io::Result<Watch> {
        todo!()
    }
}
