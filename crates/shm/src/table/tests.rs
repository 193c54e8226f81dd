use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use super::*;
use crate::{Scoreboard, plain};

plain! {
    struct Small {
        value: AtomicU32,
        holds: [AtomicU64; 1],
        name: [AtomicU8; 16],
    }
}

impl Record for Small {
    fn text(&self) -> &[AtomicU8] {
        &self.name
    }

    fn weight(&self) -> i64 {
        self.value.load(Relaxed).into()
    }

    fn holds(&self) -> &[AtomicU64] {
        &self.holds
    }
}

plain! {
    struct Large {
        key: [AtomicU8; 100],
    }
}

impl Record for Large {
    fn text(&self) -> &[AtomicU8] {
        &self.key
    }
}

fn table<R: Record>(size: usize) -> Table<R> {
    Table::open(&Arc::new(Zone::new("test", size).unwrap()), 0).unwrap()
}

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }
}

/// What an entry should be.
#[derive(Clone, Debug, PartialEq)]
struct Expected {
    text: Vec<u8>,
    value: u32,
    queue: u8,
    /// By each owner.
    holds: Vec<u64>,
}

#[test]
fn a_megabyte_has_room_for_what_is_promised() {
    assert!(table::<Small>(1 << 20).capacity() >= 16_000);
    assert!(table::<Large>(1 << 20).capacity() >= 8_000);
    let sixteen = table::<Large>(16 << 10).capacity();
    assert!((64..=96).contains(&sixteen), "{sixteen}");
    assert!(table::<Large>(8 << 10).capacity() > 0);
}

#[test]
fn a_table_does_what_a_list_does() {
    let board = Scoreboard::with_capacity(16).unwrap();
    let owners: Vec<_> = (0..12).map(|_| board.claim(1).unwrap().owner()).collect();
    for seed in 1..=4 {
        let table: Table<Small> = table(12 << 10);
        let mut chance = Chance(seed);
        let mut model = VecDeque::new();
        for step in 0..4_000 {
            one_step(&table, &mut model, &owners, &mut chance);
            if step % 50 == 0 {
                agree(&table, &model, &owners);
                if step % 200 == 0 {
                    table.rebuild();
                    // what a rebuild cannot know is in which order entries of one age were used
                    sort_by_generation(&table, &mut model);
                    agree(&table, &model, &owners);
                }
            }
        }
        for expected in model {
            let locked = table.lock();
            let entry = locked.find(table.hash(&expected.text), &expected.text).unwrap();
            locked.retire(entry);
        }
        assert_eq!((table.taken(), table.weight(), table.len()), (0, 0, 0));
    }
}

/// The model is in the order of the queues, the oldest first.
fn one_step(
    table: &Table<Small>,
    model: &mut VecDeque<Expected>,
    owners: &[Owner],
    chance: &mut Chance,
) {
    let number = chance.below(150);
    let text = format!("{number}").repeat(1 + number % 60).into_bytes();
    let (hash, locked) = (table.hash(&text), table.lock());
    let found = locked.find(hash, &text);
    let place = model.iter().position(|expected| expected.text == text);
    assert_eq!(found.is_some(), place.is_some());
    let (Some(entry), Some(place)) = (found, place) else {
        let (queue, value) = (chance.below(4) as u8, number as u32);
        let holder = (number.is_multiple_of(3)).then_some(owners[0]);
        let new = New { hash, text: &text, queue, holder };
        let room = locked.room();
        match locked.insert(new, |record| record.value.store(value, Relaxed)) {
            Some(_) => {
                let mut holds = vec![0; owners.len()];
                holds[0] = u64::from(number.is_multiple_of(3));
                model.push_back(Expected { text, value, queue, holds });
            }
            None => assert!(room < table.cells_for(text.len()), "it is full"),
        }
        return;
    };
    let owner = chance.below(owners.len());
    match chance.below(6) {
        0 => {
            locked.retire(entry);
            model.remove(place);
        }
        1 => {
            let queue = chance.below(4) as u8;
            locked.move_to(entry, queue);
            let mut expected = model.remove(place).unwrap();
            expected.queue = queue;
            model.push_back(expected);
        }
        2 => {
            let (version, value) = (table.version(entry), chance.below(1000) as u32);
            locked.change(entry, |record| record.value.store(value, Relaxed));
            assert_ne!(table.version(entry), version);
            model[place].value = value;
        }
        3 => {
            locked.release(entry, owners[owner]);
            model[place].holds[owner] = model[place].holds[owner].saturating_sub(1);
        }
        _ => {
            let room = locked.room();
            match locked.hold(entry, owners[owner]) {
                true => model[place].holds[owner] += 1,
                false => assert_eq!(room, 0),
            }
        }
    }
}

fn agree(table: &Table<Small>, model: &VecDeque<Expected>, owners: &[Owner]) {
    let locked = table.lock();
    locked.check().unwrap();
    assert_eq!(table.len(), model.len());
    for expected in model {
        let hash = table.hash(&expected.text);
        let entry = locked.find(hash, &expected.text).unwrap();
        assert_eq!(table.text(entry), expected.text);
        assert_eq!(table.record(entry).value.load(Relaxed), expected.value);
        assert_eq!(locked.queue(entry), expected.queue);
        assert_eq!(locked.held(entry), expected.holds.iter().sum::<u64>());
        let held_by = |owner: &Owner| u64::from(locked.held_by(entry, *owner));
        let by_owner: Vec<u64> = owners.iter().map(held_by).collect();
        assert_eq!(by_owner, expected.holds);
        let seen = table.peek(
            hash,
            |_| table.has_text(entry, &expected.text),
            |record| record.value.load(Relaxed),
        );
        assert_eq!(seen, Some((entry, table.version(entry), expected.value)));
    }
    for queue in 1..4 {
        let first = locked.oldest(queue);
        let entries = std::iter::successors(first, |entry| locked.newer(*entry));
        let texts: Vec<_> = entries.map(|entry| table.text(entry)).collect();
        let of_queue = model.iter().filter(|expected| expected.queue == queue);
        assert_eq!(texts, of_queue.map(|expected| expected.text.clone()).collect::<Vec<_>>());
    }
}

fn sort_by_generation(table: &Table<Small>, model: &mut VecDeque<Expected>) {
    let locked = table.lock();
    let generation = |expected: &Expected| {
        let entry = locked.find(table.hash(&expected.text), &expected.text).unwrap();
        table.cell(entry.0).state(Relaxed).generation()
    };
    model.make_contiguous().sort_by_key(generation);
}

#[test]
fn what_the_dead_held_is_dropped_wherever_it_stands() {
    let board = Scoreboard::with_capacity(16).unwrap();
    let slots: Vec<_> = (0..9).map(|_| board.claim(1).unwrap()).collect();
    let table: Table<Small> = table(12 << 10);
    let locked = table.lock();
    let new = New { hash: 1, text: b"key", queue: 0, holder: Some(slots[0].owner()) };
    let entry = locked.insert(new, |record| record.value.store(0, Relaxed)).unwrap();
    for slot in &slots {
        assert!(locked.hold(entry, slot.owner()));
    }
    assert_eq!(locked.held(entry), 10);
    for dead in [0, 4, 8] {
        board.retire(slots[dead].index());
    }
    locked.drop_dead(entry, |owner| board.is_alive(owner));
    assert_eq!(locked.held(entry), 6);
    locked.check().unwrap();
}

#[test]
fn an_entry_that_was_being_changed_is_given_up_and_no_other() {
    let table: Table<Small> = table(12 << 10);
    let [first, second] = [1, 2].map(|hash| {
        let new = New { hash, text: &[b'x'; 90], queue: 2, holder: None };
        table.lock().insert(new, |record| record.value.store(hash, Relaxed)).unwrap()
    });
    let cell = table.cell(first.0);
    cell.set_state(cell.state(Relaxed).changing());
    assert_eq!(table.peek(1, |_| true, |_| ()), None);
    table.rebuild();
    let locked = table.lock();
    locked.check().unwrap();
    assert!(!table.is_entry(first) && table.is_entry(second));
    assert_eq!((table.queue_len(2), table.weight()), (1, 2));
}

#[test]
fn readers_without_the_lock_see_whole_records_or_nothing() {
    const ENOUGH: u32 = 200;
    let table: Table<Large> = table(12 << 10);
    let fill = |record: &Large, byte: u8| record.key.iter().for_each(|b| b.store(byte, Relaxed));
    let is_whole = |record: &Large| {
        let first = record.key[0].load(Relaxed);
        record.key.iter().all(|byte| byte.load(Relaxed) == first)
    };
    let found = [const { AtomicU32::new(0) }; 2];
    let is_running = || found.iter().any(|found| found.load(Relaxed) < ENOUGH);
    std::thread::scope(|scope| {
        for found in &found {
            scope.spawn(|| {
                while is_running() {
                    if let Some((_, _, is_whole)) = table.peek(7, |_| true, is_whole) {
                        assert!(is_whole, "a torn record");
                        found.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        for round in 0.. {
            let locked = table.lock();
            let new = New { hash: 7, text: &[round as u8; 100], queue: 1, holder: None };
            let entry = locked.insert(new, |_| ()).unwrap();
            for byte in 0..5 {
                locked.change(entry, |record| fill(record, byte));
                std::thread::yield_now();
            }
            locked.retire(entry);
            if !is_running() || round == 100_000 {
                break;
            }
        }
    });
    assert!(!is_running());
}

#[test]
fn a_table_outlives_whoever_opened_it() {
    let zone = Arc::new(Zone::new("test", 12 << 10).unwrap());
    let first: Table<Small> = Table::open(&zone, 0).unwrap();
    let new = New { hash: 3, text: b"key", queue: 0, holder: None };
    let entry = first.lock().insert(new, |record| record.value.store(5, Relaxed)).unwrap();
    first.words()[3].set(9);
    let second: Table<Small> = Table::open(&zone, 0).unwrap();
    assert_eq!(second.lock().find(3, b"key"), Some(entry));
    assert_eq!(second.words()[3].get(), 9);
    assert_eq!(first.hash(b"key"), second.hash(b"key"));
}
