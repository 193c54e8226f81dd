//! The method of the crate `polling`: kqueue on the BSDs and macOS, event ports on illumos and Solaris, epoll on Linux.
//! It is used one report at a time, which all of them have; whoever waits again asks again.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use polling::{Events, Poller};

use super::unread::Unread;
use super::{Backend, Event, Interest, Level, OpenError};
use crate::sources::{HUP, Key, ONCE, READ, WRITE};

pub(super) fn open(name: &'static str) -> Result<Box<dyn Backend>, OpenError> {
    let poller = Poller::new().map_err(OpenError::Io)?;
    Ok(Box::new(Portable {
        name,
        poller,
        found: Events::new(),
        watched: Vec::new(),
        again: Vec::new(),
        ended: Vec::new(),
    }))
}

struct Portable {
    name: &'static str,
    poller: Poller,
    found: Events,
    /// By a source's slot.
    watched: Vec<Option<Watched>>,
    /// Level-triggered sources that were reported.
    again: Vec<Key>,
    /// Ends that were found while asking for them.
    ended: Vec<Event>,
}

#[derive(Clone, Copy)]
struct Watched {
    key: Key,
    fd: RawFd,
    level: bool,
    /// The directions that are asked for, of `READ` and `WRITE`.
    asked: u8,
}

impl Watched {
    fn interest(&self) -> polling::Event {
        let key = self.key.to_bits() as usize;
        polling::Event::new(key, self.asked & READ != 0, self.asked & WRITE != 0)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: a source leaves this table before its descriptor is closed.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl Portable {
    fn insert(&mut self, fd: BorrowedFd<'_>, key: Key, asked: u8, level: bool) -> io::Result<()> {
        let watched = Watched { key, fd: fd.as_raw_fd(), level, asked };
        // SAFETY: the poller is told when a source leaves, which is before its descriptor is closed.
        unsafe { self.poller.add(&fd, watched.interest()) }?;
        let slot = key.slot() as usize;
        if self.watched.len() <= slot {
            self.watched.resize(slot + 1, None);
        }
        self.watched[slot] = Some(watched);
        Ok(())
    }

    fn ask(&mut self, key: Key, direction: u8) -> io::Result<()> {
        let Some(watched) = self.watched[key.slot() as usize].as_mut() else { return Ok(()) };
        if watched.asked & direction != 0 {
            return Ok(());
        }
        watched.asked |= direction;
        self.poller.modify(watched.fd(), watched.interest())
    }

    fn ask_again(&mut self) -> io::Result<()> {
        while let Some(key) = self.again.pop() {
            if let Some(watched) = &self.watched[key.slot() as usize] {
                self.poller.modify(watched.fd(), watched.interest())?;
            }
        }
        Ok(())
    }

    /// Notes that a report has ended the watch; the direction that it did not concern goes on.
    fn reported(&mut self, key: Key, ready: u8) -> io::Result<()> {
        let watched = self.watched.get_mut(key.slot() as usize);
        let Some(watched) = watched.and_then(Option::as_mut) else { return Ok(()) };
        if watched.level {
            self.again.push(watched.key);
            return Ok(());
        }
        watched.asked &= !ready;
        if watched.asked == 0 {
            return Ok(());
        }
        self.poller.modify(watched.fd(), watched.interest())
    }
}

impl Backend for Portable {
    fn name(&self) -> &'static str {
        self.name
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: Key, interest: Interest) -> io::Result<()> {
        let asked = if interest == Interest::Write { READ | WRITE } else { READ };
        self.insert(fd, key, asked, false)
    }

    fn add_sends(&mut self, _fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        self.ask(key, WRITE)
    }

    fn add_level(&mut self, fd: BorrowedFd<'_>, key: Key, _level: Level) -> io::Result<()> {
        self.insert(fd, key, READ, true)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        if let Some(watched) = self.watched.get_mut(key.slot() as usize) {
            *watched = None;
        }
        self.poller.delete(fd)
    }

    fn forget(&mut self, key: Key) {
        let watched = self.watched.get_mut(key.slot() as usize).and_then(Option::take);
        if let Some(watched) = watched {
            // it can only fail for a descriptor that is not watched, which is what we want
            let _ = self.poller.delete(watched.fd());
        }
    }

    fn needs_rearm(&self) -> bool {
        true
    }

    fn rearm(&mut self, fd: BorrowedFd<'_>, key: Key, interest: Interest) -> io::Result<()> {
        match interest {
            Interest::Read => self.ask(key, READ),
            Interest::Write => self.ask(key, WRITE),
            Interest::End => match Unread::of(fd) {
                Unread::Nothing => self.ask(key, READ),
                // it hides the end until it is received, and would be reported without an end
                Unread::Bytes => Ok(()),
                Unread::End => {
                    self.ended.push(Event { key, ready: READ | HUP });
                    Ok(())
                }
            },
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.ask_again()?;
        events.append(&mut self.ended);
        let timeout = if events.is_empty() { timeout } else { Some(Duration::ZERO) };
        self.found.clear();
        match self.poller.wait(&mut self.found, timeout) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        let first = events.len();
        events.extend(self.found.iter().map(|found| Event {
            key: Key::from_bits(found.key as u64),
            ready: readiness(&found),
        }));
        events[first..].iter().try_for_each(|event| self.reported(event.key, event.ready))
    }
}

fn readiness(found: &polling::Event) -> u8 {
    let mut ready = 0;
    if found.readable {
        ready |= READ;
    }
    if found.writable {
        ready |= WRITE | ONCE;
    }
    if found.is_err() == Some(true) {
        ready |= READ | WRITE | HUP | ONCE;
    }
    ready
}
