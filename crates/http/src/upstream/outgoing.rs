//! The request on its way to an upstream: its head and the first of its body in one piece, the rest piece by piece.

use std::io;
use std::os::unix::fs::FileExt;

use super::connect::Upstream;
use super::payload::Payload;
use super::protocol::Protocol;
use super::record::Record;
use crate::request::Request;
use crate::status::Status;

/// How much of a body is in hand at a time.
const PIECE: usize = 64 << 10;

/// What is being sent stands in the request's [`Record`].
#[derive(Default)]
pub struct Outgoing {
    /// How much of what stands there has been sent.
    sent: usize,
    /// How much of the body stands there, or was sent.
    body_at: u64,
    /// Nothing more follows.
    is_last: bool,
    payload: Payload,
    /// There is a connection, so that what has come of a body may be taken.
    has_begun: bool,
    /// What was taken of a body that arrives and does not stand there yet.
    arrived: Vec<u8>,
    /// How much of that does.
    arrived_at: usize,
    /// All of the body is in hand: the configuration has made it (`proxy_set_body`).
    is_made: bool,
}

/// How far sending came.
pub enum Advance {
    /// The kernel took something.
    Sent,
    /// There is nothing to send until the client sends more.
    WaitsForClient,
    /// The upstream takes no more of the body until it says so.
    IsHeld,
}

/// Why sending ended.
pub enum Fault {
    /// The upstream takes nothing, or the file with the body can't be read.
    Failed(io::Error),
    /// The client's body is no good.
    Refused(Status),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Failed(error)
    }
}

impl Outgoing {
    /// Writes the request's head, and the first of its body.
    pub fn begin(
        &mut self,
        request: &mut Request,
        protocol: &mut dyn Protocol,
        streams: bool,
    ) -> Result<(), Status> {
        let mut out = std::mem::take(&mut record(request).request);
        out.clear();
        let payload = Payload::of(request, protocol, streams);
        let written = protocol.write_request(request, payload, &mut out);
        record(request).request = out;
        written?;
        *self = Outgoing { payload, ..Outgoing::default() };
        if let Some(body) = protocol.take_body() {
            self.arrived = body;
            self.is_made = true;
        }
        if payload.arrives() || protocol.is_http2() {
            // What is taken of it can't be taken again: that waits for a connection.
            return Ok(());
        }
        self.append(request, protocol).map_err(|fault| match fault {
            Fault::Failed(_) => Status::INTERNAL_SERVER_ERROR,
            Fault::Refused(status) => status,
        })
    }

    pub fn is_sent(&self, request: &Request) -> bool {
        let written = request.upstream.as_ref().map_or(0, |record| record.request.len());
        self.is_last && self.sent == written
    }

    /// Whether the upstream has got what it was told to expect, so that another request may follow.
    pub fn is_whole(&self, request: &Request) -> bool {
        let announced = match self.payload.arrives() {
            true => self.payload.length().unwrap_or(self.body_at),
            false => self.payload.kept(),
        };
        self.is_sent(request) && (self.is_made || self.body_at == announced)
    }

    /// Whether it is sent piece by piece, so that none may wait for those before it to be acknowledged.
    pub fn comes_in_pieces(&self) -> bool {
        self.payload.arrives()
    }

    /// Whether a part of the client's body was taken that can't be had again.
    pub fn has_taken(&self) -> bool {
        self.payload.arrives() && (self.body_at > 0 || !self.arrived.is_empty())
    }

    /// Has what the protocol says beside the request sent behind what stands there.
    pub fn queue_control(&mut self, request: &mut Request, protocol: &mut dyn Protocol) {
        if self.has_begun {
            protocol.take_control(&mut record(request).request);
        }
    }

    /// Sends what the kernel takes at once; `WouldBlock` where that is nothing.
    pub fn advance(
        &mut self,
        request: &mut Request,
        protocol: &mut dyn Protocol,
        upstream: &mut Upstream,
    ) -> Result<Advance, Fault> {
        let waited = self.payload.arrives() || protocol.is_http2();
        if waited && !std::mem::replace(&mut self.has_begun, true) {
            protocol.begin_request(&mut record(request).request);
            // What is there goes with the head.
            self.append(request, protocol)?;
        }
        if self.sent == record(request).request.len() {
            record(request).request.clear();
            self.sent = 0;
            self.append(request, protocol)?;
            if record(request).request.is_empty() {
                let is_held = !self.payload.arrives() || !self.arrived.is_empty();
                return Ok(match self.is_last {
                    true => Advance::Sent,
                    false if is_held => Advance::IsHeld,
                    false => Advance::WaitsForClient,
                });
            }
        }
        let record = record(request);
        let bytes = &record.request[self.sent..];
        let sent = upstream.transport().try_send(bytes, false)?;
        self.sent += sent;
        upstream.sent += sent as u64;
        record.last_try().bytes_sent = upstream.sent;
        Ok(Advance::Sent)
    }

    /// Appends the next piece of the body, and the request's end behind the last.
    fn append(&mut self, request: &mut Request, protocol: &mut dyn Protocol) -> Result<(), Fault> {
        if self.is_last {
            return Ok(());
        }
        if self.payload.arrives() || self.is_made {
            return self.append_arrived(request, protocol).map_err(Fault::Refused);
        }
        let Request { body, upstream, .. } = request;
        let Some(record) = upstream else { return Ok(()) };
        let out = &mut record.request;
        let total = self.payload.kept();
        let mut in_hand = 0;
        while self.body_at < total && in_hand < PIECE {
            let most = protocol.longest_piece().min(PIECE) as u64;
            let length = (total - self.body_at).min(most) as usize;
            if length == 0 {
                return Ok(());
            }
            protocol.open_piece(length, self.body_at + length as u64 == total, out);
            match body.file() {
                Some(file) => {
                    let start = out.len();
                    out.resize(start + length, 0);
                    file.file.read_exact_at(&mut out[start..], self.body_at)?;
                }
                None => {
                    let at = self.body_at as usize;
                    out.extend_from_slice(&body.memory()[at..at + length]);
                }
            }
            protocol.close_piece(length, out);
            self.body_at += length as u64;
            in_hand += length;
        }
        if self.body_at == total {
            protocol.end_request(out);
            self.is_last = true;
        }
        Ok(())
    }
}

impl Outgoing {
    /// Appends what has come of a body that is passed on as it comes.
    fn append_arrived(
        &mut self,
        request: &mut Request,
        protocol: &mut dyn Protocol,
    ) -> Result<(), Status> {
        if !self.is_made && self.arrived.is_empty() {
            self.take_arrived(request)?;
        }
        let Request { body, upstream, .. } = request;
        let Some(record) = upstream else { return Ok(()) };
        let is_complete = self.is_made || body.is_complete();
        loop {
            let rest = &self.arrived[self.arrived_at..];
            let length = rest.len().min(protocol.longest_piece()).min(PIECE);
            if length == 0 {
                break;
            }
            let is_last = is_complete && length == rest.len();
            protocol.open_piece(length, is_last, &mut record.request);
            record.request.extend_from_slice(&rest[..length]);
            protocol.close_piece(length, &mut record.request);
            self.arrived_at += length;
            self.body_at += length as u64;
        }
        if self.arrived_at < self.arrived.len() {
            return Ok(());
        }
        self.arrived.clear();
        self.arrived_at = 0;
        if is_complete {
            protocol.end_request(&mut record.request);
            self.is_last = true;
        }
        Ok(())
    }

    fn take_arrived(&mut self, request: &mut Request) -> Result<(), Status> {
        while self.arrived.len() < PIECE {
            let data = request.take_arrived()?;
            if data.is_empty() {
                break;
            }
            self.arrived.extend_from_slice(&request.head.bytes[data]);
        }
        Ok(())
    }
}

fn record(request: &mut Request) -> &mut Record {
    request.upstream.get_or_insert_with(Record::fresh)
}
