//! A connection to the server that sends and reads raw bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::{Answer, PATIENCE};

pub struct Client {
    stream: TcpStream,
    /// Read, and no answer's yet.
    ahead: Vec<u8>,
}

/// Reads once, whatever stops and continues the process meanwhile: that interrupts a socket that has a timeout, even where
/// no signal is handled (signal(7)).
pub fn read_once(stream: &mut TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

impl Client {
    pub fn connect(port: u16) -> Client {
        Client::over(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    pub fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, ahead: Vec::new() }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends what it can: the server may close before it has read everything.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// A request of two lines on a connection that stays open.
    pub fn get(&mut self, uri: &str) -> Answer {
        self.send(format!("GET {uri} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.answer()
    }

    /// One response, with the body that its head announces; without a length it goes to the end.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        answer.body = match answer.content_length() {
            _ if matches!(answer.status, 100..200 | 204 | 304) => Vec::new(),
            Some(length) => self.exactly(length),
            None if answer.is_chunked() => self.chunks(),
            None => self.rest(),
        };
        answer
    }

    /// One response to HEAD: its body is not sent, whatever its head announces.
    pub fn head(&mut self) -> Answer {
        let end = self.find(b"\r\n\r\n");
        let head = self.exactly(end + 4);
        Answer::parse_head(&head[..end])
    }

    /// Everything until the server closes; what came before a reset counts, too.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more().expect("the server closes") {}
        std::mem::take(&mut self.ahead)
    }

    /// Whether the server closes without another byte.
    pub fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// So many bytes.
    pub fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length {
            assert!(self.more().unwrap(), "cut after {:?}", self.shown());
        }
        let rest = self.ahead.split_off(length);
        std::mem::replace(&mut self.ahead, rest)
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = self.find(b"\r\n");
            let line = self.exactly(end + 2);
            let digits = std::str::from_utf8(&line[..end]).unwrap();
            let length = usize::from_str_radix(digits, 16).expect("a chunk's length");
            let chunk = self.exactly(length + 2);
            assert_eq!(&chunk[length..], b"\r\n");
            if length == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    fn find(&mut self, end: &[u8]) -> usize {
        loop {
            if let Some(place) = self.ahead.windows(end.len()).position(|part| part == end) {
                return place;
            }
            assert!(self.more().unwrap(), "cut after {:?}", self.shown());
        }
    }

    /// Reads once; `false` at the end.
    fn more(&mut self) -> io::Result<bool> {
        let mut part = [0; 16 * 1024];
        match read_once(&mut self.stream, &mut part) {
            Ok(read) => {
                self.ahead.extend_from_slice(&part[..read]);
                Ok(read > 0)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.ahead).into_owned()
    }
}
