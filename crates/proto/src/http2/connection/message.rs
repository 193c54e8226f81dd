//! Follows what header blocks mean: which stream they open or end, and whether it is taken.

use super::super::fields::{Purpose, TOO_LARGE};
use super::super::frame::{END_HEADERS, END_STREAM, Head};
use super::super::hpack::Flaw;
use super::super::streams::{End, Stream};
use super::super::window::Window;
use super::super::{Code, Cost, Fatal, Malformed, Sink, frame};
use super::receive::Step;
use super::{By, Connection, Event, Message, Role};

/// More streams than are allowed, or too early.
const REFUSED: Code = Code::REFUSED_STREAM;

impl Connection {
    /// A HEADERS frame begins a block. An event here is about its stream; the block is read on in
    /// any case.
    pub(super) fn open(&mut self, head: Head, out: &mut Vec<u8>) -> Step {
        let id = head.stream;
        let (purpose, event) = match self.purpose(head, out) {
            Ok(purpose) => (purpose, None),
            Err(Refusal::Stream(code)) => (Purpose::Nothing, self.fault(id, code, out)?),
            Err(Refusal::Connection(fatal)) => return Err(fatal),
        };
        let active = self.active.get_or_insert_default();
        active.section.begin(purpose, &self.config);
        active.block = id;
        active.ends_stream = head.has(END_STREAM);
        active.ends_block = head.has(END_HEADERS);
        active.continuations = 0;
        Ok(event)
    }

    /// What a block is for.
    fn purpose(&mut self, head: Head, out: &mut Vec<u8>) -> Result<Purpose, Refusal> {
        let id = head.stream;
        let role = self.role;
        if let Some(stream) = self.stream_mut(id) {
            if stream.is_remote_closed {
                return Err(Refusal::Stream(Code::STREAM_CLOSED));
            }
            if stream.is_deaf {
                stream.is_remote_closed = head.has(END_STREAM);
                self.close_if_whole(id);
                return self.ignored();
            }
            return match role == Role::Client && !stream.is_answered {
                true => Ok(Purpose::Response),
                false => Ok(Purpose::Trailers),
            };
        }
        let is_new = self.role == Role::Server && id & 1 == 1 && id > self.last_theirs;
        if is_new {
            return self.take(head, out);
        }
        let fatal = |code, reason| Err(Refusal::Connection(Fatal::new(code, reason)));
        match self.closed.end_of(id) {
            Some(End::ResetByUs) => self.ignored(),
            Some(End::ResetByPeer) => {
                self.budget.spend(Cost::Resets).map_err(Refusal::Connection)?;
                frame::rst_stream(id, Code::STREAM_CLOSED, out);
                Ok(Purpose::Nothing)
            }
            Some(End::Whole) => {
                let code = self.code(Code::STREAM_CLOSED, Code::PROTOCOL_ERROR);
                fatal(code, "sent HEADERS frame with incorrect identifier")
            }
            // A client does not open an old stream again; a server may be late.
            None if self.role == Role::Client && !self.is_unheard(id) => self.ignored(),
            None => fatal(Code::PROTOCOL_ERROR, "sent HEADERS frame with incorrect identifier"),
        }
    }

    /// The block is for nobody, and has to be decoded all the same.
    fn ignored(&mut self) -> Result<Purpose, Refusal> {
        self.budget.spend(Cost::Others).map_err(Refusal::Connection)?;
        Ok(Purpose::Nothing)
    }

    /// A client opens a stream.
    fn take(&mut self, head: Head, out: &mut Vec<u8>) -> Result<Purpose, Refusal> {
        let id = head.stream;
        self.last_theirs = id;
        if id > self.last_taken {
            return self.ignored();
        }
        let is_full = self.streams_in_use() >= self.config.max_concurrent_streams as usize;
        // The client may send as much as the RFC allows before it knows our settings.
        let is_early = !self.is_confirmed
            && !head.has(END_STREAM)
            && self.config.stream_window < Window::INITIAL;
        if is_full || is_early {
            self.budget.spend(Cost::Refusals).map_err(Refusal::Connection)?;
            frame::rst_stream(id, REFUSED, out);
            self.closed.add(id, End::ResetByUs);
            return Ok(Purpose::Nothing);
        }
        let stream = Stream::new(id, self.peer.stream_window, self.stream_window());
        self.active.get_or_insert_default().streams.push(stream);
        Ok(Purpose::Request)
    }

    /// Decodes a piece of the block. What is left of it at its end is the beginning of a field.
    pub(super) fn fields<S: Sink>(&mut self, piece: &[u8], sink: &mut S) -> Result<(), Fatal> {
        let Some(active) = &mut self.active else { return Ok(()) };
        active.section.length = active.section.length.saturating_add(piece.len() as u32);
        let is_pending = !active.pending.is_empty();
        if is_pending {
            active.pending.extend_from_slice(piece);
        }
        let block = if is_pending { &active.pending[..] } else { piece };
        let section = &mut active.section;
        let mut at = 0;
        loop {
            let is_first = section.is_fresh;
            let bytes = sink.bytes();
            let next = self.decoder.next(block, &mut at, is_first, &mut section.room, bytes);
            match next {
                Ok(Some(field)) => section.field(field, &self.config, sink)?,
                Ok(None) => break,
                Err(Flaw::TooLarge) => return Err(TOO_LARGE),
                Err(flaw) => return Err(Fatal::new(Code::COMPRESSION_ERROR, reason(flaw))),
            }
        }
        match is_pending {
            true => drop(active.pending.drain(..at)),
            false => active.pending.extend_from_slice(&piece[at..]),
        }
        Ok(())
    }

    /// The block is whole.
    pub(super) fn end_block<S: Sink>(&mut self, sink: &mut S, out: &mut Vec<u8>) -> Step {
        let Some(active) = &mut self.active else { return Ok(None) };
        let id = std::mem::take(&mut active.block);
        if !active.pending.is_empty() {
            let reason = "sent header block with incorrect length";
            let code = self.code(Code::COMPRESSION_ERROR, Code::FRAME_SIZE_ERROR);
            return Err(Fatal::new(code, reason));
        }
        let (purpose, is_end) = (active.section.purpose, active.ends_stream);
        active.section.finish(&self.config, is_end, sink);
        match purpose {
            Purpose::Nothing => Ok(None),
            Purpose::Trailers => self.trailers(id, is_end, out),
            Purpose::Request | Purpose::Response => self.message(id, is_end),
        }
    }

    fn message(&mut self, id: u32, is_end: bool) -> Step {
        let Some(active) = &mut self.active else { return Ok(None) };
        let section = &active.section;
        let mut message = Message {
            stream: id,
            pseudo: section.pseudo,
            content_length: section.content_length,
            priority: section.priority,
            malformed: section.malformed,
            is_end,
            length: section.length,
        };
        if !active.early.is_empty() {
            // A frame tells more than a field, which may have been written by somebody before the
            // client.
            let early = active.early.iter().find(|(early, _)| *early == id);
            message.priority = early.map(|(_, priority)| *priority).or(message.priority);
            active.early.retain(|(early, _)| *early > id);
        }
        let Some(stream) = active.streams.get_mut(id) else { return Ok(None) };
        let status = message.pseudo.status;
        let is_interim = self.role == Role::Client && (100..200).contains(&status);
        if self.role == Role::Client {
            stream.is_answered |= !is_interim;
        }
        let is_bodiless = stream.is_bodiless || matches!(status, 204 | 304);
        if is_end && self.role == Role::Client && !is_bodiless {
            let is_short = message.content_length.is_some_and(|length| length > 0);
            message.malformed = message.malformed.or(is_short.then_some(Malformed::Length));
        }
        stream.rest = message.content_length.filter(|_| !is_bodiless && !is_interim);
        stream.is_remote_closed = is_end;
        stream.is_deaf = message.malformed.is_some();
        self.close_if_whole(id);
        if message.malformed.is_some() {
            self.budget.spend(Cost::Resets)?;
        } else if is_interim {
            self.budget.spend(Cost::Others)?;
        }
        Ok(Some(Event::Message(message)))
    }

    fn trailers(&mut self, id: u32, is_end: bool, out: &mut Vec<u8>) -> Step {
        let Some(active) = &mut self.active else { return Ok(None) };
        let malformed = active.section.malformed;
        let Some(stream) = active.streams.get_mut(id) else { return Ok(None) };
        let is_short = stream.rest.is_some_and(|rest| rest > 0);
        let malformed = malformed.or(is_short.then_some(Malformed::Length));
        stream.is_remote_closed = is_end;
        match malformed {
            // Another head where trailers belong: whatever follows has no meaning.
            Some(Malformed::Trailers) => self.fault(id, Code::PROTOCOL_ERROR, out),
            Some(malformed) => self.malformed(id, malformed),
            None => {
                self.close_if_whole(id);
                Ok(Some(Event::Trailers { stream: id }))
            }
        }
    }

    /// The message is malformed by what came behind its head.
    pub(super) fn malformed(&mut self, id: u32, malformed: Malformed) -> Step {
        self.budget.spend(Cost::Resets)?;
        if let Some(stream) = self.stream_mut(id) {
            stream.is_deaf = true;
        }
        self.close_if_whole(id);
        Ok(Some(Event::Malformed { stream: id, malformed }))
    }

    /// The peer has broken a rule of one stream.
    pub(super) fn fault(&mut self, id: u32, code: Code, out: &mut Vec<u8>) -> Step {
        self.budget.spend(Cost::Resets)?;
        frame::rst_stream(id, code, out);
        if self.close(id, End::ResetByUs).is_none() {
            return Ok(None);
        }
        if self.role == Role::Server {
            self.lingering += 1;
        }
        Ok(Some(Event::Reset { stream: id, code, by: By::Us }))
    }
}

enum Refusal {
    Stream(Code),
    Connection(Fatal),
}

fn reason(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::Index => "sent header block with invalid table index",
        Flaw::Integer => "sent header block with too long integer",
        Flaw::Huffman => "sent invalid encoded header field",
        Flaw::TableSize => "sent invalid table size update",
        Flaw::TooLarge => TOO_LARGE.reason,
    }
}
