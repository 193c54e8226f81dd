//! DER (ITU-T X.690): tag, length, value. Certificates need a few types of it.

/// What is left of an encoding to read.
#[derive(Clone, Copy, Debug)]
pub struct Der<'b>(pub &'b [u8]);

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'b> {
    pub tag: u8,
    pub content: &'b [u8],
    /// With tag and length.
    pub whole: &'b [u8],
}

pub const BOOLEAN: u8 = 1;
pub const INTEGER: u8 = 2;
pub const BIT_STRING: u8 = 3;
pub const OCTET_STRING: u8 = 4;
pub const OBJECT_IDENTIFIER: u8 = 6;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// The tag of `[number]`, constructed.
pub const fn context(number: u8) -> u8 {
    0xa0 | number
}

impl<'b> Der<'b> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value, whatever it is.
    pub fn read(&mut self) -> Option<Value<'b>> {
        let (&tag, rest) = self.0.split_first()?;
        // Tags of more than a byte are in no structure that is read here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            ..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Value { tag, content, whole })
    }

    /// The next value, if it is of this type.
    pub fn take(&mut self, tag: u8) -> Option<Value<'b>> {
        match self.0.first() {
            Some(next) if *next == tag => self.read(),
            _ => None,
        }
    }

    /// The inside of the next value, if it is of this type.
    pub fn enter(&mut self, tag: u8) -> Option<Der<'b>> {
        Some(Der(self.take(tag)?.content))
    }
}
