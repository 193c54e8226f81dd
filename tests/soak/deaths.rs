//! A worker that dies takes its own connections along and nothing else.

use std::time::Duration;

use daemun_tests::{Kind, Tally, memory, signals};

use crate::daemon::Daemon;

#[test]
fn only_a_dead_workers_connections_are_lost() {
    kill("", 5, 100);
}

#[test]
#[ignore = "10 s"]
fn soak_a_worker_dies_every_100_ms_for_10_s() {
    kill("", 100, 1000);
}

#[test]
#[ignore = "10 s"]
fn soak_a_worker_with_a_socket_of_its_own_dies_every_100_ms_for_10_s() {
    kill("reuseport", 100, 1000);
}

fn kill(listen: &str, deaths: usize, kept: usize) {
    let daemon = Daemon::start(4, listen);
    let load = daemon.load(kept);
    let master = daemon.pid();
    let before = memory(master);
    let mut dead = Vec::new();
    for round in 0..deaths {
        std::thread::sleep(Duration::from_millis(100));
        let workers = daemon.workers();
        if let Some(victim) = workers.get(round % workers.len().max(1)) {
            signals::send(*victim, signals::SIGKILL).unwrap();
            dead.push(*victim);
        }
    }
    daemon.has_workers(master, 4);
    let (kept, fresh) = load.finish();
    let after = memory(master);
    println!("  {} workers died, master {before} to {after} KB", dead.len());
    println!("  kept connections: {}", kept.line());
    println!("  new connections:  {}", fresh.line());
    check(&kept, &dead);
    check(&fresh, &dead);
    assert!(after < before + 512, "the master grows");
}

fn check(tally: &Tally, dead: &[i32]) {
    assert!(tally.answered > 0, "there was no load");
    assert_eq!(tally.count(Kind::Refused), 0);
    assert_eq!(tally.count(Kind::Wrong), 0);
    let bereaved = tally.losses.iter().filter_map(|loss| loss.worker);
    let alive: Vec<_> = bereaved.filter(|worker| !dead.contains(worker)).collect();
    assert_eq!(alive, [], "lost by workers that live");
    // Who had accepted the others never said so; each client had one at a time.
    const CLIENTS: usize = 6;
    let unknown = tally.losses.iter().filter(|loss| loss.worker.is_none());
    assert!(unknown.count() <= dead.len() * CLIENTS);
}
