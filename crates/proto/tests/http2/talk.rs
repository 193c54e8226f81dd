//! What conversations are written with.

use std::sync::Arc;

use daemun_proto::http2::frame::{self, HEAD, Head as FrameHead, Kind};
use daemun_proto::http2::hpack::encode;
use daemun_proto::http2::{Config, Connection, Event, Fatal, Head, PREFACE, Role};

pub const END_STREAM: u8 = frame::END_STREAM;
pub const END_HEADERS: u8 = frame::END_HEADERS;
pub const PADDED: u8 = frame::PADDED;
pub const BOTH: u8 = END_STREAM | END_HEADERS;

/// A frame that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub kind: Kind,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Sent {
    /// The code of a RST_STREAM.
    pub fn code(&self) -> u32 {
        frame::word(&self.payload)
    }
}

/// What was told, with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Message(u32, Vec<(String, String)>, bool),
    Trailers(u32, Vec<(String, String)>),
    Data(u32, Vec<u8>, bool),
    Other(Event),
}

pub struct Talk {
    pub connection: Connection,
    pub out: Vec<u8>,
    pub events: Vec<Event>,
    input: Vec<u8>,
    head: Head,
}

impl Talk {
    /// A server that has been greeted.
    pub fn server(config: Config) -> Talk {
        let mut talk = Talk::new(Role::Server, config);
        let mut greeting = PREFACE.to_vec();
        frame::settings(&[], &mut greeting);
        frame::settings_ack(&mut greeting);
        talk.tell(&greeting);
        talk.out.clear();
        talk.events.clear();
        talk
    }

    /// A client whose server has greeted it.
    pub fn client(config: Config) -> Talk {
        let mut talk = Talk::new(Role::Client, config);
        let mut greeting = Vec::new();
        frame::settings(&[], &mut greeting);
        frame::settings_ack(&mut greeting);
        talk.tell(&greeting);
        talk.out.clear();
        talk.events.clear();
        talk
    }

    pub fn new(role: Role, config: Config) -> Talk {
        let mut out = Vec::new();
        let config = Arc::new(config);
        let connection = match role {
            Role::Server => Connection::server(config, &mut out),
            Role::Client => Connection::client(config, &mut out),
        };
        Talk { connection, out, events: Vec::new(), input: Vec::new(), head: Head::default() }
    }

    /// Hands over bytes, and takes what comes of them.
    pub fn try_tell(&mut self, bytes: &[u8]) -> Result<Vec<Told>, Fatal> {
        self.input.extend_from_slice(bytes);
        let (mut told, mut at) = (Vec::new(), 0);
        let result = loop {
            let event =
                self.connection.receive(&self.input, &mut at, &mut self.head, &mut self.out);
            let event = match event {
                Ok(Event::Incomplete) => break Ok(()),
                Ok(event) => event,
                Err(fatal) => break Err(fatal),
            };
            self.events.push(event);
            told.push(match event {
                Event::Message(message) => {
                    let mut fields = Vec::new();
                    let bytes = &self.head.bytes;
                    let pseudo = message.pseudo;
                    for (name, value) in [
                        (":method", pseudo.method),
                        (":scheme", pseudo.scheme),
                        (":authority", pseudo.authority),
                        (":path", pseudo.path),
                        (":protocol", pseudo.protocol),
                    ] {
                        fields.extend(value.map(|value| (name.to_owned(), text(value.of(bytes)))));
                    }
                    if pseudo.status > 0 {
                        fields.push((":status".to_owned(), pseudo.status.to_string()));
                    }
                    fields.extend(self.fields());
                    Told::Message(message.stream, fields, message.is_end)
                }
                Event::Trailers { stream } => Told::Trailers(stream, self.fields()),
                Event::Data { stream, length, is_end } => {
                    Told::Data(stream, self.input[at - length..at].to_vec(), is_end)
                }
                event => Told::Other(event),
            });
            if matches!(event, Event::Message(_) | Event::Trailers { .. } | Event::Reset { .. }) {
                self.head.clear();
            }
        };
        self.input.drain(..at);
        result.map(|()| told)
    }

    pub fn tell(&mut self, bytes: &[u8]) -> Vec<Told> {
        self.try_tell(bytes).expect("no fault")
    }

    /// The fault that these bytes end the connection by; GOAWAY has to say the same.
    pub fn fault(&mut self, bytes: &[u8]) -> Fatal {
        let fatal = self.try_tell(bytes).expect_err("a fault");
        let last = self.sent().pop().expect("a GOAWAY");
        assert_eq!((last.kind, frame::word(&last.payload[4..])), (Kind::GoAway, fatal.code.0));
        fatal
    }

    fn fields(&self) -> Vec<(String, String)> {
        self.head.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// The frames that were sent since this was asked last.
    pub fn sent(&mut self) -> Vec<Sent> {
        let out = std::mem::take(&mut self.out);
        let out = out.strip_prefix(PREFACE).unwrap_or(&out);
        let (mut frames, mut rest) = (Vec::new(), out);
        while let Some((head, behind)) = rest.split_first_chunk::<HEAD>() {
            let head = FrameHead::parse(head);
            let (payload, behind) = behind.split_at(head.length as usize);
            let (kind, flags, stream) = (head.kind, head.flags, head.stream);
            frames.push(Sent { kind, flags, stream, payload: payload.to_vec() });
            rest = behind;
        }
        assert!(rest.is_empty());
        frames
    }

    /// The only stream that was reset, and its code.
    pub fn reset(&mut self) -> (u32, u32) {
        let sent = self.sent();
        let resets: Vec<_> = sent.iter().filter(|sent| sent.kind == Kind::RstStream).collect();
        assert_eq!(resets.len(), 1, "{sent:?}");
        (resets[0].stream, resets[0].code())
    }

    /// Answers a request.
    pub fn answer(&mut self, stream: u32) {
        let start = self.connection.begin_block(&mut self.out);
        encode::status(200, &mut self.out);
        let part = daemun_proto::http2::Part::End;
        self.connection.finish_block(stream, start, part, &mut self.out);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameHead { length: payload.len() as u32, kind, flags, stream }.write(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // Names as they are, in upper case too.
        block.extend_from_slice(&[0, name.len() as u8]);
        block.extend_from_slice(name.as_bytes());
        let mut value_only = Vec::new();
        encode::plain_field(b"", value.as_bytes(), &mut value_only);
        block.extend_from_slice(&value_only[2..]);
    }
    block
}

pub const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
pub const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

/// HEADERS with these fields behind others.
pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)], more: &[(&str, &str)]) -> Vec<u8> {
    frame(Kind::Headers, flags, stream, &block(&[fields, more].concat()))
}

pub fn get(stream: u32) -> Vec<u8> {
    headers(stream, BOTH, GET, &[])
}

pub fn post(stream: u32) -> Vec<u8> {
    headers(stream, END_HEADERS, POST, &[])
}

pub fn data(stream: u32, flags: u8, body: &[u8]) -> Vec<u8> {
    frame(Kind::Data, flags, stream, body)
}

pub fn window(stream: u32, increment: u32) -> Vec<u8> {
    frame(Kind::WindowUpdate, 0, stream, &increment.to_be_bytes())
}

pub fn rst(stream: u32, code: u32) -> Vec<u8> {
    frame(Kind::RstStream, 0, stream, &code.to_be_bytes())
}

pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::settings(values, &mut bytes);
    bytes
}

/// The same fields as owned ones.
pub fn fields(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
