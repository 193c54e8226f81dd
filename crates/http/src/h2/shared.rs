//! What a session and the tasks of its requests have in common.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use daemun_core::connection::Connection;
use daemun_proto::http2::{self, Code, Part, Priority};

use super::turns::{Rank, Turns};

/// The number of a session on its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    place: u32,
    /// Places are used again, numbers are not.
    number: u32,
}

#[derive(Default)]
struct Sessions {
    list: Vec<Option<(u32, Rc<RefCell<Shared>>)>>,
    free: Vec<u32>,
    numbers: u32,
    are_leaving: bool,
}

thread_local! {
    static SESSIONS: RefCell<Sessions> = RefCell::default();
}

/// Makes a session known to the tasks of its thread.
pub(super) fn enter(shared: Shared) -> (Entered, Rc<RefCell<Shared>>) {
    let shared = Rc::new(RefCell::new(shared));
    SESSIONS.with_borrow_mut(|sessions| {
        sessions.numbers = sessions.numbers.wrapping_add(1);
        let number = sessions.numbers;
        let entry = Some((number, Rc::clone(&shared)));
        let place = match sessions.free.pop() {
            Some(place) => {
                sessions.list[place as usize] = entry;
                place
            }
            None => {
                sessions.list.push(entry);
                sessions.list.len() as u32 - 1
            }
        };
        (Entered(Key { place, number }), shared)
    })
}

/// A session that its tasks can find. When it is over, which it may be at any moment where its
/// process has to end, they find nothing.
pub(super) struct Entered(Key);

impl Entered {
    pub fn key(&self) -> Key {
        self.0
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        with(self.0, Shared::lose_all);
        SESSIONS.with_borrow_mut(|sessions| {
            sessions.list[self.0.place as usize] = None;
            sessions.free.push(self.0.place);
        });
    }
}

/// Works on a session that may be over.
pub(super) fn with<R>(key: Key, work: impl FnOnce(&mut Shared) -> R) -> Option<R> {
    let shared = SESSIONS.with_borrow(|sessions| match sessions.list.get(key.place as usize) {
        Some(Some((number, shared))) if *number == key.number => Some(Rc::clone(shared)),
        _ => None,
    })?;
    let result = work(&mut shared.borrow_mut());
    Some(result)
}

/// Has the sessions of this thread take no new requests: another process will.
pub fn take_leave() {
    SESSIONS.with_borrow_mut(|sessions| {
        sessions.are_leaving = true;
        for (_, shared) in sessions.list.iter().flatten() {
            shared.borrow_mut().wake_session();
        }
    });
}

pub(super) fn is_leaving() -> bool {
    SESSIONS.with_borrow(|sessions| sessions.are_leaving)
}

/// How much of a body that its client may send as a whole waits for its task, until the session
/// stops reading.
const MOST_WAITING: usize = 128 * 1024;

/// How much may wait to be sent until streams have to wait.
const MOST_UNSENT: usize = 64 * 1024;

/// A connection that speaks HTTP/2.
pub(super) struct Shared {
    pub machine: http2::Connection,
    pub connection: Connection,
    /// Frames that are to be sent, up to `sent` of them already taken by the socket.
    pub out: Vec<u8>,
    pub sent: usize,
    pub streams: HashMap<u32, Stream>,
    /// How many of them are open for all of a body.
    opened: u32,
    /// The session's task.
    pub waker: Option<Waker>,
    /// Streams that wait for their turn to add to `out`.
    turns: Turns,
    /// The client has said something of priorities, so that others have their default.
    has_priorities: bool,
}

/// A stream whose request is being answered.
#[derive(Default)]
pub(super) struct Stream {
    /// What came of the body and nobody has taken.
    pub inbox: Vec<u8>,
    /// All of the body has come.
    pub has_ended: bool,
    /// What came of it breaks a rule.
    pub is_malformed: bool,
    /// The client may send all of the body.
    pub is_open: bool,
    /// The client has given it up, or the connection is lost.
    pub is_gone: bool,
    /// The machine waits to be told that its work has stopped.
    pub is_cancelled: bool,
    /// The task that answers it.
    pub waker: Option<Waker>,
    pub waits_for_turn: bool,
    /// What was said of it.
    pub priority: Option<Priority>,
}

impl Stream {
    fn rank(&self, has_priorities: bool) -> Rank {
        match self.priority {
            Some(priority) => Rank::of(priority),
            None if has_priorities => Rank::of(Priority::default()),
            None => Rank::UNSAID,
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A piece of a body that is to be sent.
pub(super) struct Data<'b> {
    pub bytes: &'b [u8],
    /// The body ends with it.
    pub is_last: bool,
    /// The most that may be sent now.
    pub most: usize,
    /// What does not fit a frame is brought at once.
    pub goes_on: bool,
}

/// What came of an attempt to send.
pub(super) enum Attempt {
    /// So many bytes.
    Sent(usize),
    /// The windows are closed.
    Closed,
    /// It is the turn of others.
    Waits,
    Gone,
}

impl Shared {
    pub fn new(connection: Connection, machine: http2::Connection, out: Vec<u8>) -> Shared {
        Shared {
            machine,
            connection,
            out,
            sent: 0,
            streams: HashMap::new(),
            opened: 0,
            waker: None,
            turns: Turns::default(),
            has_priorities: false,
        }
    }

    pub fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Whether there is something that the socket has not taken.
    pub fn has_unsent(&mut self) -> bool {
        self.unsent() > 0 || self.connection.transport().has_unsent()
    }

    fn has_room(&self) -> bool {
        self.unsent() < MOST_UNSENT
    }

    /// Whether some stream may send of its body.
    fn may_send(&self) -> bool {
        self.has_room() && self.machine.has_window()
    }

    /// Whether the session may read on: what comes of it has room.
    pub fn may_read(&self) -> bool {
        let is_full = |stream: &Stream| stream.is_open && stream.inbox.len() >= MOST_WAITING;
        self.has_room() && (self.opened == 0 || !self.streams.values().any(is_full))
    }

    /// Has the session send, or look at what has changed.
    pub fn wake_session(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub fn wake(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.wake();
        }
    }

    pub fn wake_all(&mut self) {
        self.streams.values_mut().for_each(Stream::wake);
    }

    /// Every stream is lost.
    pub fn lose_all(&mut self) {
        for stream in self.streams.values_mut() {
            stream.is_gone = true;
            stream.wake();
        }
    }

    /// Lets the next stream send.
    pub fn next_turn(&mut self) {
        if self.may_send()
            && let Some(id) = self.turns.grant()
            && let Some(stream) = self.streams.get_mut(&id)
        {
            stream.waits_for_turn = false;
            stream.wake();
        }
    }

    /// Ready where the stream is lost, or `is_ready`.
    pub fn poll_stream(
        &mut self,
        id: u32,
        cx: &mut Context<'_>,
        is_ready: impl FnOnce(&Stream) -> bool,
    ) -> Poll<()> {
        match self.streams.get_mut(&id) {
            Some(stream) if !stream.is_gone && !is_ready(stream) => {
                stream.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    pub fn try_receive(&mut self, id: u32, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Err(io::ErrorKind::ConnectionReset.into());
        };
        let length = stream.inbox.len();
        match length {
            0 if stream.is_gone => Err(io::ErrorKind::ConnectionReset.into()),
            0 if stream.is_malformed => Err(io::ErrorKind::InvalidData.into()),
            0 if stream.has_ended => Ok(0),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => {
                bytes.append(&mut stream.inbox);
                let before = self.out.len();
                self.machine.consume(id, length, &mut self.out);
                if self.out.len() > before || length >= MOST_WAITING {
                    self.wake_session();
                }
                Ok(length)
            }
        }
    }

    pub fn has_no_more(&self, id: u32) -> bool {
        let stream = self.streams.get(&id);
        stream.is_some_and(|one| one.has_ended && one.inbox.is_empty() && !one.is_malformed)
    }

    pub fn is_malformed(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.is_malformed)
    }

    pub fn open_window(&mut self, id: u32) {
        let most = (1 << 31) - 1;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.has_ended && !std::mem::replace(&mut stream.is_open, true) {
            self.opened += 1;
            self.machine.widen(id, most, &mut self.out);
            self.wake_session();
        }
    }

    pub fn send_interim(&mut self, id: u32, block: &[u8]) {
        self.send_block(id, block, Part::Interim);
    }

    /// Sends a head, or trailers; how many bytes that took.
    pub fn send_block(&mut self, id: u32, block: &[u8], part: Part) -> usize {
        if !self.machine.is_open(id) {
            return 0;
        }
        let before = self.out.len();
        let start = self.machine.begin_block(&mut self.out);
        self.out.extend_from_slice(block);
        self.machine.finish_block(id, start, part, &mut self.out);
        self.wake_session();
        self.out.len() - before
    }

    /// Sends as much as one frame of at most `most` bytes carries. Where it has to wait, the task is
    /// woken when that may be over. A stream that `goes_on` comes at once with what is left.
    pub fn send_data(&mut self, id: u32, data: Data<'_>, cx: &mut Context<'_>) -> Attempt {
        let Data { bytes, is_last, most, goes_on } = data;
        let may_send = self.may_send() || bytes.is_empty();
        let Some(stream) = self.streams.get_mut(&id) else { return Attempt::Gone };
        if stream.is_gone {
            return Attempt::Gone;
        }
        let is_nothing = bytes.is_empty();
        if is_nothing && !is_last {
            return Attempt::Sent(0);
        }
        let rank = stream.rank(self.has_priorities);
        if !may_send || self.turns.others_go_before(id, rank) {
            stream.waker = Some(cx.waker().clone());
            self.turns.use_up(id);
            if !std::mem::replace(&mut stream.waits_for_turn, true) {
                self.turns.wait(id, rank);
            }
            self.next_turn();
            return Attempt::Waits;
        }
        self.turns.use_up(id);
        if std::mem::take(&mut stream.waits_for_turn) {
            self.turns.forget(id);
        }
        let room = self.machine.room(id).min(most);
        if room == 0 && !is_nothing {
            stream.waker = Some(cx.waker().clone());
            self.next_turn();
            return Attempt::Closed;
        }
        let length = bytes.len().min(room);
        let is_end = is_last && length == bytes.len();
        self.machine.send_data(id, &bytes[..length], is_end, &mut self.out);
        if goes_on && length < bytes.len() && !self.turns.is_empty() {
            stream.waits_for_turn = true;
            stream.waker = Some(cx.waker().clone());
            self.turns.wait(id, rank);
        }
        self.next_turn();
        self.wake_session();
        Attempt::Sent(length)
    }

    /// Ready where something of a body may be sent, or the stream is lost.
    pub fn poll_room(&mut self, id: u32, cx: &mut Context<'_>) -> Poll<()> {
        let has_room = self.may_send() && self.machine.room(id) > 0;
        self.poll_stream(id, cx, |stream| has_room && !stream.waits_for_turn)
    }

    pub fn has_arrived(&self, id: u32) -> bool {
        self.streams.get(&id).is_none_or(|stream| {
            !stream.inbox.is_empty() || stream.has_ended || stream.is_malformed || stream.is_gone
        })
    }

    /// What the response says of its priority.
    pub fn update_priority(&mut self, id: u32, text: &[u8]) {
        if let Some(stream) = self.streams.get(&id) {
            let priority = stream.priority.unwrap_or_default().updated(text);
            self.set_priority(id, priority);
        }
    }

    /// What the client says of a stream's priority.
    pub fn set_priority(&mut self, id: u32, priority: Priority) {
        self.has_priorities = true;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.priority = Some(priority);
        if stream.waits_for_turn && !self.turns.is_granted(id) {
            self.turns.forget(id);
            self.turns.wait(id, Rank::of(priority));
        }
    }

    /// Ends a stream that cannot be answered to its end.
    pub fn reset(&mut self, id: u32, code: Code) {
        self.machine.reset(id, code, &mut self.out);
        self.wake_session();
    }

    /// Tells the client that its request broke a rule, whatever was answered.
    pub fn blame(&mut self, id: u32) {
        match self.machine.is_open(id) {
            true => self.machine.reset(id, Code::PROTOCOL_ERROR, &mut self.out),
            false => http2::frame::rst_stream(id, Code::PROTOCOL_ERROR, &mut self.out),
        }
        self.wake_session();
    }

    /// The work for a stream is done.
    pub fn end(&mut self, id: u32) {
        if let Some(stream) = self.streams.remove(&id) {
            self.opened -= u32::from(stream.is_open);
            if stream.is_cancelled {
                self.machine.release();
            }
            // What nobody has taken is nobody's.
            if !stream.inbox.is_empty() {
                self.machine.consume(id, stream.inbox.len(), &mut self.out);
            }
            if self.machine.is_open(id) {
                // The response is whole, and the rest of the body is not wanted.
                self.machine.reset(id, Code::NO_ERROR, &mut self.out);
            }
        }
        self.turns.forget(id);
        self.next_turn();
        self.wake_session();
    }
}
