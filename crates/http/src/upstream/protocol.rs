//! What a protocol to upstream servers has to say: how a request is written, and a response read.

use bytes::Bytes;

use super::field::Field;
use super::head::{Head, InvalidHead};
use super::http2::Link;
use super::payload::Payload;
use crate::request::Request;
use crate::response::Header;
use crate::status::Status;

/// One request in one protocol, and its response. The engine chooses peers, connects, sends, receives and waits; a
/// protocol sees bytes only.
///
/// A request may be written more than once, after a peer that failed: [`write_request`](Self::write_request) begins it
/// anew, and with it what is read.
pub trait Protocol {
    /// As its directives begin.
    fn name(&self) -> &'static str;

    /// Appends what goes before the request's body, which is framed as `payload` says. The error is the client's answer.
    fn write_request(
        &mut self,
        request: &mut Request,
        payload: Payload,
        out: &mut Vec<u8>,
    ) -> Result<(), Status>;

    /// Whether the client's body follows, if there is one.
    fn passes_body(&self) -> bool;

    /// Whether the client's body may follow as it comes, before all of it is there.
    fn streams_body(&self, _request: &Request) -> bool {
        false
    }

    /// A body in place of the client's that is sent piece by piece as that would be.
    fn take_body(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// HTTP/2 is spoken: what a connection is told and tells outlives a request, so that the protocol
    /// is handed the connection's state, and the request is written once there is a connection.
    fn is_http2(&self) -> bool {
        false
    }

    /// Takes over the state of the connection that the request goes to.
    fn attach(&mut self, _link: Box<Link>) {}

    /// Gives the state back with the connection.
    fn detach(&mut self) -> Option<Box<Link>> {
        None
    }

    /// Appends the request's beginning, where that waits for a connection.
    fn begin_request(&mut self, _out: &mut Vec<u8>) {}

    /// Appends what has to be said to the upstream beside the request.
    fn take_control(&mut self, _out: &mut Vec<u8>) {}

    /// The upstream has said that it did nothing with the request: it may be sent again, whatever its
    /// method.
    fn is_untouched(&self) -> bool {
        false
    }

    /// How much of the body may go between one [`open_piece`](Self::open_piece) and its end; zero
    /// where the upstream takes nothing at present.
    fn longest_piece(&self) -> usize {
        usize::MAX
    }

    /// Appends what goes before a piece of the body, which is the last one or not.
    fn open_piece(&mut self, _length: usize, _is_last: bool, _out: &mut Vec<u8>) {}

    /// Appends what goes behind a piece of the body.
    fn close_piece(&mut self, _length: usize, _out: &mut Vec<u8>) {}

    /// Appends what goes behind the body, also where none is passed.
    fn end_request(&mut self, _out: &mut Vec<u8>) {}

    /// Forgets what was read: another peer is asked.
    fn begin_again(&mut self);

    /// The response is there once the request is sent: nothing is waited for.
    fn answers_at_once(&self) -> bool {
        false
    }

    /// Reads the response's head from all that has come of it; what was `consumed` does not come again.
    fn read_head(
        &mut self,
        request: &mut Request,
        received: &[u8],
        head: &mut Head,
    ) -> Result<HeadStep, InvalidHead>;

    /// How long the head is as far as it has come, where that is not all that came.
    fn head_length(&self) -> Option<usize> {
        None
    }

    /// The bytes that the head's offsets mean, where they are not those that came.
    fn take_head_bytes(&mut self) -> Option<Bytes> {
        None
    }

    /// The head is complete: what follows is a body.
    fn begin_body(&mut self, request: &Request, head: &Head);

    /// Reads from `input` at `at`, which moves on.
    fn read_body(
        &mut self,
        request: &mut Request,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Piece, InvalidBody>;

    /// How many bytes of the body are still to come, as far as is known.
    fn expected(&self) -> Option<u64> {
        None
    }

    /// The bytes that come are the body's own, without anything between them.
    fn is_plain(&self) -> bool {
        false
    }

    /// The upstream has closed the connection: whether that is a proper end.
    fn ends_with_connection(&mut self) -> bool;

    /// Something came behind the response's end.
    fn tell_excess(&self, _request: &Request) {}

    /// Whether the connection can serve another request, once the response has been read whole.
    fn keeps_connection(&self) -> bool;

    /// Fields that came behind the body.
    fn take_trailers(&mut self) -> Vec<Header> {
        Vec::new()
    }

    /// Whether the upstream was asked to speak another protocol, and so has the client.
    fn asks_to_upgrade(&self, _request: &Request) -> bool {
        false
    }

    /// The upstream speaks another protocol from now on, and so does the client.
    fn upgrades(&self) -> bool {
        false
    }

    /// A field that is not passed to clients unless the configuration says so.
    fn hides(&self, field: Field) -> bool {
        field.is_hidden()
    }

    /// A response of 404 gives way to the server's own.
    fn intercepts_not_found(&self) -> bool {
        false
    }

    /// Appends the key under which a response is stored where the configuration says nothing of keys.
    fn cache_key(&self, _request: &mut Request, _out: &mut Vec<u8>) {}

    /// Appends a head as it is stored: so that it can be read as if it came from an upstream.
    fn store_head(&self, head: &Head, out: &mut Vec<u8>) {
        out.extend_from_slice(&head.bytes);
    }

    /// Another value for `Location`, or for the URL in `Refresh`, whose part before it is `prefix` long.
    fn rewrite_location(
        &self,
        _request: &mut Request,
        _value: &Bytes,
        _prefix: usize,
    ) -> Option<Bytes> {
        None
    }

    /// Another value for `Set-Cookie`.
    fn rewrite_cookie(&self, _request: &mut Request, _value: &Bytes) -> Option<Bytes> {
        None
    }
}

/// How far the head was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadStep {
    Incomplete {
        consumed: usize,
    },
    /// 103: the response itself is still to come.
    EarlyHints {
        consumed: usize,
    },
    /// Another interim response, which tells a client nothing.
    Interim {
        consumed: usize,
    },
    Done {
        consumed: usize,
    },
}

/// What comes next of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes, which end at the new place.
    Data(usize),
    /// All of the input is used up.
    Incomplete,
    End,
    /// It ends before it is whole, which has been logged. What came of it is passed on.
    Cut,
}

/// The body's framing is broken. It has been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidBody;
