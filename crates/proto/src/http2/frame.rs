//! Frames (RFC 9113, sections 4 and 6): their heads, what each kind asks of them, and how they are
//! written.
//!
//! A fault of framing is a fault of the connection, as in nginx: the RFC allows that for all, and
//! demands it for most.

use super::{Code, Fatal, Priority};

/// Bytes of a frame's head.
pub const HEAD: usize = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITY: u8 = 0x20;

/// The highest id of a stream, and the largest window.
pub const MOST: u32 = 0x7fff_ffff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// RFC 9218, section 7.1.
    PriorityUpdate,
    /// ALTSVC (RFC 7838), ORIGIN (RFC 8336) and whatever else there may be.
    Unknown(u8),
}

impl Kind {
    fn of(byte: u8) -> Kind {
        match byte {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::RstStream,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            16 => Kind::PriorityUpdate,
            other => Kind::Unknown(other),
        }
    }

    pub fn byte(self) -> u8 {
        match self {
            Kind::Data => 0,
            Kind::Headers => 1,
            Kind::Priority => 2,
            Kind::RstStream => 3,
            Kind::Settings => 4,
            Kind::PushPromise => 5,
            Kind::Ping => 6,
            Kind::GoAway => 7,
            Kind::WindowUpdate => 8,
            Kind::Continuation => 9,
            Kind::PriorityUpdate => 16,
            Kind::Unknown(byte) => byte,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub length: u32,
    pub kind: Kind,
    pub flags: u8,
    pub stream: u32,
}

impl Head {
    pub fn parse(bytes: &[u8; HEAD]) -> Head {
        let [a, b, c, kind, flags, d, e, f, g] = *bytes;
        Head {
            length: u32::from_be_bytes([0, a, b, c]),
            kind: Kind::of(kind),
            flags,
            // The reserved bit is ignored.
            stream: u32::from_be_bytes([d, e, f, g]) & MOST,
        }
    }

    pub fn bytes(self) -> [u8; HEAD] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind.byte(), self.flags, d, e, f, g]
    }

    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }

    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Checks what can be told from the head alone.
    pub fn check(self, most: u32) -> Result<(), Fatal> {
        let size = |reason| Err(Fatal::new(Code::FRAME_SIZE_ERROR, reason));
        let protocol = |reason| Err(Fatal::new(Code::PROTOCOL_ERROR, reason));
        if self.length > most {
            return size("sent too large frame");
        }
        let (stream, length) = (self.stream, self.length);
        match self.kind {
            Kind::Data if stream == 0 => protocol("sent DATA frame with incorrect identifier"),
            Kind::Data if self.has(PADDED) && length == 0 => {
                size("sent padded DATA frame with incorrect length")
            }
            Kind::Headers if stream == 0 => {
                protocol("sent HEADERS frame with incorrect identifier")
            }
            Kind::Headers if length < self.before_block() => {
                size("sent HEADERS frame with incorrect length")
            }
            Kind::Priority if stream == 0 => {
                protocol("sent PRIORITY frame with incorrect identifier")
            }
            Kind::Priority if length != 5 => size("sent PRIORITY frame with incorrect length"),
            Kind::RstStream if stream == 0 => {
                protocol("sent RST_STREAM frame with incorrect identifier")
            }
            Kind::RstStream if length != 4 => size("sent RST_STREAM frame with incorrect length"),
            Kind::Settings if stream != 0 => {
                protocol("sent SETTINGS frame with incorrect identifier")
            }
            Kind::Settings if self.has(ACK) && length != 0 => {
                size("sent SETTINGS frame with the ACK flag and nonzero length")
            }
            Kind::Settings if length % 6 != 0 => size("sent SETTINGS frame with incorrect length"),
            Kind::PushPromise => protocol("sent PUSH_PROMISE frame"),
            Kind::Ping if length != 8 => size("sent PING frame with incorrect length"),
            Kind::Ping if stream != 0 => protocol("sent PING frame with incorrect identifier"),
            Kind::GoAway if length < 8 => size("sent GOAWAY frame with incorrect length"),
            Kind::GoAway if stream != 0 => protocol("sent GOAWAY frame with incorrect identifier"),
            Kind::WindowUpdate if length != 4 => {
                size("sent WINDOW_UPDATE frame with incorrect length")
            }
            Kind::Continuation if stream == 0 => {
                protocol("sent CONTINUATION frame with incorrect identifier")
            }
            Kind::PriorityUpdate if stream != 0 => {
                protocol("sent PRIORITY_UPDATE frame with incorrect identifier")
            }
            Kind::PriorityUpdate if length < 4 => {
                size("sent PRIORITY_UPDATE frame with incorrect length")
            }
            _ => Ok(()),
        }
    }

    /// Bytes of a HEADERS frame before its part of the block: the padding's length and a priority.
    pub fn before_block(self) -> u32 {
        u32::from(self.has(PADDED)) + 5 * u32::from(self.has(PRIORITY))
    }
}

/// The four bytes at the payload's beginning.
pub fn word(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

pub fn rst_stream(stream: u32, code: Code, out: &mut Vec<u8>) {
    Head { length: 4, kind: Kind::RstStream, flags: 0, stream }.write(out);
    out.extend_from_slice(&code.0.to_be_bytes());
}

pub fn ping(flags: u8, payload: [u8; 8], out: &mut Vec<u8>) {
    Head { length: 8, kind: Kind::Ping, flags, stream: 0 }.write(out);
    out.extend_from_slice(&payload);
}

pub fn go_away(last: u32, code: Code, out: &mut Vec<u8>) {
    Head { length: 8, kind: Kind::GoAway, flags: 0, stream: 0 }.write(out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
}

pub fn window_update(stream: u32, increment: u32, out: &mut Vec<u8>) {
    debug_assert!((1..=MOST).contains(&increment));
    Head { length: 4, kind: Kind::WindowUpdate, flags: 0, stream }.write(out);
    out.extend_from_slice(&increment.to_be_bytes());
}

pub fn settings(values: &[(u16, u32)], out: &mut Vec<u8>) {
    let length = 6 * values.len() as u32;
    Head { length, kind: Kind::Settings, flags: 0, stream: 0 }.write(out);
    for (name, value) in values {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub fn settings_ack(out: &mut Vec<u8>) {
    Head { length: 0, kind: Kind::Settings, flags: ACK, stream: 0 }.write(out);
}

pub fn priority_update(stream: u32, priority: Priority, out: &mut Vec<u8>) {
    let incremental: &[u8] = if priority.is_incremental { b", i" } else { b"" };
    let length = 4 + 3 + incremental.len() as u32;
    Head { length, kind: Kind::PriorityUpdate, flags: 0, stream: 0 }.write(out);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&[b'u', b'=', b'0' + priority.urgency]);
    out.extend_from_slice(incremental);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, flags: u8, stream: u32, length: u32) -> Option<Code> {
        Head { length, kind, flags, stream }.check(16_384).err().map(|fatal| fatal.code)
    }

    #[test]
    fn heads_come_back_and_the_reserved_bit_is_ignored() {
        for byte in 0..=255 {
            let head =
                Head { length: 0x12_3456, kind: Kind::of(byte), flags: 0xa5, stream: 0x7654_3210 };
            assert_eq!(Head::parse(&head.bytes()), head);
            let mut bytes = head.bytes();
            bytes[5] |= 0x80;
            assert_eq!(Head::parse(&bytes), head);
        }
    }

    #[test]
    fn each_kind_has_its_lengths_and_streams() {
        let size = Some(Code::FRAME_SIZE_ERROR);
        let protocol = Some(Code::PROTOCOL_ERROR);
        for (kind, flags, stream, length, verdict) in [
            (Kind::Data, 0, 1, 16_384, None),
            (Kind::Data, 0, 1, 16_385, size),
            (Kind::Data, 0, 0, 1, protocol),
            (Kind::Data, PADDED, 1, 0, size),
            (Kind::Headers, 0, 0, 1, protocol),
            (Kind::Headers, 0, 1, 0, None),
            (Kind::Headers, PADDED, 1, 0, size),
            (Kind::Headers, PRIORITY, 1, 4, size),
            (Kind::Headers, PRIORITY | PADDED, 1, 5, size),
            (Kind::Headers, PRIORITY | PADDED, 1, 6, None),
            (Kind::Priority, 0, 0, 5, protocol),
            (Kind::Priority, 0, 1, 4, size),
            (Kind::Priority, 0, 1, 5, None),
            (Kind::RstStream, 0, 0, 4, protocol),
            (Kind::RstStream, 0, 1, 5, size),
            (Kind::RstStream, 0, 1, 4, None),
            (Kind::Settings, 0, 1, 6, protocol),
            (Kind::Settings, 0, 0, 5, size),
            (Kind::Settings, ACK, 0, 6, size),
            (Kind::Settings, ACK, 0, 0, None),
            (Kind::Settings, 0, 0, 12, None),
            (Kind::PushPromise, 0, 1, 4, protocol),
            (Kind::Ping, 0, 0, 7, size),
            (Kind::Ping, 0, 1, 8, protocol),
            (Kind::Ping, 0, 0, 8, None),
            (Kind::GoAway, 0, 0, 7, size),
            (Kind::GoAway, 0, 1, 8, protocol),
            (Kind::GoAway, 0, 0, 20, None),
            (Kind::WindowUpdate, 0, 0, 3, size),
            (Kind::WindowUpdate, 0, 1, 4, None),
            (Kind::Continuation, 0, 0, 1, protocol),
            (Kind::Continuation, 0, 1, 0, None),
            (Kind::PriorityUpdate, 0, 1, 8, protocol),
            (Kind::PriorityUpdate, 0, 0, 3, size),
            (Kind::PriorityUpdate, 0, 0, 4, None),
            (Kind::Unknown(10), 0xff, 0, 3, None),
            (Kind::Unknown(200), 0xff, 9, 16_385, size),
        ] {
            assert_eq!(check(kind, flags, stream, length), verdict, "{kind:?} {stream} {length}");
        }
    }
}
