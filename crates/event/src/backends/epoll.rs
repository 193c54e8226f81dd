//! epoll(7). Connections are edge-triggered; what accepts or is watched is level-triggered.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use super::{Backend, Event, Interest, Level, OpenError};
use crate::sources::{HUP, Key, READ, WRITE};

/// Events taken at once, as nginx's `epoll_events`.
const BATCH: usize = 512;

const RECEIVES: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

pub(super) struct Epoll {
    fd: OwnedFd,
    events: Vec<epoll::Event>,
}

pub(super) fn open() -> Result<Box<dyn Backend>, OpenError> {
    let fd = epoll::create(CreateFlags::CLOEXEC).map_err(|error| match error {
        Errno::NOSYS => OpenError::Unsupported { reason: "this system has no epoll".into() },
        error => OpenError::Io(error.into()),
    })?;
    Ok(Box::new(Epoll { fd, events: Vec::with_capacity(BATCH) }))
}

impl Epoll {
    fn control(&self, fd: BorrowedFd<'_>, key: Key, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.fd, fd, EventData::new_u64(key.to_bits()), flags)?)
    }
}

impl Backend for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: Key, interest: Interest) -> io::Result<()> {
        let flags = match interest {
            Interest::Read | Interest::End => RECEIVES,
            Interest::Write => RECEIVES | EventFlags::OUT,
        };
        self.control(fd, key, flags)
    }

    fn add_sends(&mut self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        let data = EventData::new_u64(key.to_bits());
        Ok(epoll::modify(&self.fd, fd, data, RECEIVES | EventFlags::OUT)?)
    }

    fn add_level(&mut self, fd: BorrowedFd<'_>, key: Key, level: Level) -> io::Result<()> {
        let flags = match level {
            Level::Readable | Level::Listener => EventFlags::IN,
            Level::SharedListener => EventFlags::IN | EventFlags::EXCLUSIVE,
        };
        self.control(fd, key, flags)
    }

    /// The kernel looks for edges at each write to an eventfd, not at its counter.
    fn add_notifier(&mut self, fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        self.control(fd, key, EventFlags::IN | EventFlags::ET)
    }

    fn reports_each_notice(&self) -> bool {
        true
    }

    /// Changes are reported once, and closing the descriptor ends them.
    fn watches_lent(&self) -> bool {
        true
    }

    fn remove(&mut self, fd: BorrowedFd<'_>, _key: Key) -> io::Result<()> {
        Ok(epoll::delete(&self.fd, fd)?)
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(i64::MAX as u64) as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        self.events.clear();
        let room: &mut [MaybeUninit<epoll::Event>] = self.events.spare_capacity_mut();
        let (seen, _) = match epoll::wait(&self.fd, room, timeout.as_ref()) {
            Ok(split) => split,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        events.extend(seen.iter().map(|event| Event {
            key: Key::from_bits(event.data.u64()),
            ready: readiness(event.flags),
        }));
        Ok(())
    }
}

fn readiness(flags: EventFlags) -> u8 {
    let mut ready = 0;
    if flags.contains(EventFlags::IN) {
        ready |= READ;
    }
    if flags.contains(EventFlags::OUT) {
        ready |= WRITE;
    }
    // both directions learn of an end or an error from their next system call
    if flags.intersects(EventFlags::RDHUP) {
        ready |= READ | HUP;
    }
    if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
        ready |= READ | WRITE | HUP;
    }
    ready
}
