//! A server that reads requests strictly, and records them: whole ones, or where one broke off.

use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::{PATIENCE, read_once};

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The connection, by its number.
    pub connection: usize,
    pub method: String,
    pub uri: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What framing there was, as it stands.
    pub framing: String,
}

impl Recorded {
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }
}

/// What a connection's end was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Request(Recorded),
    /// The connection ended within a request: its head, and what had been read behind that.
    Cut(String),
    /// What came is no request.
    Nonsense(String),
}

/// Says what is answered to a request.
pub type Answering = dyn Fn(&Recorded) -> String + Send + Sync;

/// The server, and all that it has seen.
pub struct Recorder {
    pub port: u16,
    log: Arc<Log>,
}

/// What connections have brought so far.
#[derive(Default)]
struct Log {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    /// Heads that have come.
    heads: usize,
}

impl Log {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait(&self, is_early: impl FnMut(&mut State) -> bool) -> std::sync::MutexGuard<'_, State> {
        let state = self.state.lock().unwrap();
        let (state, waited) = self.changed.wait_timeout_while(state, PATIENCE, is_early).unwrap();
        assert!(!waited.timed_out(), "more never came than {:#?}", state.seen);
        state
    }
}

impl Recorder {
    pub fn start(answer: impl Fn(&Recorded) -> String + Send + Sync + 'static) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer: Arc<Answering> = Arc::new(answer);
        let log = Arc::<Log>::default();
        let recorder = Recorder { port, log: Arc::clone(&log) };
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                thread::spawn(move || serve(number, stream, &*answer, &log));
            }
        });
        recorder
    }

    /// A server that answers "ok" to everything.
    pub fn agreeing() -> Recorder {
        Recorder::start(|_| ok("ok"))
    }

    /// Takes what it has seen, once there is that much.
    pub fn take(&self, count: usize) -> Vec<Seen> {
        std::mem::take(&mut self.log.wait(|state| state.seen.len() < count).seen)
    }

    /// Waits until so many heads have come since it was made.
    pub fn wait_for_heads(&self, count: usize) {
        drop(self.log.wait(|state| state.heads < count));
    }

    /// Takes so many whole requests, sorted by URI.
    pub fn requests(&self, count: usize) -> Vec<Recorded> {
        let seen = self.take(count).into_iter().map(|seen| match seen {
            Seen::Request(request) => request,
            other => panic!("no whole request: {other:?}"),
        });
        let mut requests: Vec<_> = seen.collect();
        requests.sort_by(|one, other| one.uri.cmp(&other.uri));
        requests
    }
}

/// A response with a length.
pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn serve(connection: usize, stream: TcpStream, answer: &Answering, log: &Log) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut input = Input { stream, bytes: Vec::new(), head: String::new() };
    loop {
        let (result, is_over) = match input.request(connection, log) {
            Ok(Some(request)) => (Seen::Request(request), false),
            Ok(None) => return,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                (Seen::Nonsense(error.to_string()), true)
            }
            Err(_) => (Seen::Cut(input.shown()), true),
        };
        let reply = match &result {
            Seen::Request(request) => answer(request),
            _ => String::new(),
        };
        log.change(|state| state.seen.push(result));
        if is_over || input.stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

struct Input {
    stream: TcpStream,
    /// Read, and no request's yet.
    bytes: Vec<u8>,
    /// Of the request that is being read.
    head: String,
}

impl Input {
    fn shown(&self) -> String {
        format!("{}\r\n\r\n{}", self.head, String::from_utf8_lossy(&self.bytes))
    }

    /// The next request; `None` where the connection ends before one.
    fn request(&mut self, connection: usize, log: &Log) -> io::Result<Option<Recorded>> {
        self.head.clear();
        let end = loop {
            if let Some(end) = self.bytes.windows(4).position(|part| part == b"\r\n\r\n") {
                break end;
            }
            if !self.more()? {
                return match self.bytes.is_empty() {
                    true => Ok(None),
                    false => Err(ErrorKind::UnexpectedEof.into()),
                };
            }
        };
        let head = String::from_utf8(self.bytes[..end].to_vec()).map_err(|_| nonsense("bytes"))?;
        self.head.clone_from(&head);
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let [method, uri, version] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(nonsense(&head));
        };
        if !version.starts_with("HTTP/1.") || !method.bytes().all(|byte| byte.is_ascii_uppercase())
        {
            return Err(nonsense(&head));
        }
        let fields = lines.map(|line| line.split_once(": ").ok_or_else(|| nonsense(&head)));
        let fields: io::Result<Vec<_>> = fields.collect();
        let fields = fields?.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut request = Recorded {
            connection,
            method: method.to_owned(),
            uri: uri.to_owned(),
            fields: fields.collect(),
            ..Recorded::default()
        };
        self.bytes.drain(..end + 4);
        log.change(|state| state.heads += 1);
        let is_framing = |(name, _): &&(String, String)| {
            name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding")
        };
        let framing: Vec<_> = request.fields.iter().filter(is_framing).cloned().collect();
        request.body = match &framing[..] {
            [] => Vec::new(),
            [(name, value)] if name.eq_ignore_ascii_case("content-length") => {
                self.exactly(value.parse().map_err(|_| nonsense(&head))?)?
            }
            [(_, value)] if value == "chunked" => self.chunks()?,
            _ => return Err(nonsense(&head)),
        };
        request.framing = framing.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        Ok(Some(request))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match self.bytes.windows(2).position(|part| part == b"\r\n") {
                    Some(end) => break end,
                    None if !self.more()? => return Err(ErrorKind::UnexpectedEof.into()),
                    None => {}
                }
            };
            let line = self.exactly(end + 2)?;
            let digits = std::str::from_utf8(&line[..end]).map_err(|_| nonsense("a chunk"))?;
            let length = usize::from_str_radix(digits, 16).map_err(|_| nonsense(digits))?;
            let chunk = self.exactly(length + 2)?;
            if &chunk[length..] != b"\r\n" {
                return Err(nonsense("a chunk's end"));
            }
            if length == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.bytes.len() < length {
            if !self.more()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.bytes.split_off(length);
        Ok(std::mem::replace(&mut self.bytes, rest))
    }

    /// Reads once; `false` at the end.
    fn more(&mut self) -> io::Result<bool> {
        let mut part = [0; 16 * 1024];
        match read_once(&mut self.stream, &mut part) {
            Ok(read) => {
                self.bytes.extend_from_slice(&part[..read]);
                Ok(read > 0)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}
