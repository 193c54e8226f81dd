//! `aio threads`: what blocks in a pool's thread stalls nobody else.

use std::io::{Read, Write};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use daemun_tests::{Client, PATIENCE, Server, Setup, eventually};

use crate::backend::{backend, head};
use crate::slow_files::SlowFiles;

/// Several pieces of a file, for every way of sending it.
fn content() -> Vec<u8> {
    (0..300_000u32).map(|number| (number % 251) as u8).collect()
}

/// One worker, a slow file and quick answers.
const CONFIGURATION: &str = "
    worker_processes 1;
    %pools
    daemon off;
    pid {dir}/server.pid;
    error_log {dir}/error.log info;
    events { {events} }
    http {
        access_log {dir}/access.log;
        client_body_temp_path {dir}/body;
        %settings
        server {
            listen 127.0.0.1:{port};
            location /quick { return 200 quick; }
            location /files/ { root {dir}; }
            location / { root %slow; }
        }
    }";

fn server(setup: Setup, slow: &SlowFiles, pools: &str, settings: &str) -> Server {
    let configuration = CONFIGURATION.replace("%pools", pools).replace("%settings", settings);
    setup.start(&configuration.replace("%slow", slow.folder().to_str().unwrap()))
}

/// Where a worker has all connections: elsewhere a blocked one has none but its own.
fn native() -> Setup {
    Setup::new().mpm("mpm native;")
}

/// Asks for the slow file and does not wait for it.
fn ask(server: &Server, slow: &SlowFiles) -> Client {
    let mut client = server.client();
    client.send(format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", SlowFiles::NAME));
    slow.await_reader();
    client
}

/// Whether anything comes back for as long as a stalled worker would take no notice.
fn is_answered(server: &Server) -> bool {
    let mut client = server.client();
    client.send("GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut stream = client.stream();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.read(&mut [0]).is_ok_and(|read| read == 1)
}

fn others_are_answered_meanwhile(pools: &str, settings: &str) {
    let Some(slow) = SlowFiles::mount(content()) else { return };
    let server = server(Setup::new(), &slow, pools, settings);
    let mut waiting = ask(&server, &slow);
    for _ in 0..20 {
        assert_eq!(server.get("/quick").text(), "quick");
    }
    slow.release();
    let answer = waiting.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.body == content(), "{} bytes, not all right", answer.body.len());
    assert_eq!(waiting.get("/quick").text(), "quick", "the connection goes on");
}

#[test]
fn a_slow_file_stalls_nobody_where_threads_read() {
    others_are_answered_meanwhile("", "aio threads; output_buffers 2 32k;");
}

#[test]
fn a_slow_file_stalls_nobody_where_threads_send() {
    others_are_answered_meanwhile(
        "thread_pool disk threads=2 max_queue=4;",
        "aio threads=disk; sendfile on;",
    );
}

#[test]
fn the_pool_may_be_computed() {
    others_are_answered_meanwhile(
        "thread_pool pool_localhost threads=1;",
        "aio threads=pool_$host; sendfile on; sendfile_max_chunk 64k;",
    );
}

#[test]
fn large_files_arrive_whole_by_any_way() {
    let content: Vec<u8> = (0..16u32 << 20).map(|number| (number / 7 % 251) as u8).collect();
    let server = Setup::new().file("html/large", &content).http(
        "aio threads;
         server {
             listen 127.0.0.1:{port};
             location /read/ { alias {dir}/html/; }
             location /send/ { sendfile on; alias {dir}/html/; }
             location /pieces/ { sendfile on; sendfile_max_chunk 100k; alias {dir}/html/; }
             location /direct/ { sendfile on; directio 1m; directio_alignment 4k; alias {dir}/html/; }
         }",
    );
    for uri in ["/read/large", "/send/large", "/pieces/large", "/direct/large"] {
        let mut client = server.client();
        assert!(client.get(uri).body == content, "{uri}");
        client
            .send(format!("GET {uri} HTTP/1.1\r\nHost: a\r\nRange: bytes=1000000-2000000\r\n\r\n"));
        assert!(client.answer().body == content[1_000_000..=2_000_000], "{uri}");
    }
}

#[test]
fn without_threads_a_slow_file_stalls_its_worker() {
    let Some(slow) = SlowFiles::mount(content()) else { return };
    let server = server(native(), &slow, "", "aio off; sendfile on;");
    let mut waiting = ask(&server, &slow);
    assert!(!is_answered(&server), "the file system is not slow, so the other tests show nothing");
    slow.release();
    assert!(waiting.answer().body == content());
    assert_eq!(server.get("/quick").text(), "quick");
}

#[test]
fn a_full_queue_is_an_error_and_no_stall() {
    let Some(slow) = SlowFiles::mount(content()) else { return };
    let server =
        server(native(), &slow, "thread_pool disk threads=1 max_queue=0;", "aio threads=disk;");
    let mut waiting = ask(&server, &slow);
    let refused = server.get(&format!("/{}", SlowFiles::NAME));
    assert_eq!(refused.status, 500);
    server.logs("thread pool \"disk\" queue overflow: 0 tasks waiting");
    server.file_has("access.log", " 500 ");
    assert_eq!(server.get("/quick").text(), "quick");
    slow.release();
    assert!(waiting.answer().body == content());
}

#[test]
fn a_full_queue_in_the_middle_of_a_response_ends_it() {
    let Some(slow) = SlowFiles::mount(content()) else { return };
    let settings = "aio threads=disk; sendfile on; sendfile_max_chunk 256k;";
    let server = server(native(), &slow, "thread_pool disk threads=1 max_queue=0;", settings);
    let length = 32 << 20;
    server.folder().write("files/large.bin", vec![b'x'; length]);
    let mut late = server.client();
    late.send("GET /files/large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(late.head().status, 200);

    // The large file leaves the pool once its client's buffers are full; then the slow one has it.
    let mut holder = server.client();
    eventually("the pool has room", || {
        holder = server.client();
        holder.send(format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", SlowFiles::NAME));
        holder.head().status == 200
    });
    slow.await_reader();
    let received = late.rest().len();
    assert!(received < length, "all {received} bytes came");
    server.logs("queue overflow");
    slow.release();
    assert!(holder.exactly(content().len()) == content());
}

#[test]
fn a_computed_pool_that_is_not_there_is_an_error() {
    let Some(slow) = SlowFiles::mount(content()) else { return };
    let server = server(native(), &slow, "", "aio threads=$arg_pool;");
    assert_eq!(server.get(&format!("/{}?pool=none", SlowFiles::NAME)).status, 500);
    server.logs("thread pool \"none\" not found");
}

#[test]
fn request_bodies_are_written_by_threads() {
    let server = Setup::new().http(
        "aio threads;
         aio_write on;
         client_body_buffer_size 1k;
         client_body_in_file_only clean;
         server {
             listen 127.0.0.1:{port};
             client_body_early_read $arg_read;
             location / { return 200 $request_body_file; }
         }",
    );
    let body = String::from_utf8(vec![b'x'; 200_000]).unwrap();
    let mut client = server.client();
    for _ in 0..2 {
        client.send(format!(
            "POST /?read=1 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        client.send(&body);
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("/body/"), "{}", answer.text());
    }
    server.logs("a client request body is buffered to a temporary file");
}

const CHUNKS: usize = 2000;

fn chunk(index: usize) -> Vec<u8> {
    (0..10_000).map(|at| ((index * 31 + at) % 251) as u8).collect()
}

/// A server behind, whose response is far more than buffers and sockets hold; when it could send all of it.
fn sending_chunks() -> (u16, mpsc::Receiver<()>) {
    let (done, ended) = mpsc::channel();
    let done = Mutex::new(done);
    let port = backend(move |stream| {
        head(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        let is_sent = (0..CHUNKS).all(|index| {
            let framed = [b"2710\r\n", &*chunk(index), b"\r\n"].concat();
            stream.write_all(&framed).is_ok()
        });
        if is_sent && stream.write_all(b"0\r\n\r\n").is_ok() {
            let _ = done.lock().unwrap().send(());
        }
    });
    (port, ended)
}

/// A response from behind is asked for at the second port while a slow file occupies the one thread that could write it.
fn ask_behind(slow: &SlowFiles, port: u16, max_queue: usize) -> (Server, Client, Client) {
    let settings = format!(
        "aio threads=disk;
         aio_write on;
         proxy_temp_path {{dir}}/responses;
         server {{ listen 127.0.0.1:{{port2}}; location / {{ proxy_pass http://127.0.0.1:{port}; }} }}"
    );
    let pool = format!("thread_pool disk threads=1 max_queue={max_queue};");
    let server = server(native(), slow, &pool, &settings);
    let holder = ask(&server, slow);
    let mut client = Client::connect(server.port2());
    client.send("GET / HTTP/1.0\r\n\r\n");
    (server, holder, client)
}

#[test]
fn responses_are_written_by_threads() {
    let Some(slow) = SlowFiles::mount(content()) else { return };
    let (port, ended) = sending_chunks();
    let (server, mut holder, mut client) = ask_behind(&slow, port, 100);
    server.logs("an upstream response is buffered to a temporary file");
    let early = ended.recv_timeout(Duration::from_millis(500));
    assert!(early.is_err(), "it was written while the pool's thread had something else to do");
    slow.release();
    ended.recv_timeout(PATIENCE).expect("all of it was taken");
    assert_eq!(client.head().status, 200);
    let received = client.rest();
    assert_eq!(received.len(), CHUNKS * 10_000);
    let differs = received.chunks(10_000).enumerate().find(|(index, got)| *got != chunk(*index));
    assert_eq!(differs.map(|(index, _)| index), None, "the first chunk that is not right");
    assert!(holder.answer().body == content());
}

#[test]
fn a_response_that_no_thread_can_write_breaks_off() {
    let Some(slow) = SlowFiles::mount(content()) else { return };
    let (port, _ended) = sending_chunks();
    let (server, mut holder, mut client) = ask_behind(&slow, port, 0);
    server.logs("thread pool \"disk\" queue overflow");
    let received = client.rest().len();
    assert!(received < CHUNKS * 10_000, "all {received} bytes came");
    slow.release();
    assert!(holder.answer().body == content());
}

#[test]
fn pools_have_to_be_there() {
    let setup = Setup::new();
    for (text, sentence) in [
        (
            "http { server { location / { aio threads=missing; } } }",
            "unknown thread pool \"missing\" in ",
        ),
        ("http { aio sometimes; }", "\"aio\" directive invalid value"),
        ("thread_pool default threads=none;", "invalid threads value \"threads=none\""),
    ] {
        let output = setup.run(&format!("events {{}} {text}"), &["-t"]);
        assert!(output.stderr.contains(sentence), "{text}: {}", output.stderr);
    }
}
