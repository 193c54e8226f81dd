//! Children change a table without a pause and are killed wherever they are. They are forked, so
//! this program has no test harness.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64};

use daemun_shm::{New, Number, Owner, Record, Scoreboard, Table, Zone, plain};

plain! {
    struct Small {
        value: Number,
        holds: [AtomicU64; 1],
        name: [AtomicU8; 16],
    }
}

impl Record for Small {
    fn text(&self) -> &[AtomicU8] {
        &self.name
    }

    fn weight(&self) -> i64 {
        self.value.get()
    }

    fn holds(&self) -> &[AtomicU64] {
        &self.holds
    }
}

/// Children.
const DEATHS: u64 = 1_500;

/// Longer than what a record has room for.
const LONG: &[u8] = &[b'x'; 200];

fn main() {
    let zone = Arc::new(Zone::new("test", Zone::LEAST).unwrap());
    let table: Table<Small> = Table::open(&zone, 0).unwrap();
    let board = Scoreboard::with_capacity(4).unwrap();
    let (living, dying) = (board.claim(1).unwrap(), board.claim(1).unwrap());
    let (kept, lost) = (living.owner(), dying.owner());
    insert(&table, b"kept", 1, Some(kept));

    for death in 0..DEATHS {
        let child = changing(&table, lost);
        // whatever it is, it is another number of instructions each time
        (0..death * 7_919 % 20_000).for_each(|turn| {
            std::hint::black_box(turn);
        });
        kill(child);
        heal(&table, kept);
    }
    assert!(zone.deaths() > DEATHS as i64 / 10, "{} died with the lock", zone.deaths());
    println!("abandoned_table: ok, {} of {DEATHS} died with the lock", zone.deaths());
}

/// A child that has begun to change the table and does not end.
fn changing(table: &Table<Small>, owner: Owner) -> libc::pid_t {
    table.words()[0].set(0);
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", std::io::Error::last_os_error()),
        0 => loop {
            insert(table, &[b'y'; 90], 1, Some(owner));
            insert(table, LONG, 2, None);
            table.words()[0].set(1);
            let locked = table.lock();
            let entry = locked.find(table.hash(LONG), LONG).unwrap();
            locked.change(entry, |record| record.value.add(1));
            locked.move_to(entry, 3);
            let entry = locked.find(table.hash(b"kept"), b"kept").unwrap();
            assert!(locked.hold(entry, owner) && locked.hold(entry, owner));
            locked.release(entry, owner);
            locked.touch(entry);
            drop(locked);
            retire(table, LONG);
            retire(table, &[b'y'; 90]);
        },
        child => {
            while table.words()[0].get() == 0 {
                std::thread::yield_now();
            }
            child
        }
    }
}

/// Whatever happened, the table is whole, and what the living hold is held.
fn heal(table: &Table<Small>, kept: Owner) {
    let locked = table.lock();
    locked.check().unwrap();
    let entry = locked.find(table.hash(b"kept"), b"kept").unwrap();
    assert_eq!(locked.held_by(entry, kept), 1);
    locked.drop_dead(entry, |owner| owner == kept);
    assert_eq!(locked.held(entry), 1);
    drop(locked);
    retire(table, LONG);
    retire(table, &[b'y'; 90]);
    assert_eq!(table.len(), 1);
    table.lock().check().unwrap();
}

fn insert(table: &Table<Small>, text: &[u8], queue: u8, holder: Option<Owner>) {
    let new = New { hash: table.hash(text), text, queue, holder };
    table.lock().insert(new, |record| record.value.set(5)).unwrap();
}

fn retire(table: &Table<Small>, text: &[u8]) {
    let locked = table.lock();
    if let Some(entry) = locked.find(table.hash(text), text) {
        locked.retire(entry);
    }
}

fn kill(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: the child is this process's own and not reaped; `status` is valid for the call.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
    }
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL);
}
