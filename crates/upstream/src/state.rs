//! What changes about a peer while requests come and go: plain numbers, one thread's own or shared by all workers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemun_shm::{Number, plain};

use crate::definition::{Availability, ServerSpec};
use crate::health::MOST_CHECKS;

plain! {
    /// A peer's numbers. Where they are shared, whoever changes them holds the zone's lock.
    #[derive(Debug, Default)]
    pub(crate) struct PeerState {
        /// Smooth weighted round robin: the greatest goes next.
        pub current_weight: Number,
        /// Lowered by failures, and recovering to the weight that is configured.
        pub effective_weight: Number,
        /// Requests that the peer has now.
        pub conns: Number,
        pub fails: Number,
        /// Seconds: the last failure.
        pub accessed: Number,
        /// Seconds: when the time of `fail_timeout` began.
        pub checked: Number,
        /// [`Down`]'s bits.
        pub down: Number,
        /// Milliseconds: since when the peer has been recovering its weight; 0 where it is not.
        pub recovering: Number,
        /// Milliseconds, averages of least_time.
        pub header_time: Number,
        pub response_time: Number,
        pub inflight_time: Number,
        /// Milliseconds that the requests in flight have taken, summed up at `inflight_changed`.
        pub inflight_sum: Number,
        pub inflight_changed: Number,
        pub inflight: Number,
    }
}

impl PeerState {
    /// A peer that nobody has asked yet.
    pub fn begin(&self, server: &ServerSpec, unit: i64) {
        self.effective_weight.set(i64::from(server.weight) * unit);
        self.down.set(match server.availability {
            Availability::Up => 0,
            Availability::Down => Down::CONFIGURED,
            Availability::Draining => Down::DRAINING,
        });
    }

    /// Takes over what was known of the peer under the configuration before.
    pub fn take_over(&self, former: &PeerState) {
        for (mine, its) in [
            (&self.fails, &former.fails),
            (&self.accessed, &former.accessed),
            (&self.checked, &former.checked),
            (&self.header_time, &former.header_time),
            (&self.response_time, &former.response_time),
        ] {
            mine.set(its.get());
        }
    }
}

/// Why a peer takes no requests.
pub(crate) struct Down;

impl Down {
    /// `down`.
    pub const CONFIGURED: i64 = 1;
    /// `drain`: requests that are bound to it still come.
    pub const DRAINING: i64 = 1 << 1;

    /// A health check failed.
    pub fn unhealthy(check: usize) -> i64 {
        1 << (2 + 2 * check.min(MOST_CHECKS))
    }

    /// A mandatory health check has not been passed yet.
    pub fn checking(check: usize) -> i64 {
        1 << (3 + 2 * check.min(MOST_CHECKS))
    }
}

/// The time of day that balancers count in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    pub seconds: i64,
    pub millis: i64,
}

impl Now {
    /// As of this turn of the thread's reactor.
    pub fn of_turn() -> Now {
        Now::from(daemun_event::wall_clock())
    }

    pub fn after(since_epoch: Duration) -> Now {
        let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        Now { seconds: millis / 1000, millis }
    }
}

impl From<SystemTime> for Now {
    fn from(time: SystemTime) -> Now {
        Now::after(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

/// nginx's moving average: a twentieth of what is new, rounded.
pub(crate) fn average(mean: &Number, new: i64) {
    let old = mean.get();
    mean.set(if old == 0 { new } else { (0.5 + new as f64 * 0.05 + old as f64 * 0.95) as i64 });
}
