//! What one process does for all: it holds a lease, and another takes over soon after it has died.

use daemun_shm::{Number, plain};

use crate::state::Now;

plain! {
    /// Who holds it, and until when. To be used with the zone's lock.
    #[derive(Debug, Default)]
    pub(crate) struct Lease {
        /// A process, with the thread of a process that serves several configurations.
        holder: Number,
        /// Milliseconds of the day's time.
        until: Number,
    }
}

/// Milliseconds that a lease lasts without being renewed.
const TERM: i64 = 3000;

impl Lease {
    /// Takes or renews the lease for `who`; `false` where somebody else has it.
    pub fn hold(&self, who: i64, now: Now) -> bool {
        let left = self.until.get() - now.millis;
        // where more is left than a lease lasts, the clock has been set back
        let is_held = self.holder.get() != 0 && (0..=TERM).contains(&left);
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
        assert!(lease.hold(1, at(10_000)));
        assert!(!lease.hold(2, at(11_000)));
        assert!(lease.hold(1, at(12_000)));
        assert!(!lease.hold(2, at(15_000)));
        assert!(lease.hold(2, at(15_001)));
        assert!(!lease.hold(1, at(15_002)));
        assert!(lease.hold(1, at(5_000)), "the clock was set back");
    }
}
