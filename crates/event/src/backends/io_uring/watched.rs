//! A watched descriptor, and what is asked of the kernel for it.

use std::os::fd::RawFd;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use libc::{
    MSG_DONTWAIT, MSG_NOSIGNAL, MSG_WAITALL, POLLIN, POLLOUT, POLLRDHUP, SOCK_CLOEXEC,
    SOCK_NONBLOCK,
};

use super::buffers::{self, Buffers, Held};
use super::ring::Round;
use super::sends::{Place, Sends};
use crate::Buffer;
use crate::sources::{HELD, HUP, Key, QUEUES, READ, WRITE};

/// Buffers that one connection may hold before receiving ahead ends.
const MOST_HELD: u16 = 8;

/// What is asked of the kernel. With a [`Key`] it names the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Its completion tells nothing.
    Cancel = 0,
    Receive = 1,
    Room = 2,
    End = 3,
    /// Of what is level-triggered: that it is readable, or connections.
    Level = 4,
    /// That is done once the kernel has seen it. It completes only where not all was sent.
    Send = 5,
    /// For as long as it takes.
    SendRest = 6,
}

/// Where a request stands in its name: above any slot, below the generation.
const PLACE: u32 = 29;

impl Request {
    pub(super) fn name(self, key: Key) -> u64 {
        debug_assert!(key.slot() < 1 << PLACE);
        key.to_bits() | (self as u64) << PLACE
    }

    pub(super) fn parse(name: u64) -> (Request, Key) {
        let request = match (name >> PLACE) & 7 {
            1 => Request::Receive,
            2 => Request::Room,
            3 => Request::End,
            4 => Request::Level,
            5 => Request::Send,
            6 => Request::SendRest,
            _ => Request::Cancel,
        };
        (request, Key::from_bits(name & !(7 << PLACE)))
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stream,
    /// A connection of which is told that there is something to receive.
    Polled,
    Readable,
    Listener,
    /// Others accept from it too: one at a time, so that they get their share.
    SharedListener,
}

pub(super) struct Watched {
    pub(super) key: Key,
    pub(super) fd: RawFd,
    pub(super) kind: Kind,
    /// Bits of [`Request`].
    under_way: u8,
    /// The receive is being cancelled.
    ending: bool,
    /// The last request's.
    asked: Round,
    /// The last send's.
    sent: Round,
    held: Held,
    /// How receiving ended, which is told after all that is held: zero bytes or an errno.
    end: Option<u16>,
    /// What the kernel had no room for and has yet to send.
    sending: Place,
    /// Somebody has to be told once that is done.
    pub(super) blocked: bool,
}

impl Watched {
    pub(super) fn new(key: Key, fd: RawFd, kind: Kind) -> Watched {
        Watched {
            key,
            fd,
            kind,
            under_way: 0,
            ending: false,
            asked: Round::NEVER,
            sent: Round::NEVER,
            held: Held::NOTHING,
            end: None,
            sending: Place::NONE,
            blocked: false,
        }
    }

    pub(super) fn has_under_way(&self, request: Request) -> bool {
        self.under_way & request.bit() != 0
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// Whether the kernel has not seen its last request, in this round.
    pub(super) fn is_unseen(&self, round: Round) -> bool {
        self.asked == round
    }

    /// The kernel's form of a request other than a send, which is under way from now on. It points to nothing.
    pub(super) fn begin(&mut self, request: Request, round: Round) -> squeue::Entry {
        self.under_way |= request.bit();
        self.asked = round;
        self.entry(request).user_data(request.name(self.key))
    }

    /// The kernel's form of a send that takes no time, which points to the bytes.
    pub(super) fn begin_send(&mut self, bytes: &[u8], round: Round) -> squeue::Entry {
        self.asked = round;
        self.sent = round;
        // without MSG_WAITALL it would have succeeded once a part was sent
        let flags = MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT;
        self.send(bytes, flags, Request::Send).flags(squeue::Flags::SKIP_SUCCESS)
    }

    /// The kernel's form of a send of what another one had no room for, which points to the buffer's bytes.
    pub(super) fn begin_send_rest(
        &mut self,
        rest: Buffer,
        sends: &mut Sends,
        round: Round,
    ) -> squeue::Entry {
        self.asked = round;
        self.under_way |= Request::SendRest.bit();
        let entry = self.send(&rest, MSG_NOSIGNAL | MSG_WAITALL, Request::SendRest);
        self.sending = sends.insert(rest);
        entry
    }

    fn send(&self, bytes: &[u8], flags: i32, request: Request) -> squeue::Entry {
        let send = opcode::Send::new(Fd(self.fd), bytes.as_ptr(), bytes.len() as u32);
        send.flags(flags).build().user_data(request.name(self.key))
    }

    /// Whether bytes may be left that are to be sent before any others, in this round.
    pub(super) fn is_sending(&self, round: Round) -> bool {
        self.sent == round || self.sending != Place::NONE
    }

    /// What is still being sent.
    pub(super) fn take_sending(&mut self, sends: &mut Sends) -> Option<Buffer> {
        sends.take(std::mem::replace(&mut self.sending, Place::NONE))
    }

    pub(super) fn is_over(&mut self, request: Request) {
        self.under_way &= !request.bit();
    }

    /// All that was received has been taken, and nothing else is to be told.
    pub(super) fn is_drained(&self) -> bool {
        self.held.is_empty() && self.end.is_none()
    }

    /// Has receiving ahead end for who does not read: whether the receive is to be cancelled.
    pub(super) fn is_to_end(&mut self) -> bool {
        let is_to_end =
            self.held.count() > MOST_HELD && self.has_under_way(Request::Receive) && !self.ending;
        self.ending |= is_to_end;
        is_to_end
    }

    /// A completion of the receive: the readiness to report.
    pub(super) fn received(
        &mut self,
        result: i32,
        buffer: Option<u16>,
        buffers: &mut Buffers,
    ) -> Option<u8> {
        let was_drained = self.is_drained();
        match (buffer, result) {
            (Some(id), 1..) => buffers.append(&mut self.held, id, result as u16),
            (Some(id), _) => buffers.give(id),
            (None, _) => {}
        }
        if self.has_under_way(Request::Receive) {
            return (was_drained && !self.is_drained()).then_some(HELD);
        }
        self.ending = false;
        if result == -libc::ENOBUFS {
            buffers.use_more();
        }
        self.end = match -result {
            libc::ECANCELED | libc::ENOBUFS | libc::EINTR => None,
            code => u16::try_from(code).ok(),
        };
        let ended = if self.end.is_some() { HUP } else { 0 };
        Some(ended | if self.is_drained() { READ } else { HELD })
    }

    /// Moves what was received to `sink`, at most so many bytes.
    pub(super) fn take(
        &mut self,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
        buffers: &mut Buffers,
    ) -> std::io::Result<usize> {
        match buffers.take(&mut self.held, most, sink) {
            0 => match self.end.take() {
                None => Err(std::io::ErrorKind::WouldBlock.into()),
                Some(0) => Ok(0),
                Some(code) => Err(std::io::Error::from_raw_os_error(code.into())),
            },
            count => Ok(count),
        }
    }

    /// What a receive may yield, as readiness.
    pub(super) fn receivable(&self) -> u8 {
        match self.is_drained() {
            false => HELD,
            true if self.has_under_way(Request::Receive) => 0,
            true => READ,
        }
    }

    pub(super) fn drop_held(&mut self, buffers: &mut Buffers) {
        buffers.clear(&mut self.held);
    }

    /// The send of a rest has ended: the readiness to report. Where not all was taken, the connection has failed,
    /// and the next send tells how.
    pub(super) fn rest_sent(&mut self, result: i32, sends: &mut Sends) -> Option<u8> {
        let wanted = self.take_sending(sends).map_or(0, |buffer| buffer.len());
        let blocked = std::mem::take(&mut self.blocked);
        if usize::try_from(result).is_ok_and(|sent| sent >= wanted) {
            return blocked.then_some(QUEUES);
        }
        Some(WRITE | HUP)
    }

    fn entry(&self, request: Request) -> squeue::Entry {
        let fd = Fd(self.fd);
        let poll = |events: i16| opcode::PollAdd::new(fd, events as u32).build();
        match (request, self.kind) {
            (Request::Receive, Kind::Polled) => {
                opcode::PollAdd::new(fd, (POLLIN | POLLRDHUP) as u32).multi(true).build()
            }
            (Request::Receive, _) => opcode::RecvMulti::new(fd, buffers::GROUP).build(),
            (Request::Room, _) => poll(POLLOUT),
            (Request::End, _) => poll(POLLRDHUP),
            (Request::Level, Kind::Listener) => {
                opcode::AcceptMulti::new(fd).flags(SOCK_NONBLOCK | SOCK_CLOEXEC).build()
            }
            (Request::Level, Kind::SharedListener) => {
                let no_address = std::ptr::null_mut();
                let accept = opcode::Accept::new(fd, no_address, no_address.cast());
                accept.flags(SOCK_NONBLOCK | SOCK_CLOEXEC).build()
            }
            (Request::Level | Request::Send | Request::SendRest | Request::Cancel, _) => {
                poll(POLLIN)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_connection_is_small() {
        assert_eq!(size_of::<Option<Watched>>(), 40);
    }

    #[test]
    fn a_request_is_found_by_its_name() {
        let key = Key::from_bits(0xffff_fff7_1fff_fff1);
        for request in [Request::Receive, Request::Room, Request::End, Request::SendRest] {
            let (parsed, of) = Request::parse(request.name(key));
            assert!(parsed == request && of == key);
        }
    }
}
