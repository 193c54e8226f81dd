//! Time as a reactor sees it, read once a turn: milliseconds from a moment before the process opened its first one, so that
//! moments mean the same on all of its threads.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

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
    /// Counts turns, and what comes in the middle of one.
    moment: Cell<u64>,
}

impl Clock {
    pub(crate) fn new(source: Source) -> Clock {
        let clock =
            Clock { source, now: Cell::new(0), wall: Cell::new(None), moment: Cell::new(0) };
        clock.update();
        clock
    }

    pub(crate) fn now(&self) -> Millis {
        self.now.get()
    }

    pub(crate) fn shared_now(&self) -> Millis {
        self.now.get().wrapping_add(start())
    }

    pub(crate) fn wall(&self) -> SystemTime {
        let wall = self.wall.get().unwrap_or_else(SystemTime::now);
        self.wall.set(Some(wall));
        wall
    }

    pub(crate) fn leaps(&self) -> bool {
        matches!(self.source, Source::Leaping)
    }

    pub(crate) fn moment(&self) -> u64 {
        self.moment.get()
    }

    pub(crate) fn next_moment(&self) {
        self.moment.set(self.moment.get() + 1);
    }

    /// A new turn has begun.
    pub(crate) fn update(&self) {
        self.next_moment();
        self.wall.set(None);
        if let Source::System = self.source {
            self.now.set(monotonic().wrapping_sub(start()));
        }
    }

    pub(crate) fn leap(&self, now: Millis) {
        self.now.set(self.now.get().max(now));
    }
}

/// What came to this process from another may have begun so long before it, some hundred days: the clock starts with these
/// behind it.
const PAST: Millis = 1 << 33;

/// The kernel's monotonic clock `PAST` before this process opened its first reactor.
fn start() -> Millis {
    static START: OnceLock<Millis> = OnceLock::new();
    *START.get_or_init(|| monotonic().wrapping_sub(PAST))
}

/// Read without a detour over `Instant` and `Duration`, since every turn of every reactor does.
fn monotonic() -> Millis {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the record is valid for the call. It cannot fail for a clock that every system has, and
    // would leave the record as it is.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as Millis * 1000 + time.tv_nsec as Millis / 1_000_000
}
