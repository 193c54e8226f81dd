//! Connections that speak TLS live through reloads and upgrades like all others, and sessions are gone on with.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use daemun_tests::{Setup, TlsClient, VERSIONS, Version, client_config, eventually};

use crate::daemon::Daemon;
use crate::relays::{Chat, upgrade};

/// Clients reach the echo through two servers, and speak TLS with the first as that does with the second.
const CONFIGURATION: &str = "\
    pid {dir}/server.pid;
    error_log {dir}/error.log notice;
    worker_processes %WORKERS%;
    worker_rlimit_nofile 16384;
    events { {events} worker_connections 6144; }
    http {
        access_log off;
        keepalive_requests 1000000;
        keepalive_timeout 300s;
        client_header_timeout 300s;
        ssl_certificate {dir}/one.example.crt;
        ssl_certificate_key {dir}/one.example.key;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection upgrade;
        server {
            listen 127.0.0.1:{port} ssl %LISTEN%;
            location = / { return 200 $connection; }
            location /echo/ { proxy_pass https://127.0.0.1:{port2}; }
        }
        server {
            listen 127.0.0.1:{port2} ssl;
            location /echo/ { proxy_pass http://unix:{dir}/echo.sock; }
        }
    }";

#[test]
fn tls_lives_through_reloads_and_upgrades() {
    live(60, 20, 4, 1);
}

#[test]
#[ignore = "minutes"]
fn soak_two_thousand_clients_and_five_hundred_websockets() {
    live(2000, 500, 10, 2);
}

fn live(idle: usize, sockets: usize, reloads: usize, upgrades: usize) {
    let setup = Setup::new().mpm("mpm native;").identity_of("one.example");
    let daemon = Daemon::start_from(CONFIGURATION, setup, 2, "");
    let _echo = daemon.echo();
    let chat = Chat::start_over(daemon.port(), sockets, open);
    let visits = VERSIONS.map(|version| Visits::start(daemon.port(), version));
    let mut clients: Vec<_> =
        (0..idle).map(|number| Idle::connect(daemon.port(), number)).collect();
    let mut all_go_on = || {
        clients.iter_mut().for_each(Idle::goes_on);
        visits.iter().for_each(Visits::go_on);
        chat.goes_round();
    };
    for _ in 0..reloads {
        all_go_on();
        daemon.reload(2, "");
        daemon.has_workers(daemon.pid(), 2);
    }
    for _ in 0..upgrades {
        all_go_on();
        daemon.upgrade(2);
    }
    all_go_on();
    chat.end();
    for visits in visits {
        let [resumed, new] = visits.end();
        println!("  {resumed} new connections went on with a session, {new} without one");
        assert_eq!(new, 1, "only the first had none");
    }
    let log = daemon.log();
    assert!(!log.contains("[alert]") && !log.contains("[crit]"), "{log}");
}

/// A client that is silent most of the time.
struct Idle {
    client: TlsClient,
    connection: String,
}

impl Idle {
    fn connect(port: u16, number: usize) -> Idle {
        let config = client_config(VERSIONS[number % VERSIONS.len()], None);
        let mut client = TlsClient::connect(port, &config, "one.example");
        let connection = client.get("/").text().to_owned();
        Idle { client, connection }
    }

    fn goes_on(&mut self) {
        assert_eq!(self.client.get("/").text(), self.connection);
    }
}

/// Clients that come one after the other, each with the session of the one before.
struct Visits {
    ends: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    visitor: JoinHandle<[usize; 2]>,
}

impl Visits {
    fn start(port: u16, version: Version) -> Visits {
        let (ends, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (over, counted) = (Arc::clone(&ends), Arc::clone(&count));
        let visitor = thread::spawn(move || {
            let config = client_config(version, None);
            let mut kinds = [0, 0];
            while !over.load(Ordering::SeqCst) {
                let mut client = TlsClient::connect(port, &config, "one.example");
                assert_eq!(client.get("/").status, 200);
                kinds[usize::from(!client.is_resumed())] += 1;
                counted.fetch_add(1, Ordering::SeqCst);
            }
            kinds
        });
        Visits { ends, count, visitor }
    }

    /// Waits until some more have come.
    fn go_on(&self) {
        let end = self.count.load(Ordering::SeqCst) + 5;
        eventually("clients come", || {
            assert!(!self.visitor.is_finished(), "a client was not served");
            self.count.load(Ordering::SeqCst) >= end
        });
    }

    /// How many went on with a session, and how many had none.
    fn end(self) -> [usize; 2] {
        self.ends.store(true, Ordering::SeqCst);
        self.visitor.join().expect("every client is served")
    }
}

fn open(port: u16, uri: &str) -> impl Read + Write + use<> {
    let config = client_config(VERSIONS[uri.len() % VERSIONS.len()], None);
    let mut client = TlsClient::connect(port, &config, "one.example");
    client.send(upgrade(uri).as_bytes());
    let head = client.head().unwrap();
    assert_eq!(head.status, 101);
    client.0
}
