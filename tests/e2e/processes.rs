//! Master and workers: start, reload, deaths, the end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use daemun_tests::{
    Client, Server, Setup, children, eventually, is_running, named, signals, title,
};

const TWO_WORKERS: &str = "
    daemon off;
    master_process on;
    worker_processes 2;
    worker_cpu_affinity auto;
    worker_priority 3;
    worker_rlimit_nofile 512;
    worker_rlimit_core 1m;
    worker_shutdown_timeout 5s;
    working_directory {dir};
    env GATE=open;
    pid {dir}/server.pid;
    error_log {dir}/error.log info;
    events { {events} worker_connections 100; multi_accept on; accept_mutex off; }
    http {
        access_log off;
        client_body_temp_path {dir}/body;
        server {
            listen 127.0.0.1:{port};
            location /pid { return 200 $pid; }
            location /status { stub_status; }
        }
    }";

#[test]
fn workers_get_what_the_configuration_gives_them() {
    let server = Setup::new().mpm("mpm native;").start(TWO_WORKERS);
    let master = server.pid();
    let pid_file = fs::read_to_string(server.pid_file()).unwrap();
    assert_eq!(pid_file, format!("{master}\n"));
    eventually("two workers", || children(master).len() == 2);
    eventually("all have their titles", || {
        let workers = children(master);
        title(master).starts_with("daemun: master process ")
            && workers.iter().all(|pid| title(*pid) == "daemun: worker process")
    });
    let worker = children(master)[0];
    let limits = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files"));
    assert_eq!(files.unwrap().split_whitespace().nth(3), Some("512"));
    let folder = fs::read_link(format!("/proc/{worker}/cwd")).unwrap();
    assert_eq!(folder, server.folder().path("").canonicalize().unwrap());
    let stat = fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
    let nice = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16);
    assert_eq!(nice, Some("3"), "{stat}");
}

#[test]
fn a_killed_worker_is_replaced() {
    let mut server = Server::http("server { listen 127.0.0.1:{port}; return 200 $pid; }");
    server.expect("exited on signal 9");
    let worker: i32 = server.get("/").text().parse().unwrap();
    assert!(children(server.pid()).contains(&worker));
    signals::send(worker, signals::SIGKILL).unwrap();
    server.logs("exited on signal 9");
    let next: i32 = server.get("/").text().parse().unwrap();
    assert_ne!(next, worker);
}

#[test]
fn a_reload_changes_answers_and_keeps_connections() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 one; }");
    let mut kept = server.client();
    assert_eq!(kept.get("/").text(), "one");
    server.configure_http("server { listen 127.0.0.1:{port}; return 200 two; }");
    let output = server.run(&["-s", "reload"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    eventually("new connections are the new worker's", || server.get("/").text() == "two");
    eventually("the kept connection is the new worker's", || kept.get("/").text() == "two");
}

#[test]
fn a_reload_that_fails_says_why_and_changes_nothing() {
    let mut server = Server::http("server { listen 127.0.0.1:{port}; return 200 one; }");
    server.expect("unknown directive \"lisen\"");
    server.configure_http("server { lisen 127.0.0.1:{port}; }");
    let output = server.run(&["-s", "reload"]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("unknown directive \"lisen\""), "{}", output.stderr);
    assert_eq!(server.get("/").text(), "one");
}

#[test]
fn quit_lets_requests_finish_and_stop_does_not() {
    let slow = "server { listen 127.0.0.1:{port}; root {dir}; limit_rate 10k; }";
    let mut server = Setup::new().file("a", vec![b'x'; 25_000]).http(slow);
    let mut client = server.client();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head();
    assert_eq!(server.run(&["-s", "quit"]).code, Some(0));
    assert_eq!(client.exactly(25_000).len(), 25_000);
    assert_eq!(head.content_length(), Some(25_000));
    assert_eq!(server.wait(), Some(0));
    server.logs("gracefully shutting down");

    let mut server = Setup::new().file("a", vec![b'x'; 250_000]).http(slow);
    let mut client = server.client();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    assert_eq!(server.run(&["-s", "stop"]).code, Some(0));
    assert_eq!(server.wait(), Some(0));
    assert!(client.rest().len() < 250_000);
    assert!(!server.pid_file().exists());
}

#[test]
fn a_daemon_leaves_the_terminal() {
    let setup = Setup::new();
    let output = setup.run(
        "daemon on;
         user www-data;
         load_module modules/ngx_http_empty_gif_module.so;
         pid {dir}/server.pid;
         error_log {dir}/error.log notice;
         events { }
         http { access_log off; server { listen 127.0.0.1:{port}; } }",
        &[],
    );
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let pid = setup.folder.read("server.pid").trim().parse().unwrap();
    assert!(is_running(pid));
    signals::send(pid, signals::SIGQUIT).unwrap();
    eventually("it ends", || !is_running(pid));
}

#[test]
fn without_a_master_one_process_does_everything() {
    let server = Server::start(
        "daemon off;
         master_process off;
         pid {dir}/server.pid;
         error_log {dir}/error.log info;
         events { {events} }
         http { access_log off; server { listen 127.0.0.1:{port}; return 200 $pid; } }",
    );
    assert_eq!(server.get("/").text(), server.pid().to_string());
    assert_eq!(children(server.pid()), Vec::<i32>::new());
}

#[test]
fn the_status_page_counts() {
    let server = Server::start(TWO_WORKERS);
    let counters = || -> Vec<u64> {
        let page = server.get("/status");
        let words = page.text().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        words.iter().filter_map(|word| word.parse().ok()).collect()
    };
    let idle: Vec<_> = (0..5)
        .map(|_| {
            let mut client = server.client();
            client.get("/pid");
            client
        })
        .collect();
    eventually("five wait, one is answered", || {
        let counters = counters();
        // active, accepts, handled, requests, reading, writing, waiting
        counters[0] == 6 && counters[5] == 1 && counters[6] == 5
    });
    let counters = counters();
    assert_eq!(counters[1], counters[2], "every connection was handled");
    assert!(counters[3] >= 6);
    drop(idle);
}

#[test]
fn without_a_configuration_the_current_folder_is_served() {
    let setup = Setup::new().file("html/index.html", "<h1>mine</h1>");
    let mut process = Command::new(named(&setup.folder, "daemun"))
        .current_dir(setup.folder.path("html"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(process.stdout.take().unwrap());
    lines.read_line(&mut line).unwrap();
    let address = line.split_once("http://127.0.0.1:").expect("an address").1;
    let port = address.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let port: u16 = port.parse().unwrap();
    eventually("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    assert_eq!(Client::connect(port).get("/").text(), "<h1>mine</h1>");
    signals::send(process.id() as i32, signals::SIGINT).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
}
