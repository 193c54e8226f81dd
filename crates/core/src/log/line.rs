//! One line of the error log, composed in a buffer on the stack.

use std::fmt::{self, Write};
use std::io;

use daemun_sys::{clock, identity};

use super::{Errno, Level, Origin};

pub(super) struct Line {
    bytes: [u8; Line::LIMIT],
    length: usize,
    /// Where the message starts, after time, level and numbers.
    text: usize,
}

impl Line {
    /// nginx's limit for a line, its newline included.
    pub const LIMIT: usize = 2048;
    /// Kept for the error's text when a message is cut.
    const ERROR_ROOM: usize = 50;

    pub fn compose(
        level: Level,
        origin: &dyn Origin,
        message: fmt::Arguments<'_>,
        error: Option<&io::Error>,
    ) -> Line {
        let mut line = Line { bytes: [0; Line::LIMIT], length: 0, text: 0 };
        // Writing fails only for want of room, and then the line ends there.
        let _ = line.head(level, origin.connection());
        line.text = line.length;
        let _ = line.write_fmt(message);
        if let Some(error) = error {
            let _ = line.error(error);
        }
        if level != Level::Debug {
            let _ = origin.context(&mut line);
        }
        line.bytes[line.length] = b'\n';
        line.length += 1;
        line
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub fn without_newline(&self) -> &[u8] {
        &self.bytes[..self.length - 1]
    }

    /// The message alone, without its newline.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes[self.text..self.length - 1])
    }

    fn head(&mut self, level: Level, connection: u64) -> fmt::Result {
        let now = clock::local(clock::now());
        write!(
            self,
            "{:04}/{:02}/{:02} {:02}:{:02}:{:02} [{}] {}#{}: ",
            now.year,
            now.month,
            now.day,
            now.hour,
            now.minute,
            now.second,
            level.name(),
            identity::pid(),
            identity::thread_id(),
        )?;
        match connection {
            0 => Ok(()),
            number => write!(self, "*{number} "),
        }
    }

    fn error(&mut self, error: &io::Error) -> fmt::Result {
        let limit = Line::LIMIT - Line::ERROR_ROOM;
        if self.length > limit {
            self.length = limit;
            self.write_str("...")?;
        }
        write!(self, "{}", Errno(error))
    }
}

/// Everything in a line comes through here. Control characters are escaped, whoever sent them: a client's or an upstream's
/// bytes neither begin a line of their own nor speak to a terminal.
impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(char::is_control) {
            self.append(&rest[..at])?;
            let control = rest[at..].chars().next().map_or(1, char::len_utf8);
            for byte in &rest.as_bytes()[at..at + control] {
                self.append(str::from_utf8(&escaped(*byte)).unwrap_or_default())?;
            }
            rest = &rest[at + control..];
        }
        self.append(rest)
    }
}

/// As the access log spells a byte that it does not write as it is.
fn escaped(byte: u8) -> [u8; 4] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

impl Line {
    fn append(&mut self, text: &str) -> fmt::Result {
        let room = Line::LIMIT - 1 - self.length;
        let taken = text.len().min(room);
        self.bytes[self.length..self.length + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        if taken < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
