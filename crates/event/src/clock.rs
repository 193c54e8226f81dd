//! Time as a reactor sees it, read once a turn: milliseconds since the process opened its first one, so that moments mean
//! the same on all of its threads.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// Milliseconds on the reactors' monotonic clock.
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

    /// The time left; zero once it has passed.
    pub fn remaining(self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(crate::now()))
    }
}

/// Where the time comes from.
pub(crate) enum Source {
    System,
    /// Stands still while there is something to do, and then leaps to the next timer.
    Leaping,
}

pub(crate) struct Clock {
    source: Source,
    now: Cell<Millis>,
    /// The time of day, once somebody asked for it in this turn.
    wall: Cell<Option<SystemTime>>,
}

impl Clock {
    pub(crate) fn new(source: Source) -> Clock {
        let clock = Clock { source, now: Cell::new(0), wall: Cell::new(None) };
        clock.update();
        clock
    }

    pub(crate) fn now(&self) -> Millis {
        self.now.get()
    }

    pub(crate) fn wall(&self) -> SystemTime {
        let wall = self.wall.get().unwrap_or_else(SystemTime::now);
        self.wall.set(Some(wall));
        wall
    }

    pub(crate) fn leaps(&self) -> bool {
        matches!(self.source, Source::Leaping)
    }

    /// A new turn has begun.
    pub(crate) fn update(&self) {
        self.wall.set(None);
        if let Source::System = self.source {
            self.now.set(start().elapsed().as_millis() as Millis);
        }
    }

    pub(crate) fn leap(&self, now: Millis) {
        self.now.set(self.now.get().max(now));
    }
}

/// When this process opened its first reactor.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
