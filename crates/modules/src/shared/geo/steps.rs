//! Values along a line of addresses: each holds from its start to the next one's.

use super::{EMPTY, ValueId};

#[derive(Debug)]
pub(super) struct Steps<K>(Vec<(K, ValueId)>);

impl<K: Copy + Ord + Default> Steps<K> {
    /// Nothing anywhere.
    pub fn new() -> Steps<K> {
        Steps(vec![(K::default(), EMPTY)])
    }

    /// Begins a value at `start`, which is not before the last one's.
    pub fn begin(&mut self, start: K, value: ValueId) {
        match self.0.last_mut() {
            Some(last) if last.0 == start => last.1 = value,
            Some(last) if last.1 == value => {}
            _ => self.0.push((start, value)),
        }
    }

    pub fn find(&self, key: K) -> ValueId {
        let above = self.0.partition_point(|(start, _)| *start <= key);
        self.0[above - 1].1
    }
}
