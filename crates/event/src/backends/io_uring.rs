//! io_uring(7), told in completions: the kernel accepts and receives ahead, and what it got waits here until it is
//! asked for. Requests are submitted together with the next wait, so a keep-alive request needs no system call to
//! be received.
//!
//! A connection has one receive under way for its whole life (multishot). It ends where the peer does, where the
//! kernel finds no buffer, and where more comes than is read: then receiving goes on by recv(2), as elsewhere, until
//! that runs dry and somebody waits again.

mod batch;
mod buffers;
mod ring;
mod sends;
mod watched;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, squeue};
use libc::{POLLERR, POLLHUP, POLLRDHUP};
use rustix::process::{Resource, getrlimit};

use self::batch::Batch;
use self::buffers::Buffers;
use self::ring::{Ring, why_not};
use self::sends::Sends;
use self::watched::{Kind, Request, Watched};
use super::{Backend, Event, Interest, Level, OpenError, Received};
use crate::Buffer;
use crate::sources::{HUP, Key, ONCE, QUEUES, READ, WRITE};

/// Bytes that are sent together with the next wait; more pays for a system call of its own.
const MOST_QUEUED: usize = 16 * 1024;

/// How long the rest of a response may take that a closed connection has no room for: as `send_timeout`.
const ORPHANED: Duration = Duration::from_secs(60);

/// So many descriptors a process may have before the kernel accepts all that wait: a backlog must not
/// take all of them before anybody could see to it.
const ENOUGH: u64 = 4096;

pub(super) fn open() -> Result<Box<dyn Backend>, OpenError> {
    let ring = Ring::open()?;
    let buffers = Buffers::register(&ring.submitter()).map_err(why_not)?;
    Ok(Box::new(Uring {
        ring,
        buffers,
        watched: Vec::new(),
        batch: Batch::new(),
        sends: Sends::default(),
        again: Vec::new(),
        accepted: Vec::new(),
        early: Vec::new(),
        orphans: Vec::new(),
        accepts_many: getrlimit(Resource::Nofile).current.is_none_or(|most| most >= ENOUGH),
    }))
}

struct Uring {
    /// Goes before the buffers.
    ring: Ring,
    buffers: Buffers,
    /// By a source's slot.
    watched: Vec<Option<Watched>>,
    batch: Batch,
    sends: Sends,
    /// What is level-triggered, and was reported.
    again: Vec<Key>,
    /// Accepted and not yet asked for, each with its listening socket.
    accepted: Vec<(RawFd, io::Result<OwnedFd>)>,
    /// Events that came about outside of a wait.
    early: Vec<Event>,
    orphans: Vec<Orphan>,
    /// The kernel may accept as many connections at once as wait.
    accepts_many: bool,
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
        find(&mut self.watched, key)
    }

    fn is_sending(&mut self, key: Key) -> bool {
        let round = self.ring.round();
        self.watched(key).is_some_and(|watched| watched.is_sending(round))
    }

    /// Has a request made with the next wait, unless it is under way.
    fn begin(&mut self, key: Key, request: Request) {
        let Some(watched) = find(&mut self.watched, key) else { return };
        if watched.has_under_way(request) {
            return;
        }
        let entry = watched.begin(request, self.ring.round());
        // SAFETY: none of these points to anything; sends begin elsewhere.
        unsafe { self.ring.push(entry) };
    }

    /// Asks again for what is level-triggered; where connections were accepted and not taken, it is reported at once.
    fn renew(&mut self) {
        if self.again.is_empty() {
            return;
        }
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
        let Some(watched) = find(&mut self.watched, key) else {
            // it was under way when its source went
            self.orphans.retain(|orphan| orphan.name != completion.user_data());
            return buffer.into_iter().for_each(|id| self.buffers.give(id));
        };
        if !cqueue::more(completion.flags()) {
            watched.is_over(request);
        }
        let ready = match (request, watched.kind) {
            (Request::Receive, Kind::Polled) => readable(result),
            (Request::Receive, _) => {
                let ready = watched.received(result, buffer, &mut self.buffers);
                if watched.is_to_end() {
                    cancel(&mut self.ring, Request::Receive.name(key));
                }
                ready
            }
            (Request::Send, _) => match rest(&self.batch, key, result) {
                None => Some(WRITE | HUP),
                Some(rest) => {
                    let entry = watched.begin_send_rest(rest, &mut self.sends, self.ring.round());
                    // SAFETY: it points to its buffer, which is kept among the sends, and as an orphan once the
                    // connection is gone, until it has completed.
                    unsafe { self.ring.push(entry) };
                    None
                }
            },
            (Request::SendRest, _) => watched.rest_sent(result, &mut self.sends),
            (Request::Cancel, _) => None,
            (..) if result == -libc::ECANCELED => None,
            (Request::Room, _) if is_broken(result) => Some(WRITE | ONCE | HUP),
            (Request::Room, _) => Some(QUEUES | ONCE),
            // what reading yields is told by whoever receives
            (Request::End, _) => Some(HUP | (watched.receivable() & READ)),
            (Request::Level, Kind::Readable | Kind::Stream | Kind::Polled) => {
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

    fn give_up_orphans(&mut self) {
        if self.orphans.is_empty() {
            return;
        }
        let now = Instant::now();
        for orphan in self.orphans.iter_mut().filter(|orphan| orphan.until <= now) {
            orphan.until = now + ORPHANED;
            cancel(&mut self.ring, orphan.name);
        }
    }

    /// Takes completions without waiting for any; whether there were some.
    fn take_completions(&mut self, events: &mut Vec<Event>) -> bool {
        let mut has_completed = false;
        while let Some(completion) = self.ring.next() {
            has_completed = true;
            self.complete(&completion, events);
        }
        // of what was not sent there is a copy by now
        self.batch.begin(self.ring.round());
        has_completed
    }

    /// Takes completions outside of a wait.
    fn take_early(&mut self) {
        let mut events = std::mem::take(&mut self.early);
        self.take_completions(&mut events);
        self.early = events;
    }

    /// Has the kernel see all requests. What it could not send is known after this.
    fn submit(&mut self) -> io::Result<()> {
        let submitted = self.ring.submit();
        self.take_early();
        submitted
    }

    /// Ends a request and takes what came of it until then.
    fn end_now(&mut self, key: Key, request: Request) -> io::Result<()> {
        let cancelled = self.ring.cancel_now(request.name(key));
        self.take_early();
        cancelled
    }
}

impl Backend for Uring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: Key, interest: Interest) -> io::Result<()> {
        self.insert(fd, key, Kind::Stream);
        match interest {
            Interest::Read => self.begin(key, Request::Receive),
            Interest::Write => self.begin(key, Request::Room),
            // how it will be received is yet to be said
            Interest::End => {}
        }
        Ok(())
    }

    fn add_sends(&mut self, _fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        self.begin(key, Request::Room);
        Ok(())
    }

    fn add_level(&mut self, fd: BorrowedFd<'_>, key: Key, level: Level) -> io::Result<()> {
        let kind = match level {
            Level::Readable => Kind::Readable,
            Level::Listener if self.accepts_many => Kind::Listener,
            Level::Listener => Kind::SharedListener,
            Level::SharedListener => Kind::SharedListener,
        };
        self.insert(fd, key, kind);
        self.again.push(key);
        Ok(())
    }

    fn remove(&mut self, _fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        if let Some(watched) = self.watched(key) {
            let request = match watched.kind {
                Kind::Stream | Kind::Polled => Request::Receive,
                _ => Request::Level,
            };
            self.end_now(key, request)?;
        }
        self.forget(key);
        Ok(())
    }

    fn forget(&mut self, key: Key) {
        if self.is_sending(key) {
            // nearly always that is all there is to it
            let _ = self.submit();
        }
        let Some(place) = self.watched.get_mut(key.slot() as usize) else { return };
        let Some(mut watched) = place.take_if(|watched| watched.key == key) else { return };
        watched.drop_held(&mut self.buffers);
        if let Some(buffer) = watched.take_sending(&mut self.sends) {
            let until = Instant::now() + ORPHANED;
            self.orphans.push(Orphan { name: Request::SendRest.name(key), _buffer: buffer, until });
        }
        if watched.is_idle() {
            return;
        }
        if watched.is_unseen(self.ring.round()) {
            // It would concern the next descriptor of this number. It can only fail where the ring is of no use any more.
            let _ = self.submit();
        }
        // the kernel keeps the connection open for as long as anything is under way
        for request in [Request::Receive, Request::Room, Request::End, Request::Level] {
            if watched.has_under_way(request) {
                cancel(&mut self.ring, request.name(key));
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
        let Some(watched) = find(&mut self.watched, key) else {
            return Received { result: Err(io::ErrorKind::WouldBlock.into()), ready: READ };
        };
        let result = watched.take(most, sink, &mut self.buffers);
        Received { result, ready: watched.receivable() }
    }

    fn tell_readiness(&mut self, key: Key) {
        if let Some(watched) = self.watched(key)
            && watched.kind == Kind::Stream
            && !watched.has_under_way(Request::Receive)
        {
            watched.kind = Kind::Polled;
        }
    }

    fn has_received(&mut self, key: Key) -> bool {
        self.take_early();
        self.watched(key).is_some_and(|watched| !watched.is_drained())
    }

    fn hold_back(&mut self, key: Key) -> io::Result<bool> {
        let Some(watched) = self.watched(key) else { return Ok(true) };
        if watched.is_drained() && watched.has_under_way(Request::Receive) {
            self.end_now(key, Request::Receive)?;
        }
        let round = self.ring.round();
        let is_bare = |watched: &mut Watched| watched.is_drained() && !watched.is_sending(round);
        Ok(self.watched(key).is_none_or(is_bare))
    }

    fn send(&mut self, key: Key, bytes: &[u8]) -> bool {
        if bytes.len() > MOST_QUEUED {
            return false;
        }
        let round = self.ring.round();
        let Some(watched) = find(&mut self.watched, key) else { return false };
        if watched.is_sending(round) {
            return false;
        }
        let Some(bytes) = self.batch.add(key, bytes, round) else { return false };
        let entry = watched.begin_send(bytes, round);
        // SAFETY: it points to the batch, which keeps the bytes until the kernel has seen the request; it does not look at
        // them after that.
        unsafe { self.ring.push(entry) };
        true
    }

    fn flush(&mut self, key: Key) -> io::Result<bool> {
        if !self.is_sending(key) {
            return Ok(true);
        }
        self.submit()?;
        let round = self.ring.round();
        let Some(watched) = self.watched(key) else { return Ok(true) };
        watched.blocked = watched.is_sending(round);
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
            if !self.early.is_empty() {
                events.append(&mut self.early);
            }
            self.ring.wait(if events.is_empty() { timeout } else { Some(Duration::ZERO) })?;
            let has_completed = self.take_completions(events);
            // completions that tell nobody anything are no end of a wait
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

fn find(watched: &mut [Option<Watched>], key: Key) -> Option<&mut Watched> {
    let watched = watched.get_mut(key.slot() as usize)?.as_mut();
    watched.filter(|watched| watched.key == key)
}

/// Has a request cancelled. That tells nobody anything.
fn cancel(ring: &mut Ring, name: u64) {
    let entry = opcode::AsyncCancel::new(name).build().flags(squeue::Flags::SKIP_SUCCESS);
    // SAFETY: a cancellation points to nothing.
    unsafe { ring.push(entry.user_data(Request::Cancel as u64)) };
}

/// A copy of what a send had no room for. `None` where the connection has failed, as the next send tells.
fn rest(batch: &Batch, key: Key, result: i32) -> Option<Buffer> {
    let sent = match -result {
        libc::EAGAIN | libc::EINTR => 0,
        _ => usize::try_from(result).ok()?,
    };
    let rest = batch.rest(key, sent)?;
    let mut buffer = Buffer::with_capacity(rest.len());
    buffer.append(rest);
    Some(buffer)
}

/// What a poll for something to receive has found, as readiness.
fn readable(result: i32) -> Option<u8> {
    match result {
        cancelled if cancelled == -libc::ECANCELED => None,
        failed if failed < 0 => Some(READ | HUP),
        found if found & i32::from(POLLERR | POLLHUP | POLLRDHUP) != 0 => Some(READ | HUP),
        _ => Some(READ),
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
