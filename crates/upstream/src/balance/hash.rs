//! One key, one peer. As Cache::Memcached has it: `((crc32([N] KEY) >> 16) & 0x7fff) + PREVIOUS`, by weight.

use crate::balance::{ATTEMPTS, TakeTurns, Tried, by_weight};
use crate::members::Tier;
use crate::state::Now;

/// A request's way along its key.
#[derive(Debug)]
pub(crate) struct Walk {
    key: Vec<u8>,
    hash: u32,
    rehashed: u32,
    attempts: u32,
}

impl Walk {
    pub fn new(key: Vec<u8>) -> Walk {
        Walk { key, hash: 0, rehashed: 0, attempts: 0 }
    }

    /// `Err`: they are to take turns.
    pub(super) fn choose(
        &mut self,
        tier: &Tier,
        tried: &Tried,
        bound: Option<usize>,
        now: Now,
    ) -> Result<usize, TakeTurns> {
        if self.attempts > ATTEMPTS || tier.members.len() < 2 || self.key.is_empty() {
            return Err(TakeTurns);
        }
        if let Some(place) = bound {
            return Ok(place);
        }
        loop {
            let place = by_weight(tier, self.rehash().into());
            if !tried.has(place) && tier.members[place].is_open(now) {
                return Ok(place);
            }
            self.attempts += 1;
            if self.attempts > ATTEMPTS {
                return Err(TakeTurns);
            }
        }
    }

    fn rehash(&mut self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        if self.rehashed > 0 {
            hasher.update(self.rehashed.to_string().as_bytes());
        }
        hasher.update(&self.key);
        self.hash = self.hash.wrapping_add(hasher.finalize() >> 16 & 0x7fff);
        self.rehashed += 1;
        self.hash
    }
}
