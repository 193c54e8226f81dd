//! HTTP/2 (RFC 9113) as a pure machine, for both of its sides: bytes in, events out.
//!
//! [`Connection`] is handed what has arrived and answers with one [`Event`] after another; what is to
//! be sent it appends to a buffer of its caller. It knows no socket and no clock. It decides what the
//! protocol decides: framing, states, windows, what a message may look like, and what a peer may
//! cost. What a request means is for others.
//!
//! Its owner
//!
//! - calls [`Connection::receive`] until it says [`Event::Incomplete`], and keeps what was not read;
//! - hands it a [`Sink`] for the fields, which a request's head can be, and takes that away with
//!   [`Event::Message`], [`Event::Trailers`], or when the stream of [`Connection::unfinished_head`]
//!   is reset;
//! - gives back what it has taken of bodies by [`Connection::consume`], and cancelled streams by
//!   [`Connection::release`] when their work has stopped;
//! - tells of seconds by [`Connection::refill`], and asks for stalled streams in each time to send;
//! - stops reading while what is to be sent does not go, since answers to pings pile up there;
//! - writes a head between [`Connection::begin_block`] and [`Connection::finish_block`], and as much
//!   of a body as there is [`Connection::room`] for.

mod budget;
mod connection;
mod fields;
pub mod frame;
pub mod hpack;
mod priority;
mod settings;
mod streams;
mod window;

pub use budget::Cost;
pub use connection::{By, Connection, Event, Message, Part, Role};
pub use fields::{Head, Malformed, Pseudo, Sink};
pub use priority::Priority;
pub use settings::{Config, FRAME_SIZE};

/// What a client sends first.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why a stream or a connection ends (RFC 9113, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

impl Code {
    pub const NO_ERROR: Code = Code(0);
    pub const PROTOCOL_ERROR: Code = Code(1);
    pub const INTERNAL_ERROR: Code = Code(2);
    pub const FLOW_CONTROL_ERROR: Code = Code(3);
    pub const SETTINGS_TIMEOUT: Code = Code(4);
    pub const STREAM_CLOSED: Code = Code(5);
    pub const FRAME_SIZE_ERROR: Code = Code(6);
    pub const REFUSED_STREAM: Code = Code(7);
    pub const CANCEL: Code = Code(8);
    pub const COMPRESSION_ERROR: Code = Code(9);
    pub const CONNECT_ERROR: Code = Code(10);
    pub const ENHANCE_YOUR_CALM: Code = Code(11);
    pub const INADEQUATE_SECURITY: Code = Code(12);
    pub const HTTP_1_1_REQUIRED: Code = Code(13);
}

/// The connection is over: the machine has written its GOAWAY, and takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fatal {
    pub code: Code,
    /// What the peer did, as a sentence without its subject: "sent PING frame with incorrect
    /// length".
    pub reason: &'static str,
    /// What it overdid, where that was it.
    pub cost: Option<Cost>,
}

impl Fatal {
    pub(crate) const fn new(code: Code, reason: &'static str) -> Fatal {
        Fatal { code, reason, cost: None }
    }
}
