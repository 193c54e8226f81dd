//! What a request for a file of 1 KB costs under each event method, from disk and from another server: CPU time of the worker, and what the kernel does
//! for it in its thread for received packets (ksoftirqd), at several numbers of kept connections.
//!
//! ```text
//! cargo run --release -p daemun-bench --bin methods [rounds] [method...]
//! ```
//!
//! The worker has the second CPU, the load and the other server the first: a request on every connection, then the
//! responses, and again. The least of all rounds is disturbed least. The program is `target/release/daemun`, or `DAEMUN_BINARY`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use daemun_bench::running::Running;
use daemun_sys::limits::{self, Resource};
use daemun_tests::{Folder, binary, children, free_port};

const METHODS: &[&str] = &["epoll", "io_uring"];
/// What is asked for, and where it is.
const KINDS: [(&str, &str); 2] = [("static", "/"), ("proxy", "/proxied/")];
const CONNECTIONS: [usize; 3] = [64, 1000, 8000];
const REQUESTS: usize = 160_000;
const LOAD_CPU: usize = 0;
const WORKER_CPU: usize = 1;

const CONFIGURATION: &str = "\
    daemon off;
    pid {dir}/server.pid;
    error_log {dir}/error.log;
    worker_processes 1;
    worker_cpu_affinity {cpu};
    worker_rlimit_nofile 20000;
    events { use {method}; worker_connections 19000; }
    http {
        access_log off;
        keepalive_requests 1000000;
        client_body_temp_path {dir}/body;
        proxy_temp_path {dir}/proxy;
        upstream other { server 127.0.0.1:{other}; keepalive 8000; }
        server {
            listen 127.0.0.1:{port} backlog=8192;
            root {dir};
            location /proxied/ { proxy_pass http://other/; }
        }
    }";

fn main() {
    let (_, most) = limits::limit(Resource::Descriptors).expect("a limit of descriptors");
    limits::set_limit(Resource::Descriptors, most).expect("the hard limit");
    limits::set_affinity(&[LOAD_CPU]).expect("two processors");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = arguments.first().map_or(5, |rounds| rounds.parse().expect("a number"));
    let named: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let methods = if named.is_empty() { METHODS } else { &named[..] };

    println!("CPU ns a request");
    let other = Server::start("epoll", LOAD_CPU, 0);
    for (kind, uri) in KINDS {
        for connections in CONNECTIONS {
            let mut costs = vec![Vec::new(); methods.len()];
            for _ in 0..rounds {
                for (method, costs) in methods.iter().zip(&mut costs) {
                    let server = Server::start(method, WORKER_CPU, other.port);
                    costs.push(measure(&server, uri, connections));
                }
            }
            for (method, costs) in methods.iter().zip(&mut costs) {
                costs.sort_unstable();
                let median = costs[costs.len() / 2];
                println!(
                    "{kind:>6} {connections:>6} {method:>9}  least {:>5}  median {median:>5}",
                    costs[0]
                );
            }
        }
    }
}

/// CPU ns a request in one run of one server.
fn measure(server: &Server, uri: &str, connections: usize) -> u64 {
    let request = format!("GET {uri} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load/1.0\r\n\r\n");
    let request = request.as_bytes();
    let mut streams: Vec<_> = (0..connections).map(|_| server.connect()).collect();
    // the file is young: it is kept in memory once it is two seconds old
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let mut response = vec![0; first_response(&mut streams[0], request)];
    let mut ask_all = |rounds: usize| {
        for _ in 0..rounds {
            streams.iter_mut().for_each(|stream| stream.write_all(request).expect("a server"));
            streams
                .iter_mut()
                .for_each(|stream| stream.read_exact(&mut response).expect("a response"));
        }
    };
    let rounds = REQUESTS / connections;
    ask_all(rounds.div_ceil(10));
    let before = server.cpu_time();
    ask_all(rounds);
    (server.cpu_time() - before) / (rounds * connections) as u64
}

/// Asks once and returns the response's length.
fn first_response(stream: &mut TcpStream, request: &[u8]) -> usize {
    stream.write_all(request).expect("a server");
    let mut bytes = [0; 4096];
    let mut length = 0;
    let is_end = |bytes: &[u8]| bytes.ends_with(b"xxxx");
    while !is_end(&bytes[..length]) || length < 1024 {
        length += stream.read(&mut bytes[length..]).expect("a response");
    }
    length
}

struct Server {
    process: Running,
    port: u16,
    folder: Folder,
}

impl Server {
    /// On a CPU of its own; `other` is the port of the server behind it.
    fn start(method: &str, cpu: usize, other: u16) -> Server {
        let folder = Folder::fresh();
        let port = free_port();
        let text = CONFIGURATION.replace("{dir}", &folder.path("").display().to_string());
        let text = text.replace("{port}", &port.to_string()).replace("{method}", method);
        let text = text.replace("{cpu}", &format!("{:02b}", 1 << cpu));
        let text = text.replace("{other}", &other.max(1).to_string());
        folder.write("server.conf", text);
        folder.write("index.html", [b'x'; 1024]);
        let mut command = Command::new(binary());
        command.arg("-p").arg(folder.path("")).args(["-c", "server.conf", "-e", "error.log"]);
        let process = Running::start(&mut command, port);
        let server = Server { process, port, folder };
        let log = server.folder.read("error.log");
        assert!(!log.contains("is not available"), "{log}");
        server
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        stream
    }

    /// ns of the worker and of its CPU's ksoftirqd.
    fn cpu_time(&self) -> u64 {
        let [worker] = children(self.process.pid())[..] else { panic!("not one worker") };
        time_on_cpu(worker) + time_on_cpu(ksoftirqd())
    }
}

/// The first number of schedstat (proc(5)).
fn time_on_cpu(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("a process");
    text.split(' ').next().and_then(|time| time.parse().ok()).expect("a number")
}

fn ksoftirqd() -> i32 {
    let wanted = format!("ksoftirqd/{WORKER_CPU}\n");
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_it = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == wanted)
    };
    pids.find(is_it).expect("a thread of the kernel")
}
