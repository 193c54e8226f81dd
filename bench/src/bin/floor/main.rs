//! What passing on a response of 1 KB costs: Debian's nginx, daemun, and a relay that does nothing but receive and send,
//! which is what the kernel's part alone costs here.
//!
//! `cargo run --release -p daemun-bench --bin floor [rounds]` needs wrk and nginx, and a machine with two processors:
//! the proxy has one, the clients and the server behind it the other. Each figure is the median of its rounds, which
//! go on in turns.

mod relay;

use std::process::Command;

use daemun_bench::cpu;
use daemun_bench::running::Running;
use daemun_bench::wrk::Load;
use daemun_tests::{Folder, binary, free_port};

const LOAD: Load = Load { processor: 1, connections: 64, seconds: 3 };
const PROXY_PROCESSOR: usize = 0;

/// nginx and daemun, before the server behind them and as it.
const CONFIGURATION: &str = "\
    daemon off;
    pid {dir}/server.pid;
    error_log {dir}/error.log;
    worker_processes 1;
    events { worker_connections 1000; }
    http {
        access_log off;
        sendfile on;
        keepalive_requests 1000000000;
        client_body_temp_path {dir}/body;
        proxy_temp_path {dir}/proxy;
        upstream other { server 127.0.0.1:{other}; keepalive 128; }
        server {
            listen 127.0.0.1:{port};
            root {dir};
            location /proxied/ {
                proxy_pass http://other/;
                proxy_http_version 1.1;
                proxy_set_header Connection \"\";
            }
        }
    }";

#[derive(Clone, Copy)]
enum Kind {
    Nginx,
    Daemun,
    Relay,
}

const KINDS: [(Kind, &str); 3] =
    [(Kind::Nginx, "nginx"), (Kind::Daemun, "daemun"), (Kind::Relay, "relay")];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse::<u16>().expect("a number");
    if let [word, port, other] = &arguments[..]
        && word == "relay"
    {
        relay::serve(number(port), number(other));
    }
    let rounds = arguments.first().map_or(5, number);

    let other = Server::start(Kind::Nginx, LOAD.processor, 1);
    let mut costs = KINDS.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((kind, _), costs) in KINDS.iter().zip(&mut costs) {
            costs.push(cpu_per_request(*kind, other.port));
        }
    }
    let medians = costs.map(|mut costs| {
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    });
    println!("CPU time a request, and to nginx's");
    for ((_, name), median) in KINDS.iter().zip(medians) {
        println!("{name:>8} {median:>8.2} us {:>6.2}", median / medians[0]);
    }
}

/// Microseconds of all the proxy's processes.
fn cpu_per_request(kind: Kind, other: u16) -> f64 {
    let proxy = Server::start(kind, PROXY_PROCESSOR, other);
    // A relay passes on the path as well: it is the same for all.
    let uri = if matches!(kind, Kind::Relay) { "/file" } else { "/proxied/file" };
    Load { seconds: 1, ..LOAD }.run(proxy.port, uri, false);
    let before = cpu::time_of_all(proxy.process.pid());
    let requests = LOAD.run(proxy.port, uri, false);
    (cpu::time_of_all(proxy.process.pid()) - before).as_secs_f64() * 1e6 / requests
}

struct Server {
    process: Running,
    port: u16,
    _folder: Folder,
}

impl Server {
    /// On `processor`, before the server at the port `other`.
    fn start(kind: Kind, processor: usize, other: u16) -> Server {
        let folder = Folder::fresh();
        let port = free_port();
        let directory = folder.path("");
        let text = CONFIGURATION.replace("{dir}", &directory.display().to_string());
        let text = text.replace("{port}", &port.to_string());
        folder.write("server.conf", text.replace("{other}", &other.to_string()));
        folder.write("file", [b'x'; 1024]);
        let mut command = Command::new("taskset");
        command.args(["-c", &processor.to_string()]);
        match kind {
            Kind::Nginx => command.arg("/usr/sbin/nginx"),
            Kind::Daemun => command.arg(binary()),
            Kind::Relay => {
                command.arg(std::env::current_exe().expect("this program"));
                command.args(["relay", &port.to_string(), &other.to_string()])
            }
        };
        if !matches!(kind, Kind::Relay) {
            command.arg("-p").arg(&directory).args(["-c", "server.conf", "-e", "error.log"]);
        }
        let process = Running::start(&mut command, port);
        Server { process, port, _folder: folder }
    }
}
