//! A server behind that speaks HTTP/2, of which a test says every word.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use daemun_proto::http1::Range;
use daemun_proto::http2::frame::{Head as FrameHead, Kind};
use daemun_proto::http2::hpack::encode;
use daemun_proto::http2::{Code, Config, Connection, Event, Head, Part};

use crate::{PATIENCE, free_port};

/// Where the server behind listens.
pub struct Http2Backend {
    listener: TcpListener,
    pub port: u16,
}

impl Http2Backend {
    pub fn start() -> Http2Backend {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let port = listener.local_addr().unwrap().port();
        Http2Backend { listener, port }
    }

    /// The next connection.
    pub fn accept(&self) -> Http2Peer {
        self.accept_with(Config::default())
    }

    pub fn accept_with(&self, config: Config) -> Http2Peer {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut out = Vec::new();
        let machine = Connection::server(Arc::new(config), &mut out);
        let mut peer = Http2Peer {
            stream,
            machine,
            head: Head::default(),
            input: Vec::new(),
            out,
            asked: HashMap::new(),
            order: Vec::new(),
            pongs: 0,
            is_closed: false,
        };
        peer.flush();
        peer
    }

    /// Whether nobody has connected that was not accepted.
    pub fn is_quiet(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let accepted = self.listener.accept();
        self.listener.set_nonblocking(false).unwrap();
        accepted.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// A request that came.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub stream: u32,
    /// Those of the pseudo-header with them, in their order.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub is_whole: bool,
    pub reset: Option<Code>,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A connection, from the server's side.
pub struct Http2Peer {
    stream: TcpStream,
    machine: Connection,
    head: Head,
    input: Vec<u8>,
    out: Vec<u8>,
    asked: HashMap<u32, Asked>,
    /// Streams in the order in which they came and were not asked for.
    order: Vec<u32>,
    pongs: usize,
    pub is_closed: bool,
}

impl Http2Peer {
    /// The head of the next request, and what came with it.
    pub fn head(&mut self) -> Asked {
        self.until(|peer| !peer.order.is_empty());
        assert!(!self.order.is_empty(), "another request");
        let stream = self.order.remove(0);
        self.asked[&stream].clone()
    }

    /// The next request, with all of its body.
    pub fn request(&mut self) -> Asked {
        let stream = self.head().stream;
        self.until(|peer| peer.asked[&stream].is_whole);
        self.asked[&stream].clone()
    }

    pub fn so_far(&self, stream: u32) -> &Asked {
        &self.asked[&stream]
    }

    /// Waits until so many bytes of a body are there.
    pub fn body(&mut self, stream: u32, length: usize) -> &[u8] {
        self.until(|peer| peer.asked[&stream].body.len() >= length);
        &self.asked[&stream].body
    }

    /// A head that nothing follows where it `ends` the stream.
    pub fn respond(&mut self, stream: u32, status: u16, fields: &[(&str, &str)], ends: bool) {
        let part = match status {
            100..200 => Part::Interim,
            _ if ends => Part::End,
            _ => Part::Head,
        };
        self.block(stream, Some(status), fields, part);
    }

    pub fn trailers(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.block(stream, None, fields, Part::End);
    }

    fn block(&mut self, stream: u32, status: Option<u16>, fields: &[(&str, &str)], part: Part) {
        let start = self.machine.begin_block(&mut self.out);
        if let Some(status) = status {
            encode::status(status, &mut self.out);
        }
        for (name, value) in fields {
            encode::field(name.as_bytes(), value.as_bytes(), &mut self.out);
        }
        self.machine.finish_block(stream, start, part, &mut self.out);
        self.flush();
    }

    pub fn send(&mut self, stream: u32, mut body: &[u8], ends: bool) {
        loop {
            let sent = self.machine.send_data(stream, body, ends, &mut self.out);
            body = &body[sent..];
            self.flush();
            if body.is_empty() || self.is_closed {
                return;
            }
            if sent == 0 {
                self.read();
            }
        }
    }

    pub fn reset(&mut self, stream: u32, code: Code) {
        self.machine.reset(stream, code, &mut self.out);
        self.flush();
    }

    /// Waits for the answer.
    pub fn ping(&mut self) {
        let before = self.pongs;
        self.machine.ping(*b"8 bytes.", &mut self.out);
        self.flush();
        self.until(|peer| peer.pongs > before);
        assert!(self.pongs > before, "the connection has been closed");
    }

    pub fn frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        FrameHead { length: payload.len() as u32, kind, flags, stream }.write(&mut self.out);
        self.out.extend_from_slice(payload);
        self.flush();
    }

    /// Takes no streams above `last`.
    pub fn go_away(&mut self, last: u32, code: Code) {
        self.frame(Kind::GoAway, 0, 0, &[last.to_be_bytes(), code.0.to_be_bytes()].concat());
    }

    /// Waits until the other side has closed.
    pub fn closed(&mut self) {
        self.until(|_| false);
    }

    pub fn until(&mut self, is_so: impl Fn(&Http2Peer) -> bool) {
        while !self.is_closed && !is_so(self) {
            self.read();
        }
    }

    fn flush(&mut self) {
        if self.stream.write_all(&self.out).is_err() {
            self.is_closed = true;
        }
        self.out.clear();
    }

    fn read(&mut self) {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.is_closed = true,
            Ok(read) => self.input.extend_from_slice(&bytes[..read]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => panic!("nothing comes"),
                _ => self.is_closed = true,
            },
        }
        let mut at = 0;
        loop {
            let event = self
                .machine
                .receive(&self.input, &mut at, &mut self.head, &mut self.out)
                .expect("a client that keeps to the rules");
            match event {
                Event::Incomplete => break,
                event => self.take(event, at),
            }
        }
        self.input.drain(..at);
        self.flush();
    }

    fn take(&mut self, event: Event, at: usize) {
        match event {
            Event::Message(message) => {
                assert_eq!(message.malformed, None);
                let mut fields = Vec::new();
                let pseudo = message.pseudo;
                for (name, range) in [
                    (":method", pseudo.method),
                    (":scheme", pseudo.scheme),
                    (":authority", pseudo.authority),
                    (":path", pseudo.path),
                ] {
                    if let Some(range) = range {
                        fields.push((name.to_owned(), self.text(range)));
                    }
                }
                fields.append(&mut self.fields());
                let (stream, is_whole) = (message.stream, message.is_end);
                self.asked.insert(stream, Asked { stream, fields, is_whole, ..Asked::default() });
                self.order.push(stream);
            }
            Event::Data { stream, length, is_end } => {
                let bytes = &self.input[at - length..at];
                let asked = self.asked.get_mut(&stream).unwrap();
                asked.body.extend_from_slice(bytes);
                asked.is_whole |= is_end;
                self.machine.consume(stream, length, &mut self.out);
            }
            Event::Trailers { stream } => {
                let trailers = self.fields();
                let asked = self.asked.get_mut(&stream).unwrap();
                asked.trailers = trailers;
                asked.is_whole = true;
            }
            Event::Reset { stream, code, .. } => {
                self.machine.release();
                if let Some(asked) = self.asked.get_mut(&stream) {
                    asked.reset = Some(code);
                    asked.is_whole = true;
                }
            }
            Event::Malformed { malformed, .. } => panic!("a request that {}", malformed.reason()),
            Event::Pong { .. } => self.pongs += 1,
            _ => {}
        }
    }

    fn text(&self, range: Range) -> String {
        String::from_utf8_lossy(range.of(&self.head.bytes)).into_owned()
    }

    fn fields(&mut self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = self.head.iter().map(|(name, value)| (text(name), text(value))).collect();
        self.head.clear();
        fields
    }
}
