//! Apache's upkeep of idle servers: once a second, children are started where too few are idle and
//! ended where too many are.

use std::time::{Duration, Instant};

use daemun_core::settings::MpmSettings;
use daemun_shm::{ProcessView, Stage, WorkerState};

/// What is to be done about the number of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    Keep,
    /// Start so many.
    Start(usize),
    /// End one that has little to do.
    EndOne,
    /// More are needed than `max_request_workers` allows; said once.
    Exhausted,
}

/// The children of a generation that serve, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Census {
    pub children: usize,
    /// Idle children of prefork, or idle threads in all children.
    pub idle: usize,
}

impl Census {
    /// A child or thread that starts counts as idle: it will be before it could be asked for.
    pub fn of(processes: &[ProcessView], mpm: &MpmSettings) -> Census {
        let idle = |process: &ProcessView| match process.state {
            WorkerState::Starting => mpm.threads_per_child,
            _ => process.idle() + process.in_stage(Stage::Starting),
        };
        Census { children: processes.len(), idle: processes.iter().map(idle).sum() }
    }
}

/// When to look again, and how many children to start then.
pub(crate) struct Upkeep {
    pub due: Instant,
    rate: usize,
    is_exhausted: bool,
    /// Lanes of leaving processes were seen to wait, and are looked at again when it is due.
    pub is_called: bool,
}

impl Upkeep {
    const PERIOD: Duration = Duration::from_secs(1);
    /// How long lanes may wait for the children there are.
    const CALL: Duration = Duration::from_millis(30);
    /// The most children that are started at once.
    const FASTEST: usize = 32;
    /// Starting so many at once is worth a line in the log.
    pub const NOTEWORTHY: usize = 8;

    pub fn new() -> Upkeep {
        Upkeep {
            due: Instant::now() + Self::PERIOD,
            rate: 1,
            is_exhausted: false,
            is_called: false,
        }
    }

    /// Leaving processes wait for somebody to take their connections.
    pub fn call(&mut self) {
        self.is_called = true;
        self.due = self.due.min(Instant::now() + Self::CALL);
    }

    /// Nobody took them since the [call](Self::call): the children there are have no room. While that
    /// is so, each look starts twice as many as the one before.
    pub fn answer_call(&mut self, census: Census, mpm: &MpmSettings) -> Advice {
        self.due = Instant::now() + Self::CALL;
        let room = mpm.most_children.saturating_sub(census.children);
        if room == 0 {
            return Advice::Keep;
        }
        let count = self.rate.min(room);
        self.rate = (self.rate * 2).min(Self::FASTEST);
        Advice::Start(count)
    }

    /// Judges the present numbers. While too few are idle, each second starts twice as many children
    /// as the one before.
    pub fn judge(&mut self, census: Census, mpm: &MpmSettings) -> Advice {
        self.due = Instant::now() + Self::PERIOD;
        if census.idle >= mpm.min_spare {
            self.rate = 1;
            let too_many = census.idle > mpm.max_spare && census.children > 1;
            return if too_many { Advice::EndOne } else { Advice::Keep };
        }
        let room = mpm.most_children.saturating_sub(census.children);
        if room == 0 {
            self.rate = 1;
            let was_exhausted = std::mem::replace(&mut self.is_exhausted, true);
            return if was_exhausted { Advice::Keep } else { Advice::Exhausted };
        }
        let missing = (mpm.min_spare - census.idle).div_ceil(mpm.threads_per_child);
        let count = self.rate.min(room).min(missing.max(1));
        self.rate = (self.rate * 2).min(Self::FASTEST);
        Advice::Start(count)
    }
}

/// How many children a generation starts with: those that the configuration asks for, or as many as the
/// connections need that are open now.
pub(crate) fn children_at_start(mpm: &MpmSettings, open: usize) -> usize {
    use daemun_core::settings::Mpm::*;
    let needed = match mpm.mpm {
        Native | Event => 0,
        Worker | Prefork => (open + mpm.min_spare).div_ceil(mpm.threads_per_child),
    };
    let least = if open == 0 { 0 } else { needed };
    mpm.start.max(least).min(mpm.most_children)
}

/// The child that has least to do.
pub(crate) fn least_busy(processes: &[ProcessView]) -> Option<&ProcessView> {
    let serving = processes.iter().filter(|process| process.state == WorkerState::Running);
    serving.min_by_key(|process| (process.busy(), process.active))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefork() -> MpmSettings {
        MpmSettings { min_spare: 5, max_spare: 10, most_children: 40, ..MpmSettings::default() }
    }

    #[test]
    fn growth_doubles_until_enough_are_idle() {
        let mpm = MpmSettings { min_spare: 50, max_spare: 60, most_children: 100, ..prefork() };
        let mut upkeep = Upkeep::new();
        let mut started = Vec::new();
        let mut children = 5;
        while let Advice::Start(count) = upkeep.judge(Census { children, idle: children - 5 }, &mpm)
        {
            started.push(count);
            children += count;
        }
        assert_eq!(started, [1, 2, 4, 8, 16, 19]);
        assert_eq!(upkeep.judge(Census { children, idle: 4 }, &mpm), Advice::Start(1));
    }

    #[test]
    fn the_bounds_hold() {
        let mpm = prefork();
        let mut upkeep = Upkeep::new();
        assert_eq!(upkeep.judge(Census { children: 20, idle: 10 }, &mpm), Advice::Keep);
        assert_eq!(upkeep.judge(Census { children: 20, idle: 11 }, &mpm), Advice::EndOne);
        assert_eq!(upkeep.judge(Census { children: 40, idle: 0 }, &mpm), Advice::Exhausted);
        assert_eq!(upkeep.judge(Census { children: 40, idle: 0 }, &mpm), Advice::Keep);
        assert_eq!(upkeep.judge(Census { children: 39, idle: 0 }, &mpm), Advice::Start(1));
    }

    #[test]
    fn children_are_started_for_what_others_pass_on() {
        let mpm = MpmSettings { most_children: 20, ..prefork() };
        let mut upkeep = Upkeep::new();
        upkeep.call();
        assert!(upkeep.is_called && upkeep.due <= Instant::now() + Upkeep::CALL);
        let mut children = 5;
        while let Advice::Start(count) = upkeep.answer_call(Census { children, idle: 0 }, &mpm) {
            children += count;
        }
        assert_eq!(children, 20);
    }

    #[test]
    fn threads_are_counted_and_children_started() {
        let mpm = MpmSettings {
            min_spare: 75,
            max_spare: 250,
            most_children: 16,
            threads_per_child: 25,
            ..MpmSettings::default()
        };
        let mut upkeep = Upkeep::new();
        assert_eq!(upkeep.judge(Census { children: 3, idle: 60 }, &mpm), Advice::Start(1));
        assert_eq!(upkeep.judge(Census { children: 4, idle: 20 }, &mpm), Advice::Start(2));
    }
}
