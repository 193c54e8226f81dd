//! A connection that speaks TLS, once the handshake is over.
//!
//! ```text
//!            bytes from the socket                      the caller's bytes
//!                    │                                          │
//!   partial ── whole records ── opened ─┬─ plain       sealed ── unsent ── the socket
//!                                       └─ messages of TLS itself: keys change, the end is told
//! ```

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use daemun_event::Stream;
use daemun_proto::http1::Parsed;
use daemun_proto::tls::record::{self, Content, MAX_CONTENT};

use crate::export::Parts;
use crate::facts::Facts;
use crate::fault::Fault;
use crate::handshake::client::TicketTaker;
use crate::record::{self as record_keys, Direction};
use crate::suite::Version;

/// What carries a session's records; the functions mean what those of [`Stream`] mean.
pub trait Carrier {
    fn try_recv_append(&self, bytes: &mut Vec<u8>) -> io::Result<usize>;
    fn try_send(&self, bytes: &[u8], more: bool) -> io::Result<usize>;
}

impl Carrier for Stream {
    #[inline]
    fn try_recv_append(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        Stream::try_recv_append(self, bytes)
    }

    #[inline]
    fn try_send(&self, bytes: &[u8], more: bool) -> io::Result<usize> {
        Stream::try_send(self, bytes, more)
    }
}

/// A connection's keys, and what is between the socket and the caller.
pub struct Session {
    opens: Direction,
    seals: Direction,
    facts: Arc<Facts>,
    /// Of a client that wants them.
    tickets: Option<Box<TicketTaker>>,
    /// `None` while nothing waits.
    waiting: Option<Box<Waiting>>,
    side: Side,
    end: End,
    /// Whether our own end is told.
    has_closed: bool,
    has_rested: bool,
    /// Records in a row that carried nothing for the caller.
    idle_records: u8,
    /// Bytes of one record that a long response is cut into.
    record_size: u16,
    /// Bytes sent since the connection was last silent, up to where records have their full length.
    ramp: u16,
    /// When something was last sent, in milliseconds of the reactor's clock.
    sent_at: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Server,
    Client,
}

/// How the peer's side of the connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Open,
    /// It said so.
    Notified,
    /// The connection broke off, or was cut off by somebody on the way.
    Truncated,
    Failed(Fault),
}

/// What has not found its way yet.
#[derive(Default)]
struct Waiting {
    /// The beginning of a record.
    partial: Vec<u8>,
    /// What a caller had no room for, and how much of it was taken since.
    plain: Vec<u8>,
    taken: usize,
    /// The beginning of a handshake message that is spread over records.
    message: Vec<u8>,
    /// Protected, and not sent yet; how much of it was sent since.
    unsent: Vec<u8>,
    sent: usize,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        let Waiting { partial, plain, message, unsent, .. } = self;
        partial.is_empty() && plain.is_empty() && message.is_empty() && unsent.is_empty()
    }
}

/// What is received or sent at a time passes through here, so that no connection holds buffers.
struct Passage {
    received: Vec<u8>,
    sealed: Vec<u8>,
}

/// Two records of the longest.
const RECEIVE: usize = 2 * (MAX_CONTENT + 256 + record::HEADER);

/// How much of the caller's bytes is protected before the socket is asked to take it.
const SEAL: usize = 4 * MAX_CONTENT;

thread_local! {
    static PASSAGE: RefCell<Passage> = const {
        RefCell::new(Passage { received: Vec::new(), sealed: Vec::new() })
    };
}

/// Until so many bytes have gone out after a silence, a record fits into one packet or three: the client can read the
/// first bytes of a response before the next packets have come.
const SHORT: usize = 1369;
const SHORT_UNTIL: u16 = 10 * SHORT as u16;
const MIDDLE: usize = 4229;
const MIDDLE_UNTIL: u16 = SHORT_UNTIL + 10 * MIDDLE as u16;

/// A connection was silent, and its congestion window may have shrunk.
const SILENCE: Duration = Duration::from_secs(1);

/// As rustls has it: more records in a row that carry nothing are an attack.
const MOST_IDLE_RECORDS: u8 = 32;

const KEY_UPDATE: u8 = 24;
const NEW_SESSION_TICKET: u8 = 4;
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;

const LONGEST_MESSAGE: usize = 64 * 1024;

impl Session {
    pub fn new(side: Side, opens: Direction, seals: Direction, facts: Arc<Facts>) -> Session {
        Session {
            opens,
            seals,
            facts,
            tickets: None,
            waiting: None,
            side,
            end: End::Open,
            has_closed: false,
            has_rested: false,
            idle_records: 0,
            record_size: MAX_CONTENT as u16,
            ramp: 0,
            sent_at: 0,
        }
    }

    /// Takes the session apart, unless bytes are on their way.
    pub(crate) fn into_parts(mut self: Box<Self>) -> Result<Parts, Box<Session>> {
        self.shrink();
        let is_idle = self.waiting.as_ref().is_none_or(|waiting| {
            waiting.plain.is_empty() && waiting.unsent.is_empty() && waiting.message.is_empty()
        });
        if !is_idle || self.end != End::Open || self.has_closed {
            return Err(self);
        }
        let Session { opens, seals, facts, waiting, side, record_size, ramp, .. } = *self;
        let partial = waiting.map_or_else(Vec::new, |waiting| waiting.partial);
        Ok(Parts { side, opens, seals, facts, record_size, ramp, partial })
    }

    pub(crate) fn of_parts(parts: Parts) -> Session {
        let Parts { side, opens, seals, facts, record_size, ramp, partial } = parts;
        let mut session = Session::new(side, opens, seals, facts);
        session.record_size = record_size;
        session.ramp = ramp;
        session.keep_received(&partial);
        session
    }

    /// Which server's terms hold from now on: its place in the configuration, and what it thinks of the client.
    pub fn settle(&mut self, change: impl FnOnce(&mut Facts)) {
        change(Arc::make_mut(&mut self.facts));
    }

    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// How the peer's side ended, if it did.
    pub fn end(&self) -> End {
        self.end
    }

    /// `ssl_buffer_size`; with `dynamic`, the first records after a silence are shorter.
    pub fn set_record_size(&mut self, size: usize, dynamic: bool) {
        self.record_size = size.clamp(512, MAX_CONTENT) as u16;
        self.ramp = if dynamic { 0 } else { u16::MAX };
    }

    /// Makes the connection small while nothing happens.
    pub fn rest(&mut self) {
        self.shrink();
        record_keys::tend();
    }

    /// Most clients ask once and are never heard of again: keys are kept for those that have come back before.
    fn shrink(&mut self) {
        match std::mem::replace(&mut self.has_rested, true) {
            true => {
                self.opens.rest();
                self.seals.rest();
            }
            false => {
                self.opens.forget_key();
                self.seals.forget_key();
            }
        }
        if self.waiting.as_ref().is_some_and(|waiting| waiting.is_empty()) {
            self.waiting = None;
        }
    }

    /// Whether there is something for the caller that needs no more of the socket.
    pub fn has_plain(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.plain.is_empty())
            || self.end != End::Open
    }

    /// Whether something is protected that the socket has not taken.
    pub fn has_unsent(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.unsent.is_empty())
    }

    /// Keeps what was received behind the handshake.
    pub(crate) fn keep_received(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.waiting().partial.extend_from_slice(bytes);
        }
    }

    /// Has tickets taken that come later.
    pub(crate) fn take_tickets(&mut self, tickets: TicketTaker) {
        self.tickets = Some(Box::new(tickets));
    }

    /// Keeps what came of a request before the handshake was over.
    pub(crate) fn keep_plain(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.waiting().plain = bytes;
        }
    }

    /// Keeps what the handshake still has to send: it goes out with what comes first.
    pub(crate) fn keep_unsent(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.waiting().unsent = bytes;
        }
    }

    fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }

    /// Yields at most so many bytes to `sink`; zero is the peer's end. An answer to the peer that becomes due is left
    /// [unsent](Self::has_unsent) where there is no room.
    pub fn receive(
        &mut self,
        stream: &impl Carrier,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<usize> {
        loop {
            let taken = self.take_plain(most, sink);
            if taken > 0 || most == 0 {
                return Ok(taken);
            }
            match self.end {
                End::Open => {}
                End::Notified | End::Truncated => return Ok(0),
                End::Failed(fault) => return Err(fault.into()),
            }
            let received = PASSAGE.with_borrow_mut(|passage| {
                let received = &mut passage.received;
                received.clear();
                received.reserve(RECEIVE);
                let had = self.take_partial(received);
                if had == 0 || !is_whole(received) {
                    match stream.try_recv_append(received) {
                        Ok(0) => self.end = End::Truncated,
                        Ok(_) => {}
                        Err(error) => {
                            self.keep_received(received);
                            return Err(error);
                        }
                    }
                }
                let opened = self.open_all(received, most, sink);
                if let Err(fault) = opened {
                    self.fail(fault);
                }
                Ok(opened.unwrap_or(0))
            })?;
            if self.has_unsent() {
                // The peer's answer waits for room like everything else.
                let _ = self.flush(stream);
            }
            if received > 0 {
                return Ok(received);
            }
        }
    }

    fn take_partial(&mut self, received: &mut Vec<u8>) -> usize {
        let Some(waiting) = &mut self.waiting else { return 0 };
        received.extend_from_slice(&waiting.partial);
        // A record's worth of storage is not kept for those who send seldom.
        let had = std::mem::take(&mut waiting.partial).len();
        if waiting.is_empty() {
            self.waiting = None;
        }
        had
    }

    fn take_plain(&mut self, most: usize, sink: &mut dyn FnMut(&[u8])) -> usize {
        let Some(waiting) = &mut self.waiting else { return 0 };
        let left = &waiting.plain[waiting.taken..];
        let taken = left.len().min(most);
        sink(&left[..taken]);
        waiting.taken += taken;
        if waiting.taken == waiting.plain.len() {
            waiting.plain = Vec::new();
            waiting.taken = 0;
        }
        taken
    }

    /// Opens every record that is whole and keeps the beginning of the next; how much `sink` got.
    fn open_all(
        &mut self,
        received: &mut [u8],
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, Fault> {
        let mut given = 0;
        let mut at = 0;
        while self.end == End::Open || self.end == End::Truncated {
            let rest = &mut received[at..];
            let length = match record::parse(rest) {
                Ok(Parsed::Done(_, length)) => length,
                Ok(Parsed::Incomplete) => {
                    self.keep_received(&received[at..]);
                    break;
                }
                Err(record::Invalid::TooLong) => return Err(Fault::TooLong),
                Err(_) => return Err(Fault::WrongVersion),
            };
            at += length;
            let record = &mut rest[..length];
            if record[0] == Content::ChangeCipherSpec as u8 && self.version() == Version::Tls13 {
                self.count_idle()?;
                continue;
            }
            let (content, plain) = self.opens.open(self.facts.suite, record)?;
            let amid_message = self.waiting.as_ref().is_some_and(|all| !all.message.is_empty());
            match content {
                Content::ApplicationData if amid_message => return Err(Fault::Unexpected),
                Content::ApplicationData if plain.is_empty() => self.count_idle()?,
                Content::ApplicationData => {
                    self.idle_records = 0;
                    let room = (most - given).min(plain.len());
                    sink(&plain[..room]);
                    given += room;
                    if room < plain.len() {
                        self.waiting().plain.extend_from_slice(&plain[room..]);
                    }
                }
                Content::Handshake => {
                    self.count_idle()?;
                    self.hear_messages(plain)?;
                }
                Content::Alert => self.hear_alert(plain)?,
                Content::ChangeCipherSpec => return Err(Fault::Unexpected),
            }
        }
        Ok(given)
    }

    fn version(&self) -> Version {
        self.facts.version()
    }

    fn count_idle(&mut self) -> Result<(), Fault> {
        self.idle_records += 1;
        match self.idle_records {
            ..=MOST_IDLE_RECORDS => Ok(()),
            _ => Err(Fault::Flood),
        }
    }

    fn hear_alert(&mut self, alert: &[u8]) -> Result<(), Fault> {
        let [level, number] = *alert else { return Err(Fault::Malformed) };
        match (level, number) {
            (_, 0) => self.end = End::Notified,
            // user_canceled goes before close_notify; TLS 1.2 has warnings.
            (_, 90) => self.count_idle()?,
            (1, _) if self.version() == Version::Tls12 => self.count_idle()?,
            _ => return Err(Fault::Alert(number)),
        }
        Ok(())
    }

    fn hear_messages(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut messages = std::mem::take(&mut self.waiting().message);
        messages.extend_from_slice(bytes);
        let mut rest = &messages[..];
        while let [kind, a, b, c, body @ ..] = rest {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if length > LONGEST_MESSAGE {
                return Err(Fault::TooLong);
            }
            let Some((body, behind)) = body.split_at_checked(length) else { break };
            self.hear_message(*kind, body, behind.is_empty())?;
            rest = behind;
        }
        if !rest.is_empty() {
            let rest = rest.to_vec();
            self.waiting().message = rest;
        }
        Ok(())
    }

    fn hear_message(&mut self, kind: u8, body: &[u8], is_last: bool) -> Result<(), Fault> {
        match (self.version(), self.side, kind) {
            // What follows is under another key, so nothing else may share its record.
            (Version::Tls13, _, KEY_UPDATE) if is_last => self.update_keys(body),
            (Version::Tls13, Side::Client, NEW_SESSION_TICKET) => {
                if let Some(tickets) = &mut self.tickets {
                    tickets.take(body);
                }
                Ok(())
            }
            (Version::Tls12, Side::Server, CLIENT_HELLO) => Err(Fault::Renegotiation),
            (Version::Tls12, Side::Client, HELLO_REQUEST) => Err(Fault::Renegotiation),
            _ => Err(Fault::Unexpected),
        }
    }

    fn update_keys(&mut self, request: &[u8]) -> Result<(), Fault> {
        let asks = match request {
            [0] => false,
            [1] => true,
            _ => return Err(Fault::Malformed),
        };
        self.opens.update(self.facts.suite);
        // One answer is enough for all that ask before it is sent.
        if asks && !self.has_unsent() {
            self.seal_update()?;
        }
        Ok(())
    }

    fn seal_update(&mut self) -> Result<(), Fault> {
        let message = [KEY_UPDATE, 0, 0, 1, 0];
        let unsent = &mut self.waiting.get_or_insert_default().unsent;
        self.seals.seal(self.facts.suite, Content::Handshake, &message, unsent)?;
        self.seals.update(self.facts.suite);
        Ok(())
    }

    /// Ends the connection and tells the peer why.
    fn fail(&mut self, fault: Fault) {
        self.end = End::Failed(fault);
        if let Some(alert) = fault.alert() {
            self.seal_alert(2, alert);
        }
    }

    fn seal_alert(&mut self, level: u8, number: u8) {
        if std::mem::replace(&mut self.has_closed, true) {
            return;
        }
        let unsent = &mut self.waiting.get_or_insert_default().unsent;
        // A key that is used up can tell nothing more.
        let _ = self.seals.seal(self.facts.suite, Content::Alert, &[level, number], unsent);
    }

    /// Bytes of the caller's that are on their way; none where there was no room for what was sent before.
    pub fn send(&mut self, stream: &impl Carrier, bytes: &[u8], more: bool) -> io::Result<usize> {
        if !self.flush(stream)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.has_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        PASSAGE.with_borrow_mut(|passage| {
            let sealed = &mut passage.sealed;
            sealed.clear();
            let taken = self.seal_some(bytes, sealed)?;
            self.pass_on(stream, sealed, more && taken == bytes.len())?;
            Ok(taken)
        })
    }

    /// Protects as many records as go out together.
    fn seal_some(&mut self, bytes: &[u8], sealed: &mut Vec<u8>) -> Result<usize, Fault> {
        if self.seals.is_worn(self.facts.suite) && self.version() == Version::Tls13 {
            self.seal_update()?;
            sealed.append(&mut self.waiting().unsent);
        }
        self.note_silence();
        let mut taken = 0;
        while taken < bytes.len() && sealed.len() < SEAL {
            let size = self.next_record_size().min(bytes.len() - taken);
            self.seals.seal(
                self.facts.suite,
                Content::ApplicationData,
                &bytes[taken..taken + size],
                sealed,
            )?;
            taken += size;
            self.ramp = self.ramp.saturating_add(size as u16);
        }
        Ok(taken)
    }

    fn note_silence(&mut self) {
        let now = daemun_event::now() as u32;
        let silence = now.wrapping_sub(self.sent_at);
        self.sent_at = now;
        if silence > SILENCE.as_millis() as u32 && self.ramp < u16::MAX {
            self.ramp = 0;
        }
    }

    fn next_record_size(&self) -> usize {
        let full = usize::from(self.record_size);
        match self.ramp {
            ..SHORT_UNTIL => SHORT.min(full),
            SHORT_UNTIL..MIDDLE_UNTIL => MIDDLE.min(full),
            _ => full,
        }
    }

    /// Sends what is protected; what the socket does not take waits.
    fn pass_on(&mut self, stream: &impl Carrier, sealed: &[u8], more: bool) -> io::Result<()> {
        let sent = match stream.try_send(sealed, more) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if sent < sealed.len() {
            self.waiting().unsent.extend_from_slice(&sealed[sent..]);
        }
        Ok(())
    }

    /// Sends what waits; whether nothing does any more.
    pub fn flush(&mut self, stream: &impl Carrier) -> io::Result<bool> {
        let Some(waiting) = &mut self.waiting else { return Ok(true) };
        while waiting.sent < waiting.unsent.len() {
            match stream.try_send(&waiting.unsent[waiting.sent..], false) {
                Ok(sent) => waiting.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        waiting.unsent = Vec::new();
        waiting.sent = 0;
        if waiting.is_empty() {
            self.waiting = None;
        }
        Ok(true)
    }

    /// Tells the peer that nothing more will come; whether that is on its way.
    pub fn close(&mut self, stream: &impl Carrier) -> io::Result<bool> {
        self.seal_alert(1, 0);
        self.flush(stream)
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    !matches!(record::parse(bytes), Ok(Parsed::Incomplete))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_small_enough_to_wait() {
        assert!(size_of::<Session>() <= 168, "{} bytes", size_of::<Session>());
    }
}
