//! Limits of requests by their rate.

use std::sync::atomic::AtomicU8;

use daemun_core::log::Log;
use daemun_event::Millis;
use daemun_shm::{Entry, LockedTable, New, Number, Record, plain};

use super::rate::{Excess, Rate};
use super::{Counted, Limited, Limiting};

plain! {
    /// What is known of one value of a key: with the table's own bytes 64, so a megabyte has room
    /// for 16,000.
    pub struct State {
        last: Number,
        thousandths: Number,
        value: [AtomicU8; 16],
    }
}

impl State {
    fn excess(&self) -> Excess {
        Excess {
            thousandths: self.thousandths.get().unsigned_abs(),
            last: self.last.get().unsigned_abs(),
        }
    }

    fn set(&self, excess: Excess) {
        self.thousandths.set(i64::try_from(excess.thousandths).unwrap_or(i64::MAX));
        self.last.set(i64::try_from(excess.last).unwrap_or(i64::MAX));
    }
}

impl Record for State {
    fn text(&self) -> &[AtomicU8] {
        &self.value
    }

    fn age(&self) -> u64 {
        self.last.get().unsigned_abs()
    }
}

impl Counted for State {
    type Terms = Rate;
    const LONGEST: usize = 65_535;
    const REFUSED_AS: &'static str = "limit_req";
}

/// The one queue: who asked last is the newest.
const QUEUE: u8 = 1;

/// A `limit_req`.
#[derive(Clone)]
pub struct Limit {
    pub states: Limiting<State>,
    /// Thousandths of a request.
    pub burst: u64,
    /// Up to this excess nobody waits, thousandths of a request.
    pub delay: u64,
}

/// What becomes of a request.
pub enum Verdict<'l> {
    /// No limit concerns it.
    Unlimited,
    Passed,
    /// It has to wait so long, for the excess that it has in one of the zones.
    Delayed {
        zone: &'l str,
        excess: u64,
        delay: Millis,
    },
    Refused {
        zone: &'l str,
        excess: u64,
    },
    /// The zone is full of what is in use.
    NoRoom {
        zone: &'l str,
    },
}

/// A limit that let the request pass and has not counted it yet: that waits for the others.
struct Pending<'l> {
    limit: &'l Limit,
    hash: u32,
    value: Vec<u8>,
}

enum Asked {
    Within(Excess),
    Beyond(Excess),
    NoRoom,
}

/// Asks all limits, in their order. What one of them refuses counts in none; what all of them let
/// pass counts in each, and waits for the slowest.
pub fn judge<'l>(
    limits: &'l [Limit],
    now: Millis,
    visitor: &mut impl Limited,
    log: &Log,
) -> Verdict<'l> {
    let mut pending = Vec::new();
    let mut longest = None;
    let mut is_met = false;
    for (index, limit) in limits.iter().enumerate() {
        let is_last = index + 1 == limits.len();
        let asked = limit.states.with_value(visitor, log, |_, value| {
            let table = limit.states.table()?;
            let hash = table.hash(value);
            let asked = limit.ask(&table.lock(), hash, value, now, is_last);
            if !is_last {
                pending.push(Pending { limit, hash, value: value.to_vec() });
            }
            Some(asked)
        });
        let Some(asked) = asked.flatten() else { continue };
        is_met = true;
        match asked {
            Asked::Beyond(excess) => {
                return Verdict::Refused { zone: limit.states.name(), excess: excess.thousandths };
            }
            Asked::NoRoom => return Verdict::NoRoom { zone: limit.states.name() },
            Asked::Within(excess) if is_last => longest = limit.wait(excess),
            Asked::Within(_) => {}
        }
    }
    for Pending { limit, hash, value } in pending.into_iter().rev() {
        let wait = limit.count(hash, &value, now).and_then(|excess| limit.wait(excess));
        if wait.as_ref().map(|wait| wait.delay) > longest.as_ref().map(|wait| wait.delay) {
            longest = wait;
        }
    }
    match longest {
        Some(Wait { zone, excess, delay }) => Verdict::Delayed { zone, excess, delay },
        None if is_met => Verdict::Passed,
        None => Verdict::Unlimited,
    }
}

/// How long a limit lets a request wait, and why.
struct Wait<'l> {
    zone: &'l str,
    excess: u64,
    delay: Millis,
}

impl Limit {
    fn rate(&self) -> Rate {
        self.states.content.terms.get().map_or(Rate::ONE, |(_, rate)| *rate)
    }

    fn wait(&self, excess: Excess) -> Option<Wait<'_>> {
        let delay = self.rate().delay(excess, self.delay);
        let zone = self.states.name();
        (delay > 0).then_some(Wait { zone, excess: excess.thousandths, delay })
    }

    /// What the excess would be with this request; that is remembered where the request `counts`
    /// and passes.
    fn ask(
        &self,
        table: &LockedTable<'_, State>,
        hash: u32,
        value: &[u8],
        now: Millis,
        counts: bool,
    ) -> Asked {
        let Some(entry) = table.find(hash, value) else {
            let last = if counts { now } else { 0 };
            let excess = Excess { thousandths: 0, last };
            return match self.insert(table, hash, value, excess, now) {
                Some(_) => Asked::Within(excess),
                None => Asked::NoRoom,
            };
        };
        table.touch(entry);
        let excess = self.rate().add(table.record(entry).excess(), now);
        if excess.thousandths > self.burst {
            return Asked::Beyond(excess);
        }
        if counts {
            table.change(entry, |state| state.set(excess));
        }
        Asked::Within(excess)
    }

    /// Counts a request that has passed. Where its state has gone meanwhile, it begins anew.
    fn count(&self, hash: u32, value: &[u8], now: Millis) -> Option<Excess> {
        let table = self.states.table()?.lock();
        let Some(entry) = table.find(hash, value) else {
            let excess = Excess { thousandths: 0, last: now };
            return self.insert(&table, hash, value, excess, now).map(|_| excess);
        };
        let excess = self.rate().add(table.record(entry).excess(), now);
        table.change(entry, |state| state.set(excess));
        Some(excess)
    }

    /// A new state, for which others make room: one or two that are forgotten, and where that is
    /// not enough the oldest.
    fn insert(
        &self,
        table: &LockedTable<'_, State>,
        hash: u32,
        value: &[u8],
        excess: Excess,
        now: Millis,
    ) -> Option<Entry> {
        for _ in 0..2 {
            let Some(oldest) = table.oldest(QUEUE) else { break };
            if !self.rate().has_forgotten(table.record(oldest).excess(), now) {
                break;
            }
            table.retire(oldest);
        }
        let cells = table.cells_for(value.len());
        if cells > table.capacity() {
            return None;
        }
        while table.room() < cells {
            table.retire(table.oldest(QUEUE)?);
        }
        let new = New { hash, text: value, queue: QUEUE, holder: None };
        table.insert(new, |state| state.set(excess))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use daemun_shm::{Table, Zone};

    use super::*;

    #[test]
    fn a_megabyte_has_room_for_sixteen_thousand_states() {
        let zone = Arc::new(Zone::new("test", 1 << 20).unwrap());
        let table: Table<State> = Table::open(&zone, 0).unwrap();
        assert!(table.capacity() >= 16_000, "{}", table.capacity());
        assert_eq!(table.lock().cells_for(16), 1, "an address of either kind takes one cell");
    }
}
