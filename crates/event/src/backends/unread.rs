//! What waits on a socket, for methods that do not tell an end from bytes.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

pub(super) enum Unread {
    Nothing,
    Bytes,
    /// The peer has closed its side, or the connection failed.
    End,
}

impl Unread {
    /// Looks without receiving.
    pub(super) fn of(fd: BorrowedFd<'_>) -> Unread {
        match recv(fd, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => Unread::Nothing,
            Ok((1.., _)) => Unread::Bytes,
            Ok((0, _)) | Err(_) => Unread::End,
        }
    }
}
