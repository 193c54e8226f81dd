//! A random peer by weight, or the better one of two.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use crate::balance::{ATTEMPTS, TakeTurns, Tried, by_weight, least_time};
use crate::definition::Better;
use crate::members::Tier;
use crate::state::Now;

/// A request's draws.
#[derive(Debug)]
pub(crate) struct Walk {
    two: Option<Better>,
    attempts: u32,
}

impl Walk {
    pub fn new(two: Option<Better>) -> Walk {
        Walk { two, attempts: 0 }
    }

    /// `Err`: they are to take turns. `draw` gives a random number.
    pub(super) fn choose(
        &mut self,
        tier: &Tier,
        tried: &Tried,
        bound: Option<usize>,
        now: Now,
        draw: impl Fn() -> u64,
    ) -> Result<usize, TakeTurns> {
        if self.attempts > ATTEMPTS || tier.members.len() < 2 {
            return Err(TakeTurns);
        }
        if let Some(place) = bound {
            return Ok(place);
        }
        let mut first = None;
        loop {
            let place = by_weight(tier, draw());
            if first != Some(place) && !tried.has(place) && tier.members[place].is_open(now) {
                match (self.two, first) {
                    (None, _) => return Ok(place),
                    (Some(_), None) => {
                        first = Some(place);
                        continue;
                    }
                    (Some(how), Some(first)) => return Ok(better(tier, how, first, place, now)),
                }
            }
            self.attempts += 1;
            if self.attempts > ATTEMPTS {
                return Err(TakeTurns);
            }
        }
    }
}

fn better(tier: &Tier, how: Better, first: usize, second: usize, now: Now) -> usize {
    let burden = |place: usize| match how {
        Better::LeastConn => tier.members[place].state().conns.get(),
        Better::LeastTime(until) => least_time::estimate(&tier.members[place], until, now),
    };
    let weight = |place: usize| tier.members[place].weight;
    match burden(second) * weight(first) > burden(first) * weight(second) {
        true => first,
        false => second,
    }
}

/// A number that differs from thread to thread and from process to process.
pub(super) fn draw() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seed());
    }
    // xorshift64*
    let mut state = STATE.get();
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    STATE.set(state);
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
}

/// The keys of a `RandomState` are inherited over fork, so whose they are goes in.
fn seed() -> u64 {
    let whose = (std::process::id(), std::thread::current().id());
    RandomState::new().hash_one(whose) | 1
}
