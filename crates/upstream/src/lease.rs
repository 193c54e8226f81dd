//! What one process does for all: it holds a lease, and another takes over soon after it has died.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use daemun_shm::{Number, plain};

use crate::state::Now;

/// A process that may look after groups for all others, for as long as it takes requests.
#[derive(Clone, Debug)]
pub struct Caretaker {
    id: i64,
    is_leaving: Arc<AtomicBool>,
}

impl Caretaker {
    /// `is_leaving` becomes true once the process is told to finish.
    pub fn new(is_leaving: Arc<AtomicBool>) -> Caretaker {
        // a process may serve several configurations, a thread each
        static CARETAKERS: AtomicI64 = AtomicI64::new(0);
        let own = CARETAKERS.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff;
        Caretaker { id: i64::from(std::process::id()) << 32 | own, is_leaving }
    }

    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }
}

plain! {
    /// Who holds it, and until when. To be used with the zone's lock.
    #[derive(Debug, Default)]
    pub(crate) struct Lease {
        /// A caretaker's id.
        holder: Number,
        /// Milliseconds of the day's time.
        until: Number,
    }
}

/// Milliseconds that a lease lasts without being renewed.
const TERM: i64 = 3000;

impl Lease {
    /// Takes or renews the lease; `false` where somebody else has it.
    pub fn hold(&self, who: &Caretaker, now: Now) -> bool {
        self.hold_as(who.id, now)
    }

    fn hold_as(&self, who: i64, now: Now) -> bool {
        let left = self.until.get() - now.millis;
        // Each process has read the time at the beginning of its turn, so a holder may be a little ahead. Where far more is
        // left than a lease lasts, the clock has been set back.
        let is_held = self.holder.get() != 0 && (0..=2 * TERM).contains(&left);
        if is_held && self.holder.get() != who {
            return false;
        }
        self.holder.set(who);
        self.until.set(now.millis + TERM);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_until_it_is_not_renewed() {
        let lease = Lease::default();
        let at = |millis| Now { seconds: 0, millis };
        assert!(lease.hold_as(1, at(10_000)));
        assert!(!lease.hold_as(2, at(9_998)), "a turn that began a little earlier");
        assert!(!lease.hold_as(2, at(11_000)));
        assert!(lease.hold_as(1, at(12_000)));
        assert!(!lease.hold_as(2, at(15_000)));
        assert!(lease.hold_as(2, at(15_001)));
        assert!(!lease.hold_as(1, at(15_002)));
        assert!(lease.hold_as(1, at(5_000)), "the clock was set back");
    }
}
