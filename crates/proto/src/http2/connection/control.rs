//! Frames that are short and taken whole: settings, windows, resets, priorities, and the like.

use super::super::frame::{ACK, Head};
use super::super::streams::End;
use super::super::{Code, Cost, Fatal, Priority, frame};
use super::receive::{Step, protocol};
use super::{By, Connection, Event, Role};

/// Priorities that are kept for streams that are not open yet.
const MOST_EARLY: usize = 32;

impl Connection {
    /// The tree of RFC 7540 is not kept; what is wrong about it is told as nginx tells it.
    pub(super) fn priority(&mut self, stream: u32, payload: &[u8]) -> Step {
        self.budget.spend(Cost::Priorities)?;
        match frame::word(payload) & frame::MOST == stream {
            true => Err(protocol("sent PRIORITY frame for stream with incorrect dependency")),
            false => Ok(None),
        }
    }

    pub(super) fn rst_stream(&mut self, id: u32, payload: &[u8]) -> Step {
        if self.is_unheard(id) {
            return Err(protocol("sent RST_STREAM frame for idle stream"));
        }
        let code = Code(frame::word(payload));
        let Some(stream) = self.close(id, End::ResetByPeer) else {
            self.budget.spend(Cost::Others)?;
            return self.late_reset(id, code);
        };
        if self.role == Role::Server {
            self.lingering += 1;
            if !stream.is_answered {
                self.budget.spend(Cost::Resets)?;
            }
        }
        Ok(Some(Event::Reset { stream: id, code, by: By::Peer }))
    }

    /// A reset of a stream that has ended. A client may not have passed the response on yet: it is
    /// told of one that takes that back.
    fn late_reset(&mut self, id: u32, code: Code) -> Step {
        match self.closed.end_of(id) {
            Some(End::ResetByPeer) if self.role == Role::Client => {
                Err(Fatal::new(Code::STREAM_CLOSED, "sent frame for closed stream"))
            }
            Some(End::Whole) if self.role == Role::Client => {
                self.closed.change(id, End::ResetByPeer);
                let event = Event::Reset { stream: id, code, by: By::Peer };
                Ok((code != Code::NO_ERROR).then_some(event))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn settings(&mut self, head: Head, payload: &[u8], out: &mut Vec<u8>) -> Step {
        if head.has(ACK) {
            match self.is_confirmed {
                true => self.budget.spend(Cost::Others)?,
                false => self.confirm(),
            }
            return Ok(None);
        }
        self.budget.spend(Cost::Settings)?;
        self.has_settings = true;
        let before = self.peer.stream_window;
        self.peer.apply(payload, self.role)?;
        let after = self.peer.stream_window;
        if let Some(active) = self.active.as_mut().filter(|_| before != after) {
            for stream in active.streams.iter_mut() {
                stream.send.resize(before, after).map_err(|_| {
                    let reason = "violated flow control by INITIAL_WINDOW_SIZE";
                    Fatal::new(Code::FLOW_CONTROL_ERROR, reason)
                })?;
            }
        }
        frame::settings_ack(out);
        Ok(Some(Event::Settings))
    }

    /// From now on the peer goes by our settings.
    fn confirm(&mut self) {
        let (before, after) = (self.stream_window(), self.config.stream_window);
        self.is_confirmed = true;
        let Some(active) = &mut self.active else { return };
        for stream in active.streams.iter_mut() {
            // One that is as large as a window may be stays so.
            let _ = stream.receive.resize(before, after);
        }
    }

    pub(super) fn pinged(&mut self, head: Head, payload: &[u8], out: &mut Vec<u8>) -> Step {
        let payload = *payload.first_chunk().expect("its length has been checked");
        if head.has(ACK) {
            self.budget.spend(Cost::Others)?;
            return Ok(Some(Event::Pong { payload }));
        }
        self.budget.spend(Cost::Pings)?;
        frame::ping(ACK, payload, out);
        Ok(None)
    }

    pub(super) fn gone_away(&mut self, payload: &[u8]) -> Step {
        self.budget.spend(Cost::Others)?;
        let last = frame::word(payload) & frame::MOST;
        if self.role == Role::Client {
            self.last_taken = self.last_taken.min(last);
        }
        Ok(Some(Event::GoAway { last, code: Code(frame::word(&payload[4..])) }))
    }

    /// Streams that a peer which goes away has not taken.
    pub(super) fn leave_behind(&mut self) -> Option<Event> {
        if self.role == Role::Server || self.last_taken == frame::MOST {
            return None;
        }
        let stream = self.streams()?.above(self.last_taken)?;
        self.close(stream, End::ResetByPeer);
        Some(Event::Reset { stream, code: Code::REFUSED_STREAM, by: By::Leaving })
    }

    pub(super) fn window_update(&mut self, id: u32, payload: &[u8], out: &mut Vec<u8>) -> Step {
        self.budget.spend(Cost::WindowUpdates)?;
        let increment = frame::word(payload) & frame::MOST;
        if id == 0 {
            if increment == 0 {
                return Err(protocol("sent WINDOW_UPDATE frame with incorrect window increment 0"));
            }
            let was_closed = self.send.open() == 0;
            if self.send.widen(increment).is_err() {
                let reason = "violated connection flow control by WINDOW_UPDATE";
                return Err(Fatal::new(Code::FLOW_CONTROL_ERROR, reason));
            }
            return Ok(was_closed.then_some(Event::Window { stream: 0 }));
        }
        if self.is_unheard(id) {
            return Err(protocol("sent WINDOW_UPDATE frame for idle stream"));
        }
        let Some(stream) = self.stream_mut(id) else { return Ok(None) };
        if increment == 0 {
            return self.fault(id, Code::PROTOCOL_ERROR, out);
        }
        let was_closed = stream.send.open() == 0;
        if stream.send.widen(increment).is_err() {
            return self.fault(id, Code::FLOW_CONTROL_ERROR, out);
        }
        let is_open = stream.send.open() > 0;
        Ok((was_closed && is_open).then_some(Event::Window { stream: id }))
    }

    /// RFC 9218, section 7.1.
    pub(super) fn priority_update(&mut self, payload: &[u8]) -> Step {
        self.budget.spend(Cost::Priorities)?;
        let (stream, priority) = (frame::word(payload) & frame::MOST, &payload[4..]);
        if self.role == Role::Client || stream & 1 == 0 {
            return Err(protocol("sent PRIORITY_UPDATE frame with incorrect stream"));
        }
        let priority = Priority::parse(priority);
        if self.stream(stream).is_some() {
            return Ok(Some(Event::Priority { stream, priority }));
        }
        if self.is_unheard(stream) {
            let early = &mut self.active.get_or_insert_default().early;
            match early.iter().position(|(early, _)| *early == stream) {
                Some(place) => early[place].1 = priority,
                None if early.len() < MOST_EARLY => early.push((stream, priority)),
                None => {}
            }
        }
        Ok(None)
    }
}
