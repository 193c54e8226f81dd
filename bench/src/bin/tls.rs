//! What TLS costs a server in CPU time, beside nginx in the same run: a handshake by kind of key, a session
//! that is resumed, and a request that is passed on to a server behind over TLS.
//!
//! ```text
//! cargo run --release -p daemun-bench --bin tls [rounds] [row...]
//! ```
//!
//! The server that is measured has the second CPU; clients and what is behind have the first. Rounds go from one
//! server to the other, and the median of each is printed. The program is `target/release/daemun`, or
//! `DAEMUN_BINARY`; nginx is `/usr/sbin/nginx`, or `NGINX_BINARY`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use daemun_bench::cpu;
use daemun_bench::running::Running;
use daemun_bench::wrk::Load;
use daemun_sys::limits;
use daemun_tests::{
    Authority, Folder, Offer, TlsClient, VERSIONS, Version, binary, free_port, params_of,
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use rustls::NamedGroup;

const LOAD_CPU: usize = 0;
const SERVER_CPU: usize = 1;

/// A row: what is done so many times, and the most that it may cost of nginx's.
struct Row {
    name: &'static str,
    key: &'static SignatureAlgorithm,
    kind: Kind,
    bar: f64,
}

enum Kind {
    /// Connections of clients that know no session.
    Full(Version),
    /// Connections of one client.
    Resumed(Version),
    /// Requests on kept connections, which another server answers over TLS.
    Passed,
}

const HANDSHAKES: usize = 3000;
/// Without X25519MLKEM768, which daemun would take and nginx's OpenSSL may not have.
const GROUPS: [NamedGroup; 2] = [NamedGroup::X25519, NamedGroup::secp256r1];

fn rows() -> Vec<Row> {
    let [tls13, tls12] = VERSIONS;
    let (rsa, ecdsa) = (&PKCS_RSA_SHA256, &PKCS_ECDSA_P256_SHA256);
    vec![
        Row { name: "rsa", key: rsa, kind: Kind::Full(tls13), bar: 0.70 },
        Row { name: "rsa-1.2", key: rsa, kind: Kind::Full(tls12), bar: 0.70 },
        Row { name: "ecdsa", key: ecdsa, kind: Kind::Full(tls13), bar: 0.60 },
        Row { name: "ecdsa-1.2", key: ecdsa, kind: Kind::Full(tls12), bar: 0.60 },
        Row { name: "resumed", key: ecdsa, kind: Kind::Resumed(tls13), bar: 0.60 },
        Row { name: "resumed-1.2", key: ecdsa, kind: Kind::Resumed(tls12), bar: 0.60 },
        Row { name: "upstream", key: ecdsa, kind: Kind::Passed, bar: 0.85 },
    ]
}

const CONFIGURATION: &str = "\
    daemon off;
    pid {dir}/server.pid;
    error_log {dir}/error.log;
    worker_processes 1;
    worker_cpu_affinity {cpu};
    events { worker_connections 4000; }
    http {
        access_log off;
        keepalive_requests 1000000;
        client_body_temp_path {dir}/body;
        proxy_temp_path {dir}/proxy;
        fastcgi_temp_path {dir}/fastcgi;
        uwsgi_temp_path {dir}/uwsgi;
        scgi_temp_path {dir}/scgi;
        ssl_certificate {dir}/certificate;
        ssl_certificate_key {dir}/key;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:s:4m;
        upstream behind { server 127.0.0.1:{behind}; keepalive 64; }
        server {
            listen 127.0.0.1:{port} ssl;
            listen 127.0.0.1:{plain};
            root {dir};
            location /empty { return 204; }
            location /passed/ {
                proxy_pass https://behind/;
                proxy_http_version 1.1;
                proxy_set_header Connection '';
            }
        }
    }";

fn main() {
    limits::set_affinity(&[LOAD_CPU]).expect("two processors");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = arguments.first().map_or(5, |rounds| rounds.parse().expect("a number"));
    let nginx = std::env::var("NGINX_BINARY").unwrap_or("/usr/sbin/nginx".to_owned());
    let programs = [binary(), Path::new(&nginx)];
    println!("CPU us, and daemun's share of nginx's");
    for row in rows() {
        if arguments.len() > 1 && !arguments[1..].iter().any(|name| name == row.name) {
            continue;
        }
        let behind = Server::start(programs[1], LOAD_CPU, row.key, 1);
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (program, costs) in programs.iter().zip(&mut costs) {
                let server = Server::start(program, SERVER_CPU, row.key, behind.port);
                costs.push(server.cost(&row.kind));
            }
        }
        let [ours, nginx] = costs.map(median);
        let (name, bar) = (row.name, row.bar);
        println!("{name:>12}  {ours:7.1}  {nginx:7.1}  {:.2} (bar {bar:.2})", ours / nginx);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Server {
    process: Running,
    port: u16,
    plain: u16,
    _folder: Folder,
}

impl Server {
    fn start(program: &Path, cpu: usize, key: &'static SignatureAlgorithm, behind: u16) -> Server {
        let folder = Folder::fresh();
        let (port, plain) = (free_port(), free_port());
        let text = CONFIGURATION
            .replace("{dir}", &folder.path("").display().to_string())
            .replace("{cpu}", &format!("{:02b}", 1 << cpu))
            .replace("{port}", &port.to_string())
            .replace("{plain}", &plain.to_string())
            .replace("{behind}", &behind.to_string());
        let key = KeyPair::generate_for(key).expect("a key");
        let identity = Authority::new("authority").issue_for(&key, params_of("one.example"));
        folder.write("certificate", identity.certificate);
        folder.write("key", identity.key);
        folder.write("server.conf", text);
        folder.write("1k.html", [b'x'; 1024]);
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path("")).args(["-c", "server.conf", "-e", "error.log"]);
        let process = Running::start(&mut command, plain);
        Server { process, port, plain, _folder: folder }
    }

    /// CPU us a handshake, or a request.
    fn cost(&self, kind: &Kind) -> f64 {
        match kind {
            Kind::Full(version) => self.handshakes(false, version),
            Kind::Resumed(version) => self.handshakes(true, version),
            Kind::Passed => self.requests(),
        }
    }

    fn handshakes(&self, resumes: bool, version: Version) -> f64 {
        let offer = Offer { groups: GROUPS.to_vec(), ..Offer::of(version) };
        let mut config = Arc::new(offer.config());
        let mut connect = || {
            if !resumes {
                config = Arc::new(offer.config());
            }
            let mut client = TlsClient::connect(self.port, &config, "one.example");
            assert_eq!(client.get("/empty").status, 204);
            client.is_resumed()
        };
        // What is made once, and the session.
        (0..HANDSHAKES / 10).for_each(|_| _ = connect());
        let before = cpu::time_of_all(self.process.pid());
        for _ in 0..HANDSHAKES {
            assert_eq!(connect(), resumes, "a session");
        }
        let spent = cpu::time_of_all(self.process.pid()) - before;
        spent.as_secs_f64() * 1e6 / HANDSHAKES as f64
    }

    fn requests(&self) -> f64 {
        let run = |seconds| {
            let load = Load { processor: LOAD_CPU, connections: 32, seconds };
            load.run(self.plain, "/passed/1k.html", false)
        };
        run(1);
        let before = cpu::time_of_all(self.process.pid());
        let count = run(4);
        let spent = cpu::time_of_all(self.process.pid()) - before;
        spent.as_secs_f64() * 1e6 / count
    }
}
