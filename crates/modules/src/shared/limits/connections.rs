//! Limits of connections by their number.

use std::sync::atomic::{AtomicU8, AtomicU64};

use daemun_core::log::Log;
use daemun_event::Millis;
use daemun_shm::{Entry, LockedTable, New, Owner, Record, Scoreboard, plain};

use super::{Counted, Limited, Limiting};

plain! {
    /// How many connections each process has of one value of a key.
    pub struct Count {
        holds: [AtomicU64; 2],
        value: [AtomicU8; 16],
    }
}

impl Record for Count {
    fn text(&self) -> &[AtomicU8] {
        &self.value
    }

    fn holds(&self) -> &[AtomicU64] {
        &self.holds
    }
}

impl Counted for Count {
    type Terms = ();
    const LONGEST: usize = 255;
    const REFUSED_AS: &'static str = "limit_conn_zone";
}

/// A `limit_conn`.
#[derive(Clone)]
pub struct Limit {
    pub counts: Limiting<Count>,
    /// Connections, up to 65,535.
    pub most: u16,
}

/// One of an entry, held until this is dropped. What the dead held is found by their names.
pub struct Held {
    counts: Limiting<Count>,
    entry: Entry,
    owner: Owner,
}

/// What becomes of a connection.
pub enum Verdict<'l> {
    /// No limit concerns it.
    Unlimited,
    Passed(Vec<Held>),
    Refused {
        zone: &'l str,
    },
    /// The zone is full of what is in use.
    NoRoom {
        zone: &'l str,
    },
}

enum Asked {
    Within(Entry),
    Beyond,
    NoRoom,
}

/// The word of a table that says when it was last searched for what the dead held.
const SEARCHED: usize = 0;

/// How often it is, milliseconds.
const SEARCH_EVERY: i64 = 1000;

/// Asks all limits, in their order. What one of them refuses is held in none. `board` tells who
/// of those that hold something lives.
pub fn judge<'l, V: Limited>(
    limits: &'l [Limit],
    now: Millis,
    visitor: &mut V,
    owner: Owner,
    board: fn(&V) -> &Scoreboard,
    log: &Log,
) -> Verdict<'l> {
    let mut held = Vec::new();
    for limit in limits {
        let asked = limit.counts.with_value(visitor, log, |visitor, value| {
            let table = limit.counts.table()?;
            let hash = table.hash(value);
            Some(limit.ask(&table.lock(), hash, value, now, owner, board(visitor)))
        });
        match asked.flatten() {
            None => {}
            Some(Asked::Within(entry)) => {
                let counts = limit.counts.clone();
                held.push(Held { counts, entry, owner });
            }
            Some(Asked::Beyond) => return Verdict::Refused { zone: limit.counts.name() },
            Some(Asked::NoRoom) => return Verdict::NoRoom { zone: limit.counts.name() },
        }
    }
    match held.is_empty() {
        true => Verdict::Unlimited,
        false => Verdict::Passed(held),
    }
}

impl Limit {
    fn ask(
        &self,
        table: &LockedTable<'_, Count>,
        hash: u32,
        value: &[u8],
        now: Millis,
        owner: Owner,
        board: &Scoreboard,
    ) -> Asked {
        if let Some(entry) = table.find(hash, value) {
            let most = u64::from(self.most);
            if table.held(entry) >= most {
                table.drop_dead(entry, |owner| board.is_alive(owner));
                if table.held(entry) >= most {
                    return Asked::Beyond;
                }
            }
        }
        let mut held = hold(table, hash, value, owner);
        if held.is_none() && makes_room(table, now, board) {
            held = hold(table, hash, value, owner);
        }
        held.map_or(Asked::NoRoom, Asked::Within)
    }
}

fn hold(table: &LockedTable<'_, Count>, hash: u32, value: &[u8], owner: Owner) -> Option<Entry> {
    match table.find(hash, value) {
        Some(entry) => table.hold(entry, owner).then_some(entry),
        None => {
            let new = New { hash, text: value, queue: 0, holder: Some(owner) };
            table.insert(new, |_| ())
        }
    }
}

/// Gives back what the dead held; false where that was done a moment ago.
fn makes_room(table: &LockedTable<'_, Count>, now: Millis, board: &Scoreboard) -> bool {
    let (searched, now) = (&table.words()[SEARCHED], now as i64);
    if (0..SEARCH_EVERY).contains(&now.wrapping_sub(searched.get())) {
        return false;
    }
    searched.set(now);
    let entries: Vec<_> = table.entries().collect();
    for entry in entries {
        table.drop_dead(entry, |owner| board.is_alive(owner));
        if table.held(entry) == 0 {
            table.retire(entry);
        }
    }
    true
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(table) = self.counts.table() else { return };
        let table = table.lock();
        // what somebody holds is an entry, and the same
        if !table.is_entry(self.entry) {
            return;
        }
        table.release(self.entry, self.owner);
        if table.held(self.entry) == 0 {
            table.retire(self.entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use daemun_shm::{Table, Zone};

    use super::*;

    #[test]
    fn a_zone_that_the_dead_fill_has_room_again() {
        let zone = Arc::new(Zone::new("test", Zone::LEAST).unwrap());
        let table: Table<Count> = Table::open(&zone, 0).unwrap();
        let board = Arc::new(Scoreboard::with_capacity(4).unwrap());
        let (living, dying) = (board.claim(1).unwrap(), board.claim(1).unwrap());
        let locked = table.lock();
        let held = |number: usize, owner| {
            let value = number.to_string();
            hold(&locked, locked.hash(value.as_bytes()), value.as_bytes(), owner)
        };
        let entry = held(0, living.owner()).unwrap();
        let filled = (1..).take_while(|number| held(*number, dying.owner()).is_some()).count();
        assert!(filled > 400, "{filled}");
        assert!(makes_room(&locked, 5000, &board) && locked.room() == 0, "nobody has died");
        board.retire(dying.index());
        assert!(!makes_room(&locked, 5999, &board), "it has just been searched");
        assert!(makes_room(&locked, 6000, &board));
        assert_eq!((locked.len(), locked.held(entry)), (1, 1));
    }
}
