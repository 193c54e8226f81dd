//! Who goes next: a file for each method. They see peers and their numbers, and never a protocol.

mod hash;
mod ip_hash;
mod least_conn;
pub(crate) mod least_time;
mod random;
pub(crate) mod ring;
mod round_robin;
#[cfg(test)]
mod tests;

use daemun_core::script::Session;

use crate::definition::{Method, Until};
use crate::members::{Members, Tier};
use crate::state::Now;

/// A request's way through its group, as the method has it.
#[derive(Debug)]
pub(crate) enum Walk {
    Turns,
    LeastConn,
    LeastTime(Until),
    Hash(hash::Walk),
    Ring(ring::Walk),
    IpHash(ip_hash::Walk),
    Random(random::Walk),
}

impl Walk {
    pub fn new(method: &Method, members: &Members, session: &mut dyn Session) -> Walk {
        match method {
            Method::LeastConn => Walk::LeastConn,
            Method::LeastTime(how) => Walk::LeastTime(how.until),
            Method::IpHash => Walk::IpHash(ip_hash::Walk::new(session.client().ip())),
            Method::Random { two } => Walk::Random(random::Walk::new(*two)),
            Method::Hash { key, consistent: false } => {
                Walk::Hash(hash::Walk::new(key.value(session)))
            }
            Method::Hash { key, consistent: true } => {
                Walk::Ring(ring::Walk::new(members, &key.value(session)))
            }
        }
    }

    /// The place of the next peer. `bound` is the peer that the session belongs to, which comes first.
    pub fn choose(
        &mut self,
        members: &Members,
        tier: &Tier,
        tried: &Tried,
        bound: Option<usize>,
        now: Now,
    ) -> Option<usize> {
        let chosen = match self {
            Walk::Turns => Err(TakeTurns),
            Walk::LeastConn => return least_conn::choose(tier, tried, bound, now),
            Walk::LeastTime(until) => return least_time::choose(tier, tried, bound, *until, now),
            Walk::Hash(walk) => walk.choose(tier, tried, bound, now),
            Walk::Ring(walk) => walk.choose(members, tier, tried, bound, now),
            Walk::IpHash(walk) => walk.choose(tier, tried, bound, now),
            Walk::Random(walk) => walk.choose(tier, tried, bound, now, random::draw),
        };
        chosen
            .or_else(|TakeTurns| round_robin::choose(tier, tried, bound, now).ok_or(TakeTurns))
            .ok()
    }
}

/// The method has come to its end: peers take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TakeTurns;

/// After so many peers in vain, they take turns.
const ATTEMPTS: u32 = 20;

/// The peer that a number falls to.
fn by_weight(tier: &Tier, number: u64) -> usize {
    let mut left = (number % tier.total_weight.cast_unsigned().max(1)).cast_signed();
    let falls = tier.members.iter().position(|member| {
        left -= member.weight;
        left < 0
    });
    falls.unwrap_or(0)
}

/// The peers of a tier that a request has asked.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    first: u64,
    /// Those behind the 64th, 64 a number.
    more: Vec<u64>,
}

impl Tried {
    pub fn has(&self, place: usize) -> bool {
        let word = match place / 64 {
            0 => self.first,
            index => self.more.get(index - 1).copied().unwrap_or(0),
        };
        word & 1 << (place % 64) != 0
    }

    pub fn insert(&mut self, place: usize) {
        let word = match place / 64 {
            0 => &mut self.first,
            index => {
                self.more.resize(self.more.len().max(index), 0);
                &mut self.more[index - 1]
            }
        };
        *word |= 1 << (place % 64);
    }

    pub fn remove(&mut self, place: usize) {
        let word = match place / 64 {
            0 => Some(&mut self.first),
            index => self.more.get_mut(index - 1),
        };
        if let Some(word) = word {
            *word &= !(1 << (place % 64));
        }
    }

    pub fn clear(&mut self) {
        *self = Tried::default();
    }

    /// The places that may still be asked.
    pub fn open<'t>(&'t self, tier: &'t Tier, now: Now) -> impl Iterator<Item = usize> + 't {
        let places = tier.members.iter().enumerate();
        let open = places.filter(move |(place, member)| !self.has(*place) && member.is_open(now));
        open.map(|(place, _)| place)
    }
}
