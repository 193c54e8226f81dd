//! A connection: what it keeps, and what its owner asks of it.
//!
//! `receive.rs` reads frames, `control.rs` those that are short, `message.rs` follows what they
//! mean for messages, `send.rs` writes.

mod control;
mod message;
mod receive;
mod send;

use std::sync::Arc;

use super::budget::Budget;
use super::fields::Section;
use super::hpack::Decoder;
use super::settings::Peer;
use super::streams::{Closed, End, Stream, Streams};
use super::window::Window;
use super::{Code, Config, Cost, Fatal, Malformed, PREFACE, Priority, Pseudo, frame};
use receive::Reading;
pub use send::Part;

/// Which side we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Server,
    Client,
}

/// What has come of the bytes that were read. Where a stream is gone with the event, its id is not
/// to be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more can be told before more bytes are there. What stands behind `at` has to be
    /// shown again with them.
    Incomplete,
    /// A request, or a response; its fields are in the sink.
    Message(Message),
    /// Bytes of a body: the last `length` that were read. They are to be given back by
    /// [`Connection::consume`].
    Data {
        stream: u32,
        length: usize,
        is_end: bool,
    },
    /// The fields in the sink end the stream.
    Trailers {
        stream: u32,
    },
    /// What came later makes the message malformed; nothing more is told of it.
    Malformed {
        stream: u32,
        malformed: Malformed,
    },
    /// The stream is gone. A server has to call [`Connection::release`] when the work for it has
    /// stopped.
    Reset {
        stream: u32,
        code: Code,
        by: By,
    },
    /// Bytes may be sent that could not be before: on that stream, or on any where it is zero.
    Window {
        stream: u32,
    },
    Priority {
        stream: u32,
        priority: Priority,
    },
    Settings,
    /// The answer to our ping.
    Pong {
        payload: [u8; 8],
    },
    /// The peer takes no streams above `last`. A reset by [`By::Leaving`] follows for each that
    /// there is.
    GoAway {
        last: u32,
        code: Code,
    },
}

/// Who or what has reset a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Peer,
    /// We had to, for a fault of the peer.
    Us,
    /// The peer has gone away and has not begun with it: it may be tried elsewhere, whatever its
    /// method.
    Leaving,
}

/// A head that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub stream: u32,
    pub pseudo: Pseudo,
    pub content_length: Option<u64>,
    /// What the `priority` field or an earlier frame says.
    pub priority: Option<Priority>,
    /// The message breaks a rule: it deserves an answer of 400, or a reset; nothing else comes of
    /// it. It has been charged to the peer.
    pub malformed: Option<Malformed>,
    /// No body and no trailers follow.
    pub is_end: bool,
    /// Bytes of the header block, as they came.
    pub length: u32,
}

/// One side of a connection.
///
/// Beside a few numbers it keeps two things in memory: the peer's table of fields, and the streams.
/// Both are there when they are needed first, and [`Connection::shrink`] gives back what an idle
/// connection can do without.
pub struct Connection {
    config: Arc<Config>,
    active: Option<Box<Active>>,
    decoder: Decoder,
    peer: Peer,
    send: Window,
    receive: Window,
    /// Bytes that have come and are not given back to the connection's window yet.
    debt: u32,
    reading: Reading,
    /// The highest stream that the peer has opened.
    last_theirs: u32,
    /// The next stream that we open.
    next_ours: u32,
    /// Streams above it are not taken (server), or were not taken by the peer (client).
    last_taken: u32,
    /// Cancelled streams whose work has not stopped yet.
    lingering: u32,
    closed: Closed,
    budget: Budget,
    role: Role,
    has_said_goodbye: bool,
    /// The peer has confirmed our settings, so that they hold.
    is_confirmed: bool,
    has_settings: bool,
    is_dead: bool,
}

/// What a connection with streams needs.
#[derive(Default)]
struct Active {
    streams: Streams,
    section: Section,
    /// The stream whose header block is being read.
    block: u32,
    ends_stream: bool,
    ends_block: bool,
    continuations: u32,
    /// The beginning of a field whose rest has not come.
    pending: Vec<u8>,
    /// Priorities of streams that are not open yet.
    early: Vec<(u32, Priority)>,
}

impl Connection {
    /// A server's side. What it has to say first is appended to `out`.
    pub fn server(config: Arc<Config>, out: &mut Vec<u8>) -> Connection {
        config.write(Role::Server, out);
        Connection::new(config, Role::Server)
    }

    /// A client's side, with its preface.
    pub fn client(config: Arc<Config>, out: &mut Vec<u8>) -> Connection {
        out.extend_from_slice(PREFACE);
        config.write(Role::Client, out);
        Connection::new(config, Role::Client)
    }

    fn new(config: Arc<Config>, role: Role) -> Connection {
        Connection {
            active: None,
            decoder: match role {
                Role::Server => Decoder::default(),
                // As in nginx: what it saves between two servers is not worth its memory.
                Role::Client => Decoder::without_table(),
            },
            peer: Peer::default(),
            send: Window::new(Window::INITIAL),
            receive: Window::new(config.connection_window.max(Window::INITIAL)),
            debt: 0,
            reading: Reading::new(role),
            last_theirs: 0,
            next_ours: 1,
            last_taken: frame::MOST,
            lingering: 0,
            closed: Closed::default(),
            budget: Budget::new(&config.budget),
            role,
            has_said_goodbye: false,
            is_confirmed: false,
            has_settings: false,
            is_dead: false,
            config,
        }
    }

    /// The size of streams' windows that the peer goes by.
    fn stream_window(&self) -> u32 {
        if self.is_confirmed { self.config.stream_window } else { Window::INITIAL }
    }

    fn streams(&self) -> Option<&Streams> {
        self.active.as_ref().map(|active| &active.streams)
    }

    fn stream(&self, id: u32) -> Option<&Stream> {
        self.streams()?.get(id)
    }

    fn stream_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.active.as_mut()?.streams.get_mut(id)
    }

    /// A stream that the owner may still use.
    pub fn is_open(&self, stream: u32) -> bool {
        self.stream(stream).is_some()
    }

    /// How many streams are open, cancelled ones with them whose work has not stopped.
    pub fn streams_in_use(&self) -> usize {
        self.streams().map_or(0, Streams::len) + self.lingering as usize
    }

    /// The owner's number for a stream.
    pub fn slot(&self, stream: u32) -> Option<u32> {
        self.stream(stream).map(|stream| stream.slot)
    }

    pub fn set_slot(&mut self, stream: u32, slot: u32) {
        if let Some(stream) = self.stream_mut(stream) {
            stream.slot = slot;
        }
    }

    /// The work for a stream has stopped that was reset by [`By::Peer`] or [`By::Us`].
    pub fn release(&mut self) {
        self.lingering = self.lingering.saturating_sub(1);
    }

    /// The stream whose header section has begun and not ended: it may be reset when it takes too
    /// long.
    pub fn unfinished_head(&self) -> Option<u32> {
        self.active.as_ref().map(|active| active.block).filter(|block| *block != 0)
    }

    /// Whether nothing is under way: no stream, no cancelled one, no part of a frame.
    pub fn is_idle(&self) -> bool {
        self.streams_in_use() == 0
            && self.reading.is_between_frames()
            && self.unfinished_head().is_none()
    }

    /// Gives back what an idle connection does not need.
    pub fn shrink(&mut self) {
        if self.is_idle() && self.active.as_ref().is_some_and(|active| active.early.is_empty()) {
            self.active = None;
        }
        self.decoder.shrink();
    }

    /// What it takes in memory, with all that it holds.
    pub fn footprint(&self) -> usize {
        let active = self.active.as_ref().map_or(0, |active| {
            size_of::<Active>()
                + active.streams.allocated()
                + active.section.allocated()
                + active.pending.capacity()
                + active.early.capacity() * size_of::<(u32, Priority)>()
        });
        size_of::<Connection>() + active + self.decoder.allocated()
    }

    /// Tells that seconds have passed, which fills up what the peer may cost.
    pub fn refill(&mut self, seconds: u16) {
        self.budget.refill(seconds, &self.config.budget);
    }

    /// The peer has used up most of what it may cost: a time to send it away in good order.
    pub fn strained(&self) -> Option<Cost> {
        self.budget.strained(&self.config.budget)
    }

    /// The peer offers extended CONNECT (RFC 8441).
    pub fn has_extended_connect(&self) -> bool {
        self.peer.extended_connect
    }

    /// The largest header section that the peer says it takes.
    pub fn most_fields(&self) -> u32 {
        self.peer.max_header_list_size
    }

    /// The peer's streams up to this one have been seen.
    pub fn last_stream(&self) -> u32 {
        self.last_theirs
    }

    /// Streams that the windows hold up, and that have moved less than `least` bytes since this was
    /// asked last. So a peer that opens its windows by crumbs is told from one that is slow. Ask
    /// once in each time to send.
    pub fn stalled(&mut self, least: u32, mut stream: impl FnMut(u32)) {
        let Some(active) = &mut self.active else { return };
        for each in active.streams.iter_mut() {
            let moved = std::mem::take(&mut each.moved);
            if each.is_waiting && moved < least {
                stream(each.id);
            }
        }
    }

    /// A stream ends, whoever ended it.
    fn close(&mut self, id: u32, end: End) -> Option<Stream> {
        let active = self.active.as_mut()?;
        if active.block == id {
            active.section.discard();
        }
        let stream = active.streams.remove(id)?;
        self.closed.add(id, end);
        if end == End::Whole && !stream.is_deaf {
            self.budget.forgive(&self.config.budget);
        }
        Some(stream)
    }

    fn close_if_whole(&mut self, id: u32) {
        if self.stream(id).is_some_and(|stream| stream.is_local_closed && stream.is_remote_closed) {
            self.close(id, End::Whole);
        }
    }

    /// Where the RFC's code for a fault and nginx's differ: a peer that has sent its settings, as the
    /// RFC has it, gets the RFC's.
    fn code(&self, rfc: Code, nginx: Code) -> Code {
        if self.has_settings { rfc } else { nginx }
    }

    /// The connection can't go on.
    fn fail(&mut self, fatal: Fatal, out: &mut Vec<u8>) -> Fatal {
        if !std::mem::replace(&mut self.is_dead, true) {
            // It may not be more than was said before.
            let last = self.last_theirs.min(self.last_taken);
            frame::go_away(last, fatal.code, out);
        }
        fatal
    }
}
