//! Clients of HTTP/2 that cost more than they may: each is sent away, told of and counted, and nobody else notices.

use std::net::TcpStream;

use daemun_tests::http2::Code;
use daemun_tests::{Http2Client, RawHttp2, Server, Setup, most_allocated};

/// A site with something large, and something that never answers.
fn site() -> Server {
    Setup::new().file("root/large", vec![b'x'; 1_000_000]).http(
        "server { listen 127.0.0.1:{port2}; return 444; }
         server { listen 127.0.0.1:{port}; http2 on; send_timeout 2s; client_header_timeout 2s;
             location / { root {dir}/root; }
             location = /ok { return 200 ok; }
             location = /status { server_status; } }",
    )
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// GET /ok or /large, whose block needs no table.
fn request(stream: u32, path: &str) -> Vec<u8> {
    let mut block = b"\x82\x86\x41\x01a\x04".to_vec();
    block.push(path.len() as u8);
    block.extend(path.as_bytes());
    frame(1, 5, stream, &block)
}

fn count(server: &Server, what: &str) -> u64 {
    let status = server.get("/status?json");
    let floods = status.text().split("\"http2_floods\":").nth(1).expect("floods are counted");
    let number = floods.split(&format!("\"{what}\":")).nth(1).expect("this kind is counted");
    number.split(|byte: char| !byte.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Sends frames until the server has enough, which it has to tell, count and survive.
fn flood(what: &str, sentence: &str, next: impl FnMut(u32) -> Vec<u8>) {
    flood_of_either(&[(what, sentence)], next);
}

/// The same where it depends on how much is read at a time what is too much first.
fn flood_of_either(kinds: &[(&str, &str)], mut next: impl FnMut(u32) -> Vec<u8>) {
    let server = site();
    let mut honest = Http2Client::connect(server.port());
    assert_eq!(honest.get("/ok").text(), "ok");
    let mut attacker = RawHttp2::connect(server.port());
    for number in 0..50_000 {
        if attacker.send(&next(number)).is_err() {
            break;
        }
    }
    assert_eq!(attacker.goodbye().unwrap_or(Code::ENHANCE_YOUR_CALM.0), Code::ENHANCE_YOUR_CALM.0);
    server.logs("http2 flood detected: client ");
    let log = server.error_log();
    let counted = kinds.iter().filter(|(what, sentence)| {
        let is_told = log.contains(&format!("{sentence} while processing HTTP/2"));
        assert_eq!(count(&server, what), u64::from(is_told), "{sentence}");
        is_told
    });
    assert_eq!(counted.count(), 1, "{log}");
    assert_eq!(honest.get("/ok").text(), "ok");
    assert!(most_allocated(server.pid()) < 64 << 20);
}

/// Cancelled streams count until their work has stopped, so that the next ones may be refused.
const CANCELLED: [(&str, &str); 2] =
    [("resets", "reset too many streams"), ("refusals", "sent too many refused streams")];

#[test]
fn streams_that_are_cancelled_at_once() {
    flood_of_either(&CANCELLED, |number| {
        let stream = 2 * number + 1;
        [request(stream, "/large"), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
    });
}

#[test]
fn streams_that_the_server_is_made_to_reset() {
    // A window of a stream that overflows ends that stream.
    flood_of_either(&CANCELLED, |number| {
        let stream = 2 * number + 1;
        [request(stream, "/large"), frame(8, 0, stream, &[0x7f, 0xff, 0xff, 0xff])].concat()
    });
}

#[test]
fn continuations_without_end() {
    flood("continuations", "sent too many CONTINUATION frames", |number| match number {
        0 => frame(1, 0, 1, b"\x82\x86\x41\x01a"),
        _ => frame(9, 0, 1, b""),
    });
}

#[test]
fn a_head_without_end() {
    flood("fields", "sent too large header", |number| match number {
        0 => frame(1, 0, 1, b"\x82\x86\x41\x01a"),
        _ => frame(9, 0, 1, &[&b"\0\x01a\x7e"[..], &[b'v'; 126]].concat().repeat(100)),
    });
}

#[test]
fn bodies_of_empty_frames() {
    flood("empty_frames", "sent too many empty DATA frames", |number| match number {
        0 => frame(1, 4, 1, b"\x83\x86\x41\x01a\x04\x03/ok"),
        _ => frame(0, 0, 1, b""),
    });
}

#[test]
fn pings() {
    flood("pings", "sent too many PING frames", |_| frame(6, 0, 0, b"8 bytes."));
}

#[test]
fn settings() {
    flood("settings", "sent too many SETTINGS frames", |_| frame(4, 0, 0, b""));
}

#[test]
fn priorities() {
    flood("priorities", "sent too many PRIORITY frames", |number| {
        frame(2, 0, 2 * number + 1, b"\0\0\0\0\x10")
    });
}

#[test]
fn updates_of_windows() {
    flood("window_updates", "sent too many WINDOW_UPDATE frames", |number| match number {
        0 => request(1, "/large"),
        _ => frame(8, 0, 0, b"\0\0\0\x01"),
    });
}

#[test]
fn a_field_that_stands_for_many() {
    // 4,000 bytes enter the table once, and one byte refers to them each time.
    let server = site();
    let mut attacker = RawHttp2::connect(server.port());
    let mut block = b"\x82\x86\x84\x41\x01a\x40\x06cookie\x7f\xa1\x1e".to_vec();
    block.extend([b'b'; 4000]);
    block.extend([0xbe; 10_000]);
    attacker.send(&frame(1, 5, 1, &block)).unwrap();
    assert_eq!(attacker.goodbye(), Some(Code::ENHANCE_YOUR_CALM.0));
    assert_eq!(count(&server, "fields"), 1);
}

#[test]
fn responses_that_nobody_takes() {
    let server = site();
    let mut attackers = Vec::new();
    for _ in 0..10 {
        let mut attacker = RawHttp2::connect(server.port());
        // Windows of nothing.
        attacker.send(&frame(4, 0, 0, b"\0\x04\0\0\0\0")).unwrap();
        for number in 0..100 {
            attacker.send(&request(2 * number + 1, "/large")).unwrap();
        }
        attackers.push(attacker);
    }
    let mut honest = Http2Client::connect(server.port());
    assert_eq!(honest.get("/ok").text(), "ok");
    assert!(most_allocated(server.pid()) < 64 << 20);
    // After send_timeout they are over.
    for attacker in &mut attackers {
        let mut resets = 0;
        while resets < 100 {
            let (head, _) = attacker.frame().expect("a connection that goes on");
            resets += usize::from(head.kind.byte() == 3);
        }
    }
    assert_eq!(count(&server, "stalls"), 1000);
}

#[test]
fn a_connection_of_which_nothing_is_read() {
    let server = site();
    let mut attacker = RawHttp2::connect(server.port());
    let window = frame(4, 0, 0, b"\0\x04\x7f\xff\xff\xff");
    attacker.send(&window).unwrap();
    attacker.send(&frame(8, 0, 0, b"\x7f\0\0\0")).unwrap();
    for number in 0..100 {
        attacker.send(&request(2 * number + 1, "/large")).unwrap();
    }
    let closed: &TcpStream = attacker.stream();
    let _ = closed.shutdown(std::net::Shutdown::Write);
    let mut honest = Http2Client::connect(server.port());
    assert_eq!(honest.get("/ok").text(), "ok");
    assert!(most_allocated(server.pid()) < 64 << 20);
}

#[test]
fn a_head_whose_end_never_comes() {
    let server = site();
    let mut attacker = RawHttp2::connect(server.port());
    attacker.send(&frame(1, 0, 1, b"\x82\x86\x41\x01a")).unwrap();
    // The stream is reset after client_header_timeout, and the connection ends after another.
    let mut is_reset = false;
    while let Some((head, _)) = attacker.frame() {
        is_reset |= head.kind.byte() == 3;
    }
    assert!(is_reset);
}
