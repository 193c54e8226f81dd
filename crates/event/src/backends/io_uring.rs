//! io_uring(7), told in completions: the kernel accepts and receives ahead, and what it got waits here until it is
//! asked for. Requests are submitted together with the next wait, so a keep-alive request needs no system call to
//! be received.
//!
//! A connection has one receive under way for its whole life (multishot). It ends where the peer does, where the
//! kernel finds no buffer, and where more comes than is read: then receiving goes on by recv(2), as elsewhere, until
//! that runs dry and somebody waits again.

mod buffers;
mod ring;
mod sends;
mod watched;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode};
use libc::{POLLERR, POLLHUP};

use self::buffers::Buffers;
use self::ring::{Ring, why_not};
use self::sends::Sends;
use self::watched::{Kind, Request, Watched};
use super::{Backend, Event, Interest, Level, OpenError, Received};
use crate::Buffer;
use crate::sources::{HUP, Key, ONCE, QUEUES, READ, WRITE};

/// Buffers that one connection may hold before receiving ahead ends.
const MOST_HELD: u16 = 8;

/// Bytes that are sent together with the next wait; more pays for a system call of its own.
const MOST_QUEUED: usize = 16 * 1024;

/// How long the rest of a response may take that a closed connection has no room for: as `send_timeout`.
const ORPHANED: Duration = Duration::from_secs(60);

pub(super) fn open() -> Result<Box<dyn Backend>, OpenError> {
    let ring = Ring::open()?;
    let buffers = Buffers::register(&ring.submitter()).map_err(why_not)?;
    Ok(Box::new(Uring {
        ring,
        buffers,
        watched: Vec::new(),
        sends: Sends::default(),
        again: Vec::new(),
        accepted: Vec::new(),
        early: Vec::new(),
        orphans: Vec::new(),
    }))
}

struct Uring {
    /// Goes before the buffers.
    ring: Ring,
    buffers: Buffers,
    /// By a source's slot.
    watched: Vec<Option<Watched>>,
    sends: Sends,
    /// What is level-triggered, and was reported.
    again: Vec<Key>,
    /// Accepted and not yet asked for, each with its listening socket.
    accepted: Vec<(RawFd, io::Result<OwnedFd>)>,
    /// Events that came about outside of a wait.
    early: Vec<Event>,
    orphans: Vec<Orphan>,
}

/// What is still to be sent of a connection that was closed. The kernel keeps the connection for it.
struct Orphan {
    name: u64,
    /// For the kernel.
    _buffer: Buffer,
    until: Instant,
}

impl Uring {
    fn insert(&mut self, fd: BorrowedFd<'_>, key: Key, kind: Kind) {
        let slot = key.slot() as usize;
        if self.watched.len() <= slot {
            self.watched.resize_with(slot + 1, || None);
        }
        self.watched[slot] = Some(Watched::new(key, fd.as_raw_fd(), kind));
    }

    fn watched(&mut self, key: Key) -> Option<&mut Watched> {
        let watched = self.watched.get_mut(key.slot() as usize)?.as_mut();
        watched.filter(|watched| watched.key == key)
    }

    /// Has a request made with the next wait, unless it is under way.
    fn begin(&mut self, key: Key, request: Request) {
        let place = self.watched.get_mut(key.slot() as usize).and_then(Option::as_mut);
        let Some(watched) = place.filter(|watched| watched.key == key) else { return };
        if watched.has_under_way(request) {
            return;
        }
        let entry = watched.begin(request);
        // SAFETY: none of these points to anything; sends begin elsewhere.
        watched.asked = unsafe { self.ring.push(entry) };
    }

    fn cancel(&mut self, key: Key, request: Request) {
        let entry = opcode::AsyncCancel::new(request.name(key)).build();
        // SAFETY: a cancellation points to nothing.
        unsafe { self.ring.push(entry.user_data(Request::Cancel.name(key))) };
    }

    /// Asks again for what is level-triggered; where connections were accepted and not taken, it is reported at once.
    fn renew(&mut self) {
        for key in std::mem::take(&mut self.again) {
            let Some(watched) = self.watched(key) else { continue };
            let fd = watched.fd;
            if self.accepted.iter().any(|(listener, _)| *listener == fd) {
                self.early.push(Event { key, ready: READ });
                self.again.push(key);
            } else {
                self.begin(key, Request::Level);
            }
        }
    }

    fn complete(&mut self, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let (request, key) = Request::parse(completion.user_data());
        let buffer = cqueue::buffer_select(completion.flags());
        let result = completion.result();
        let place = self.watched.get_mut(key.slot() as usize).and_then(Option::as_mut);
        let Some(watched) = place.filter(|watched| watched.key == key) else {
            // it was under way when its source went
            self.orphans.retain(|orphan| orphan.name != completion.user_data());
            return buffer.into_iter().for_each(|id| self.buffers.give(id));
        };
        if !cqueue::more(completion.flags()) {
            watched.is_over(request);
        }
        let ready = match (request, watched.kind) {
            (Request::Cancel, _) => None,
            (Request::Receive, _) => {
                let ready = watched.received(result, buffer, &mut self.buffers);
                self.bound(key);
                ready
            }
            (Request::Send, _) => watched.sent(result, &mut self.sends),
            (..) if result == -libc::ECANCELED => None,
            (Request::Room, _) if is_broken(result) => Some(WRITE | ONCE | HUP),
            (Request::Room, _) => Some(QUEUES | ONCE),
            // what reading yields is told by whoever receives
            (Request::End, _) => Some(HUP | (watched.receivable() & READ)),
            (Request::Level, Kind::Readable | Kind::Stream) => {
                self.again.push(key);
                Some(READ)
            }
            (Request::Level, Kind::Listener | Kind::SharedListener) => {
                self.accepted.push((watched.fd, connection(result)));
                if !self.again.contains(&key) {
                    self.again.push(key);
                }
                Some(READ)
            }
        };
        events.extend(ready.map(|ready| Event { key, ready }));
    }

    /// Ends receiving ahead for who does not read.
    fn bound(&mut self, key: Key) {
        let Some(watched) = self.watched(key) else { return };
        if watched.held() > MOST_HELD && watched.has_under_way(Request::Receive) && !watched.ending
        {
            watched.ending = true;
            self.cancel(key, Request::Receive);
        }
    }

    fn give_up_orphans(&mut self) {
        if self.orphans.is_empty() {
            return;
        }
        let now = Instant::now();
        for orphan in self.orphans.iter_mut().filter(|orphan| orphan.until <= now) {
            orphan.until = now + ORPHANED;
            let cancel = opcode::AsyncCancel::new(orphan.name).build().user_data(0);
            // SAFETY: a cancellation points to nothing.
            unsafe { self.ring.push(cancel) };
        }
    }

    /// Takes completions without waiting for any.
    fn take_completions(&mut self) {
        let mut events = std::mem::take(&mut self.early);
        while let Some(completion) = self.ring.next() {
            self.complete(&completion, &mut events);
        }
        self.early = events;
    }

    /// Ends a request and takes what came of it until then.
    fn end_now(&mut self, key: Key, request: Request) -> io::Result<()> {
        self.ring.cancel_now(request.name(key))?;
        self.take_completions();
        Ok(())
    }
}

impl Backend for Uring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: Key, interest: Interest) -> io::Result<()> {
        self.insert(fd, key, Kind::Stream);
        let request = if interest == Interest::Write { Request::Room } else { Request::Receive };
        self.begin(key, request);
        Ok(())
    }

    fn add_sends(&mut self, _fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        self.begin(key, Request::Room);
        Ok(())
    }

    fn add_level(&mut self, fd: BorrowedFd<'_>, key: Key, level: Level) -> io::Result<()> {
        let kind = match level {
            Level::Readable => Kind::Readable,
            Level::Listener => Kind::Listener,
            Level::SharedListener => Kind::SharedListener,
        };
        self.insert(fd, key, kind);
        self.again.push(key);
        Ok(())
    }

    fn remove(&mut self, _fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        if let Some(watched) = self.watched(key) {
            let request = match watched.kind {
                Kind::Stream => Request::Receive,
                _ => Request::Level,
            };
            self.end_now(key, request)?;
        }
        self.forget(key);
        Ok(())
    }

    fn forget(&mut self, key: Key) {
        match self.watched(key) {
            None => return,
            // nearly always that is all there is to it
            Some(watched) if watched.is_sending() => drop(self.flush(key)),
            Some(_) => {}
        }
        let watched = self.watched[key.slot() as usize].take();
        let Some(mut watched) = watched else { return };
        watched.drop_held(&mut self.buffers);
        if let Some(buffer) = watched.take_sending(&mut self.sends) {
            let until = Instant::now() + ORPHANED;
            self.orphans.push(Orphan { name: Request::Send.name(key), _buffer: buffer, until });
        }
        if watched.is_idle() {
            return;
        }
        // what it has not seen would concern the next descriptor of this number; it can only fail
        // where the ring is of no use any more
        let _ = self.ring.ensure_seen(watched.asked);
        // the kernel keeps the connection open for as long as anything is under way
        for request in [Request::Receive, Request::Room, Request::End, Request::Level] {
            if watched.has_under_way(request) {
                self.cancel(key, request);
            }
        }
    }

    fn needs_rearm(&self) -> bool {
        true
    }

    fn rearm(&mut self, _fd: BorrowedFd<'_>, key: Key, interest: Interest) -> io::Result<()> {
        match interest {
            Interest::Read => self.begin(key, Request::Receive),
            Interest::Write => self.begin(key, Request::Room),
            Interest::End => {
                let receives = |watched: &mut Watched| watched.has_under_way(Request::Receive);
                if !self.watched(key).is_some_and(receives) {
                    self.begin(key, Request::End);
                }
            }
        }
        Ok(())
    }

    fn completes(&self) -> bool {
        true
    }

    fn receivable(&mut self, key: Key) -> u8 {
        match self.watched(key) {
            Some(watched) if watched.kind == Kind::Stream => watched.receivable(),
            _ => READ,
        }
    }

    fn take_received(&mut self, key: Key, most: usize, sink: &mut dyn FnMut(&[u8])) -> Received {
        let Uring { watched, buffers, .. } = self;
        let watched = watched.get_mut(key.slot() as usize).and_then(Option::as_mut);
        let Some(watched) = watched.filter(|watched| watched.key == key) else {
            return Received { result: Err(io::ErrorKind::WouldBlock.into()), ready: READ };
        };
        let result = watched.take(most, sink, buffers);
        Received { result, ready: watched.receivable() }
    }

    fn hold_back(&mut self, key: Key) -> io::Result<bool> {
        let Some(watched) = self.watched(key) else { return Ok(true) };
        if watched.is_drained() && watched.has_under_way(Request::Receive) {
            self.end_now(key, Request::Receive)?;
        }
        let is_bare = |watched: &mut Watched| watched.is_drained() && !watched.is_sending();
        Ok(self.watched(key).is_none_or(is_bare))
    }

    fn send(&mut self, key: Key, bytes: &[u8]) -> bool {
        if bytes.len() > MOST_QUEUED {
            return false;
        }
        let Uring { watched, ring, sends, .. } = self;
        let place = watched.get_mut(key.slot() as usize).and_then(Option::as_mut);
        let is_free = |watched: &&mut Watched| watched.key == key && !watched.is_sending();
        let Some(watched) = place.filter(is_free) else {
            return false;
        };
        let mut buffer = Buffer::with_capacity(bytes.len());
        buffer.append(bytes);
        let entry = watched.begin_send(buffer, sends);
        // SAFETY: it points to its buffer, which is kept among the sends, and as an orphan once the connection is gone,
        // until it has completed.
        watched.asked = unsafe { ring.push(entry) };
        true
    }

    fn flush(&mut self, key: Key) -> io::Result<bool> {
        let in_flight = |watched: &mut Watched| watched.is_sending();
        if !self.watched(key).is_some_and(in_flight) {
            return Ok(true);
        }
        self.ring.submit()?;
        self.take_completions();
        let Some(watched) = self.watched(key) else { return Ok(true) };
        watched.blocked = watched.is_sending();
        Ok(!watched.blocked)
    }

    fn take_accepted(&mut self, listener: BorrowedFd<'_>) -> Option<io::Result<OwnedFd>> {
        let listener = listener.as_raw_fd();
        let place = self.accepted.iter().position(|(fd, _)| *fd == listener)?;
        Some(self.accepted.remove(place).1)
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.renew();
        self.give_up_orphans();
        loop {
            events.append(&mut self.early);
            self.ring.wait(if events.is_empty() { timeout } else { Some(Duration::ZERO) })?;
            let mut has_completed = false;
            while let Some(completion) = self.ring.next() {
                has_completed = true;
                self.complete(&completion, events);
            }
            // completions that tell nobody anything, mostly of what was sent, are no end of a wait
            if !events.is_empty() || !has_completed || timeout == Some(Duration::ZERO) {
                return Ok(());
            }
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // what was taken to be sent is sent, as if it had been at once
        let _ = self.ring.submit();
    }
}

/// Whether a poll ended with an error, or found one.
fn is_broken(result: i32) -> bool {
    result < 0 || result & i32::from(POLLERR | POLLHUP) != 0
}

/// What accept(2) would have returned.
fn connection(result: i32) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    // SAFETY: the kernel made this descriptor for the completion of an accept, and told it once.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}
