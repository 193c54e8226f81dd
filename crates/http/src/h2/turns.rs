//! Whose turn it is to send: by the priorities of RFC 9218, and one after the other where the client
//! says nothing of them.
//!
//! ```text
//! urgency  0: whole streams by id | then those of use in parts, in turns
//!          …
//!          7: whole streams by id | then those of use in parts, in turns
//! ```

use std::collections::VecDeque;

use daemun_proto::http2::Priority;

/// The list that a stream waits in; lower ones are served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u8);

impl Rank {
    /// Streams of clients that say nothing: curl, gRPC, load generators.
    pub const UNSAID: Rank = Rank(7);

    pub fn of(priority: Priority) -> Rank {
        Rank(2 * priority.urgency.min(7) + u8::from(priority.is_incremental))
    }

    /// Whether streams of this rank take turns; others go one after the other.
    pub fn takes_turns(self) -> bool {
        self.0 % 2 == 1
    }
}

/// Streams that have something to send, and wait for it.
#[derive(Default)]
pub(super) struct Turns {
    lists: [VecDeque<u32>; 16],
    /// The stream that has been told to go on, and has not yet.
    granted: Option<(u32, Rank)>,
}

impl Turns {
    /// Whether another one goes first: it waits for its turn, or has it and has not used it.
    pub fn others_go_before(&self, id: u32, rank: Rank) -> bool {
        if self.is_granted(id) {
            return false;
        }
        let waiting = self.lists.iter().position(|list| !list.is_empty());
        let waiting = waiting.map(|place| Rank(place as u8));
        let granted = self.granted.map(|(_, rank)| rank);
        let is_before = |other: Rank| other < rank || (other == rank && rank.takes_turns());
        waiting.into_iter().chain(granted).any(is_before)
    }

    pub fn is_granted(&self, id: u32) -> bool {
        self.granted.is_some_and(|(granted, _)| granted == id)
    }

    pub fn is_empty(&self) -> bool {
        self.granted.is_none() && self.lists.iter().all(VecDeque::is_empty)
    }

    pub fn wait(&mut self, id: u32, rank: Rank) {
        let list = &mut self.lists[usize::from(rank.0)];
        match rank.takes_turns() {
            true => list.push_back(id),
            false => {
                let place = list.partition_point(|before| *before < id);
                list.insert(place, id);
            }
        }
    }

    /// Grants the next one its turn, unless one has it.
    pub fn grant(&mut self) -> Option<u32> {
        if self.granted.is_some() {
            return None;
        }
        let place = self.lists.iter().position(|list| !list.is_empty())?;
        let id = self.lists[place].pop_front()?;
        self.granted = Some((id, Rank(place as u8)));
        Some(id)
    }

    /// A stream has used its turn.
    pub fn use_up(&mut self, id: u32) {
        if self.is_granted(id) {
            self.granted = None;
        }
    }

    /// A stream waits no more, or for something else.
    pub fn forget(&mut self, id: u32) {
        self.use_up(id);
        self.lists.iter_mut().for_each(|list| list.retain(|waiting| *waiting != id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(text: &str) -> Rank {
        Rank::of(Priority::parse(text.as_bytes()))
    }

    fn order(turns: &mut Turns) -> Vec<u32> {
        std::iter::from_fn(|| {
            let id = turns.grant()?;
            turns.use_up(id);
            Some(id)
        })
        .collect()
    }

    #[test]
    fn urgent_ones_come_first_and_whole_ones_by_their_number() {
        let mut turns = Turns::default();
        for (id, text) in [(9, ""), (7, ""), (5, "u=0"), (3, "u=7"), (1, "i"), (11, "u=2, i")] {
            turns.wait(id, rank(text));
        }
        assert!(
            turns.others_go_before(13, rank("u=1")) && !turns.others_go_before(13, rank("u=0"))
        );
        assert_eq!(order(&mut turns), [5, 11, 7, 9, 1, 3]);
        assert!(turns.is_empty());
    }

    #[test]
    fn one_at_a_time_has_the_turn() {
        let mut turns = Turns::default();
        turns.wait(1, Rank::UNSAID);
        turns.wait(3, Rank::UNSAID);
        assert_eq!(turns.grant(), Some(1));
        assert_eq!(turns.grant(), None);
        assert!(turns.is_granted(1) && !turns.is_granted(3));
        turns.forget(3);
        // Who has the turn and has not used it yet goes first, too.
        assert!(turns.others_go_before(3, Rank::UNSAID));
        assert!(!turns.others_go_before(1, Rank::UNSAID));
        turns.forget(1);
        turns.forget(3);
        assert_eq!(turns.grant(), None);
    }
}
