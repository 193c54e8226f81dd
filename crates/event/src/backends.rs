//! What watches descriptors: chosen by name (`use` of nginx) when the reactor is opened.

use std::fmt;
use std::io;

/// Why a backend could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// No backend has this name.
    Unknown,
    /// This build or kernel does not have it.
    Unsupported {
        reason: &'static str,
    },
    Io(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Unknown => f.write_str("invalid event type"),
            OpenError::Unsupported { reason } => f.write_str(reason),
            OpenError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}
