//! What an upstream gets of a request's body: decided once, so that what is announced is what follows.

use super::protocol::Protocol;
use crate::request::Request;

/// The body of a request as one upstream gets it. It comes from what is there to be written, and never from what the
/// client's head said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    source: Source,
    /// Bytes; `None`: their number is known at their end.
    length: Option<u64>,
    /// The client's request had a body, whatever becomes of it.
    is_announced: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Nothing,
    /// It was read into memory or a file.
    Kept,
    /// It is passed on as it comes.
    Arriving,
}

impl Payload {
    /// Of a request that is about to be written; `streams` says that its body is passed on as it comes.
    pub fn of(request: &Request, protocol: &dyn Protocol, streams: bool) -> Payload {
        let body = &request.body;
        let is_announced = body.is_announced();
        if !protocol.passes_body() || !body.can_be_passed() {
            return Payload { source: Source::Nothing, length: Some(0), is_announced };
        }
        match streams {
            true => Payload { source: Source::Arriving, length: body.to_come(), is_announced },
            false => Payload { source: Source::Kept, length: Some(body.available()), is_announced },
        }
    }

    /// A body that the protocol writes with the request's head.
    pub fn written(length: usize) -> Payload {
        Payload { source: Source::Nothing, length: Some(length as u64), is_announced: true }
    }

    /// How long it is; `None` where that is known at its end.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The length where one is to be told: of nothing that only if the client's request had a body.
    pub fn told_length(&self) -> Option<u64> {
        self.length.filter(|length| *length > 0 || self.is_announced)
    }

    /// Nothing follows the request's head.
    pub fn is_nothing(&self) -> bool {
        self.source != Source::Arriving && self.kept() == 0
    }

    /// How much of what was kept follows the request's head.
    pub(super) fn kept(&self) -> u64 {
        match self.source {
            Source::Kept => self.length.unwrap_or_default(),
            Source::Nothing | Source::Arriving => 0,
        }
    }

    /// Whether it is passed on as it comes.
    pub(super) fn arrives(&self) -> bool {
        self.source == Source::Arriving
    }
}
