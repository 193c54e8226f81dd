//! FastCGI 1.0 as a web server speaks it: one request a connection at a time, a responder at the other end.

use std::fmt;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Begin = 1,
    End = 3,
    Params = 4,
    Stdin = 5,
    Stdout = 6,
    Stderr = 7,
}

/// Bytes before a record's content.
pub const HEAD: usize = 8;

/// The most content of a record that is written: the longest whose padding is none.
pub const MOST: usize = 65528;

const VERSION: u8 = 1;
const REQUEST: u8 = 1;
const RESPONDER: u8 = 1;
const KEEP_CONNECTION: u8 = 1;

/// Appends the start of a request. `keeps`: the application is to leave the connection open.
pub fn begin(keeps: bool, out: &mut Vec<u8>) {
    open(Kind::Begin, 8, out);
    let flags = if keeps { KEEP_CONNECTION } else { 0 };
    out.extend([0, RESPONDER, flags, 0, 0, 0, 0, 0]);
}

/// Appends a name and its value, in the form they have within the stream of parameters.
pub fn param(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    length(name.len(), out);
    length(value.len(), out);
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

fn length(length: usize, out: &mut Vec<u8>) {
    match length {
        0..=127 => out.push(length as u8),
        _ => out.extend((length as u32 | 1 << 31).to_be_bytes()),
    }
}

/// Appends a whole stream: its records, and the empty one behind them.
pub fn stream(kind: Kind, content: &[u8], out: &mut Vec<u8>) {
    for content in content.chunks(MOST) {
        open(kind, content.len(), out);
        out.extend_from_slice(content);
        close(content.len(), out);
    }
    open(kind, 0, out);
}

/// Appends what goes before a record's content of that length, at most [`MOST`].
pub fn open(kind: Kind, length: usize, out: &mut Vec<u8>) {
    debug_assert!(length <= MOST);
    let [high, low] = (length as u16).to_be_bytes();
    out.extend([VERSION, kind as u8, 0, REQUEST, high, low, padding(length), 0]);
}

/// Appends a record of at most 65,535 bytes that has no padding.
pub fn record(kind: Kind, content: &[u8], out: &mut Vec<u8>) {
    debug_assert!(content.len() <= usize::from(u16::MAX));
    let [high, low] = (content.len() as u16).to_be_bytes();
    out.extend([VERSION, kind as u8, 0, REQUEST, high, low, 0, 0]);
    out.extend_from_slice(content);
}

/// Appends what goes behind it.
pub fn close(length: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + usize::from(padding(length)), 0);
}

/// Records begin at multiples of eight, which costs little and helps some readers.
fn padding(length: usize) -> u8 {
    (length.wrapping_neg() % 8) as u8
}

/// Reads what an application sends, however it was cut.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So much of a record's head.
    Head {
        bytes: [u8; HEAD],
        length: usize,
    },
    Content {
        kind: Kind,
        left: usize,
        padding: usize,
    },
    Padding {
        kind: Kind,
        left: usize,
    },
}

impl Default for State {
    fn default() -> State {
        State::Head { bytes: [0; HEAD], length: 0 }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Input is needed.
    Incomplete,
    /// So many bytes of the response, which end at the new place.
    Stdout(usize),
    /// So many bytes of complaints.
    Stderr(usize),
    /// The response is over (an empty record).
    StdoutClosed,
    /// A record that ends the request begins.
    Ending,
    /// The request has ended, and its last record with it.
    Ended,
}

/// Why what came is no FastCGI; displays in nginx's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Version(u8),
    Kind(u8),
    RequestHigh(u8),
    RequestLow(u8),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Version(byte) => write!(f, "unsupported FastCGI protocol version: {byte}"),
            Flaw::Kind(byte) => write!(f, "invalid FastCGI record type: {byte}"),
            Flaw::RequestHigh(byte) => {
                write!(f, "unexpected FastCGI request id high byte: {byte}")
            }
            Flaw::RequestLow(byte) => write!(f, "unexpected FastCGI request id low byte: {byte}"),
        }
    }
}

impl Reader {
    /// Reads from `input` at `at`, which moves on.
    pub fn next(&mut self, input: &[u8], at: &mut usize) -> Result<Step, Flaw> {
        loop {
            match self.state {
                State::Head { mut bytes, mut length } => {
                    let Some(byte) = input.get(*at) else { return Ok(Step::Incomplete) };
                    check(length, *byte)?;
                    bytes[length] = *byte;
                    length += 1;
                    *at += 1;
                    self.state = State::Head { bytes, length };
                    if length == HEAD
                        && let Some(step) = self.begin_record(bytes)
                    {
                        return Ok(step);
                    }
                }
                State::Content { kind, left: 0, padding } => {
                    self.state = State::Padding { kind, left: padding };
                }
                State::Content { kind, left, padding } => {
                    let taken = left.min(input.len() - *at);
                    if taken == 0 {
                        return Ok(Step::Incomplete);
                    }
                    *at += taken;
                    self.state = State::Content { kind, left: left - taken, padding };
                    match kind {
                        Kind::Stdout => return Ok(Step::Stdout(taken)),
                        Kind::Stderr => return Ok(Step::Stderr(taken)),
                        _ => {}
                    }
                }
                State::Padding { kind, left: 0 } => {
                    self.state = State::default();
                    if kind == Kind::End {
                        return Ok(Step::Ended);
                    }
                }
                State::Padding { kind, left } => {
                    let taken = left.min(input.len() - *at);
                    if taken == 0 {
                        return Ok(Step::Incomplete);
                    }
                    *at += taken;
                    self.state = State::Padding { kind, left: left - taken };
                }
            }
        }
    }

    /// Gives back the last bytes of the data that was yielded last: they come again.
    pub fn unread(&mut self, length: usize) {
        if let State::Content { left, .. } = &mut self.state {
            *left += length;
        }
    }

    fn begin_record(&mut self, head: [u8; HEAD]) -> Option<Step> {
        let kind = match head[1] {
            6 => Kind::Stdout,
            7 => Kind::Stderr,
            _ => Kind::End,
        };
        let left = usize::from(u16::from_be_bytes([head[4], head[5]]));
        self.state = State::Content { kind, left, padding: usize::from(head[6]) };
        match kind {
            Kind::Stdout if left == 0 => Some(Step::StdoutClosed),
            Kind::End => Some(Step::Ending),
            _ => None,
        }
    }
}

/// Each byte of a record's head, as it comes.
fn check(place: usize, byte: u8) -> Result<(), Flaw> {
    match (place, byte) {
        (0, VERSION) | (1, 3 | 6 | 7) | (2, 0) | (3, REQUEST) | (4.., _) => Ok(()),
        (0, _) => Err(Flaw::Version(byte)),
        (1, _) => Err(Flaw::Kind(byte)),
        (2, _) => Err(Flaw::RequestHigh(byte)),
        (_, _) => Err(Flaw::RequestLow(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        open(kind, content.len(), &mut out);
        out.extend_from_slice(content);
        close(content.len(), &mut out);
        out
    }

    /// The response, the complaints, and the steps without data.
    type Read = (Vec<u8>, Vec<u8>, Vec<Step>);

    /// Reads input that comes in pieces of `size`.
    fn read(input: &[u8], size: usize) -> Result<Read, Flaw> {
        let mut reader = Reader::default();
        let (mut stdout, mut stderr, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for piece in input.chunks(size) {
            let mut at = 0;
            loop {
                match reader.next(piece, &mut at)? {
                    Step::Incomplete => break,
                    Step::Stdout(length) => stdout.extend_from_slice(&piece[at - length..at]),
                    Step::Stderr(length) => stderr.extend_from_slice(&piece[at - length..at]),
                    step => steps.push(step),
                }
            }
            assert_eq!(at, piece.len());
        }
        Ok((stdout, stderr, steps))
    }

    #[test]
    fn a_request_is_written_as_the_specification_has_it() {
        let mut out = Vec::new();
        begin(true, &mut out);
        assert_eq!(out, [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);

        let mut params = Vec::new();
        param(b"A", b"bc", &mut params);
        param(b"LONG", &[b'x'; 300], &mut params);
        assert_eq!(params[..5], *b"\x01\x02Abc");
        assert_eq!(params[5..14], *b"\x04\x80\0\x01\x2cLONG");

        out.clear();
        stream(Kind::Params, b"\x01\x02Abc", &mut out);
        assert_eq!(out, b"\x01\x04\0\x01\0\x05\x03\0\x01\x02Abc\0\0\0\x01\x04\0\x01\0\0\0\0");
    }

    #[test]
    fn a_stream_that_is_longer_than_a_record_becomes_several() {
        let mut out = Vec::new();
        stream(Kind::Stdout, &vec![b'x'; 100_000], &mut out);
        let (stdout, _, steps) = read(&out, 1000).unwrap();
        assert_eq!((stdout.len(), &*steps), (100_000, &[Step::StdoutClosed][..]));
    }

    #[test]
    fn a_response_is_the_same_however_it_arrives() {
        let mut input = record(Kind::Stderr, b"PHP Notice");
        input.extend(record(Kind::Stdout, b"Status: 200 OK\r\n\r\n"));
        input.extend(record(Kind::Stderr, b""));
        input.extend(record(Kind::Stdout, b"hello"));
        input.extend(record(Kind::Stdout, b""));
        input.extend(record(Kind::End, &[0; 8]));
        for size in 1..input.len() {
            let (stdout, stderr, steps) = read(&input, size).unwrap();
            assert_eq!(stdout, b"Status: 200 OK\r\n\r\nhello");
            assert_eq!(stderr, b"PHP Notice");
            assert_eq!(steps, [Step::StdoutClosed, Step::Ending, Step::Ended]);
        }
    }

    #[test]
    fn what_is_no_fastcgi_is_refused_at_its_first_wrong_byte() {
        let told = |head: &[u8]| read(head, 1).unwrap_err().to_string();
        assert_eq!(told(b"H"), "unsupported FastCGI protocol version: 72");
        assert_eq!(told(b"\x01\x05"), "invalid FastCGI record type: 5");
        assert_eq!(told(b"\x01\x06\x01"), "unexpected FastCGI request id high byte: 1");
        assert_eq!(told(b"\x01\x06\0\x02"), "unexpected FastCGI request id low byte: 2");
    }
}
