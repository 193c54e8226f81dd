//! The table of parked connections.

use std::cmp::Reverse;
use std::io;

use daemun_core::connection::{Connection, Reason, Wait};
use daemun_event::Deadline;

/// No neighbour, no free entry.
const NONE: u32 = u32::MAX;

/// Connections that wait, by slot. Those that are idle, which is all but the ones in the middle
/// of a request head, are also a list in the order in which they were parked.
pub(super) struct Parked {
    entries: Vec<Entry>,
    free: u32,
    count: usize,
    oldest: u32,
    newest: u32,
    /// Those in the middle of a request head.
    heads: usize,
    /// Those of them that have waited longest as of the last look, the longest last. What has gone on
    /// since is passed over.
    oldest_heads: Vec<OldHead>,
}

struct OldHead {
    until: Deadline,
    slot: u32,
    number: u64,
}

/// How many of them one look finds: it goes through all entries.
const OLD_HEADS: usize = 64;

enum Entry {
    Free { next: u32 },
    Used { connection: Connection, older: u32, newer: u32 },
}

impl Parked {
    /// Room for `capacity` connections; it takes memory as they come.
    pub(super) fn with_capacity(capacity: usize) -> Parked {
        let entries = Vec::with_capacity(capacity);
        let oldest_heads = Vec::new();
        Parked { entries, free: NONE, count: 0, oldest: NONE, newest: NONE, heads: 0, oldest_heads }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Parks a connection; where it cannot be watched, it comes back with the reason.
    pub(super) fn insert(
        &mut self,
        mut connection: Connection,
        wait: Wait,
    ) -> Result<(), (Connection, io::Error)> {
        let slot = if self.free == NONE { self.entries.len() as u32 } else { self.free };
        if let Err(error) = connection.stream.park(slot, wait.until) {
            return Err((connection, error));
        }
        connection.waited = wait.reason;
        self.heads += usize::from(wait.reason == Reason::Head);
        let idle = is_idle(&connection);
        let older = if idle { self.newest } else { NONE };
        let entry = Entry::Used { connection, older, newer: NONE };
        match self.entries.get_mut(slot as usize) {
            None => self.entries.push(entry),
            Some(place) => {
                if let Entry::Free { next } = std::mem::replace(place, entry) {
                    self.free = next;
                }
            }
        }
        if idle {
            self.newest = slot;
            *self.newer_of(older) = slot;
        }
        self.count += 1;
        Ok(())
    }

    /// Takes a connection out, for a task to go on with.
    ///
    /// # Panics
    /// Where `slot` is free: the event core only tells of parked streams.
    pub(super) fn take(&mut self, slot: u32) -> Connection {
        let free = Entry::Free { next: self.free };
        match std::mem::replace(&mut self.entries[slot as usize], free) {
            Entry::Used { connection, older, newer } => {
                self.free = slot;
                self.count -= 1;
                self.heads -= usize::from(connection.waited == Reason::Head);
                if is_idle(&connection) {
                    *self.newer_of(older) = newer;
                    *self.older_of(newer) = older;
                }
                connection.stream.unpark();
                connection
            }
            Entry::Free { .. } => panic!("no connection is parked in slot {slot}"),
        }
    }

    /// Whether any connection may be closed to make room: one that is idle, or else one whose client
    /// has not brought its request to an end.
    pub(super) fn may_spare(&self) -> bool {
        self.oldest != NONE || self.heads > 0
    }

    /// Takes the connection whose request head has taken longest: each has the same time, so its
    /// deadline comes first.
    pub(super) fn take_oldest_head(&mut self) -> Option<Connection> {
        if self.heads == 0 {
            return None;
        }
        loop {
            if self.oldest_heads.is_empty() {
                self.find_oldest_heads();
            }
            let head = self.oldest_heads.pop()?;
            let still_waits = self.head(head.slot).is_some_and(|now| now.number == head.number);
            if still_waits {
                return Some(self.take(head.slot));
            }
        }
    }

    fn find_oldest_heads(&mut self) {
        let mut found: Vec<OldHead> =
            (0..self.entries.len() as u32).filter_map(|slot| self.head(slot)).collect();
        if found.len() > OLD_HEADS {
            found.select_nth_unstable_by_key(OLD_HEADS, |head| head.until);
            found.truncate(OLD_HEADS);
        }
        found.sort_unstable_by_key(|head| Reverse(head.until));
        self.oldest_heads = found;
    }

    fn head(&self, slot: u32) -> Option<OldHead> {
        match self.entries.get(slot as usize)? {
            Entry::Used { connection, .. } if connection.waited == Reason::Head => {
                let until = connection.stream.deadline();
                Some(OldHead { until, slot, number: connection.number })
            }
            _ => None,
        }
    }

    /// Takes the idle connection that has been parked longest.
    pub(super) fn take_oldest(&mut self) -> Option<Connection> {
        (self.oldest != NONE).then(|| self.take(self.oldest))
    }

    /// Takes any connection.
    pub(super) fn take_any(&mut self) -> Option<Connection> {
        if let Some(connection) = self.take_oldest() {
            return Some(connection);
        }
        if self.count == 0 {
            return None;
        }
        let used = self.entries.iter().position(|entry| matches!(entry, Entry::Used { .. }))?;
        Some(self.take(used as u32))
    }

    /// Where the one parked before the neighbour of `slot` is noted: there, or as the oldest.
    fn newer_of(&mut self, slot: u32) -> &mut u32 {
        match self.entries.get_mut(slot as usize) {
            Some(Entry::Used { newer, .. }) => newer,
            _ => &mut self.oldest,
        }
    }

    /// Where the one parked after the neighbour of `slot` is noted: there, or as the newest.
    fn older_of(&mut self, slot: u32) -> &mut u32 {
        match self.entries.get_mut(slot as usize) {
            Some(Entry::Used { older, .. }) => older,
            _ => &mut self.newest,
        }
    }
}

/// Idle ones may be closed without a loss; a request that has begun may not.
fn is_idle(connection: &Connection) -> bool {
    !matches!(connection.waited, Reason::Head | Reason::Held | Reason::Relay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_costs_two_links() {
        assert_eq!(size_of::<Entry>(), size_of::<Connection>() + 8);
    }
}
