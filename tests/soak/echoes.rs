//! What is sent comes back as it was, whatever its length and pace, from every kind of passing on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use daemun_tests::{Dice, PATIENCE, Server};

const CLIENTS: u64 = 24;

#[test]
fn bodies_come_back_as_they_were() {
    echoes(Duration::from_secs(1));
}

#[test]
#[ignore = "takes a minute"]
fn soak_bodies_come_back_as_they_were() {
    echoes(Duration::from_secs(60));
}

fn echoes(time: Duration) {
    let port = echo();
    let server = Server::http(&format!(
        "client_max_body_size 0;
         upstream kept {{ server 127.0.0.1:{port}; keepalive 16; }}
         server {{
             listen 127.0.0.1:{{port}};
             location /kept/ {{ proxy_pass http://kept; }}
             location /fresh/ {{ proxy_pass http://127.0.0.1:{port}; }}
             location /direct/ {{
                 proxy_pass http://kept;
                 proxy_buffering off;
                 proxy_request_buffering off;
             }}
             location /small/ {{ proxy_pass http://kept; proxy_buffers 4 1k; proxy_buffer_size 1k; }}
         }}"
    ));
    let end = Instant::now() + time;
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let server = &server;
            scope.spawn(move || exchange(server.port(), client, end));
        }
    });
}

/// Sends and compares until the time is up.
fn exchange(port: u16, client: u64, end: Instant) {
    let mut dice = Dice(client + 1);
    let mut stream = None;
    while Instant::now() < end {
        let connected = stream.take();
        let mut connected = connected.unwrap_or_else(|| connect(port));
        let place = dice.pick(&["kept", "fresh", "direct", "small"]);
        let body = body(&mut dice);
        let length = body.len();
        let head = format!(
            "POST /{place}/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut sender = connected.try_clone().unwrap();
        let came_back = thread::scope(|scope| {
            let (sent, mut pace) = (&body, Dice(dice.roll()));
            scope.spawn(move || {
                sender.write_all(head.as_bytes()).unwrap();
                send_in_pieces(&mut sender, sent, &mut pace);
            });
            receive(&mut connected, length, &mut dice)
        });
        assert!(came_back == body, "client {client}, /{place}/: {length} bytes came back changed");
        stream = (!dice.one_in(8)).then_some(connected);
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Mostly short, at times long; no two places in it are the same.
fn body(dice: &mut Dice) -> Vec<u8> {
    let most = [100, 2_000, 20_000, 300_000][dice.below(4)];
    let words = dice.below(most) / 8;
    (0..words).flat_map(|_| dice.roll().to_le_bytes()).collect()
}

fn send_in_pieces(stream: &mut TcpStream, mut bytes: &[u8], pace: &mut Dice) {
    while !bytes.is_empty() {
        let piece = (1 + pace.below(40_000)).min(bytes.len());
        stream.write_all(&bytes[..piece]).unwrap();
        bytes = &bytes[piece..];
        if pace.one_in(16) {
            thread::yield_now();
        }
    }
}

/// Receives a response with a body of that length; at times slowly.
fn receive(stream: &mut TcpStream, length: usize, dice: &mut Dice) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    let mut body = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let piece = (1 + dice.below(30_000)).min(length - filled);
        filled += stream.read(&mut body[filled..filled + piece]).unwrap();
        if dice.one_in(64) {
            thread::yield_now();
        }
    }
    body
}

/// A server that answers each request with its body.
fn echo() -> u16 {
    let listener = daemun_tests::listener();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || while echo_one(&stream).is_some() {});
        }
    });
    port
}

/// `None` where the connection has ended.
fn echo_one(mut stream: &TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let (_, rest) = head.split_once("content-length: ").unwrap_or(("", "0\r\n"));
    let length = rest.split_once("\r\n").unwrap().0.parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(answer.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}
