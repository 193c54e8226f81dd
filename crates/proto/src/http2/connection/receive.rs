//! Reads frames. DATA and header blocks are taken as they come; other frames are short and are
//! taken whole.

use super::super::frame::{ACK, END_HEADERS, END_STREAM, HEAD, Head, Kind, PADDED, PRIORITY};
use super::super::streams::End;
use super::super::{Code, Cost, Fatal, Malformed, PREFACE, Sink, frame};
use super::{Connection, Event, Role};

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preface,
    Frame,
    /// Of a body that its owner gets.
    Data,
    /// Of a header block.
    Block,
    /// Nobody wants them.
    Skip,
}

/// How far reading has come.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    state: State,
    /// Padding that follows.
    padding: u8,
    /// The body ends with the frame.
    is_end: bool,
    stream: u32,
    left: u32,
}

impl Reading {
    pub fn new(role: Role) -> Reading {
        let state = match role {
            Role::Server => State::Preface,
            Role::Client => State::Frame,
        };
        Reading { state, padding: 0, is_end: false, stream: 0, left: 0 }
    }

    pub fn is_between_frames(self) -> bool {
        self.state == State::Frame
    }

    fn skip(&mut self, left: u32) {
        self.state = if left > 0 { State::Skip } else { State::Frame };
        self.left = left;
    }
}

/// Frames taken whole are waited for; nothing of use is longer than this, and what is gets skipped
/// or refused.
const MOST_WHOLE: u32 = 16_384;

pub(super) type Step = Result<Option<Event>, Fatal>;

pub(super) fn protocol(reason: &'static str) -> Fatal {
    Fatal::new(Code::PROTOCOL_ERROR, reason)
}

impl Connection {
    /// Reads on at `at` until something has come of it. Fields go to `sink`, which belongs to one
    /// header section: from where it begins, and until its event or the stream's reset. What has to
    /// be sent is appended to `out`.
    ///
    /// A fault ends the connection; what says so to the peer is in `out` then.
    pub fn receive<S: Sink>(
        &mut self,
        input: &[u8],
        at: &mut usize,
        sink: &mut S,
        out: &mut Vec<u8>,
    ) -> Result<Event, Fatal> {
        if self.is_dead {
            return Err(protocol("sent bytes after the end"));
        }
        loop {
            let before = (*at, self.reading.state);
            match self.step(input, at, sink, out) {
                Ok(Some(event)) => return Ok(event),
                Ok(None) if (*at, self.reading.state) == before => return Ok(Event::Incomplete),
                Ok(None) => {}
                Err(fatal) => return Err(self.fail(fatal, out)),
            }
        }
    }

    /// One piece. Nothing has changed where more bytes are needed for it.
    fn step<S: Sink>(
        &mut self,
        input: &[u8],
        at: &mut usize,
        sink: &mut S,
        out: &mut Vec<u8>,
    ) -> Step {
        if let Some(event) = self.leave_behind() {
            return Ok(Some(event));
        }
        let rest = &input[*at..];
        match self.reading.state {
            State::Preface => self.preface(rest, at),
            State::Frame => match rest.first_chunk() {
                Some(bytes) => self.frame(Head::parse(bytes), &rest[HEAD..], at, out),
                None => Ok(None),
            },
            State::Data => self.data(rest.len(), at),
            State::Block => self.block(rest, at, sink, out),
            State::Skip => {
                let length = rest.len().min(self.reading.left as usize);
                *at += length;
                self.reading.skip(self.reading.left - length as u32);
                Ok(None)
            }
        }
    }

    /// The stream whose window the frame that begins at `rest` does not respect, if that is a DATA
    /// frame of an open stream: its owner may widen the window before the frame is read.
    pub fn overruns(&self, rest: &[u8]) -> Option<u32> {
        let head = Head::parse(rest.first_chunk()?);
        let is_data = self.reading.is_between_frames() && head.kind == Kind::Data;
        let stream = self.stream(head.stream).filter(|_| is_data)?;
        (stream.receive.open() < head.length as usize).then_some(head.stream)
    }

    fn preface(&mut self, rest: &[u8], at: &mut usize) -> Step {
        let length = rest.len().min(PREFACE.len());
        if rest[..length] != PREFACE[..length] {
            return Err(protocol("sent invalid preface"));
        }
        if length == PREFACE.len() {
            *at += length;
            self.reading.state = State::Frame;
        }
        Ok(None)
    }

    /// A frame begins. `rest` is what stands behind its head.
    fn frame(&mut self, head: Head, rest: &[u8], at: &mut usize, out: &mut Vec<u8>) -> Step {
        if let Some(block) = self.unfinished_head()
            && (head.kind, head.stream) != (Kind::Continuation, block)
        {
            return Err(protocol("sent inappropriate frame while CONTINUATION was expected"));
        }
        head.check(self.config.max_frame_size)?;
        if !self.has_settings && self.config.settings_first {
            let is_settings = head.kind == Kind::Settings && !head.has(ACK);
            if !is_settings {
                return Err(protocol("sent no SETTINGS frame first"));
            }
        }
        // As much as is looked at now; the rest of the payload is read by other states.
        let needed = match head.kind {
            Kind::Data => u32::from(head.has(PADDED)),
            Kind::Headers => head.before_block(),
            Kind::Continuation | Kind::Unknown(_) | Kind::PushPromise => 0,
            Kind::GoAway => 8,
            Kind::Settings if head.length > MOST_WHOLE => {
                let reason = "sent SETTINGS frame with incorrect length";
                return Err(Fatal::new(Code::FRAME_SIZE_ERROR, reason));
            }
            Kind::PriorityUpdate if head.length > 1024 => 0,
            _ => head.length,
        } as usize;
        let Some(payload) = rest.get(..needed) else { return Ok(None) };
        *at += HEAD + needed;
        self.reading.stream = head.stream;
        self.reading.skip(head.length - needed as u32);
        match head.kind {
            Kind::Data => self.data_frame(head, payload, out),
            Kind::Headers => self.headers_frame(head, payload, out),
            Kind::Continuation => self.continuation_frame(head),
            Kind::Priority => self.priority(head.stream, payload),
            Kind::RstStream => self.rst_stream(head.stream, payload),
            Kind::Settings => self.settings(head, payload, out),
            Kind::Ping => self.pinged(head, payload, out),
            Kind::GoAway => self.gone_away(payload),
            Kind::WindowUpdate => self.window_update(head.stream, payload, out),
            Kind::PriorityUpdate if needed > 0 => self.priority_update(payload),
            _ => self.budget.spend(Cost::Others).map(|()| None),
        }
    }

    /// Whether a stream with this id has never been. Its first frame has to be HEADERS.
    pub(super) fn is_unheard(&self, stream: u32) -> bool {
        let is_clients = stream & 1 == 1;
        match self.role {
            Role::Server => !is_clients || stream > self.last_theirs,
            Role::Client => !is_clients || stream >= self.next_ours,
        }
    }

    /// Takes off the padding's length, which the payload before the rest says.
    fn padding(head: Head, payload: &[u8], left: u32) -> Result<u8, Fatal> {
        let padding = if head.has(PADDED) { payload[0] } else { 0 };
        match u32::from(padding) <= left {
            true => Ok(padding),
            false if head.kind == Kind::Data => {
                Err(protocol("sent padded DATA frame with incorrect length"))
            }
            false => Err(protocol("sent padded HEADERS frame with incorrect length")),
        }
    }

    fn data_frame(&mut self, head: Head, payload: &[u8], out: &mut Vec<u8>) -> Step {
        let padding = Self::padding(head, payload, self.reading.left)?;
        let left = self.reading.left - u32::from(padding);
        let is_end = head.has(END_STREAM);
        if self.receive.take(head.length).is_err() {
            let reason = "violated connection flow control";
            return Err(Fatal::new(Code::FLOW_CONTROL_ERROR, reason));
        }
        self.credit_connection(head.length, out);
        match left {
            0 if !is_end => self.budget.spend(Cost::EmptyFrames)?,
            ..256 => {}
            _ => self.budget.earn(),
        }
        let id = head.stream;
        let Some(stream) = self.stream_mut(id) else {
            return self.late_data(id, out);
        };
        if stream.is_remote_closed {
            return self.fault(id, Code::STREAM_CLOSED, out);
        }
        if stream.receive.take(head.length).is_err() {
            return self.fault(id, Code::FLOW_CONTROL_ERROR, out);
        }
        if stream.is_deaf {
            stream.is_remote_closed = is_end;
            self.close_if_whole(id);
            return Ok(None);
        }
        if let Some(rest) = stream.rest {
            let after = rest.checked_sub(left.into());
            if after.is_none() || (is_end && after != Some(0)) {
                stream.is_remote_closed = is_end;
                let is_longer = after.is_none();
                let malformed = if is_longer { Malformed::Excess } else { Malformed::Length };
                return self.malformed(id, malformed);
            }
            stream.rest = after;
        }
        // What is not of the body is given back with the next bytes that are.
        stream.debt += head.length - left;
        if left == 0 {
            if is_end {
                return Ok(Some(self.end_of_data(id, 0)));
            }
            return Ok(None);
        }
        self.reading.state = State::Data;
        self.reading.padding = padding;
        self.reading.is_end = is_end;
        self.reading.left = left;
        Ok(None)
    }

    /// DATA for a stream that is not open.
    fn late_data(&mut self, id: u32, out: &mut Vec<u8>) -> Step {
        if self.is_unheard(id) {
            return Err(protocol("sent DATA frame for idle stream"));
        }
        match self.closed.end_of(id) {
            Some(End::Whole) => {
                let reason = "sent DATA frame for closed stream";
                Err(Fatal::new(Code::STREAM_CLOSED, reason))
            }
            Some(End::ResetByPeer) => {
                self.budget.spend(Cost::Resets)?;
                frame::rst_stream(id, Code::STREAM_CLOSED, out);
                Ok(None)
            }
            // It was sent before our reset was read.
            Some(End::ResetByUs) | None => Ok(None),
        }
    }

    /// Hands over what is there of a body, if there still is somebody who wants it.
    fn data(&mut self, available: usize, at: &mut usize) -> Step {
        let length = available.min(self.reading.left as usize);
        if length == 0 {
            return Ok(None);
        }
        *at += length;
        self.reading.left -= length as u32;
        let id = self.reading.stream;
        let is_last = self.reading.left == 0;
        if is_last {
            self.reading.skip(self.reading.padding.into());
        }
        match self.stream(id) {
            None => Ok(None),
            Some(stream) if stream.is_deaf => Ok(None),
            Some(_) if is_last && self.reading.is_end => Ok(Some(self.end_of_data(id, length))),
            Some(_) => Ok(Some(Event::Data { stream: id, length, is_end: false })),
        }
    }

    fn end_of_data(&mut self, id: u32, length: usize) -> Event {
        if let Some(stream) = self.stream_mut(id) {
            stream.is_remote_closed = true;
        }
        self.close_if_whole(id);
        Event::Data { stream: id, length, is_end: true }
    }

    fn headers_frame(&mut self, head: Head, payload: &[u8], out: &mut Vec<u8>) -> Step {
        let padding = Self::padding(head, payload, self.reading.left)?;
        if head.has(PRIORITY) {
            let depends_on = frame::word(&payload[usize::from(head.has(PADDED))..]) & frame::MOST;
            if depends_on == head.stream {
                return Err(protocol("sent HEADERS frame for stream with incorrect dependency"));
            }
        }
        self.reading.state = State::Block;
        self.reading.padding = padding;
        self.reading.left -= u32::from(padding);
        self.open(head, out)
    }

    fn continuation_frame(&mut self, head: Head) -> Step {
        let Some(active) = self.active.as_mut().filter(|active| active.block != 0) else {
            return Err(protocol("sent unexpected CONTINUATION frame"));
        };
        active.continuations += 1;
        active.ends_block = head.has(END_HEADERS);
        let most = 16 + self.config.header_limit / 1024;
        if active.continuations > most || (head.length == 0 && !active.ends_block) {
            return Err(Fatal {
                code: Code::ENHANCE_YOUR_CALM,
                reason: "sent too many CONTINUATION frames",
                cost: Some(Cost::Continuations),
            });
        }
        self.reading.state = State::Block;
        self.reading.padding = 0;
        self.reading.left = head.length;
        Ok(None)
    }

    /// Takes what is there of a header block.
    fn block<S: Sink>(
        &mut self,
        rest: &[u8],
        at: &mut usize,
        sink: &mut S,
        out: &mut Vec<u8>,
    ) -> Step {
        let length = rest.len().min(self.reading.left as usize);
        if length == 0 && self.reading.left > 0 {
            return Ok(None);
        }
        *at += length;
        self.reading.left -= length as u32;
        self.fields(&rest[..length], sink)?;
        if self.reading.left > 0 {
            return Ok(None);
        }
        self.reading.skip(self.reading.padding.into());
        match self.active.as_ref().is_some_and(|active| active.ends_block) {
            true => self.end_block(sink, out),
            false => Ok(None),
        }
    }
}
