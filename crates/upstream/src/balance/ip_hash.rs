//! One client, one peer: by the first three octets of an IPv4 address, or all of an IPv6 address.

use std::net::IpAddr;

use crate::balance::{ATTEMPTS, TakeTurns, Tried, by_weight};
use crate::members::Tier;
use crate::state::Now;

/// A request's way along its client's address.
#[derive(Debug)]
pub(crate) struct Walk {
    octets: [u8; 16],
    length: usize,
    hash: u32,
    attempts: u32,
}

impl Walk {
    /// `None`: a client of a UNIX socket.
    pub fn new(client: Option<IpAddr>) -> Walk {
        let mut octets = [0; 16];
        let length = match client {
            Some(IpAddr::V6(ip)) => {
                octets = ip.octets();
                16
            }
            Some(IpAddr::V4(ip)) => {
                octets[..4].copy_from_slice(&ip.octets());
                3
            }
            None => 3,
        };
        Walk { octets, length, hash: 89, attempts: 0 }
    }

    /// `Err`: they are to take turns.
    pub(super) fn choose(
        &mut self,
        tier: &Tier,
        tried: &Tried,
        bound: Option<usize>,
        now: Now,
    ) -> Result<usize, TakeTurns> {
        if self.attempts > ATTEMPTS || tier.members.len() < 2 {
            return Err(TakeTurns);
        }
        if let Some(place) = bound {
            return Ok(place);
        }
        let mut hash = self.hash;
        loop {
            let octets = &self.octets[..self.length];
            hash = octets.iter().fold(hash, |hash, octet| (hash * 113 + u32::from(*octet)) % 6271);
            let place = by_weight(tier, hash.into());
            if !tried.has(place) && tier.members[place].is_open(now) {
                self.hash = hash;
                return Ok(place);
            }
            self.attempts += 1;
            if self.attempts > ATTEMPTS {
                return Err(TakeTurns);
            }
        }
    }
}
