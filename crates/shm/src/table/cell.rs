//! A cell, and its state in one word.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Version;
use crate::region::{Plain, Shareable};

/// Bytes of a cell before its record.
pub(super) const OWN: usize = 28;

#[repr(C)]
pub(super) struct Cell<R> {
    state: AtomicU64,
    /// Of an entry, and of the holds that belong to it; of a piece of text, the next one.
    pub hash: AtomicU32,
    /// Of the bucket whose number this cell has, whatever the cell is: the first in its chain.
    pub head: AtomicU32,
    /// In the chain of its own bucket, or in the list of free cells.
    pub next: AtomicU32,
    pub newer: AtomicU32,
    pub older: AtomicU32,
    pub record: R,
}

// SAFETY: all of it is atomics, the record by `Plain`.
unsafe impl<R: Plain> Shareable for Cell<R> {}
// SAFETY: as above.
unsafe impl<R: Plain> Plain for Cell<R> {}

/// What a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Free,
    Entry,
    /// A piece of an entry's text.
    Text,
    /// What further owners hold of an entry.
    Holds,
}

/// From below: one bit that is set while the record is being changed, two for the kind, three for
/// the queue, two that are not used, 16 for the length of the text, 40 for the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(u64);

const CHANGING: u64 = 1;
const KIND: u32 = 1;
const QUEUE: u32 = 3;
const LENGTH: u32 = 8;
const GENERATION: u32 = 24;

impl State {
    pub fn new(kind: Kind, queue: u8, length: usize, generation: i64) -> State {
        let kind = match kind {
            Kind::Free => 0,
            Kind::Entry => 1,
            Kind::Text => 2,
            Kind::Holds => 3,
        };
        let low = kind << KIND | u64::from(queue) << QUEUE | (length as u64) << LENGTH;
        State(low | (generation as u64) << GENERATION)
    }

    pub fn kind(self) -> Kind {
        match self.0 >> KIND & 3 {
            0 => Kind::Free,
            1 => Kind::Entry,
            2 => Kind::Text,
            _ => Kind::Holds,
        }
    }

    pub fn queue(self) -> u8 {
        (self.0 >> QUEUE & 7) as u8
    }

    pub fn length(self) -> usize {
        (self.0 >> LENGTH & 0xffff) as usize
    }

    pub fn generation(self) -> u64 {
        self.0 >> GENERATION
    }

    pub fn with_queue(self, queue: u8) -> State {
        State(self.0 & !(7 << QUEUE) | u64::from(queue) << QUEUE)
    }

    pub fn changing(self) -> State {
        State(self.0 | CHANGING)
    }

    pub fn is_changing(self) -> bool {
        self.0 & CHANGING != 0
    }

    pub fn is_whole(self, kind: Kind) -> bool {
        !self.is_changing() && self.kind() == kind
    }

    pub fn version(self) -> Version {
        Version(self.0 & !(7 << QUEUE))
    }
}

impl<R> Cell<R> {
    #[inline]
    pub fn state(&self, order: Ordering) -> State {
        State(self.state.load(order))
    }

    #[inline]
    pub fn set_state(&self, state: State) {
        self.state.store(state.0, Ordering::Release);
    }

    #[inline]
    pub fn version(&self) -> Version {
        self.state(Ordering::Acquire).version()
    }

    pub fn has_hash(&self, hash: u32) -> bool {
        self.hash.load(Ordering::Relaxed) == hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_keeps_all_its_parts() {
        for kind in [Kind::Free, Kind::Entry, Kind::Text, Kind::Holds] {
            for (queue, length, generation) in [(0, 0, 0), (7, 0xffff, (1 << 40) - 1), (3, 40, 9)] {
                let state = State::new(kind, queue, length, generation);
                let parts = (state.kind(), state.queue(), state.length(), state.generation());
                assert_eq!(parts, (kind, queue, length, generation as u64));
                assert!(state.is_whole(kind) && !state.changing().is_whole(kind));
                assert_eq!(state.with_queue(1).version(), state.version());
                assert_ne!(state.changing().version(), state.version());
            }
        }
    }
}
