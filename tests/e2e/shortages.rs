//! What runs out: descriptors, connections, threads, memory. Whoever waits makes room for whoever is served.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use daemun_tests::{Client, Server, Setup, children};
use rustix::net::sockopt;
use rustix::process::{Pid, Signal, kill_process};

use crate::backend::saying;

fn limited(main: &str, events: &str, http: &str) -> String {
    format!(
        "daemon off;
         worker_processes 1;
         {main}
         pid {{dir}}/server.pid;
         error_log {{dir}}/error.log info;
         events {{ {{events}} {events} }}
         http {{ access_log off; client_body_temp_path {{dir}}/body; {http} }}"
    )
}

const MODELS: [&str; 2] = ["mpm native;", "mpm event { start_servers 1; threads_per_child 4; }"];

#[test]
fn idle_connections_leave_descriptors_to_files_and_upstreams() {
    let backend = saying("HTTP/1.0 200 OK\r\n\r\nx");
    for model in MODELS {
        let http = format!(
            "server {{
                 listen 127.0.0.1:{{port}};
                 keepalive_timeout 60s;
                 root {{dir}};
                 location /behind {{ proxy_pass http://127.0.0.1:{backend}; }}
             }}"
        );
        let setup = Setup::new().mpm(model).file("a", "content");
        let server = setup.start(&limited("worker_rlimit_nofile 64;", "", &http));
        let mut clients: Vec<Client> = Vec::new();
        for number in 0..200 {
            let mut client = server.client();
            let uri = if number % 2 == 0 { "/a" } else { "/behind" };
            assert_eq!(client.get(uri).status, 200, "{model}: client {number}");
            clients.push(client);
        }
        server.logs("open files are in use (worker_rlimit_nofile), reusing connections");
    }
}

#[test]
fn many_at_once_are_served_with_few_descriptors() {
    let http = "server { listen 127.0.0.1:{port}; keepalive_timeout 60s; root {dir}; }";
    for model in MODELS {
        let setup = Setup::new().mpm(model).file("a", "content");
        let server = setup.start(&limited("worker_rlimit_nofile 64;", "", http));
        let asking = |_| {
            let mut client = server.client();
            client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        };
        let mut clients: Vec<Client> = (0..200).map(asking).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.answer().text(), "content", "{model}: client {number}");
        }
    }
}

#[test]
fn threads_leave_descriptors_to_serve_with() {
    let http = "server { listen 127.0.0.1:{port}; keepalive_timeout 60s; root {dir}; }";
    for model in [
        "mpm event { start_servers 1; threads_per_child 32; }",
        "mpm worker { start_servers 1; threads_per_child 32; }",
    ] {
        let setup = Setup::new().mpm(model).file("a", "content");
        let mut server = setup.start(&limited("worker_rlimit_nofile 64;", "", http));
        server.expect("threads could be started");
        assert_eq!(server.get("/a").text(), "content", "{model}");
        server.logs("of 32 threads could be started (24: Too many open files)");
    }
}

#[test]
fn half_heads_hold_nobody_up() {
    for model in MODELS {
        let http = "server { listen 127.0.0.1:{port}; client_header_timeout 60s; return 200 x; }";
        let setup = Setup::new().mpm(model);
        let server = setup.start(&limited("", "worker_connections 30;", http));
        let _half: Vec<Client> = (0..60)
            .map(|_| {
                let mut client = server.client();
                client.send("GET / HTTP/1.1\r\nHost: ");
                client
            })
            .collect();
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(server.get("/").status, 200, "{model}");
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{model}");
    }
}

#[test]
fn who_resets_before_being_accepted_is_dropped_without_a_word() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 $pid; }");
    assert_eq!(server.get("/").status, 200);
    let workers = children(server.pid());
    let send = |signal| {
        workers.iter().for_each(|pid| kill_process(Pid::from_raw(*pid).unwrap(), signal).unwrap())
    };
    send(Signal::STOP);
    for _ in 0..20 {
        let client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    }
    send(Signal::CONT);
    assert_eq!(server.get("/").status, 200);
    let log = server.error_log();
    assert!(!log.contains("accept") && !log.contains("[crit]"), "{log}");
}
