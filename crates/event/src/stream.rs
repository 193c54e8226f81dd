//! A connected socket: TCP or UNIX, non-blocking.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix,
    SocketFlags, SocketType, sockopt,
};

use crate::backends::{Interest, Received};
use crate::reactor::{self, Inner};
use crate::sources::{
    HELD, HUP, NONE, ONCE, Owner, QUEUES, READ, RECEIVABLE, SENDABLE, UNASKED, WRITE, Waiter,
};
use crate::wheel::Target;
use crate::{Buffer, Deadline};

/// A connected socket. It registers with the reactor of its thread when it first has to wait.
///
/// The `try_` functions never wait: they answer `WouldBlock`, without a system call where the
/// socket is known not to be ready. The others wait until their deadline and then answer
/// `TimedOut`. At most one task waits in each direction.
///
/// A stream that is registered belongs to its reactor's thread. To change threads it must be
/// [taken off](Stream::detach) first: its registration means nothing, or another stream, elsewhere.
pub struct Stream {
    // dropped before the descriptor is closed
    registration: Registration,
    fd: OwnedFd,
}

impl Stream {
    /// `fd` must be non-blocking.
    pub fn new(fd: OwnedFd) -> Stream {
        Stream { registration: Registration::none(), fd }
    }

    /// Connects over TCP.
    pub async fn connect(address: SocketAddr, deadline: Deadline) -> io::Result<Stream> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let stream = Stream::unconnected(family)?;
        match rustix::net::connect(&stream, &address) {
            Ok(()) => return Ok(stream),
            Err(Errno::INPROGRESS) => stream.writable(deadline).await?,
            Err(error) => return Err(error.into()),
        }
        sockopt::socket_error(&stream)??;
        Ok(stream)
    }

    /// Connects to a UNIX socket; `WouldBlock` where its backlog is full.
    pub fn connect_unix(path: &Path) -> io::Result<Stream> {
        let stream = Stream::unconnected(AddressFamily::UNIX)?;
        rustix::net::connect(&stream, &SocketAddrUnix::new(path)?)?;
        Ok(stream)
    }

    fn unconnected(family: AddressFamily) -> io::Result<Stream> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        Ok(Stream::new(fd))
    }

    /// Ends receiving ahead, so that somebody else may receive from the descriptor. False where bytes
    /// have come that only this stream can yield: it has to be served here.
    pub fn hold_back(&self) -> io::Result<bool> {
        let Some(slot) = self.registration.slot() else { return Ok(true) };
        reactor::with(|inner| {
            let key = inner.sources().key(slot);
            inner.backend().hold_back(key)
        })
    }

    /// Whether the kernel holds bytes that came.
    pub fn has_unread(&self) -> bool {
        let peeked = rustix::net::recv(&self.fd, &mut [0; 1], RecvFlags::PEEK);
        peeked.is_ok_and(|(received, _)| received > 0)
    }

    /// Takes it off the reactor and gives the descriptor back, open. What was received ahead is
    /// lost: [hold it back](Self::hold_back) first.
    pub fn into_fd(self) -> OwnedFd {
        let Stream { registration, fd } = self;
        registration.leave(fd.as_fd());
        fd
    }

    /// Takes the stream off the reactor, for another thread to use. It goes on to be watched here
    /// where the backend can do that, so that coming back costs nothing.
    pub fn detach(&mut self) -> Registration {
        let registration = std::mem::replace(&mut self.registration, Registration::none());
        registration.lend(self.fd.as_fd())
    }

    /// Takes the stream off the reactor for good.
    pub fn leave(&mut self) {
        let registration = std::mem::replace(&mut self.registration, Registration::none());
        registration.leave(self.fd.as_fd());
    }

    /// Comes back to the thread and the registration that it was detached from.
    pub fn attach(&mut self, registration: Registration) {
        debug_assert!(self.registration.slot().is_none(), "attached while it is registered");
        if registration.slot().is_some() {
            self.registration = registration;
        }
    }

    /// Bytes received; zero is the peer's end. Without room to receive into nothing can be told from an end: that is an
    /// error of the caller's.
    #[inline]
    pub fn try_recv(&self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Err(no_room());
        }
        let mut rest = &mut *bytes;
        let held = self.try_recv_held(rest.len(), &mut |piece| {
            let (room, behind) = std::mem::take(&mut rest).split_at_mut(piece.len());
            room.copy_from_slice(piece);
            rest = behind;
        });
        if let Some(held) = held {
            return held;
        }
        let result = rustix::net::recv(&self.fd, &mut *bytes, RecvFlags::empty());
        self.conclude(READ, bytes.len(), result.map(|(received, _)| received))
    }

    /// Appends what it receives, as much as the vector has capacity for.
    pub fn try_recv_append(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let room = bytes.capacity() - bytes.len();
        if room == 0 {
            return Err(no_room());
        }
        let held = self.try_recv_held(room, &mut |piece| bytes.extend_from_slice(piece));
        if let Some(held) = held {
            return held;
        }
        let result = rustix::net::recv(&self.fd, spare_capacity(bytes), RecvFlags::empty());
        self.conclude(READ, room, result.map(|(received, _)| received))
    }

    /// As [`try_recv`](Self::try_recv), waiting.
    pub async fn recv(&self, bytes: &mut [u8], deadline: Deadline) -> io::Result<usize> {
        loop {
            match self.try_recv(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.readable(deadline).await?;
        }
    }

    /// Receives into a buffer's spare room, which must not be empty.
    pub fn try_recv_into(&self, buffer: &mut Buffer) -> io::Result<usize> {
        let received = self.try_recv(buffer.spare())?;
        buffer.advance(received);
        Ok(received)
    }

    /// As [`try_recv_into`](Self::try_recv_into), waiting.
    pub async fn recv_into(&self, buffer: &mut Buffer, deadline: Deadline) -> io::Result<usize> {
        let received = self.recv(buffer.spare(), deadline).await?;
        buffer.advance(received);
        Ok(received)
    }

    /// Receives into a buffer that is taken from the pool once there is something to receive;
    /// an empty one is the peer's end.
    pub async fn recv_pooled(&self, deadline: Deadline) -> io::Result<Buffer> {
        loop {
            match self.try_recv_pooled() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.readable(deadline).await?;
        }
    }

    /// As [`recv_pooled`](Self::recv_pooled), not waiting.
    pub fn try_recv_pooled(&self) -> io::Result<Buffer> {
        let mut buffer = Buffer::new();
        self.try_recv_into(&mut buffer)?;
        Ok(buffer)
    }

    /// Bytes taken by the kernel. `more`: more follows at once (MSG_MORE).
    #[inline]
    pub fn try_send(&self, bytes: &[u8], more: bool) -> io::Result<usize> {
        if let Some(queued) = self.try_send_queued(bytes, more) {
            return queued;
        }
        let result = rustix::net::send(&self.fd, bytes, send_flags(more));
        self.conclude(WRITE, bytes.len(), result)
    }

    /// Bytes taken of several slices at once.
    pub fn try_send_vectored(&self, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.attempt_send(length, || {
            let mut nothing = SendAncillaryBuffer::default();
            rustix::net::sendmsg(&self.fd, slices, &mut nothing, send_flags(more))
        })
    }

    /// Bytes taken of `file` from `*offset`, which moves on; at most `count`. Zero: the file is
    /// shorter than that.
    pub fn try_send_file(&self, file: &File, offset: &mut u64, count: usize) -> io::Result<usize> {
        let sent =
            self.attempt_send(0, || rustix::fs::sendfile(&self.fd, file, Some(offset), count))?;
        // Less than asked for may also be the file's end. Else there is no room, and asking again at once would send
        // the rest in crumbs, as fast as the peer takes bytes out.
        if 0 < sent && sent < count && !self.peer_closed() && reaches_beyond(file, *offset) {
            self.registration.dry(WRITE, self.fd.as_fd());
        }
        Ok(sent)
    }

    /// Whether there is room to send, for a stream that another thread sends to: where there is
    /// none, [`writable`](Self::writable) tells when there is.
    pub fn may_send(&self) -> bool {
        let mut watched = [PollFd::new(&self.fd, PollFlags::OUT)];
        let asked =
            self.attempt_send(0, || match poll(&mut watched, Some(&Timespec::default()))? {
                0 => Err(Errno::AGAIN),
                ready => Ok(ready),
            });
        asked.is_ok()
    }

    /// Sends all of `bytes`, where each wait for room may last `timeout`.
    pub async fn send_all(&self, mut bytes: &[u8], timeout: Duration) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_send(bytes, false) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable(Deadline::after(timeout)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until there may be something to receive. Ask for it first: a stream that is new
    /// to the reactor always waits.
    pub fn readable(&self, deadline: Deadline) -> Ready<'_> {
        Ready { stream: self, interest: Interest::Read, deadline }
    }

    /// Waits until there may be room to send; the same holds.
    pub fn writable(&self, deadline: Deadline) -> Ready<'_> {
        Ready { stream: self, interest: Interest::Write, deadline }
    }

    /// Waits until the peer has closed its side, or the connection failed.
    pub fn closed(&self, deadline: Deadline) -> Closed<'_> {
        Closed { stream: self, deadline }
    }

    /// Whether the peer is known to have closed its side; what it sent before may still wait.
    pub fn peer_closed(&self) -> bool {
        self.registration.ready().is_some_and(|ready| ready & HUP != 0)
    }

    /// Whether a receive may yield something, as far as is known without asking the kernel.
    pub fn may_be_readable(&self) -> bool {
        self.registration.ready().is_none_or(|ready| ready & RECEIVABLE != 0)
    }

    /// Has it told that there is something to receive, where the backend would receive it ahead otherwise: for who receives
    /// much at a time. That is to be asked for before anything is waited for, or room to send alone.
    pub fn receive_when_told(&self) -> io::Result<()> {
        reactor::with(|inner| {
            let slot = match self.registration.slot() {
                Some(slot) => slot,
                None if !inner.completes => return Ok(()),
                None => self.registration.enter(inner, self.fd.as_fd(), Interest::End)?,
            };
            let key = inner.sources().key(slot);
            inner.backend().tell_readiness(key);
            Ok(())
        })
    }

    /// Whether nothing has come that was not received, neither bytes nor an end. The kernel is asked, too: a reactor knows
    /// what was so when it last waited.
    pub fn is_silent(&self) -> bool {
        let has_received = |slot| {
            reactor::with(|inner| {
                let key = inner.sources().key(slot);
                inner.backend().has_received(key)
            })
        };
        if self.registration.slot().is_some_and(has_received) {
            return false;
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        rustix::net::recv(&self.fd, &mut [0; 1][..], flags)
            .is_err_and(|error| error == Errno::AGAIN)
    }

    /// Gives readiness to [`Handler::parked_ready`](crate::Handler) under `token`, and the
    /// deadline to `parked_expired`, until [`unpark`](Self::unpark). Makes a system call only
    /// where the stream never waited before.
    pub fn park(&self, token: u32, deadline: Deadline) -> io::Result<()> {
        reactor::with(|inner| {
            let slot = self.registration.enter(inner, self.fd.as_fd(), Interest::Read)?;
            let mut sources = inner.sources();
            let source = sources.at(slot);
            debug_assert_eq!(source.owner, Owner::Tasks, "parked twice");
            source.owner = Owner::Parked;
            let read = std::mem::replace(&mut source.read, token);
            let write = std::mem::replace(&mut source.write, NONE);
            let ready = source.ready & RECEIVABLE != 0;
            drop(sources);

            inner.discard(Waiter(read));
            inner.discard(Waiter(write));
            inner.set_timer(slot, deadline);
            if ready {
                inner.post(inner.sources().key(slot));
            } else {
                inner.rearm(slot, self.fd.as_fd(), Interest::Read)?;
            }
            Ok(())
        })
    }

    /// Gives readiness back to tasks. No system call, and the timer is left to be moved.
    pub fn unpark(&self) {
        let Some(slot) = self.registration.slot() else {
            return;
        };
        reactor::with(|inner| {
            let mut sources = inner.sources();
            let source = sources.at(slot);
            source.owner = Owner::Tasks;
            source.read = NONE;
        });
    }

    /// The deadline that it was last parked with, until it waits for something else.
    pub fn deadline(&self) -> Deadline {
        let Some(slot) = self.registration.slot() else {
            return Deadline::NEVER;
        };
        reactor::with(|inner| match inner.sources().at(slot).timer {
            NONE => Deadline::NEVER,
            timer => Deadline(inner.wheel().deadline(timer)),
        })
    }

    /// TCP_NODELAY.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        Ok(sockopt::set_tcp_nodelay(&self.fd, on)?)
    }

    /// TCP_CORK: hold back partial segments.
    pub fn set_cork(&self, on: bool) -> io::Result<()> {
        Ok(sockopt::set_tcp_cork(&self.fd, on)?)
    }

    /// Ends our side of the conversation (FIN), for a lingering close. `WouldBlock` where there was
    /// no room for something sent before; closing still sends it.
    pub fn shutdown_send(&self) -> io::Result<()> {
        if !self.flush()? {
            return Err(Errno::AGAIN.into());
        }
        Ok(rustix::net::shutdown(&self.fd, Shutdown::Write)?)
    }

    /// Makes close answer with RST (`reset_timedout_connection`).
    pub fn reset_on_close(&self) -> io::Result<()> {
        Ok(sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO))?)
    }

    /// Passes on bytes that the backend has received, at most so many. `None` where the system may have some.
    #[inline]
    fn try_recv_held(&self, most: usize, sink: &mut dyn FnMut(&[u8])) -> Option<io::Result<usize>> {
        let slot = match self.registration.slot.get() {
            NONE => return None,
            DRY => return Some(Err(Errno::AGAIN.into())),
            slot => slot,
        };
        reactor::with(|inner| {
            let mut sources = inner.sources();
            match sources.at(slot).ready {
                ready if ready & READ != 0 => return None,
                ready if ready & HELD == 0 => return Some(Err(Errno::AGAIN.into())),
                _ => {}
            }
            let Received { result, ready } =
                inner.backend().take_received(sources.key(slot), most, sink);
            let source = sources.at(slot);
            source.ready = source.ready & !RECEIVABLE | ready;
            Some(result)
        })
    }

    /// Has the backend take bytes to send. `None` where they are to be sent at once.
    #[inline]
    fn try_send_queued(&self, bytes: &[u8], more: bool) -> Option<io::Result<usize>> {
        let slot = self.registration.slot()?;
        reactor::with(|inner| {
            let mut sources = inner.sources();
            let ready = sources.at(slot).ready;
            if ready & WRITE != 0 {
                return None;
            }
            if ready & QUEUES == 0 {
                return Some(Err(Errno::AGAIN.into()));
            }
            if !more && inner.backend().send(sources.key(slot), bytes) {
                return Some(Ok(bytes.len()));
            }
            drop(sources);
            match inner.flush(slot) {
                Ok(true) => None,
                Ok(false) => Some(Err(Errno::AGAIN.into())),
                Err(error) => Some(Err(error)),
            }
        })
    }

    /// Whether nothing is left with the backend that is to be sent before anything else.
    fn flush(&self) -> io::Result<bool> {
        let Some(slot) = self.registration.slot() else { return Ok(true) };
        reactor::with(|inner| inner.flush(slot))
    }

    /// Makes a system call to send unless it is known to be in vain. `wanted` is what it should take,
    /// where less means that there is no more room.
    #[inline]
    fn attempt_send(
        &self,
        wanted: usize,
        call: impl FnOnce() -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        if let Some(ready) = self.registration.ready()
            && ready & WRITE == 0
            && (ready & QUEUES == 0 || !self.flush()?)
        {
            return Err(Errno::AGAIN.into());
        }
        self.conclude(WRITE, wanted, call())
    }

    /// Notes what a system call told about the readiness: edges are reported once, so a direction
    /// counts as ready until it ran dry.
    #[inline]
    fn conclude(
        &self,
        direction: u8,
        wanted: usize,
        result: rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        match result {
            Err(Errno::AGAIN) => self.registration.dry(direction, self.fd.as_fd()),
            // epoll(7): on a stream less than asked for is as good as EAGAIN; but an end that
            // has been reported already will not be reported again
            Ok(count) if count < wanted && !self.peer_closed() => {
                self.registration.dry(direction, self.fd.as_fd())
            }
            _ => {}
        }
        Ok(result?)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cold]
fn no_room() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a receive without room")
}

fn reaches_beyond(file: &File, offset: u64) -> bool {
    rustix::fs::fstat(file)
        .is_ok_and(|file| u64::try_from(file.st_size).is_ok_and(|size| size > offset))
}

fn send_flags(more: bool) -> SendFlags {
    if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL }
}

/// The future of [`Stream::readable`] and [`Stream::writable`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Ready<'a> {
    stream: &'a Stream,
    interest: Interest,
    deadline: Deadline,
}

impl Future for Ready<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Ready { stream, interest, deadline } = *self;
        reactor::with(|inner| {
            let slot = stream.registration.enter(inner, stream.fd.as_fd(), interest)?;
            if inner.sources().at(slot).ready & interest.bit() != 0 {
                return Poll::Ready(Ok(()));
            }
            if deadline.0 <= inner.now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            inner.set_waiter(slot, interest, inner.waiter(cx));
            inner.limit_timer(slot, deadline);
            if interest == Interest::Write {
                stream.registration.add_sends(inner, slot, stream.fd.as_fd())?;
            }
            inner.rearm(slot, stream.fd.as_fd(), interest)?;
            Poll::Pending
        })
    }
}

/// The future of [`Stream::closed`].
pub struct Closed<'a> {
    stream: &'a Stream,
    deadline: Deadline,
}

impl Future for Closed<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Closed { stream, deadline } = *self;
        reactor::with(|inner| {
            let slot = stream.registration.enter(inner, stream.fd.as_fd(), Interest::Read)?;
            if inner.sources().at(slot).ready & HUP != 0 {
                return Poll::Ready(Ok(()));
            }
            if deadline.0 <= inner.now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            inner.set_waiter(slot, Interest::Read, inner.waiter(cx));
            inner.limit_timer(slot, deadline);
            inner.rearm(slot, stream.fd.as_fd(), Interest::End)?;
            Poll::Pending
        })
    }
}

impl Interest {
    fn bit(self) -> u8 {
        match self {
            Interest::Read => RECEIVABLE,
            Interest::Write => SENDABLE,
            Interest::End => HUP,
        }
    }
}

/// A stream's place among the sources of its thread's reactor, if it ever had to wait.
pub struct Registration {
    /// `NONE` and `DRY` are no slots.
    slot: Cell<u32>,
}

/// Not registered, and nothing to receive when last looked at. Registering tells if that changed.
const DRY: u32 = NONE - 1;

impl Registration {
    fn none() -> Registration {
        Registration { slot: Cell::new(NONE) }
    }

    /// The slot; the first time, the backend is told. `wanted` just proved not to be ready; of the
    /// other direction holds what was known before.
    #[inline]
    fn enter(&self, inner: &Inner, fd: BorrowedFd<'_>, wanted: Interest) -> io::Result<u32> {
        if let Some(slot) = self.slot() {
            return Ok(slot);
        }
        let known = self.ready().unwrap_or(READ | WRITE);
        let mut sources = inner.sources();
        let key = sources.insert(Owner::Tasks, NONE);
        if let Err(error) = inner.backend().add(fd, key, wanted) {
            sources.remove(key.slot());
            return Err(error);
        }
        let source = sources.at(key.slot());
        source.ready = known & !wanted.bit();
        if inner.completes && source.ready & WRITE != 0 {
            source.ready ^= SENDABLE;
        }
        source.sends = wanted == Interest::Write;
        if source.sends {
            source.ready |= UNASKED;
        }
        self.slot.set(key.slot());
        Ok(key.slot())
    }

    /// Has room to send reported, once there was none.
    fn add_sends(&self, inner: &Inner, slot: u32, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut sources = inner.sources();
        let source = sources.at(slot);
        if source.sends && source.ready & ONCE == 0 {
            return Ok(());
        }
        let key = sources.key(slot);
        inner.backend().add_sends(fd, key)?;
        let source = sources.at(slot);
        source.sends = true;
        source.ready &= !ONCE;
        Ok(())
    }

    fn slot(&self) -> Option<u32> {
        let slot = self.slot.get();
        (slot < DRY).then_some(slot)
    }

    /// What is known about the readiness; nothing of a stream that is new.
    #[inline]
    fn ready(&self) -> Option<u8> {
        match self.slot.get() {
            NONE => None,
            DRY => Some(WRITE),
            slot => Some(reactor::with(|inner| inner.sources().at(slot).ready)),
        }
    }

    #[inline]
    fn dry(&self, direction: u8, fd: BorrowedFd<'_>) {
        match self.slot.get() {
            NONE | DRY if direction == READ => self.slot.set(DRY),
            NONE | DRY => {}
            slot => reactor::with(|inner| {
                if direction == READ {
                    let mut sources = inner.sources();
                    let source = sources.at(slot);
                    source.ready = source.ready & !READ | UNASKED;
                } else if self.add_sends(inner, slot, fd).is_ok() {
                    // Where room to send could not be watched, sending goes on to be tried.
                    inner.sources().at(slot).ready &= !SENDABLE;
                }
            }),
        }
    }

    /// Keeps the place of a stream that another thread uses, where that is possible. What it
    /// receives there is no news here: only what comes later is.
    fn lend(self, fd: BorrowedFd<'_>) -> Registration {
        let Some(slot) = self.slot() else { return Registration::none() };
        let stays = reactor::with(|inner| {
            let mut sources = inner.sources();
            let source = sources.at(slot);
            // An end has been reported with what came before it, and will not be again.
            if source.ready & HUP == 0 {
                source.ready = source.ready & !READ | UNASKED;
            }
            inner.backend().watches_lent()
        });
        if stays {
            return self;
        }
        self.leave(fd);
        Registration::none()
    }

    /// Ends the watch on a descriptor that lives on.
    pub fn leave(self, fd: BorrowedFd<'_>) {
        let Some(slot) = self.slot() else { return };
        self.slot.set(NONE);
        reactor::try_with(|inner| {
            let key = inner.sources().key(slot);
            // it can only fail for a descriptor that is not watched, which is what we want
            let _ = inner.backend().remove(fd, key);
            inner.remove_source(slot);
        });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(slot) = self.slot() else { return };
        reactor::try_with(|inner| {
            let key = inner.sources().key(slot);
            inner.backend().forget(key);
            inner.remove_source(slot);
        });
    }
}

/// Sources and what hangs on them.
impl Inner {
    fn set_waiter(&self, slot: u32, interest: Interest, waiter: Waiter) {
        let mut sources = self.sources();
        let source = sources.at(slot);
        let place = match interest {
            Interest::Read | Interest::End => &mut source.read,
            Interest::Write => &mut source.write,
        };
        let former = std::mem::replace(place, waiter.0);
        drop(sources);
        self.discard(Waiter(former));
    }

    /// Makes the source's timer fire at `deadline` or before: a task that is told too early looks
    /// at its own deadline and waits on, so a connection that keeps moving moves no timer.
    fn limit_timer(&self, slot: u32, deadline: Deadline) {
        if deadline == Deadline::NEVER {
            return;
        }
        let mut sources = self.sources();
        let source = sources.at(slot);
        match source.timer {
            NONE => source.timer = self.wheel().insert(deadline.0, Target::Source(slot)).index,
            armed => self.wheel().limit(armed, deadline.0),
        }
    }

    /// Makes the source's timer fire at `deadline`.
    fn set_timer(&self, slot: u32, deadline: Deadline) {
        let mut sources = self.sources();
        let source = sources.at(slot);
        match (source.timer, deadline) {
            (NONE, Deadline::NEVER) => {}
            (NONE, _) => {
                source.timer = self.wheel().insert(deadline.0, Target::Source(slot)).index;
            }
            (armed, Deadline::NEVER) => {
                self.wheel().cancel_at(armed);
                source.timer = NONE;
            }
            (armed, _) => self.wheel().set(armed, deadline.0),
        }
    }

    fn flush(&self, slot: u32) -> io::Result<bool> {
        let key = self.sources().key(slot);
        let flushed = self.backend().flush(key)?;
        if !flushed {
            self.sources().at(slot).ready &= !QUEUES;
        }
        Ok(flushed)
    }

    fn rearm(&self, slot: u32, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        if !self.needs_rearm {
            return Ok(());
        }
        let mut sources = self.sources();
        let source = sources.at(slot);
        if interest == Interest::Read {
            if self.completes && source.ready & UNASKED == 0 {
                return Ok(());
            }
            source.ready &= !UNASKED;
        }
        self.backend().rearm(fd, sources.key(slot), interest)
    }

    fn remove_source(&self, slot: u32) {
        let source = self.sources().remove(slot);
        if source.timer != NONE {
            self.wheel().cancel_at(source.timer);
        }
        if source.owner == Owner::Tasks {
            self.discard(Waiter(source.read));
            self.discard(Waiter(source.write));
        }
    }
}
