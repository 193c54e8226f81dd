//! What a peer may cost.
//!
//! Each kind of frame that makes work and moves nothing has a budget of its own. Seconds that pass
//! fill them up again, as their owner tells; and frames that do move something earn a few more of
//! any kind, since an honest peer sends updates of windows, pings and the like in proportion to
//! what it receives. Resets are another matter: they are earned back by streams that end as they
//! should, and by nothing else, since a request that is cancelled at once has cost its server
//! nearly as much as one that is answered.

use super::{Code, Fatal};

/// What is counted. The answers to floods are told apart by it in logs and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cost {
    /// Streams that a peer has cancelled before they were answered, or whose reset was a fault of
    /// the peer.
    Resets,
    /// Streams beyond the limit.
    Refusals,
    Pings,
    Settings,
    WindowUpdates,
    /// DATA that carries nothing and ends nothing.
    EmptyFrames,
    Priorities,
    /// Frames that mean nothing here, or concern a stream that is no more.
    Others,
    Continuations,
    /// Bytes of a header section.
    Fields,
}

/// Those that have budgets; the others are limits of one section.
pub const KINDS: usize = Cost::Others as usize + 1;

/// How many more of each kind there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    left: [u16; KINDS],
    /// What has been earned and is of use for any kind but resets and refusals.
    earned: u16,
}

/// No more than that is saved up by work that was done.
const MOST_EARNED: u16 = 2000;
/// A frame with a body is followed by an update of both windows and perhaps a ping.
const EARNED_BY_A_FRAME: u16 = 4;

impl Budget {
    /// What a second allows, and an earnest peer does not come near to. Resets are what a browser
    /// may do at once when its user leaves a page, twice.
    pub const DEFAULT: [u16; KINDS] = [256, 128, 100, 50, 1000, 100, 256, 256];

    pub fn new(limits: &[u16; KINDS]) -> Budget {
        Budget { left: *limits, earned: 0 }
    }

    pub fn spend(&mut self, cost: Cost) -> Result<(), Fatal> {
        let left = &mut self.left[cost as usize];
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        let is_earned = !matches!(cost, Cost::Resets | Cost::Refusals);
        if is_earned && self.earned > 0 {
            self.earned -= 1;
            return Ok(());
        }
        let reason = match cost {
            Cost::Resets => "reset too many streams",
            Cost::Refusals => "sent too many refused streams",
            Cost::Pings => "sent too many PING frames",
            Cost::Settings => "sent too many SETTINGS frames",
            Cost::WindowUpdates => "sent too many WINDOW_UPDATE frames",
            Cost::EmptyFrames => "sent too many empty DATA frames",
            Cost::Priorities => "sent too many PRIORITY frames",
            _ => "sent too many useless frames",
        };
        Err(Fatal { code: Code::ENHANCE_YOUR_CALM, reason, cost: Some(cost) })
    }

    /// A frame has moved something.
    pub fn earn(&mut self) {
        self.earned = (self.earned + EARNED_BY_A_FRAME).min(MOST_EARNED);
    }

    /// A stream has ended as it should.
    pub fn forgive(&mut self, limits: &[u16; KINDS]) {
        for cost in [Cost::Resets, Cost::Refusals] {
            let left = &mut self.left[cost as usize];
            *left = left.saturating_add(1).min(limits[cost as usize]);
        }
        self.earn();
    }

    /// So many seconds have passed.
    pub fn refill(&mut self, seconds: u16, limits: &[u16; KINDS]) {
        for (place, limit) in limits.iter().enumerate().skip(Cost::Pings as usize) {
            let left = &mut self.left[place];
            *left = left.saturating_add(limit.saturating_mul(seconds)).min(*limit);
        }
    }

    /// What is used up by three quarters: a time to take leave of a clumsy peer in good order.
    pub fn strained(&self, limits: &[u16; KINDS]) -> Option<Cost> {
        let is_strained = |cost: &Cost| {
            let place = *cost as usize;
            self.left[place] < limits[place] / 4
        };
        let is_earned_up = self.earned > 0;
        [Cost::Resets, Cost::Refusals].into_iter().find(is_strained).or_else(|| {
            use Cost::{EmptyFrames, Others, Pings, Priorities, Settings, WindowUpdates};
            let others = [Pings, Settings, WindowUpdates, EmptyFrames, Priorities, Others];
            others.into_iter().filter(|_| !is_earned_up).find(is_strained)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: [u16; KINDS] = [4; KINDS];

    #[test]
    fn budgets_end_and_seconds_fill_them() {
        for cost in [Cost::Pings, Cost::Settings, Cost::WindowUpdates, Cost::Others] {
            let mut budget = Budget::new(&LIMITS);
            for _ in 0..4 {
                assert_eq!(budget.spend(cost), Ok(()));
            }
            assert_eq!(budget.strained(&LIMITS), Some(cost));
            let fatal = budget.spend(cost).unwrap_err();
            assert_eq!((fatal.code, fatal.cost), (Code::ENHANCE_YOUR_CALM, Some(cost)));
            budget.refill(1, &LIMITS);
            assert_eq!(budget, Budget::new(&LIMITS));
            budget.refill(u16::MAX, &LIMITS);
            assert_eq!(budget, Budget::new(&LIMITS));
        }
    }

    #[test]
    fn resets_are_forgiven_for_streams_that_end_alone() {
        let mut budget = Budget::new(&LIMITS);
        for _ in 0..4 {
            budget.spend(Cost::Resets).unwrap();
        }
        budget.earn();
        budget.refill(60, &LIMITS);
        assert_eq!(budget.spend(Cost::Resets).unwrap_err().cost, Some(Cost::Resets));
        budget.forgive(&LIMITS);
        assert_eq!(budget.spend(Cost::Resets), Ok(()));
        for _ in 0..10 {
            budget.forgive(&LIMITS);
        }
        assert_eq!(budget.strained(&LIMITS), None);
        for _ in 0..4 {
            budget.spend(Cost::Resets).unwrap();
        }
        assert!(budget.spend(Cost::Resets).is_err());
    }

    #[test]
    fn work_earns_a_bounded_number() {
        let mut budget = Budget::new(&LIMITS);
        for _ in 0..u16::MAX {
            budget.earn();
        }
        let pings = (0..).take_while(|_| budget.spend(Cost::Pings).is_ok()).count();
        assert_eq!(pings, 4 + usize::from(MOST_EARNED));
    }
}
