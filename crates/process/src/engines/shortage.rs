//! What an engine may run out of: descriptors are kept in reserve, and each trouble is told once.

use std::os::fd::{AsFd, AsRawFd};

use daemun_event::{Millis, Stream, now};
use daemun_sys::limits::{self, Resource};

/// Descriptors that are left to requests in hand. The system gives the lowest number that is free, so
/// the number of a new one tells how many there are.
pub(super) struct Reserve {
    /// Of this number and above are those of the reserve.
    first: u64,
    /// RLIMIT_NOFILE.
    pub limit: u64,
    /// A connection was accepted into it, and nobody could be closed instead.
    pub is_wanted: bool,
}

impl Reserve {
    const LEAST: u64 = 16;
    const MOST: u64 = 256;

    pub fn of_process() -> Reserve {
        let limit = limits::limit(Resource::Descriptors).map_or(u64::MAX, |(soft, _)| soft);
        let size = (limit / 8).clamp(Self::LEAST, Self::MOST);
        Reserve { first: limit.saturating_sub(size), limit, is_wanted: false }
    }

    /// How far a connection reaches into the reserve; `None` where it does not. The numbers of those
    /// that go are given to others first, while this one stays: so the deeper it reaches, the more go.
    pub fn depth_of(&self, stream: &Stream) -> Option<u64> {
        let number = u64::try_from(stream.as_fd().as_raw_fd()).ok()?;
        number.checked_sub(self.first).map(|depth| depth + 1)
    }
}

/// A trouble that lasts while it is met again within a second.
#[derive(Default)]
pub(super) struct Episode {
    last: Option<Millis>,
}

impl Episode {
    const GAP: Millis = 1000;

    /// Notes the trouble; true where it is a new one.
    pub fn begins(&mut self) -> bool {
        let last = self.last.replace(now());
        last.is_none_or(|last| now() - last > Self::GAP)
    }
}
