//! Ten thousand connections: what they cost a server in memory and in latency, daemun beside
//! Debian's nginx.
//!
//! `cargo run --release -p daemun-bench --bin c10k` takes about three minutes and a machine with two
//! processors: the server has one, the clients the other. It fails where a bound is missed.

mod clients;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use daemun_sys::limits::{self, Resource};

use clients::Latencies;
use server::{Kind, Server};

const CONNECTIONS: usize = 10_000;
/// The tail of one round is chance: the median of several is compared.
const ROUNDS: usize = 7;
/// Each connection sends a request a second.
const ASKING: Duration = Duration::from_secs(6);
/// Each connection sends a byte of a request head a second.
const TRICKLING: Duration = Duration::from_secs(12);

const ASKING_GROWTH: usize = 4 << 10;
const TRICKLING_GROWTH: usize = 20 << 10;
const LATENCY: f64 = 1.15;

const CLIENT_PROCESSOR: usize = 1;

/// What one run measured.
struct Run {
    /// Kilobytes that the server took more than before.
    growth: usize,
    latencies: Latencies,
    errors: usize,
}

fn main() -> ExitCode {
    let (_, most) = limits::limit(Resource::Descriptors).expect("a limit of descriptors");
    limits::set_limit(Resource::Descriptors, most).expect("the hard limit");
    limits::set_affinity(&[CLIENT_PROCESSOR]).expect("two processors");
    let mut met = true;

    println!("{CONNECTIONS} connections, a request a second each");
    println!("{:>8} {:>12} {:>10} {:>10} {:>8}", "", "growth", "p50", "p99", "errors");
    let mut asked: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (kind, runs) in Kind::BOTH.into_iter().zip(&mut asked) {
            runs.push(ask(kind));
            print_run(kind, runs.last().expect("just measured"));
        }
    }
    let [nginx, daemun] = &asked;
    let (ours, theirs) = (p99(daemun), p99(nginx));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("median p99: nginx {theirs:?}, daemun {ours:?}: {ratio:.2} times");
    met &= bound("p99 latency", ratio <= LATENCY);
    met &= bound("growth", daemun.iter().all(|run| run.growth <= ASKING_GROWTH));
    met &= bound("no errors", daemun.iter().all(|run| run.errors == 0));

    println!("\n{CONNECTIONS} connections, a byte of a request head a second each");
    let trickled = Kind::BOTH.map(|kind| {
        let run = trickle(kind);
        print_run(kind, &run);
        run
    });
    met &= bound("growth", trickled[1].growth <= TRICKLING_GROWTH);
    met &= bound("no errors", trickled[1].errors == 0);
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ask(kind: Kind) -> Run {
    let server = Server::start(kind);
    let before = server.memory();
    let mut clients = clients::connect(server.port(), CONNECTIONS);
    let (latencies, errors) = clients.ask(ASKING);
    Run {
        growth: server.memory().saturating_sub(before),
        latencies,
        errors: errors + clients.count_closed(),
    }
}

fn trickle(kind: Kind) -> Run {
    let server = Server::start(kind);
    let before = server.memory();
    let mut clients = clients::connect(server.port(), CONNECTIONS);
    clients.trickle(TRICKLING);
    let growth = server.memory().saturating_sub(before);
    let closed = clients.count_closed();
    // Every head is ended now, and every request has to be answered.
    let (latencies, errors) = clients.end_heads();
    Run { growth, latencies, errors: errors + closed }
}

fn p99(runs: &[Run]) -> Duration {
    let mut each: Vec<_> = runs.iter().map(|run| run.latencies.percentile(99)).collect();
    each.sort_unstable();
    each[each.len() / 2]
}

fn print_run(kind: Kind, run: &Run) {
    let [p50, p99] = [50, 99].map(|percent| format!("{:?}", run.latencies.percentile(percent)));
    println!("{:>8} {:>9} KB {p50:>10} {p99:>10} {:>8}", kind.name(), run.growth, run.errors);
}

fn bound(what: &str, met: bool) -> bool {
    println!("{what}: {}", if met { "met" } else { "MISSED" });
    met
}
