//! What a reactor costs per request: the same tiny keep-alive responder (recv, ready-made send)
//! on bare epoll, on daemun's native engine under each event method, and on tokio's current-thread runtime.
//!
//! ```text
//! cargo run --release -p daemun-bench --bin reactor [requests] [connections] [rounds] [server...]
//! ```
//!
//! Server and load are processes of their own and share one CPU. The load sends a request on every
//! connection, then waits; the server, at the lowest priority, finds them all at once. So each
//! batch is one wait and no response wakes a CPU that sleeps, which makes runs comparable.
//! Counted is the server's CPU time alone; the least of all rounds is disturbed least. With `APART=1` the server has
//! a CPU of its own: requests then come while it works, as from another machine.

mod load;
mod parking;
mod servers;

use std::env;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Any method of daemun's can be named, too.
const SERVERS: &[&str] = &["bare", "epoll", "io_uring", "tokio"];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", server, requests] => serve(server, number(requests)),
        ["load", address, requests, connections] => {
            pin_to_cpu(0);
            load::run(address, number(requests), number(connections));
        }
        ["park"] => {
            pin_to_cpu(0);
            parking::measure();
        }
        ref counts => {
            let count = |index: usize, default| counts.get(index).map_or(default, |n| number(n));
            let servers = counts.get(3..).filter(|named| !named.is_empty()).unwrap_or(SERVERS);
            compare(count(0, 200_000), count(1, 64), count(2, 9), servers);
        }
    }
}

fn number(argument: &str) -> usize {
    argument.parse().expect("a number")
}

fn compare(requests: usize, connections: usize, rounds: usize, servers: &[&str]) {
    println!("{requests} requests over {connections} connections, CPU ns a request");
    let mut results = vec![Vec::new(); servers.len()];
    for _ in 0..rounds {
        for (server, results) in servers.iter().zip(&mut results) {
            results.push(round(server, requests, connections));
        }
    }
    for (server, results) in servers.iter().zip(&mut results) {
        results.sort_unstable();
        println!("{server:>8}  least {}  median {}", results[0], results[rounds / 2]);
    }
    run_self(&["park"]).wait().expect("a child to wait for");
}

/// One server and its load; the server's CPU ns a request.
fn round(server: &str, requests: usize, connections: usize) -> u64 {
    let requests = requests.to_string();
    let mut serving = run_self(&["serve", server, &requests]);
    let mut lines = BufReader::new(serving.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("a line").expect("readable");
    let address = line();
    let mut load = run_self(&["load", &address, &requests, &connections.to_string()]);
    let result = line().parse().expect("a number");
    for child in [&mut serving, &mut load] {
        child.wait().expect("a child to wait for");
    }
    result
}

fn run_self(arguments: &[&str]) -> std::process::Child {
    let output = if arguments[0] == "serve" { Stdio::piped() } else { Stdio::inherit() };
    let program = env::current_exe().expect("a path");
    Command::new(program).args(arguments).stdout(output).spawn().expect("a process")
}

fn serve(server: &str, requests: usize) {
    if env::var_os("APART").is_some() {
        pin_to_cpu(1);
    } else {
        pin_to_cpu(0);
        rustix::process::nice(19).expect("a lower priority");
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // the load connects without a pause
    rustix::net::listen(&listener, 4096).expect("a socket");
    listener.set_nonblocking(true).expect("a socket");
    println!("{}", listener.local_addr().expect("an address"));
    let meter = Meter::new(requests);
    match server {
        "bare" => servers::bare(listener, meter),
        "tokio" => servers::tokio(listener, meter),
        method => servers::daemun(method, listener, meter),
    }
}

/// Counts requests and takes the time, after a warm-up.
struct Meter {
    left: usize,
    measured: usize,
    start: u64,
}

impl Meter {
    fn new(requests: usize) -> Meter {
        let warm = requests / 5;
        Meter { left: requests, measured: requests - warm, start: 0 }
    }

    /// True after the last request.
    fn request(&mut self) -> bool {
        self.left -= 1;
        if self.left == self.measured {
            self.start = cpu_time();
        }
        if self.left == 0 {
            println!("{}", (cpu_time() - self.start) / self.measured as u64);
        }
        self.left == 0
    }
}

fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn pin_to_cpu(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("not pinned: {error}");
    }
}
