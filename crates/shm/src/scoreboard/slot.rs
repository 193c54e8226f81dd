//! A slot as it lies in shared memory.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Totals;
use crate::region::Shareable;

/// The stage of a process's or thread's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WorkerState {
    /// Nobody is in the slot.
    Empty,
    Starting,
    Running,
    /// It finishes what it has and takes nothing new.
    Leaving,
    /// A thread is moving in: what stands in the slot is not yet its own.
    Filling,
}

impl WorkerState {
    pub(super) fn from_bits(bits: u8) -> WorkerState {
        match bits {
            1 => WorkerState::Starting,
            2 => WorkerState::Running,
            3 => WorkerState::Leaving,
            4 => WorkerState::Filling,
            _ => WorkerState::Empty,
        }
    }
}

/// What a worker is doing, in Apache's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    Starting,
    Waiting,
    Reading,
    Writing,
    KeepAlive,
    Logging,
    Closing,
    Finishing,
    IdleCleanup,
}

impl Stage {
    pub const ALL: [Stage; 9] = [
        Stage::Starting,
        Stage::Waiting,
        Stage::Reading,
        Stage::Writing,
        Stage::KeepAlive,
        Stage::Logging,
        Stage::Closing,
        Stage::Finishing,
        Stage::IdleCleanup,
    ];

    /// The letter on Apache's scoreboard.
    pub fn letter(self) -> char {
        match self {
            Stage::Starting => 'S',
            Stage::Waiting => '_',
            Stage::Reading => 'R',
            Stage::Writing => 'W',
            Stage::KeepAlive => 'K',
            Stage::Logging => 'L',
            Stage::Closing => 'C',
            Stage::Finishing => 'G',
            Stage::IdleCleanup => 'I',
        }
    }

    /// It could take a connection at once.
    pub fn is_idle(self) -> bool {
        self == Stage::Waiting
    }

    /// Neither idle nor about to come or go.
    pub fn is_busy(self) -> bool {
        !matches!(self, Stage::Waiting | Stage::Starting | Stage::IdleCleanup)
    }

    fn from_bits(bits: u8) -> Stage {
        Stage::ALL.get(usize::from(bits)).copied().unwrap_or(Stage::Starting)
    }
}

/// The process model that a process runs (`mpm`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Mpm {
    /// nginx's: a fixed number of workers, each a loop over thousands.
    #[default]
    Native,
    /// Apache's: a listener in each child watches what is parked, threads run requests.
    Event,
    /// Apache's: a thread for each connection.
    Worker,
    /// Apache's: a process for each connection.
    Prefork,
}

impl Mpm {
    pub const ALL: [Mpm; 4] = [Mpm::Native, Mpm::Event, Mpm::Worker, Mpm::Prefork];

    /// As the directive names it.
    pub fn name(self) -> &'static str {
        match self {
            Mpm::Native => "native",
            Mpm::Event => "event",
            Mpm::Worker => "worker",
            Mpm::Prefork => "prefork",
        }
    }

    pub(super) fn from_bits(bits: u8) -> Mpm {
        match bits {
            1 => Mpm::Event,
            2 => Mpm::Worker,
            3 => Mpm::Prefork,
            _ => Mpm::Native,
        }
    }
}

/// In [`Slot::method`]: not yet told.
pub(super) const UNTOLD: u8 = u8::MAX;

/// In [`Slot::owner`]: nobody's.
pub(super) const FREE: u32 = 0;

/// A slot takes two cache lines, since processors fetch them in pairs.
#[derive(Default)]
#[repr(C, align(128))]
pub(super) struct Slot {
    pub accepted: AtomicU64,
    pub handled: AtomicU64,
    pub requests: AtomicU64,
    pub sent: AtomicU64,
    pub busy: AtomicU64,
    pub active: AtomicI64,
    pub reading: AtomicI64,
    pub writing: AtomicI64,
    pub waiting: AtomicI64,
    /// Connections that are only being sent to, without a worker.
    pub draining: AtomicI64,
    /// Connections that linger before they are closed.
    pub closing: AtomicI64,
    pub generation: AtomicU64,
    /// `requests` when the present owner moved in.
    pub requests_before: AtomicU64,
    pub pid: AtomicU32,
    /// The slot of the process that it belongs to, its own for a process's, or [`FREE`].
    pub owner: AtomicU32,
    /// How many processes have had the slot; see [`Owner`](super::Owner). Never reset.
    pub incarnation: AtomicU32,
    pub state: AtomicU8,
    pub stage: AtomicU8,
    pub mpm: AtomicU8,
    /// What tells its owner of events, as [`Worker::set_method`](super::Worker::set_method) was told.
    pub method: AtomicU8,
}

// SAFETY: all fields are atomics, of which zero is a value, and none needs dropping.
unsafe impl Shareable for Slot {}

impl Slot {
    /// Somebody new moves in.
    pub fn begin(&self, generation: u64, pid: u32) {
        self.generation.store(generation, Relaxed);
        self.pid.store(pid, Relaxed);
        self.requests_before.store(self.requests.load(Relaxed), Relaxed);
        self.stage.store(Stage::Starting as u8, Relaxed);
        self.mpm.store(Mpm::Native as u8, Relaxed);
        self.method.store(UNTOLD, Relaxed);
    }

    /// Forgets all but the counters.
    pub fn clear(&self) {
        let Slot { active, reading, writing, waiting, draining, closing, .. } = self;
        for gauge in [active, reading, writing, waiting, draining, closing] {
            gauge.store(0, Relaxed);
        }
        self.pid.store(0, Relaxed);
        self.state.store(WorkerState::Empty as u8, Relaxed);
    }

    pub fn add_to(&self, totals: &mut Totals) {
        totals.accepted += self.accepted.load(Relaxed);
        totals.handled += self.handled.load(Relaxed);
        totals.requests += self.requests.load(Relaxed);
        totals.sent += self.sent.load(Relaxed);
        totals.busy += self.busy.load(Relaxed);
        totals.active += self.active.load(Relaxed);
        totals.reading += self.reading.load(Relaxed);
        totals.writing += self.writing.load(Relaxed);
        totals.waiting += self.waiting.load(Relaxed);
    }

    pub fn state(&self) -> WorkerState {
        WorkerState::from_bits(self.state.load(Relaxed))
    }

    pub fn mpm(&self) -> Mpm {
        Mpm::from_bits(self.mpm.load(Relaxed))
    }

    /// Under `native` a process runs many connections at once: the busiest of them speaks for it.
    pub fn stage(&self) -> Stage {
        if self.mpm() != Mpm::Native || self.state() == WorkerState::Starting {
            return Stage::from_bits(self.stage.load(Relaxed));
        }
        let has = |gauge: &AtomicI64| gauge.load(Relaxed) > 0;
        match self {
            _ if has(&self.writing) => Stage::Writing,
            _ if has(&self.reading) => Stage::Reading,
            _ => Stage::Waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_do_not_share_cache_lines() {
        assert_eq!(size_of::<Slot>(), 128);
        assert_eq!(align_of::<Slot>(), 128);
    }

    #[test]
    fn what_is_stored_as_a_byte_comes_back() {
        for stage in Stage::ALL {
            assert_eq!(Stage::from_bits(stage as u8), stage);
        }
        for mpm in Mpm::ALL {
            assert_eq!(Mpm::from_bits(mpm as u8), mpm);
        }
        use WorkerState::*;
        for state in [Empty, Starting, Running, Leaving, Filling] {
            assert_eq!(WorkerState::from_bits(state as u8), state);
        }
    }
}
