//! A client that speaks HTTP/2, frame by frame where a test wants that.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use daemun_proto::http2::frame::{Head as FrameHead, Kind};
use daemun_proto::http2::hpack::encode;
use daemun_proto::http2::{Code, Config, Connection, Event, Head, Part};

use crate::{Answer, Offer, PATIENCE, TlsClient, read_once};

/// What came of a request.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub answer: Answer,
    /// Responses of 1xx before it.
    pub interim: Vec<Answer>,
    pub trailers: Vec<(String, String)>,
    pub is_whole: bool,
    pub reset: Option<Code>,
}

/// A client on one connection.
pub struct Http2Client {
    wire: Box<dyn Wire>,
    machine: Connection,
    head: Head,
    input: Vec<u8>,
    out: Vec<u8>,
    replies: HashMap<u32, Reply>,
    /// In the order in which they ended.
    pub ended: Vec<u32>,
    /// The last stream that the server says it takes.
    pub goodbye: Option<(u32, Code)>,
    pub pongs: usize,
    pub is_closed: bool,
}

pub trait Wire: Read + Write + Send {}
impl<W: Read + Write + Send> Wire for W {}

impl Http2Client {
    pub fn connect(port: u16) -> Http2Client {
        Http2Client::with_config(port, Config::default())
    }

    pub fn with_config(port: u16, config: Config) -> Http2Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Http2Client::over(Box::new(stream), config)
    }

    /// Over TLS, where the server has to agree.
    pub fn over_tls(port: u16, name: &str) -> Http2Client {
        let mut config = Offer::default().config();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut client = TlsClient::connect(port, &Arc::new(config), name);
        let TlsClient(stream) = &mut client;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
        Http2Client::over(Box::new(client.0), Config::default())
    }

    fn over(wire: Box<dyn Wire>, config: Config) -> Http2Client {
        let mut out = Vec::new();
        let machine = Connection::client(Arc::new(config), &mut out);
        let mut client = Http2Client {
            wire,
            machine,
            head: Head::default(),
            input: Vec::new(),
            out,
            replies: HashMap::new(),
            ended: Vec::new(),
            goodbye: None,
            pongs: 0,
            is_closed: false,
        };
        client.flush();
        client
    }

    /// Whether the server offers tunnels (RFC 8441).
    pub fn has_extended_connect(&self) -> bool {
        self.machine.has_extended_connect()
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Http2Client {
        self.out.extend_from_slice(bytes);
        self.flush();
        self
    }

    pub fn frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        let head = FrameHead { length: payload.len() as u32, kind, flags, stream };
        head.write(&mut self.out);
        self.raw(payload);
    }

    fn flush(&mut self) {
        // The server may have closed, which reading will tell.
        if self.wire.write_all(&self.out).is_err() {
            self.is_closed = true;
        }
        let _ = self.wire.flush();
        self.out.clear();
    }

    /// Begins a request that nothing follows.
    pub fn ask(&mut self, path: &str) -> u32 {
        self.begin("GET", path, &[], true)
    }

    pub fn get(&mut self, path: &str) -> Answer {
        let stream = self.ask(path);
        self.answer(stream)
    }

    pub fn begin(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        is_end: bool,
    ) -> u32 {
        let stream = self.machine.open_stream(method == "HEAD").expect("a stream may be opened");
        self.replies.insert(stream, Reply::default());
        let start = self.machine.begin_block(&mut self.out);
        encode::pseudo(b":method", method.as_bytes(), &mut self.out);
        encode::pseudo(b":scheme", b"http", &mut self.out);
        encode::pseudo(b":path", path.as_bytes(), &mut self.out);
        if !fields.iter().any(|(name, _)| *name == ":authority") {
            encode::plain_field(b":authority", b"localhost", &mut self.out);
        }
        for (name, value) in fields {
            encode::field(name.as_bytes(), value.as_bytes(), &mut self.out);
        }
        let part = if is_end { Part::End } else { Part::Head };
        self.machine.finish_block(stream, start, part, &mut self.out);
        self.flush();
        stream
    }

    /// Sends a body as fast as windows allow it.
    pub fn send_body(&mut self, stream: u32, mut body: &[u8], is_last: bool) {
        loop {
            let sent = self.machine.send_data(stream, body, is_last, &mut self.out);
            body = &body[sent..];
            self.flush();
            let is_over = self.replies[&stream].reset.is_some() || self.is_closed;
            if body.is_empty() || is_over {
                return;
            }
            if sent == 0 {
                self.read();
            }
        }
    }

    pub fn send_trailers(&mut self, stream: u32, fields: &[(&str, &str)]) {
        let start = self.machine.begin_block(&mut self.out);
        for (name, value) in fields {
            encode::field(name.as_bytes(), value.as_bytes(), &mut self.out);
        }
        self.machine.finish_block(stream, start, Part::End, &mut self.out);
        self.flush();
    }

    pub fn reset(&mut self, stream: u32, code: Code) {
        self.machine.reset(stream, code, &mut self.out);
        self.flush();
    }

    pub fn ping(&mut self) {
        let before = self.pongs;
        self.machine.ping(*b"8 bytes.", &mut self.out);
        self.flush();
        self.until(|client| client.pongs > before);
    }

    /// What has come of a request so far.
    pub fn so_far(&self, stream: u32) -> &Reply {
        &self.replies[&stream]
    }

    /// The whole response to a request.
    pub fn answer(&mut self, stream: u32) -> Answer {
        let reply = self.reply(stream);
        assert!(reply.is_whole, "{reply:?} {:?}", self.goodbye);
        reply.answer
    }

    /// What has come of a request when its stream has ended.
    pub fn reply(&mut self, stream: u32) -> Reply {
        self.until(|client| client.is_over(stream));
        self.replies[&stream].clone()
    }

    fn is_over(&self, stream: u32) -> bool {
        let reply = &self.replies[&stream];
        reply.is_whole || reply.reset.is_some() || self.is_closed
    }

    /// Reads until it is so, or the server has closed.
    pub fn until(&mut self, is_so: impl Fn(&Http2Client) -> bool) {
        while !self.is_closed && !is_so(self) {
            self.read();
        }
    }

    fn read(&mut self) {
        let mut bytes = [0; 16 * 1024];
        match self.wire.read(&mut bytes) {
            Ok(0) => self.is_closed = true,
            Ok(read) => self.input.extend_from_slice(&bytes[..read]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => panic!("the server says nothing"),
                _ => self.is_closed = true,
            },
        }
        let mut at = 0;
        loop {
            let event = self
                .machine
                .receive(&self.input, &mut at, &mut self.head, &mut self.out)
                .expect("a server that keeps to the rules");
            if event == Event::Incomplete {
                break;
            }
            self.take(event, at);
        }
        self.input.drain(..at);
        self.flush();
    }

    fn take(&mut self, event: Event, at: usize) {
        match event {
            Event::Message(message) => {
                assert_eq!(message.malformed, None);
                let answer = Answer {
                    status: message.pseudo.status,
                    headers: self.fields(),
                    ..Answer::default()
                };
                let reply = self.replies.get_mut(&message.stream).unwrap();
                match answer.status {
                    100..200 => reply.interim.push(answer),
                    _ => reply.answer = answer,
                }
                if message.is_end {
                    self.end(message.stream);
                }
            }
            Event::Trailers { stream } => {
                let trailers = self.fields();
                self.replies.get_mut(&stream).unwrap().trailers = trailers;
                self.end(stream);
            }
            Event::Data { stream, length, is_end } => {
                let bytes = &self.input[at - length..at];
                self.replies.get_mut(&stream).unwrap().answer.body.extend_from_slice(bytes);
                self.machine.consume(stream, length, &mut self.out);
                if is_end {
                    self.end(stream);
                }
            }
            Event::Reset { stream, code, .. } => {
                if let Some(reply) = self.replies.get_mut(&stream) {
                    reply.reset = Some(code);
                }
            }
            Event::GoAway { last, code } => self.goodbye = Some((last, code)),
            Event::Pong { .. } => self.pongs += 1,
            Event::Malformed { malformed, .. } => panic!("a response that {}", malformed.reason()),
            Event::Window { .. } | Event::Settings | Event::Priority { .. } | Event::Incomplete => {
            }
        }
    }

    fn end(&mut self, stream: u32) {
        self.replies.get_mut(&stream).unwrap().is_whole = true;
        self.ended.push(stream);
    }

    fn fields(&mut self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = self.head.iter().map(|(name, value)| (text(name), text(value))).collect();
        self.head.clear();
        fields
    }
}

/// A connection of which a test writes every byte; what comes is looked at as bytes.
pub struct RawHttp2(TcpStream);

impl RawHttp2 {
    /// With preface and empty settings sent.
    pub fn connect(port: u16) -> RawHttp2 {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = RawHttp2(stream);
        let _ = raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        raw
    }

    pub fn stream(&self) -> &TcpStream {
        &self.0
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// The next frame; `None` where the connection has ended.
    pub fn frame(&mut self) -> Option<(FrameHead, Vec<u8>)> {
        let mut head = [0; 9];
        self.fill(&mut head)?;
        let head = FrameHead::parse(&head);
        let mut payload = vec![0; head.length as usize];
        self.fill(&mut payload)?;
        Some((head, payload))
    }

    fn fill(&mut self, mut bytes: &mut [u8]) -> Option<()> {
        while !bytes.is_empty() {
            match read_once(&mut self.0, bytes) {
                Ok(0) => return None,
                Ok(read) => bytes = &mut bytes[read..],
                Err(error) => {
                    assert_ne!(error.kind(), ErrorKind::WouldBlock, "the server says nothing");
                    return None;
                }
            }
        }
        Some(())
    }

    /// The code of the GOAWAY that ends the connection.
    pub fn goodbye(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some((head, payload)) = self.frame() {
            if head.kind == Kind::GoAway {
                code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
        }
        code
    }
}
