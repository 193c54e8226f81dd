//! The long tests: what may not be lost in a hundred reloads, twenty upgrades and a hundred deaths.

use std::fs;
use std::time::Duration;

use daemun_sys::signals;

use crate::server::{Server, begin_upgrade, children, eventually, under_load};

pub const TESTS: [(&str, fn()); 4] = [
    ("a_hundred_reloads_of_shared_sockets", a_hundred_reloads_of_shared_sockets),
    ("a_hundred_reloads_of_reuseport_sockets", a_hundred_reloads_of_reuseport_sockets),
    ("twenty_upgrades_there_and_back", twenty_upgrades_there_and_back),
    ("a_worker_killed_every_100_ms_for_10_s", a_worker_killed_every_100_ms_for_10_s),
];

fn a_hundred_reloads_of_shared_sockets() {
    reload_a_hundred_times("soak-shared", |_| {
        "listen 127.0.0.1:PORT\nworkers 4\ntext t\n".to_owned()
    });
}

fn a_hundred_reloads_of_reuseport_sockets() {
    let workers = |round: usize| if round.is_multiple_of(2) { 4 } else { 2 };
    let configuration =
        |round| format!("listen 127.0.0.1:PORT reuseport\nworkers {}\ntext t\n", workers(round));
    reload_a_hundred_times("soak-reuseport", configuration);
}

fn reload_a_hundred_times(name: &str, configuration: impl Fn(usize) -> String) {
    let server = Server::start(name, &configuration(0));
    let mut idle: Vec<_> = (0..1000).map(|_| server.client()).collect();
    let mut memory = Vec::new();
    let answers = under_load(&server, || {
        for round in 1..=100 {
            server.configure(&configuration(round));
            server.reload().unwrap();
            idle.iter_mut()
                .skip(round % 10)
                .step_by(10)
                .for_each(|client| drop(client.ask().unwrap()));
            memory.push(resident(server.pid()));
        }
    });
    idle.iter_mut().for_each(|client| drop(client.ask().unwrap()));
    println!("  {answers} answers, master {} to {} KB", memory[9], memory[99]);
    assert!(memory[99] < memory[9] + 1024, "the master grows: {memory:?}");
    server.stop();
}

fn twenty_upgrades_there_and_back() {
    let server = Server::start("soak-upgrade", "listen 127.0.0.1:PORT\nworkers 2\ntext t\n");
    let old = server.pid();
    let mut idle: Vec<_> = (0..1000).map(|_| server.client()).collect();
    let answers = under_load(&server, || {
        for _ in 0..20 {
            let new = begin_upgrade(&server, old);
            signals::send(old, signals::SIGWINCH).unwrap();
            eventually("the old workers end", || children(old) == [new]);
            idle.iter_mut().step_by(10).for_each(|client| drop(client.ask().unwrap()));
            signals::send(old, signals::SIGHUP).unwrap();
            eventually("the old binary has workers again", || children(old).len() == 3);
            signals::send(new, signals::SIGQUIT).unwrap();
            eventually("the pid file is back", || server.pid_in("toy.pid") == Some(old));
        }
    });
    idle.iter_mut().for_each(|client| drop(client.ask().unwrap()));
    println!("  {answers} answers");
    server.stop();
}

/// Kilobytes of a process in memory.
fn resident(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn a_worker_killed_every_100_ms_for_10_s() {
    let server = Server::start("soak-kill", "listen 127.0.0.1:PORT\nworkers 4\ntext t\n");
    let pid = server.pid();
    // One connection each; those of a killed worker are lost with it, and nobody else's.
    let mut idle: Vec<_> = (0..200).map(|_| server.client()).collect();
    let mut lost = 0;
    for _ in 0..100 {
        let before: Vec<_> =
            idle.iter_mut().map(|client| client.ask().expect("a worker that lives").1).collect();
        let victim = before[0];
        signals::send(victim, signals::SIGKILL).unwrap();
        eventually("it is gone", || !children(pid).contains(&victim));
        let mut place = 0;
        idle.retain_mut(|_| {
            place += 1;
            before[place - 1] != victim
        });
        lost += before.len() - idle.len();
        idle.extend((idle.len()..200).map(|_| server.client()));
        std::thread::sleep(Duration::from_millis(80));
    }
    println!("  {lost} connections lost, all of them a killed worker's");
    server.stop();
}
