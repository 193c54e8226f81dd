//! From one process model to another and back, under load.

use daemun_tests::{Setup, memory_of_all};

use crate::daemon::{Daemon, nothing_lost};

/// Each has slots for all kept connections, and some.
const MODELS: [&str; 4] = [
    "mpm native;",
    "mpm event { start_servers 2; }",
    "mpm worker { start_servers 2; }",
    "mpm prefork { max_request_workers 250; }",
];

#[test]
fn a_round_of_all_models_loses_nothing() {
    switch(1, 60);
}

#[test]
#[ignore = "a minute"]
fn soak_ten_rounds_of_all_models() {
    switch(10, 120);
}

fn switch(rounds: usize, kept: usize) {
    let setup = Setup::new().with_any_engine();
    let daemon = Daemon::start_as(setup, MODELS[0], 2);
    let load = daemon.load(kept);
    for round in 0..rounds {
        for model in MODELS.iter().cycle().skip(1).take(MODELS.len()) {
            let name = model.split([' ', ';']).nth(1).unwrap();
            daemon.switch(model);
            load.goes_round();
            let log = daemon.log();
            assert!(!log.contains("no successor has room"), "{name}:\n{log}");
            println!("  round {round}, {name}: {} KB in all", memory_of_all(daemon.pid()));
        }
    }
    nothing_lost(load.finish());
}
