//! Sets of bytes: what a class, an escape or a literal matches.

use std::ops::RangeInclusive;

/// A set of bytes. Cases are folded and classes negated here, so that no engine's idea of either matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct ByteSet {
    words: [u64; 4],
}

impl ByteSet {
    pub(crate) const ALL: ByteSet = ByteSet { words: [u64::MAX; 4] };

    pub(crate) fn of(bytes: &[u8]) -> ByteSet {
        let mut set = ByteSet::default();
        for &byte in bytes {
            set.insert(byte);
        }
        set
    }

    pub(crate) fn range(range: RangeInclusive<u8>) -> ByteSet {
        ByteSet::matching(|byte| range.contains(&byte))
    }

    pub(crate) fn matching(holds: impl Fn(u8) -> bool) -> ByteSet {
        let mut set = ByteSet::default();
        for byte in (0..=u8::MAX).filter(|&byte| holds(byte)) {
            set.insert(byte);
        }
        set
    }

    pub(crate) fn insert(&mut self, byte: u8) {
        self.words[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    pub(crate) fn contains(&self, byte: u8) -> bool {
        self.words[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    pub(crate) fn union(self, other: ByteSet) -> ByteSet {
        ByteSet { words: std::array::from_fn(|at| self.words[at] | other.words[at]) }
    }

    /// Some byte is in both.
    pub(crate) fn meets(self, other: ByteSet) -> bool {
        self.words.iter().zip(other.words).any(|(word, other)| word & other != 0)
    }

    pub(crate) fn complement(self) -> ByteSet {
        ByteSet { words: self.words.map(|word| !word) }
    }

    /// With the other case of each ASCII letter: PCRE2 knows no other letters without UTF.
    pub(crate) fn caseless(self) -> ByteSet {
        let other_case = |byte: u8| {
            if byte.is_ascii_alphabetic() { byte ^ 0x20 } else { byte }
        };
        ByteSet::matching(|byte| self.contains(byte) || self.contains(other_case(byte)))
    }

    /// The set as ranges, from low to high.
    pub(crate) fn ranges(&self) -> Vec<RangeInclusive<u8>> {
        let mut ranges: Vec<RangeInclusive<u8>> = Vec::new();
        for byte in (0..=u8::MAX).filter(|&byte| self.contains(byte)) {
            match ranges.last_mut() {
                Some(last) if last.end().checked_add(1) == Some(byte) => {
                    *last = *last.start()..=byte
                }
                _ => ranges.push(byte..=byte),
            }
        }
        ranges
    }
}

/// `\d`.
pub(crate) fn digits() -> ByteSet {
    ByteSet::range(b'0'..=b'9')
}

/// `\w`.
pub(crate) fn word_bytes() -> ByteSet {
    ByteSet::matching(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `\s`: with the vertical tab.
pub(crate) fn spaces() -> ByteSet {
    ByteSet::range(b'\t'..=b'\r').union(ByteSet::of(b" "))
}

/// `\h`: with the no-break space of Latin-1.
pub(crate) fn horizontal_spaces() -> ByteSet {
    ByteSet::of(b"\t \xa0")
}

/// `\v`: with the next-line character of Latin-1.
pub(crate) fn vertical_spaces() -> ByteSet {
    ByteSet::range(b'\n'..=b'\r').union(ByteSet::of(b"\x85"))
}

/// The class of `[:name:]`, as the C locale has it.
pub(crate) fn posix(name: &[u8]) -> Option<ByteSet> {
    let set = match name {
        b"alpha" => ByteSet::matching(|byte| byte.is_ascii_alphabetic()),
        b"lower" => ByteSet::range(b'a'..=b'z'),
        b"upper" => ByteSet::range(b'A'..=b'Z'),
        b"alnum" => ByteSet::matching(|byte| byte.is_ascii_alphanumeric()),
        b"ascii" => ByteSet::range(0..=0x7f),
        b"blank" => ByteSet::of(b"\t "),
        b"cntrl" => ByteSet::matching(|byte| byte.is_ascii_control()),
        b"digit" => digits(),
        b"graph" => ByteSet::matching(|byte| byte.is_ascii_graphic()),
        b"print" => ByteSet::range(b' '..=b'~'),
        b"punct" => ByteSet::matching(|byte| byte.is_ascii_punctuation()),
        b"space" => spaces(),
        b"word" => word_bytes(),
        b"xdigit" => ByteSet::matching(|byte| byte.is_ascii_hexdigit()),
        _ => return None,
    };
    Some(set)
}
