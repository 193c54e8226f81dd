//! poll(2). It reports levels; a direction that was reported is asked for again once somebody waits for it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use libc::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDHUP, c_short, nfds_t, pollfd};

use super::{Backend, Event, Interest, Level, OpenError};
use crate::sources::{HUP, Key, NONE, ONCE, READ, WRITE};

const RECEIVES: c_short = POLLIN | POLLRDHUP;
const BROKEN: c_short = POLLERR | POLLHUP | POLLNVAL;

pub(super) fn open() -> Result<Box<dyn Backend>, OpenError> {
    Ok(Box::new(Poll { asked: Vec::new(), watched: Vec::new(), places: Vec::new() }))
}

struct Poll {
    /// What the kernel reads. A descriptor that broke is not in it until it is asked for again,
    /// since poll(2) reports that whether asked or not.
    asked: Vec<pollfd>,
    /// Whose each entry of `asked` is.
    watched: Vec<Watched>,
    /// By a source's slot: its place in the two, or `NONE`.
    places: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Watched {
    key: Key,
    level: bool,
}

impl Poll {
    fn insert(&mut self, fd: RawFd, watched: Watched, events: c_short) {
        let slot = watched.key.slot() as usize;
        if self.places.len() <= slot {
            self.places.resize(slot + 1, NONE);
        }
        debug_assert_eq!(self.places[slot], NONE, "watched twice");
        self.places[slot] = self.asked.len() as u32;
        self.asked.push(pollfd { fd, events, revents: 0 });
        self.watched.push(watched);
    }

    /// Adds to what is asked for.
    fn ask(&mut self, fd: BorrowedFd<'_>, key: Key, events: c_short) {
        match self.place(key) {
            Some(place) => self.asked[place].events |= events,
            None => self.insert(fd.as_raw_fd(), Watched { key, level: false }, events),
        }
    }

    fn place(&self, key: Key) -> Option<usize> {
        let place = *self.places.get(key.slot() as usize)?;
        (place != NONE).then_some(place as usize)
    }

    fn drop_at(&mut self, place: usize) {
        let removed = self.watched.swap_remove(place);
        self.asked.swap_remove(place);
        if let Some(moved) = self.watched.get(place) {
            self.places[moved.key.slot() as usize] = place as u32;
        }
        self.places[removed.key.slot() as usize] = NONE;
    }

    /// Reports what is at `place`, and asks for it no more.
    fn report(&mut self, place: usize, events: &mut Vec<Event>) {
        let Watched { key, level } = self.watched[place];
        let entry = &mut self.asked[place];
        let seen = std::mem::take(&mut entry.revents);
        events.push(Event { key, ready: readiness(seen) });
        if level {
            return;
        }
        entry.events &= !seen;
        if seen & BROKEN != 0 {
            self.drop_at(place);
        }
    }
}

impl Backend for Poll {
    fn name(&self) -> &'static str {
        "poll"
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: Key, interest: Interest) -> io::Result<()> {
        self.insert(fd.as_raw_fd(), Watched { key, level: false }, RECEIVES | bits(interest));
        Ok(())
    }

    fn add_sends(&mut self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        self.ask(fd, key, POLLOUT);
        Ok(())
    }

    fn add_level(&mut self, fd: BorrowedFd<'_>, key: Key, _level: Level) -> io::Result<()> {
        self.insert(fd.as_raw_fd(), Watched { key, level: true }, POLLIN);
        Ok(())
    }

    fn remove(&mut self, _fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        self.forget(key);
        Ok(())
    }

    fn forget(&mut self, key: Key) {
        if let Some(place) = self.place(key) {
            self.drop_at(place);
        }
    }

    fn needs_rearm(&self) -> bool {
        true
    }

    fn rearm(&mut self, fd: BorrowedFd<'_>, key: Key, interest: Interest) -> io::Result<()> {
        self.ask(fd, key, bits(interest));
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let (list, count) = (self.asked.as_mut_ptr(), self.asked.len() as nfds_t);
        // SAFETY: `list` is `count` entries that belong to this backend, which waits meanwhile.
        let found = unsafe { libc::poll(list, count, milliseconds(timeout)) };
        if found < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        let mut left = found;
        // backwards, so that an entry which takes the place of a dropped one was looked at
        for place in (0..self.asked.len()).rev() {
            if left == 0 {
                break;
            }
            if self.asked[place].revents != 0 {
                left -= 1;
                self.report(place, events);
            }
        }
        Ok(())
    }
}

fn bits(interest: Interest) -> c_short {
    match interest {
        Interest::Read => RECEIVES,
        Interest::Write => POLLOUT,
        Interest::End => POLLRDHUP,
    }
}

fn readiness(seen: c_short) -> u8 {
    let mut ready = 0;
    if seen & POLLIN != 0 {
        ready |= READ;
    }
    if seen & POLLOUT != 0 {
        ready |= WRITE | ONCE;
    }
    if seen & POLLRDHUP != 0 {
        ready |= READ | HUP;
    }
    if seen & BROKEN != 0 {
        ready |= READ | WRITE | HUP | ONCE;
    }
    ready
}

/// poll(2)'s unit, never less than what was meant; -1 is without end.
fn milliseconds(timeout: Option<Duration>) -> i32 {
    let Some(timeout) = timeout else { return -1 };
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_cut_short() {
        let wait = |nanos| milliseconds(Some(Duration::from_nanos(nanos)));
        assert_eq!((wait(0), wait(1), wait(1_000_000), wait(1_000_001)), (0, 1, 1, 2));
        assert_eq!(milliseconds(Some(Duration::MAX)), i32::MAX);
        assert_eq!(milliseconds(None), -1);
    }
}
