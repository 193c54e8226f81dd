//! An old worker ends with its last request, and not much later.

use std::time::{Duration, Instant};

use daemun_tests::{Server, Setup, eventually, is_running, signals};

const CONFIGURATION: &str = "
    server {
        listen 127.0.0.1:{port};
        access_log off;
        location = /pid { return 200 $pid; }
        location = /large { root {dir}; add_header X-Worker $pid; }
        location = /slow { root {dir}; limit_rate 100k; }
    }";

/// More than the kernel keeps for a client that does not read.
const LARGE: usize = 32 << 20;

fn server() -> Server {
    Setup::new()
        .mpm("mpm native;")
        .file("large", vec![b'x'; LARGE])
        .file("slow", vec![b'x'; 150 << 10])
        .http(CONFIGURATION)
}

fn worker(server: &Server) -> i32 {
    server.get("/pid").text().parse().unwrap()
}

/// Reloads, and waits until the old worker accepts no more.
fn reload(server: &Server) {
    let told_to_leave = || server.error_log().matches("gracefully shutting down").count();
    let before = told_to_leave();
    let output = server.run(&["-s", "reload"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    eventually("the old worker is told to leave", || told_to_leave() > before);
}

/// Whether it ended soon after what has just happened.
fn ends_soon(worker: i32, what: &str) -> bool {
    let last = Instant::now();
    eventually("the old worker ends", || !is_running(worker));
    let late = last.elapsed();
    println!("  {what}: the old worker ends {late:?} after it");
    late < Duration::from_secs(1)
}

/// A busy machine may make some tries slow, and not all of them; a worker that waits for a time is late each time.
fn in_some_try(is_in_time: impl Fn() -> bool) {
    const TRIES: usize = 10;
    assert!((0..TRIES).any(|_| is_in_time()), "late each time");
}

#[test]
fn an_idle_worker_ends_at_once() {
    in_some_try(|| {
        let server = server();
        let mut idle: Vec<_> = (0..50).map(|_| server.client()).collect();
        let mut begun: Vec<_> = (0..50).map(|_| server.client()).collect();
        begun.iter_mut().for_each(|client| {
            client.send("GET /pid HTTP/1.1\r\nHo");
        });
        let old = worker(&server);
        idle.iter_mut().for_each(|client| assert_eq!(client.get("/pid").text(), old.to_string()));
        reload(&server);
        let soon = ends_soon(old, "the outcome of the reload");
        let new = worker(&server).to_string();
        idle.iter_mut().for_each(|client| assert_eq!(client.get("/pid").text(), new));
        begun.iter_mut().for_each(|client| {
            client.send("st: localhost\r\n\r\n");
            assert_eq!(client.answer().text(), new);
        });
        soon
    });
}

#[test]
fn a_download_ends_where_it_began_and_its_connection_goes_on_elsewhere() {
    in_some_try(|| {
        let server = server();
        let old = worker(&server);
        let mut client = server.client();
        client.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let head = client.head();
        reload(&server);
        let new = worker(&server);
        assert_ne!(new, old);
        assert!(is_running(old), "it has a download in hand");
        client.exactly(head.content_length().unwrap());
        let soon = ends_soon(old, "a download's last byte");
        assert_eq!(client.get("/pid").text(), new.to_string());
        soon
    });
}

#[test]
fn several_generations_of_old_workers_end_with_their_own_downloads() {
    in_some_try(|| {
        let server = server();
        let mut downloads = Vec::new();
        for _ in 0..3 {
            let mut client = server.client();
            client.send("GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let worker = client.head().header("X-Worker").unwrap().parse().unwrap();
            downloads.push((client, worker));
            reload(&server);
        }
        let mut soon = true;
        for (mut client, old) in downloads.into_iter().rev() {
            assert!(is_running(old), "it has a download in hand");
            client.exactly(LARGE);
            soon &= ends_soon(old, "a download's last byte");
        }
        soon
    });
}

#[test]
fn a_limited_download_ends_its_worker_too() {
    in_some_try(|| {
        let server = server();
        let old = worker(&server);
        let mut client = server.client();
        client.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let head = client.head();
        reload(&server);
        client.exactly(head.content_length().unwrap());
        ends_soon(old, "a limited download's last byte")
    });
}

#[test]
fn a_client_that_never_reads_keeps_no_worker_once_it_leaves() {
    in_some_try(|| {
        let server = server();
        let old = worker(&server);
        let mut client = server.client();
        client.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.head();
        reload(&server);
        drop(client);
        ends_soon(old, "a client's leave")
    });
}

#[test]
fn worker_shutdown_timeout_ends_a_download() {
    let server = Setup::new().file("large", vec![b'x'; LARGE]).start(&format!(
        "daemon off; pid {{dir}}/server.pid; error_log {{dir}}/error.log info;
            worker_shutdown_timeout 1s;
            events {{}} http {{ client_body_temp_path {{dir}}/body; {CONFIGURATION} }}"
    ));
    let old = worker(&server);
    let mut client = server.client();
    client.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.head();
    let start = Instant::now();
    server.signal(signals::SIGHUP);
    eventually("the old worker ends", || !is_running(old));
    assert!(start.elapsed() > Duration::from_millis(900));
}

#[test]
fn a_connection_that_is_handed_over_waits_no_longer_than_before() {
    let server = Setup::new().mpm("mpm native;").http(
        "keepalive_timeout 3s; server { listen 127.0.0.1:{port}; access_log off; return 200 $pid; }",
    );
    in_some_try(|| {
        let start = Instant::now();
        let mut client = server.client();
        let old = client.get("/").text().to_owned();
        std::thread::sleep(Duration::from_millis(1500));
        let handed = Instant::now();
        reload(&server);
        eventually("the old worker ends", || !is_running(old.parse().unwrap()));
        assert!(client.is_closed());
        assert!(start.elapsed() > Duration::from_millis(2900), "{:?}", start.elapsed());
        // The whole time anew would be three seconds.
        handed.elapsed() < Duration::from_millis(2800)
    });
}
