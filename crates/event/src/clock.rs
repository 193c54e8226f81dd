//! Time as the reactor sees it: milliseconds since it was opened, read once a turn.

use std::time::Duration;

/// Milliseconds on the reactor's monotonic clock.
pub type Millis = u64;

/// The moment a wait gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub(crate) Millis);

impl Deadline {
    pub const NEVER: Deadline = Deadline(Millis::MAX);

    /// `delay` from the reactor's present turn.
    pub fn after(delay: Duration) -> Deadline {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(Millis::MAX);
        Deadline(crate::now().saturating_add(delay))
    }

    /// At `millis` on the reactor's clock.
    pub fn at(millis: Millis) -> Deadline {
        Deadline(millis)
    }

    pub fn has_passed(self) -> bool {
        self.0 <= crate::now()
    }

    /// The time left, rounded down to a millisecond; zero once it has passed.
    pub fn remaining(self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(crate::now()))
    }
}
