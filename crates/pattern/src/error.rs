//! Why a pattern cannot be used.

use std::fmt;

/// Why a pattern cannot be used, in nginx's wording where PCRE2 refuses it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    message: String,
}

impl Error {
    pub(crate) fn new(fault: &Fault, pattern: &[u8]) -> Error {
        let whole = String::from_utf8_lossy(pattern);
        let message = match fault {
            Fault::Syntax { reason, at } if *at >= pattern.len() => {
                format!("pcre2_compile() failed: {reason} in \"{whole}\"")
            }
            Fault::Syntax { reason, at } => {
                let rest = String::from_utf8_lossy(&pattern[*at..]);
                format!("pcre2_compile() failed: {reason} in \"{whole}\" at \"{rest}\"")
            }
            Fault::Unsupported { construct } => {
                format!("{construct} is not supported in regex \"{whole}\"")
            }
        };
        Error { message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Matching gave up: the pattern backtracks too much on this subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepLimit;

impl fmt::Display for StepLimit {
    /// The words of PCRE2's own error -47.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("match limit exceeded")
    }
}

impl std::error::Error for StepLimit {}

/// What is wrong with a pattern, before it is put in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// PCRE2 refuses it too, with this reason and this offset.
    Syntax { reason: &'static str, at: usize },
    /// PCRE2 knows it, we do not.
    Unsupported { construct: String },
}

impl Fault {
    pub(crate) fn syntax<T>(reason: &'static str, at: usize) -> Result<T, Fault> {
        Err(Fault::Syntax { reason, at })
    }

    pub(crate) fn unsupported<T>(construct: impl Into<String>) -> Result<T, Fault> {
        let construct = construct.into();
        Err(Fault::Unsupported { construct })
    }
}
