//! What runs out: descriptors, connections, threads, memory. Whoever waits makes room for whoever is served.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use daemun_tests::{Client, Server, Setup, children};
use rustix::net::sockopt;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

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
        for _ in 0..20 {
            assert_eq!(server.get("/").status, 200, "{model}");
        }
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

/// Leaves a worker so much address space beyond what it has.
fn limit_memory(worker: i32, more: u64) {
    let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    let maximum = getrlimit(Resource::As).maximum;
    let limit = Rlimit { current: Some(size * 1024 + more), maximum };
    prlimit(Pid::from_raw(worker), Resource::As, limit).unwrap();
}

#[test]
fn a_request_that_memory_has_no_room_for_fails_alone() {
    let backend = saying("HTTP/1.0 200 OK\r\n\r\nx");
    let http = format!(
        "client_max_body_size 0;
         client_body_buffer_size 400m;
         mp4_max_buffer_size 400m;
         image_filter_buffer 400m;
         server {{
             listen 127.0.0.1:{{port}};
             root {{dir}};
             location / {{ return 200 $pid; }}
             location /body {{ proxy_pass http://127.0.0.1:{backend}; }}
             location /moov {{ mp4; }}
             location /picture {{ image_filter resize 100 100; }}
             location /head {{
                 proxy_buffer_size 300m;
                 proxy_buffers 2 300m;
                 proxy_busy_buffers_size 300m;
                 proxy_pass http://127.0.0.1:{backend};
             }}
         }}"
    );
    let setup = Setup::new().mpm("mpm native;").file("picture", picture(6000, 6000));
    // An atom that is as long as it says, and takes no disk.
    let moov = fs::File::create(setup.folder.path("moov")).unwrap();
    moov.set_len(300 << 20).unwrap();
    moov.write_all_at(&(300u32 << 20).to_be_bytes(), 0).unwrap();
    moov.write_all_at(b"moov", 4).unwrap();
    let mut server = setup.start(&limited("user root;", "worker_connections 100;", &http));
    server.expect("malloc(");
    let mut kept = server.client();
    let worker: i32 = kept.get("/").text().parse().unwrap();
    limit_memory(worker, 100 << 20);

    for uri in ["/moov?start=1", "/picture", "/head"] {
        assert_eq!(server.get(uri).status, 500, "{uri}");
    }
    let mut client = server.client();
    client.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 300000000\r\n\r\n");
    let piece = vec![b'x'; 1 << 20];
    let sender = client.stream().try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        // It ends where the server has had enough.
        while (&sender).write_all(&piece).is_ok() {}
    });
    assert_eq!(client.answer().status, 500);
    // Or else the server would read on for a while, and throw it away.
    client.stream().shutdown(Shutdown::Both).unwrap();
    sending.join().unwrap();
    server.logs("failed (12: Cannot allocate memory)");
    assert_eq!(kept.get("/").text(), worker.to_string(), "the worker lives on");
}

/// The head of a picture that says how large it is, and hardly anything behind.
fn picture(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(8, 8).write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    let mut bytes = bytes.into_inner();
    let frame = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}
