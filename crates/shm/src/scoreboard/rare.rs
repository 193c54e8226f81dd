//! What happens seldom: counted for the instance, not by worker.

use std::sync::atomic::Ordering::Relaxed;

use super::{RARE, Scoreboard};

/// Something that is counted when it happens. The counters live as long as the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Rare {
    /// Requests that were sent once more, since the kept connection to an upstream was closed
    /// already.
    StaleRetries,
    /// TLS handshakes of clients that came to nothing.
    FailedHandshakes,
    /// HTTP/2 connections that were ended, by what their client overdid.
    Http2Resets,
    Http2Refusals,
    Http2Pings,
    Http2Settings,
    Http2WindowUpdates,
    Http2EmptyFrames,
    Http2Priorities,
    Http2Others,
    Http2Continuations,
    Http2Fields,
    /// HTTP/2 streams whose client took nothing of a response for too long.
    Http2Stalls,
}

impl Rare {
    pub const COUNT: usize = Rare::Http2Stalls as usize + 1;

    /// Those of HTTP/2, with what they are called.
    pub const HTTP2: [(&str, Rare); 11] = [
        ("resets", Rare::Http2Resets),
        ("refusals", Rare::Http2Refusals),
        ("pings", Rare::Http2Pings),
        ("settings", Rare::Http2Settings),
        ("window_updates", Rare::Http2WindowUpdates),
        ("empty_frames", Rare::Http2EmptyFrames),
        ("priorities", Rare::Http2Priorities),
        ("others", Rare::Http2Others),
        ("continuations", Rare::Http2Continuations),
        ("fields", Rare::Http2Fields),
        ("stalls", Rare::Http2Stalls),
    ];
}

/// How often each has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RareTotals([u64; Rare::COUNT]);

impl RareTotals {
    pub fn of(&self, what: Rare) -> u64 {
        self.0[what as usize]
    }
}

impl Scoreboard {
    pub fn count(&self, what: Rare) {
        self.shared[RARE + what as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn rare(&self) -> RareTotals {
        RareTotals(std::array::from_fn(|place| self.shared[RARE + place].load(Relaxed)))
    }
}
