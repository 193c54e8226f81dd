//! select(2). It reports levels of descriptors up to 1023; a direction that was reported is asked for again once
//! somebody waits for it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use rustix::event::{FdSetElement, FdSetIter, Timespec, fd_set_insert, fd_set_remove, select};
use rustix::io::Errno;

use super::unread::Unread;
use super::{Backend, Event, Interest, Level, OpenError};
use crate::sources::{HUP, Key, NONE, ONCE, READ, WRITE};

/// Descriptors that select(2) can take: FD_SETSIZE.
pub(super) const DESCRIPTORS: usize = 1024;

type Set = [FdSetElement; DESCRIPTORS / (8 * size_of::<FdSetElement>())];

pub(super) fn open() -> Result<Box<dyn Backend>, OpenError> {
    Ok(Box::new(Select {
        reads: Set::default(),
        writes: Set::default(),
        watched: vec![None; DESCRIPTORS].into_boxed_slice(),
        descriptors: Vec::new(),
        bound: 0,
        ended: Vec::new(),
    }))
}

struct Select {
    reads: Set,
    writes: Set,
    /// By descriptor.
    watched: Box<[Option<Watched>]>,
    /// By a source's slot: its descriptor, or `NONE`.
    descriptors: Vec<u32>,
    /// No watched descriptor is this high.
    bound: RawFd,
    /// Ends that were found while asking for them.
    ended: Vec<Event>,
}

#[derive(Clone, Copy)]
struct Watched {
    key: Key,
    level: bool,
}

impl Select {
    fn insert(&mut self, fd: BorrowedFd<'_>, watched: Watched) -> io::Result<RawFd> {
        let fd = fd.as_raw_fd();
        let Some(place) = self.watched.get_mut(fd as usize) else {
            return Err(io::Error::other(format!(
                "maximum number of descriptors supported by select() is {DESCRIPTORS}"
            )));
        };
        *place = Some(watched);
        let slot = watched.key.slot() as usize;
        if self.descriptors.len() <= slot {
            self.descriptors.resize(slot + 1, NONE);
        }
        self.descriptors[slot] = fd as u32;
        self.bound = self.bound.max(fd + 1);
        fd_set_insert(&mut self.reads, fd);
        Ok(fd)
    }

    fn report(&mut self, fd: RawFd, ready: u8, events: &mut Vec<Event>) {
        let Some(Watched { key, level }) = self.watched[fd as usize] else { return };
        events.push(Event { key, ready });
        if level {
            return;
        }
        let set = if ready == READ { &mut self.reads } else { &mut self.writes };
        fd_set_remove(set, fd);
    }

    /// The sets that the kernel may write to, and how many descriptors of them count.
    fn asked(&mut self) -> (Set, Set, RawFd) {
        while self.bound > 0 && self.watched[self.bound as usize - 1].is_none() {
            self.bound -= 1;
        }
        (self.reads, self.writes, self.bound)
    }
}

impl Backend for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: Key, interest: Interest) -> io::Result<()> {
        let fd = self.insert(fd, Watched { key, level: false })?;
        if interest == Interest::Write {
            fd_set_insert(&mut self.writes, fd);
        }
        Ok(())
    }

    fn add_sends(&mut self, fd: BorrowedFd<'_>, _key: Key) -> io::Result<()> {
        fd_set_insert(&mut self.writes, fd.as_raw_fd());
        Ok(())
    }

    fn add_level(&mut self, fd: BorrowedFd<'_>, key: Key, _level: Level) -> io::Result<()> {
        self.insert(fd, Watched { key, level: true }).map(drop)
    }

    fn remove(&mut self, _fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        self.forget(key);
        Ok(())
    }

    fn forget(&mut self, key: Key) {
        let Some(place) = self.descriptors.get_mut(key.slot() as usize) else { return };
        let fd = std::mem::replace(place, NONE);
        if let Some(watched) = self.watched.get_mut(fd as usize) {
            *watched = None;
            fd_set_remove(&mut self.reads, fd as RawFd);
            fd_set_remove(&mut self.writes, fd as RawFd);
        }
    }

    fn needs_rearm(&self) -> bool {
        true
    }

    fn rearm(&mut self, fd: BorrowedFd<'_>, key: Key, interest: Interest) -> io::Result<()> {
        match interest {
            Interest::Read => fd_set_insert(&mut self.reads, fd.as_raw_fd()),
            Interest::Write => fd_set_insert(&mut self.writes, fd.as_raw_fd()),
            Interest::End => match Unread::of(fd) {
                Unread::Nothing => fd_set_insert(&mut self.reads, fd.as_raw_fd()),
                // it hides the end until it is received, and would be reported without an end
                Unread::Bytes => {}
                Unread::End => self.ended.push(Event { key, ready: READ | HUP }),
            },
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        events.append(&mut self.ended);
        let timeout = if events.is_empty() { timeout } else { Some(Duration::ZERO) };
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let (mut reads, mut writes, bound) = self.asked();
        // SAFETY: the sets name descriptors that are open: each leaves them before it is closed.
        let found =
            unsafe { select(bound, Some(&mut reads), Some(&mut writes), None, timeout.as_ref()) };
        match found {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        FdSetIter::new(&reads).for_each(|fd| self.report(fd, READ, events));
        FdSetIter::new(&writes).for_each(|fd| self.report(fd, WRITE | ONCE, events));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::fcntl_dupfd_cloexec;

    #[test]
    fn a_descriptor_beyond_the_set_is_declined_in_words() {
        let high = fcntl_dupfd_cloexec(std::io::stdin(), DESCRIPTORS as RawFd);
        // where the process may not have so many, there is none to decline
        let Ok(high) = high else { return };
        let mut backend = open().unwrap();
        let key = Key::from_bits(1);
        let error = backend.add(std::os::fd::AsFd::as_fd(&high), key, Interest::Read);
        assert_eq!(
            error.unwrap_err().to_string(),
            "maximum number of descriptors supported by select() is 1024"
        );
    }
}
