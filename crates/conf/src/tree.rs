//! What a configuration says, before anybody asks what it means.

use std::borrow::Cow;
use std::fmt;
use std::str::Utf8Error;

use crate::files::Span;

/// A directive: its name, its arguments, and its block if it ends in one.
#[derive(Clone, Debug)]
pub struct Directive {
    pub name: Word,
    pub args: Vec<Word>,
    pub block: Option<Block>,
    /// From the name to the `;` or `{`, both included.
    pub span: Span,
}

/// What stands between braces, or in a whole file.
#[derive(Clone, Debug)]
pub struct Block {
    pub directives: Vec<Directive>,
    /// The `}`, or the end of the file.
    pub close: Span,
}

/// A name or an argument with quotes and escapes resolved. Files need not be UTF-8, so it is bytes.
#[derive(Clone)]
pub struct Word {
    pub text: Box<[u8]>,
    pub quoted: bool,
    /// With the quotes.
    pub span: Span,
}

impl Word {
    pub fn as_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.text)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// For messages: bytes that are not UTF-8 are replaced.
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_str_lossy())
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}..{}", self.to_str_lossy(), self.span.start, self.span.end)
    }
}

impl PartialEq<str> for Word {
    fn eq(&self, other: &str) -> bool {
        *self.text == *other.as_bytes()
    }
}

impl PartialEq<&str> for Word {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}
