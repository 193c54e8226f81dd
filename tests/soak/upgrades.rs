//! Binary upgrades lose nothing.

use daemun_tests::memory_of_all;

use crate::daemon::{Daemon, nothing_lost};

#[test]
fn upgrades_lose_nothing() {
    upgrade("", 1, 100);
}

#[test]
#[ignore = "a minute"]
fn soak_twenty_upgrades_there_and_back() {
    upgrade("", 20, 1000);
}

#[test]
#[ignore = "a minute"]
fn soak_twenty_upgrades_with_sockets_of_their_own() {
    upgrade("reuseport", 20, 1000);
}

fn upgrade(listen: &str, rounds: usize, kept: usize) {
    let daemon = Daemon::start(4, listen);
    let load = daemon.load(kept);
    let mut sizes = Vec::new();
    for _ in 0..rounds {
        daemon.upgrade_and_go_back(4);
        load.goes_round();
        daemon.upgrade(4);
        load.goes_round();
        sizes.push(memory_of_all(daemon.pid()));
    }
    nothing_lost(load.finish());
    let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
    println!("  all processes {first} to {last} KB");
    assert!(last < first + first / 10 + 512, "the server grows: {sizes:?}");
}
