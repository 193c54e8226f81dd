//! What both sides tell each other at the beginning (RFC 9113, section 6.5), and our own limits.

use super::budget::{Budget, KINDS};
use super::window::Window;
use super::{Code, Fatal, Role, frame};

pub const ENABLE_PUSH: u16 = 2;
pub const HEADER_TABLE_SIZE: u16 = 1;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;
pub const MAX_HEADER_LIST_SIZE: u16 = 6;
/// RFC 8441, section 3.
pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
/// RFC 9218, section 2.1.
pub const NO_RFC7540_PRIORITIES: u16 = 9;

/// The smallest bound of a frame's payload that may be told, which holds until another is.
pub const FRAME_SIZE: u32 = 16_384;

/// How we are to behave; connections share it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Streams that the peer may have open at once. Cancelled ones count until
    /// [`super::Connection::release`].
    pub max_concurrent_streams: u32,
    /// What a stream may receive before its reader has taken anything.
    pub stream_window: u32,
    /// What all streams may receive together. It is given back as it is used: what has to wait is
    /// bounded by the streams.
    pub connection_window: u32,
    /// The largest payload that a frame may have.
    pub max_frame_size: u32,
    /// Bytes that the names and values of a header section may have, each field counted as often as
    /// it comes.
    pub header_limit: u32,
    /// Bytes that a name or a value may have.
    pub longest_field: u32,
    /// Fields that a header section may have, each crumb of a cookie counted.
    pub max_fields: u32,
    /// Underscores are as good as letters in names.
    pub underscores: bool,
    /// Extended CONNECT is offered (RFC 8441).
    pub extended_connect: bool,
    /// The peer's first frame has to be its settings, as the RFC says and nginx does not ask for.
    pub settings_first: bool,
    /// What the peer may cost.
    pub budget: [u16; KINDS],
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_concurrent_streams: 128,
            stream_window: 65_536,
            connection_window: frame::MOST,
            max_frame_size: (1 << 24) - 1,
            header_limit: 4 * 8192,
            longest_field: 8192,
            max_fields: 1000,
            underscores: false,
            extended_connect: false,
            settings_first: false,
            budget: Budget::DEFAULT,
        }
    }
}

impl Config {
    /// How a server is spoken to that somebody has chosen to speak to: as in nginx with windows as
    /// large as they may be, so that what is not read from a connection is what holds it up. Such a
    /// server may be slow or clumsy, and does not attack.
    pub fn client() -> Config {
        const LONGEST_HEAD: u32 = 1 << 20;
        Config {
            stream_window: frame::MOST,
            connection_window: frame::MOST,
            max_frame_size: FRAME_SIZE,
            header_limit: LONGEST_HEAD,
            longest_field: LONGEST_HEAD,
            max_fields: u32::MAX,
            budget: [10_000; KINDS],
            ..Config::default()
        }
    }

    /// Appends the settings, and what the connection's window is to be.
    pub(super) fn write(&self, role: Role, out: &mut Vec<u8>) {
        let mut values = [(0, 0); 6];
        let mut count = 0;
        let mut add = |name, value| {
            values[count] = (name, value);
            count += 1;
        };
        match role {
            Role::Server => {
                add(MAX_CONCURRENT_STREAMS, self.max_concurrent_streams);
                add(NO_RFC7540_PRIORITIES, 1);
            }
            Role::Client => {
                add(HEADER_TABLE_SIZE, 0);
                add(ENABLE_PUSH, 0);
            }
        }
        if self.stream_window != Window::INITIAL {
            add(INITIAL_WINDOW_SIZE, self.stream_window);
        }
        if self.max_frame_size != FRAME_SIZE {
            add(MAX_FRAME_SIZE, self.max_frame_size);
        }
        if self.extended_connect && role == Role::Server {
            add(ENABLE_CONNECT_PROTOCOL, 1);
        }
        frame::settings(&values[..count], out);
        if let Some(more @ 1..) = self.connection_window.checked_sub(Window::INITIAL) {
            frame::window_update(0, more, out);
        }
    }
}

/// What the peer has told.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub stream_window: u32,
    pub max_frame_size: u32,
    pub max_concurrent_streams: u32,
    pub max_header_list_size: u32,
    pub extended_connect: bool,
    /// The peer wants a smaller table than we could have used. We use none, and have to say so
    /// once.
    pub owes_table_update: bool,
    has_emptied_table: bool,
}

impl Default for Peer {
    fn default() -> Peer {
        Peer {
            stream_window: Window::INITIAL,
            max_frame_size: FRAME_SIZE,
            max_concurrent_streams: u32::MAX,
            max_header_list_size: u32::MAX,
            extended_connect: false,
            owes_table_update: false,
            has_emptied_table: false,
        }
    }
}

impl Peer {
    /// Takes over a frame's payload, of which the last of equal settings counts.
    pub fn apply(&mut self, payload: &[u8], role: Role) -> Result<(), Fatal> {
        for entry in payload.chunks_exact(6) {
            let name = u16::from_be_bytes([entry[0], entry[1]]);
            self.set(name, frame::word(&entry[2..]), role)?;
        }
        Ok(())
    }

    fn set(&mut self, name: u16, value: u32, role: Role) -> Result<(), Fatal> {
        let protocol = |reason| Err(Fatal::new(Code::PROTOCOL_ERROR, reason));
        match name {
            HEADER_TABLE_SIZE if value < 4096 && !self.has_emptied_table => {
                self.owes_table_update = true;
            }
            ENABLE_PUSH if value > 1 || (value == 1 && role == Role::Client) => {
                return protocol("sent SETTINGS frame with incorrect ENABLE_PUSH value");
            }
            MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = value,
            INITIAL_WINDOW_SIZE if value > frame::MOST => {
                let reason = "sent SETTINGS frame with incorrect INITIAL_WINDOW_SIZE value";
                return Err(Fatal::new(Code::FLOW_CONTROL_ERROR, reason));
            }
            INITIAL_WINDOW_SIZE => self.stream_window = value,
            MAX_FRAME_SIZE if !(FRAME_SIZE..1 << 24).contains(&value) => {
                return protocol("sent SETTINGS frame with incorrect MAX_FRAME_SIZE value");
            }
            MAX_FRAME_SIZE => self.max_frame_size = value,
            MAX_HEADER_LIST_SIZE => self.max_header_list_size = value,
            ENABLE_CONNECT_PROTOCOL if value > 1 || (value == 0 && self.extended_connect) => {
                return protocol(
                    "sent SETTINGS frame with incorrect ENABLE_CONNECT_PROTOCOL value",
                );
            }
            ENABLE_CONNECT_PROTOCOL => self.extended_connect = value == 1,
            NO_RFC7540_PRIORITIES if value > 1 => {
                return protocol("sent SETTINGS frame with incorrect NO_RFC7540_PRIORITIES value");
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the next header block has to begin with an update of the table's size.
    pub fn take_table_update(&mut self) -> bool {
        let is_due = std::mem::take(&mut self.owes_table_update);
        self.has_emptied_table |= is_due;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(role: Role, values: &[(u16, u32)]) -> Result<Peer, Code> {
        let mut bytes = Vec::new();
        frame::settings(values, &mut bytes);
        let mut peer = Peer::default();
        peer.apply(&bytes[frame::HEAD..], role).map(|()| peer).map_err(|fatal| fatal.code)
    }

    #[test]
    fn every_value_has_its_bounds() {
        let protocol = Some(Code::PROTOCOL_ERROR);
        for (name, value, flaw) in [
            (HEADER_TABLE_SIZE, u32::MAX, None),
            (ENABLE_PUSH, 0, None),
            (ENABLE_PUSH, 1, None),
            (ENABLE_PUSH, 2, protocol),
            (MAX_CONCURRENT_STREAMS, u32::MAX, None),
            (INITIAL_WINDOW_SIZE, frame::MOST, None),
            (INITIAL_WINDOW_SIZE, frame::MOST + 1, Some(Code::FLOW_CONTROL_ERROR)),
            (MAX_FRAME_SIZE, 16_383, protocol),
            (MAX_FRAME_SIZE, 16_384, None),
            (MAX_FRAME_SIZE, (1 << 24) - 1, None),
            (MAX_FRAME_SIZE, 1 << 24, protocol),
            (MAX_HEADER_LIST_SIZE, 0, None),
            (ENABLE_CONNECT_PROTOCOL, 1, None),
            (ENABLE_CONNECT_PROTOCOL, 2, protocol),
            (NO_RFC7540_PRIORITIES, 2, protocol),
            (0x7777, u32::MAX, None),
        ] {
            assert_eq!(apply(Role::Server, &[(name, value)]).err(), flaw, "{name} {value}");
        }
        assert_eq!(apply(Role::Client, &[(ENABLE_PUSH, 1)]).err(), protocol);
        let back = [(ENABLE_CONNECT_PROTOCOL, 1), (ENABLE_CONNECT_PROTOCOL, 0)];
        assert_eq!(apply(Role::Client, &back).err(), protocol);
    }

    #[test]
    fn the_last_of_equal_settings_counts() {
        let peer =
            apply(Role::Server, &[(INITIAL_WINDOW_SIZE, 1), (INITIAL_WINDOW_SIZE, 2)]).unwrap();
        assert_eq!(peer.stream_window, 2);
    }

    #[test]
    fn a_smaller_table_is_confirmed_once() {
        let mut peer = apply(Role::Server, &[(HEADER_TABLE_SIZE, 100)]).unwrap();
        assert!(peer.take_table_update() && !peer.take_table_update());
        peer.set(HEADER_TABLE_SIZE, 0, Role::Server).unwrap();
        assert!(!peer.take_table_update());
    }
}
