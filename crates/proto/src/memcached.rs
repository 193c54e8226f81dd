//! memcached's text protocol, as far as reading one value goes.

use crate::decimal::decimal;

/// What follows a value.
const END: &[u8] = b"\r\nEND\r\n";

/// Appends a key in the form it has in commands: what would end or divide it, and the sign itself, as `%XX`.
pub fn escape_key(key: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in key {
        match byte {
            0..=b' ' | b'%' => {
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                out.extend([b'%', HEX[high], HEX[low]]);
            }
            _ => out.push(*byte),
        }
    }
}

/// Appends the command for the value of an escaped key.
pub fn get(key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"get ");
    out.extend_from_slice(key);
    out.extend_from_slice(b"\r\n");
}

/// The first line of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// There is a value: its flags, where they are wanted, and its length.
    Value {
        flags: u64,
        length: u64,
    },
    NotFound,
}

/// What is wrong with a reply's first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It answers for another key.
    Key,
    Flags,
    Length,
    Response,
}

/// Reads a reply's first line, without its line feed.
pub fn reply(line: &[u8], key: &[u8], wants_flags: bool) -> Result<Reply, Flaw> {
    let line = line.strip_suffix(b"\r").ok_or(Flaw::Response)?;
    if line == b"END" {
        return Ok(Reply::NotFound);
    }
    let rest = line.strip_prefix(b"VALUE ").ok_or(Flaw::Response)?;
    let rest = rest.strip_prefix(key).ok_or(Flaw::Key)?;
    let rest = rest.strip_prefix(b" ").ok_or(Flaw::Response)?;
    let space = memchr::memchr(b' ', rest).ok_or(Flaw::Response)?;
    let flags = match wants_flags {
        true => decimal(&rest[..space]),
        false => Some(0),
    };
    let flags = flags.ok_or(Flaw::Flags)?;
    let length = decimal(&rest[space + 1..]).ok_or(Flaw::Length)?;
    Ok(Reply::Value { flags, length })
}

/// Reads a value, and what follows it.
#[derive(Debug, Default)]
pub struct Body {
    left: u64,
    /// So much of [`END`].
    ended: usize,
}

/// What comes next of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Incomplete,
    /// So many bytes, which end at the new place.
    Data(usize),
    End,
    /// What follows the value is not what should.
    InvalidTrailer,
}

impl Body {
    pub fn new(length: u64) -> Body {
        Body { left: length, ended: 0 }
    }

    /// The reply ends with its first line: there is no value.
    pub fn none() -> Body {
        Body { left: 0, ended: END.len() }
    }

    /// Bytes that are still to come.
    pub fn expected(&self) -> u64 {
        self.left + (END.len() - self.ended) as u64
    }

    /// Reads from `input` at `at`, which moves on.
    pub fn next(&mut self, input: &[u8], at: &mut usize) -> Step {
        let available = &input[*at..];
        if self.left > 0 {
            let taken = available.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if taken == 0 {
                return Step::Incomplete;
            }
            self.left -= taken as u64;
            *at += taken;
            return Step::Data(taken);
        }
        let expected = &END[self.ended..];
        let taken = available.len().min(expected.len());
        if available[..taken] != expected[..taken] {
            return Step::InvalidTrailer;
        }
        self.ended += taken;
        *at += taken;
        match self.ended == END.len() {
            true => Step::End,
            false => Step::Incomplete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_end_the_command() {
        let mut key = Vec::new();
        escape_key(b"/a b%\r\nset x\x7f\xc3", &mut key);
        assert_eq!(key, b"/a%20b%25%0D%0Aset%20x\x7f\xc3");
        let mut out = Vec::new();
        get(b"/a", &mut out);
        assert_eq!(out, b"get /a\r\n");
    }

    #[test]
    fn replies_are_told_apart() {
        let read = |line: &[u8]| reply(line, b"/a", true);
        assert_eq!(read(b"VALUE /a 2 15\r"), Ok(Reply::Value { flags: 2, length: 15 }));
        assert_eq!(read(b"END\r"), Ok(Reply::NotFound));
        for (line, flaw) in [
            (&b"VALUE /b 2 15\r"[..], Flaw::Key),
            (b"VALUE /ab 2 15\r", Flaw::Response),
            (b"VALUE /a x 15\r", Flaw::Flags),
            (b"VALUE /a 2 15 7\r", Flaw::Length),
            (b"VALUE /a 2 -1\r", Flaw::Length),
            (b"VALUE /a 15\r", Flaw::Response),
            (b"END", Flaw::Response),
            (b"ERROR\r", Flaw::Response),
        ] {
            assert_eq!(read(line), Err(flaw), "{line:?}");
        }
        assert_eq!(
            reply(b"VALUE /a x 1\r", b"/a", false),
            Ok(Reply::Value { flags: 0, length: 1 })
        );
    }

    #[test]
    fn a_value_is_the_same_however_it_arrives() {
        let input = b"hello\r\nEND\r\n";
        for size in 1..=input.len() {
            let mut body = Body::new(5);
            let (mut value, mut has_ended) = (Vec::new(), false);
            for piece in input.chunks(size) {
                let mut at = 0;
                loop {
                    match body.next(piece, &mut at) {
                        Step::Data(length) => value.extend_from_slice(&piece[at - length..at]),
                        Step::Incomplete => break,
                        step => {
                            has_ended = step == Step::End;
                            break;
                        }
                    }
                }
            }
            assert_eq!((&*value, has_ended, body.expected()), (&b"hello"[..], true, 0), "{size}");
        }
    }

    #[test]
    fn what_follows_a_value_has_to_be_its_end() {
        let (mut body, mut at) = (Body::new(2), 0);
        assert_eq!(body.next(b"abcdefghij", &mut at), Step::Data(2));
        assert_eq!(body.next(b"abcdefghij", &mut at), Step::InvalidTrailer);
        assert_eq!(Body::none().next(b"", &mut 0), Step::End);
    }
}
