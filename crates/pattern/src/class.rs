//! Bracketed classes.

use crate::byte_set::{ByteSet, posix};
use crate::cursor::Cursor;
use crate::error::Fault;
use crate::escape::{Escape, escape, unrecognized};

/// How the flags change a class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassFlags {
    pub(crate) caseless: bool,
    /// `(?xx)`: spaces and tabs between members do not count.
    pub(crate) skip_blanks: bool,
}

enum Member {
    Byte(u8),
    Set(ByteSet),
}

/// Reads a class after its `[`.
pub(crate) fn class(cursor: &mut Cursor<'_>, flags: ClassFlags) -> Result<ByteSet, Fault> {
    let mut reader = Reader { cursor, flags, quoted: false, set: ByteSet::default() };
    reader.skip_to_caret();
    let negated = reader.cursor.eat(b'^');
    reader.members()?;
    let set = match flags.caseless {
        true => reader.set.caseless(),
        false => reader.set,
    };
    Ok(if negated { set.complement() } else { set })
}

/// `[:`, `[.` or `[=` starts a POSIX item here only if its end is in sight. Returns the length of its inside.
pub(crate) fn posix_length(rest: &[u8]) -> Option<usize> {
    let [b'[', kind @ (b':' | b'.' | b'='), inside @ ..] = rest else {
        return None;
    };
    let mut at = 0;
    loop {
        match inside.get(at..)? {
            [] => return None,
            [b'\\', b']' | b'\\', ..] => at += 2,
            [b'[', next, ..] if next == kind => return None,
            [b']', ..] => return None,
            [byte, b']', ..] if byte == kind => return Some(at),
            _ => at += 1,
        }
    }
}

struct Reader<'c, 'p> {
    cursor: &'c mut Cursor<'p>,
    flags: ClassFlags,
    /// Between `\Q` and `\E`.
    quoted: bool,
    set: ByteSet,
}

impl Reader<'_, '_> {
    fn members(&mut self) -> Result<(), Fault> {
        let mut is_first = true;
        loop {
            self.skip_to_member();
            let Some(byte) = self.cursor.peek() else {
                return Fault::syntax(
                    "missing terminating ] for character class",
                    self.cursor.at(),
                );
            };
            if byte == b']' && !is_first && !self.quoted {
                self.cursor.next();
                return Ok(());
            }
            is_first = false;
            let member = self.member()?;
            self.add(member)?;
        }
    }

    /// Adds a member, or the range that it starts.
    fn add(&mut self, low: Member) -> Result<(), Fault> {
        self.skip_to_member();
        let hyphen_at = self.cursor.at();
        let has_hyphen = !self.quoted && self.cursor.eat(b'-');
        self.skip_to_member();
        let ends_here = matches!(self.cursor.peek(), None | Some(b']')) && !self.quoted;
        if !has_hyphen || ends_here {
            self.cursor.back_to(hyphen_at);
            return self.insert(low);
        }
        let Member::Byte(start) = low else {
            return Fault::syntax("invalid range in character class", hyphen_at);
        };
        let posix_at = posix_length(self.cursor.rest()).map(|_| self.cursor.at() + 1);
        match self.member()? {
            Member::Byte(end) if end < start => {
                Fault::syntax("range out of order in character class", self.cursor.at() - 1)
            }
            Member::Byte(end) => {
                self.set = self.set.union(ByteSet::range(start..=end));
                Ok(())
            }
            Member::Set(_) => Fault::syntax(
                "invalid range in character class",
                posix_at.unwrap_or(self.cursor.at()),
            ),
        }
    }

    fn insert(&mut self, member: Member) -> Result<(), Fault> {
        let added = match member {
            Member::Byte(byte) => ByteSet::of(&[byte]),
            Member::Set(set) => set,
        };
        self.set = self.set.union(added);
        Ok(())
    }

    fn member(&mut self) -> Result<Member, Fault> {
        if !self.quoted {
            if let Some(length) = posix_length(self.cursor.rest()) {
                return self.posix(length);
            }
            if self.cursor.eat(b'\\') {
                return self.escape();
            }
        }
        match self.cursor.next() {
            Some(byte) => Ok(Member::Byte(byte)),
            None => Fault::syntax("missing terminating ] for character class", self.cursor.at()),
        }
    }

    fn posix(&mut self, length: usize) -> Result<Member, Fault> {
        let start = self.cursor.at();
        let rest = self.cursor.rest();
        if rest[1] != b':' {
            return Fault::syntax("POSIX collating elements are not supported", start);
        }
        let inside = &rest[2..2 + length];
        let (negated, name) = match inside {
            [b'^', name @ ..] => (true, name),
            name => (false, name),
        };
        let Some(set) = posix(name) else {
            return Fault::syntax("unknown POSIX class name", start + 2);
        };
        self.cursor.skip(length + 4);
        // PCRE2 makes [:lower:] and [:upper:] letters of both cases before it negates.
        let set = if self.flags.caseless { set.caseless() } else { set };
        Ok(Member::Set(if negated { set.complement() } else { set }))
    }

    fn escape(&mut self) -> Result<Member, Fault> {
        match escape(self.cursor, None)? {
            Escape::Byte(byte) => Ok(Member::Byte(byte)),
            Escape::Set(set) => Ok(Member::Set(set)),
            Escape::Letter(b'b') => Ok(Member::Byte(0x08)),
            Escape::Letter(b'g') => Ok(Member::Byte(b'g')),
            Escape::Letter(b'B' | b'R' | b'X') => {
                Fault::syntax("escape sequence is invalid in character class", self.cursor.at() - 1)
            }
            Escape::Letter(b'N') => {
                Fault::syntax("\\N is not supported in a class", self.cursor.at())
            }
            Escape::Letter(_) | Escape::Number(_) => unrecognized(self.cursor),
        }
    }

    /// Passes what may stand before a negating `^`: of quotes, only empty ones.
    fn skip_to_caret(&mut self) {
        while self.cursor.eat_all(b"\\E") || self.cursor.eat_all(b"\\Q\\E") || self.skip_blank() {}
    }

    /// Passes `\Q`, `\E` and what `(?xx)` ignores.
    fn skip_to_member(&mut self) {
        loop {
            let passed = match self.quoted {
                true => self.cursor.eat_all(b"\\E"),
                false => self.cursor.eat_all(b"\\Q"),
            };
            if passed {
                self.quoted = !self.quoted;
                continue;
            }
            if self.quoted || !(self.cursor.eat_all(b"\\E") || self.skip_blank()) {
                return;
            }
        }
    }

    fn skip_blank(&mut self) -> bool {
        self.flags.skip_blanks && (self.cursor.eat(b' ') || self.cursor.eat(b'\t'))
    }
}
