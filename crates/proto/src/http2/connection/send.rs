//! Writes what the owner has to say.

use super::super::frame::{END_HEADERS, END_STREAM, HEAD, Head, Kind};
use super::super::hpack::encode;
use super::super::streams::{End, Stream};
use super::super::window::Window;
use super::super::{Code, frame};
use super::{Connection, Role};

/// What a header block is of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A response of 1xx.
    Interim,
    /// A head that a body or trailers follow.
    Head,
    /// A head that nothing follows, or trailers.
    End,
}

/// Updates are batched: half of the window goes by before one is sent.
const BATCHES: u32 = 2;

impl Connection {
    /// Opens a stream for a request. None can be opened any more where the ids have run out, the
    /// peer has gone away, or has as many as it takes. A response to HEAD has no body.
    pub fn open_stream(&mut self, is_head: bool) -> Option<u32> {
        if !self.can_open() {
            return None;
        }
        let id = self.next_ours;
        self.next_ours += 2;
        let mut stream = Stream::new(id, self.peer.stream_window, self.stream_window());
        stream.is_bodiless = is_head;
        self.active.get_or_insert_default().streams.push(stream);
        Some(id)
    }

    /// Whether a client may open another stream now.
    pub fn can_open(&self) -> bool {
        self.role == Role::Client
            && !self.is_dead
            && self.last_taken == frame::MOST
            && self.next_ours <= frame::MOST
            && self.streams_in_use() < self.peer.max_concurrent_streams as usize
    }

    /// Begins a header block, whose fields the caller appends to `out`. It ends with
    /// [`Connection::finish_block`], which is to be given what this returns.
    pub fn begin_block(&mut self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD]);
        if self.peer.take_table_update() {
            encode::no_table(out);
        }
        start
    }

    /// Makes frames of the block that began at `start` and goes to the end of `out`.
    pub fn finish_block(&mut self, id: u32, start: usize, part: Part, out: &mut Vec<u8>) {
        let end_stream = if part == Part::End { END_STREAM } else { 0 };
        let most = self.peer.max_frame_size as usize;
        let length = out.len() - start - HEAD;
        let more = length.saturating_sub(1) / most;
        // Later pieces move towards the end, the last one first, to make room for the heads before
        // them.
        out.resize(out.len() + more * HEAD, 0);
        for piece in (1..=more).rev() {
            let from = start + HEAD + piece * most;
            let size = (length - piece * most).min(most);
            let to = from + piece * HEAD;
            out.copy_within(from..from + size, to);
            let flags = if piece == more { END_HEADERS } else { 0 };
            let head = Head { length: size as u32, kind: Kind::Continuation, flags, stream: id };
            out[to - HEAD..to].copy_from_slice(&head.bytes());
        }
        let flags = end_stream | if more == 0 { END_HEADERS } else { 0 };
        let length = length.min(most) as u32;
        let head = Head { length, kind: Kind::Headers, flags, stream: id };
        out[start..start + HEAD].copy_from_slice(&head.bytes());

        let is_answer = self.role == Role::Server && part != Part::Interim;
        let Some(stream) = self.stream_mut(id) else { return };
        stream.is_answered |= is_answer;
        if part == Part::End {
            self.end(id);
        }
    }

    /// How many bytes of a body one frame may carry now.
    pub fn room(&self, id: u32) -> usize {
        let open = self.stream(id).map_or(0, |stream| stream.send.open());
        open.min(self.send.open()).min(self.peer.max_frame_size as usize)
    }

    /// Whether the connection's window lets any body pass.
    pub fn has_window(&self) -> bool {
        self.send.open() > 0
    }

    /// Writes the head of a DATA frame whose payload the caller appends: no more than there is room
    /// for.
    pub fn begin_data(&mut self, id: u32, length: usize, is_end: bool, out: &mut Vec<u8>) {
        debug_assert!(length <= self.room(id));
        let flags = if is_end { END_STREAM } else { 0 };
        Head { length: length as u32, kind: Kind::Data, flags, stream: id }.write(out);
        let length = length as u32;
        let Some(stream) = self.stream_mut(id) else { return };
        // The caller keeps to the room, or the peer will say that it did not.
        let _ = stream.send.take(length);
        stream.moved = stream.moved.saturating_add(length);
        let _ = self.send.take(length);
        if length >= 256 {
            self.budget.earn();
        }
        if is_end {
            self.end(id);
        }
    }

    /// Writes as much of a body as one frame may carry, and tells how much that was. The stream
    /// ends with it where that is all and the last.
    pub fn send_data(&mut self, id: u32, body: &[u8], is_last: bool, out: &mut Vec<u8>) -> usize {
        let length = body.len().min(self.room(id));
        if length > 0 || (body.is_empty() && is_last && self.is_open(id)) {
            self.begin_data(id, length, is_last && length == body.len(), out);
            out.extend_from_slice(&body[..length]);
        }
        length
    }

    /// Whether the owner has something to send that windows hold up.
    pub fn set_waiting(&mut self, id: u32, is_waiting: bool) {
        if let Some(stream) = self.stream_mut(id) {
            stream.is_waiting = is_waiting;
        }
    }

    fn end(&mut self, id: u32) {
        if let Some(stream) = self.stream_mut(id) {
            stream.is_local_closed = true;
            stream.is_waiting = false;
        }
        self.close_if_whole(id);
    }

    /// Ends a stream at once. What comes for it yet is dropped.
    pub fn reset(&mut self, id: u32, code: Code, out: &mut Vec<u8>) {
        if self.close(id, End::ResetByUs).is_some() {
            frame::rst_stream(id, code, out);
        }
    }

    /// The owner has taken bytes of a body: the peer may send as many again, as it is told when
    /// they are many.
    pub fn consume(&mut self, id: u32, length: usize, out: &mut Vec<u8>) {
        let batch = (self.config.stream_window / BATCHES).max(1);
        let Some(stream) = self.stream_mut(id) else { return };
        stream.debt = stream.debt.saturating_add(length as u32);
        // A window that is empty can't wait for a whole batch.
        let is_due = stream.debt >= batch || stream.receive.open() == 0;
        if is_due && !stream.is_remote_closed {
            let debt = std::mem::take(&mut stream.debt);
            self.widen(id, debt, out);
        }
    }

    /// Lets the peer send more than it could, up to the largest window.
    pub fn widen(&mut self, id: u32, more: u32, out: &mut Vec<u8>) {
        // A peer that has read our settings may go by a larger window than one that has not, before
        // it is known here which of them this one is.
        let doubt = match self.is_confirmed {
            true => 0,
            false => self.config.stream_window.saturating_sub(Window::INITIAL),
        };
        let Some(stream) = self.stream_mut(id) else { return };
        let most = frame::MOST - doubt;
        let more = more.min(most.saturating_sub(stream.receive.open() as u32));
        if more > 0 && !stream.is_remote_closed && stream.receive.widen(more).is_ok() {
            frame::window_update(id, more, out);
        }
    }

    /// Gives back to the connection's window what came, whoever it was for.
    pub(super) fn credit_connection(&mut self, length: u32, out: &mut Vec<u8>) {
        self.debt += length;
        if self.debt >= self.config.connection_window / BATCHES {
            let debt = std::mem::take(&mut self.debt);
            if debt > 0 && self.receive.widen(debt).is_ok() {
                frame::window_update(0, debt, out);
            }
        }
    }

    pub fn ping(&mut self, payload: [u8; 8], out: &mut Vec<u8>) {
        frame::ping(0, payload, out);
    }

    /// Tells that there will be an end, and refuses nothing yet: what is under way from the peer is
    /// still taken. The answer to a ping that follows it says that all of that has come.
    pub fn announce_end(&mut self, out: &mut Vec<u8>) {
        if !self.has_said_goodbye {
            frame::go_away(frame::MOST, Code::NO_ERROR, out);
        }
    }

    /// Takes no more streams than those that have come; what comes later is not looked at, and may
    /// be tried elsewhere.
    pub fn go_away(&mut self, code: Code, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_said_goodbye, true) {
            frame::go_away(self.last_theirs, code, out);
        }
        if self.role == Role::Server {
            self.last_taken = self.last_theirs;
        }
    }

    /// Whether one side has said goodbye and no stream is left: the connection may be closed.
    pub fn is_done(&self) -> bool {
        let is_left =
            self.has_said_goodbye || (self.role == Role::Client && self.last_taken != frame::MOST);
        self.is_dead || (is_left && self.streams_in_use() == 0)
    }
}
