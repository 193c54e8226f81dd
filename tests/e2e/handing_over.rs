//! Idle connections pass to other workers: fairly, to nobody but kin, and served until somebody takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use daemun_tests::{Client, Server, Setup, children, eventually, is_running, signals, title};

const FOUR_WORKERS: &str = "
    worker_processes 4;
    daemon off;
    pid {dir}/server.pid;
    error_log {dir}/error.log info;
    events { {events} worker_connections 900; }
    http {
        access_log off;
        client_body_temp_path {dir}/body;
        server { listen 127.0.0.1:{port}; keepalive_timeout 60s; return 200 $pid; }
    }";

fn native(directives: &str) -> Server {
    Setup::new()
        .mpm("mpm native;")
        .start(&FOUR_WORKERS.replace("listen 127.0.0.1:{port}", directives))
}

/// Connections that wait for their next request, by the worker that has them.
fn counted(clients: &mut [Client]) -> BTreeMap<String, usize> {
    let mut workers = BTreeMap::new();
    for client in clients {
        *workers.entry(client.get("/").text().to_owned()).or_default() += 1;
    }
    workers
}

fn kept(server: &Server, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| server.client()).collect();
    assert!(clients.iter_mut().all(|client| client.get("/").status == 200));
    clients
}

fn are_fair(workers: &BTreeMap<String, usize>, each: usize) {
    let fair = |count: &usize| (each * 7 / 10..=each * 13 / 10).contains(count);
    assert!(workers.len() == 4 && workers.values().all(fair), "{workers:?}");
}

fn reload(server: &Server) {
    let old = children(server.pid());
    assert_eq!(server.run(&["-s", "reload"]).code, Some(0));
    eventually("the old workers end", || {
        children(server.pid()).iter().all(|worker| !old.contains(worker))
    });
}

#[test]
fn workers_get_fair_shares_of_what_others_leave() {
    for listen in ["listen 127.0.0.1:{port}", "listen 127.0.0.1:{port} reuseport"] {
        let server = native(listen);
        let mut clients = kept(&server, 400);
        for _ in 0..3 {
            reload(&server);
            are_fair(&counted(&mut clients), 100);
        }
    }
}

/// A server in the background: a new binary may take its place.
struct Daemon {
    setup: Setup,
    master: i32,
}

impl Daemon {
    fn start(setup: Setup, configuration: &str) -> Daemon {
        let output = setup.run(&configuration.replace("daemon off;", ""), &[]);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        let mut daemon = Daemon { setup, master: 0 };
        daemon.master = daemon.in_pid_file().unwrap();
        daemon
    }

    fn in_pid_file(&self) -> Option<i32> {
        self.setup.folder.read("server.pid").trim().parse().ok()
    }

    fn kept(&self, count: usize) -> Vec<Client> {
        let connected = || Client::connect(self.setup.port());
        let mut clients: Vec<Client> = (0..count).map(|_| connected()).collect();
        assert!(clients.iter_mut().all(|client| client.get("/").status == 200));
        clients
    }

    /// USR2, and QUIT for the old master once the new one has as many workers.
    fn upgrade(&mut self, workers: usize) {
        let old = self.master;
        signals::send(old, signals::SIGUSR2).unwrap();
        eventually("the new master stands", || self.in_pid_file().is_some_and(|pid| pid != old));
        self.master = self.in_pid_file().unwrap();
        eventually("its workers serve", || {
            let workers_now = children(self.master);
            workers_now.len() >= workers
                && workers_now.iter().all(|pid| title(*pid).contains("worker process"))
        });
        signals::send(old, signals::SIGQUIT).unwrap();
        eventually("the old master ends", || !is_running(old));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = signals::send(self.master, signals::SIGTERM);
        eventually("the daemon ends", || !is_running(self.master));
    }
}

#[test]
fn an_upgrade_shares_fairly_too() {
    let setup = Setup::new().mpm("mpm native;");
    let mut daemon = Daemon::start(setup, FOUR_WORKERS);
    let mut clients = daemon.kept(400);
    daemon.upgrade(4);
    are_fair(&counted(&mut clients), 100);
}

#[test]
fn prefork_keeps_its_connections_over_an_upgrade() {
    let setup = Setup::new().mpm("mpm prefork { start_servers 26; max_request_workers 60; }");
    let configuration = FOUR_WORKERS.replace("worker_processes 4;", "");
    let mut daemon = Daemon::start(setup, &configuration);
    let mut clients = daemon.kept(24);
    // The new master knows nothing of the old one's connections.
    let few =
        daemon.setup.folder.read("server.conf").replace("start_servers 26", "start_servers 4");
    daemon.setup.folder.write("server.conf", few.replace("worker_processes 4;", ""));
    daemon.upgrade(4);
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
}

/// Everything that strangers could connect to.
fn abstract_names(pid: i32) -> BTreeSet<String> {
    let folder = Path::new("/proc").join(pid.to_string()).join("fd");
    let links =
        fs::read_dir(folder).unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let own: BTreeSet<String> = links
        .filter_map(|link| {
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned)
        })
        .collect();
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    let names = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.len() == 8 && own.contains(fields[6])).then(|| fields[7].to_owned())
    });
    names.collect()
}

#[test]
fn strangers_find_no_way_into_the_hand_over() {
    let server = native("listen 127.0.0.1:{port}");
    eventually("four workers", || children(server.pid()).len() == 4);
    let names = abstract_names(server.pid());
    let control = format!("/{}/control", server.pid());
    assert!(names.len() == 1 && names.iter().all(|name| name.ends_with(&control)), "{names:?}");
    // Between the fork and its own life a worker still has what is the master's.
    eventually("workers have no name at all", || {
        children(server.pid()).iter().all(|worker| abstract_names(*worker).is_empty())
    });
}

#[test]
fn whoever_asks_before_there_is_a_successor_is_answered() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 $pid; }");
    let mut clients = kept(&server, 4);
    let worker = clients[0].get("/").text().parse().unwrap();
    signals::send(worker, signals::SIGQUIT).unwrap();
    server.logs("gracefully shutting down");
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    eventually("it ends without a successor", || !is_running(worker));
    assert!(clients.iter_mut().all(Client::is_closed));
}
