//! Apache's process models in both servers: what a request costs, and what an idle connection.
//!
//! `cargo run --release -p daemun-bench --bin models` takes about two minutes and a machine with two
//! processors: the server has one, the clients the other. It needs wrk and Debian's apache2-bin, and
//! fails where a bound is missed.

mod server;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;

use daemun_bench::wrk::Load;
use daemun_sys::limits::{self, Resource};

use server::{Kind, Server, Shape};

/// Each ratio is the median of so many, of runs that followed each other.
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 64;
const LOAD: Load = Load { processor: 1, connections: CONNECTIONS, seconds: 3 };

/// A process model, and the bounds for it.
struct Model {
    name: &'static str,
    /// Times Apache's CPU time for a request.
    cpu: f64,
    idle_connections: usize,
    /// Bytes of memory for each of them.
    memory: usize,
}

const MODELS: [Model; 3] = [
    Model { name: "prefork", cpu: 0.35, idle_connections: 64, memory: 80 << 10 },
    Model { name: "worker", cpu: 0.40, idle_connections: 64, memory: 20 << 10 },
    Model { name: "event", cpu: 0.30, idle_connections: 2000, memory: 1 << 10 },
];

fn main() -> ExitCode {
    let (_, most) = limits::limit(Resource::Descriptors).expect("a limit of descriptors");
    limits::set_limit(Resource::Descriptors, most).expect("the hard limit");
    let mut met = true;

    println!("1 KB file over {CONNECTIONS} kept connections: CPU time a request");
    println!("{:>8} {:>12} {:>12} {:>7} {:>7}", "", "apache", "daemun", "ratio", "bound");
    for model in &MODELS {
        let mut rounds: Vec<[f64; 2]> =
            (0..ROUNDS).map(|_| Kind::BOTH.map(|kind| cpu_per_request(kind, model))).collect();
        rounds.sort_by(|a, b| (a[1] / a[0]).total_cmp(&(b[1] / b[0])));
        let [apache, daemun] = rounds[ROUNDS / 2];
        let ratio = daemun / apache;
        println!(
            "{:>8} {apache:>9.2} us {daemun:>9.2} us {ratio:>7.2} {:>7.2}",
            model.name, model.cpu
        );
        met &= bound(ratio <= model.cpu);
    }

    println!("\nmemory (PSS of all processes) of an idle kept connection");
    println!("{:>8} {:>6} {:>12} {:>12} {:>12}", "", "count", "apache", "daemun", "bound");
    for model in &MODELS {
        let [apache, daemun] = Kind::BOTH.map(|kind| memory_per_connection(kind, model));
        println!(
            "{:>8} {:>6} {apache:>10} B {daemun:>10} B {:>10} B",
            model.name, model.idle_connections, model.memory
        );
        met &= bound(daemun <= model.memory);
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Microseconds of all the server's processes.
fn cpu_per_request(kind: Kind, model: &Model) -> f64 {
    let server = Server::start(kind, Shape { model: model.name, connections: CONNECTIONS });
    let before = server.cpu_time();
    // Apache closes some connections where its threads are busy.
    let requests = LOAD.run(server.port(), "/file", kind == Kind::Apache);
    let used = server.cpu_time() - before;
    used.as_secs_f64() * 1e6 / requests
}

fn memory_per_connection(kind: Kind, model: &Model) -> usize {
    let count = model.idle_connections;
    let server = Server::start(kind, Shape { model: model.name, connections: count });
    let before = server.memory();
    let clients: Vec<TcpStream> = (0..count).map(|_| acquainted(server.port())).collect();
    let growth = server.memory().saturating_sub(before);
    drop(clients);
    (growth << 10) / count
}

/// A connection that had one answer.
fn acquainted(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.write_all(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("room to send");
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while answer.len() < server::FILE_SIZE {
        let count = stream.read(&mut part).expect("an answer");
        assert!(count > 0, "the server closed");
        answer.extend_from_slice(&part[..count]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    stream
}

fn bound(met: bool) -> bool {
    if !met {
        println!("{:>8} MISSED", "");
    }
    met
}
