//! Reloads lose nothing, leave nothing behind and cost no memory.

use daemun_tests::{memory, memory_of_all};

use crate::daemon::{Daemon, nothing_lost};

#[test]
fn reloads_lose_nothing() {
    reload("", |_| 4, 5, 100);
}

#[test]
fn reloads_with_sockets_of_their_own_lose_nothing() {
    reload("reuseport", four_then_two, 6, 100);
}

#[test]
#[ignore = "a minute"]
fn soak_a_hundred_reloads() {
    reload("", |_| 4, 100, 1000);
}

#[test]
#[ignore = "a minute"]
fn soak_a_hundred_reloads_with_sockets_of_their_own() {
    reload("reuseport", four_then_two, 100, 1000);
}

fn four_then_two(round: usize) -> usize {
    if round.is_multiple_of(2) { 4 } else { 2 }
}

fn reload(listen: &str, workers: fn(usize) -> usize, rounds: usize, kept: usize) {
    /// Rounds until everything has been used once.
    const WARM: usize = 10;
    /// Sizes that are looked at together: in a single one a page may be shared that otherwise is not.
    const FEW: usize = 7;
    let daemon = Daemon::start(workers(0), listen);
    let load = daemon.load(kept);
    let master = daemon.pid();
    let mut sizes = Vec::new();
    for round in 1..=rounds {
        daemon.reload(workers(round), listen);
        daemon.has_workers(master, workers(round));
        load.goes_round();
        if workers(round) == 4 {
            sizes.push((memory(master), memory_of_all(master)));
        }
    }
    nothing_lost(load.finish());
    if sizes.len() > WARM {
        let (warm, end) = (median(&sizes[WARM..][..FEW]), median(&sizes[sizes.len() - FEW..]));
        println!("  master {} to {} KB, all {} to {} KB", warm.0, end.0, warm.1, end.1);
        assert!(end.0 < warm.0 + 512, "the master grows: {sizes:?}");
        assert!(end.1 < warm.1 + warm.1 / 10, "the server grows: {sizes:?}");
    }
}

/// Of each of the two.
fn median(sizes: &[(usize, usize)]) -> (usize, usize) {
    let (mut masters, mut all): (Vec<usize>, Vec<usize>) = sizes.iter().copied().unzip();
    masters.sort_unstable();
    all.sort_unstable();
    (masters[masters.len() / 2], all[all.len() / 2])
}
