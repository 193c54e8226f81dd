//! Who goes next: a file for each method. They see peers and their numbers, and never a protocol.

pub(crate) mod round_robin;

use crate::members::Tier;
use crate::state::Now;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_remembered_for_any_number_of_peers() {
        let mut tried = Tried::default();
        for place in [0, 63, 64, 200] {
            assert!(!tried.has(place));
            tried.insert(place);
            assert!(tried.has(place) && !tried.has(place + 1));
        }
        tried.remove(64);
        tried.remove(1000);
        assert!(tried.has(0) && tried.has(200) && !tried.has(64));
        tried.clear();
        assert!(!tried.has(0) && !tried.has(200));
    }
}
