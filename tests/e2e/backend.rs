//! Servers behind the one that is tested: they say what the test has them say, well framed or not.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use daemun_tests::{PATIENCE, read_once};

/// Serves each connection by `serve`, on a port of its own.
pub fn backend(serve: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = daemun_tests::listener();
    let port = listener.local_addr().unwrap().port();
    let serve = std::sync::Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = std::sync::Arc::clone(&serve);
            thread::spawn(move || {
                let mut stream = stream;
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                serve(&mut stream);
            });
        }
    });
    port
}

/// Says the same to every request, and closes.
pub fn saying(answer: &'static str) -> u16 {
    backend(move |stream| {
        head(stream);
        let _ = stream.write_all(answer.as_bytes());
    })
}

/// Upgrades, and sends back whatever comes; ends after `bye`.
pub fn echo() -> u16 {
    backend(|stream| {
        head(stream);
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nX-From: echo\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
        let mut part = [0; 1024];
        while let Ok(count @ 1..) = read_once(stream, &mut part) {
            stream.write_all(&part[..count]).unwrap();
            if part[..count].ends_with(b"bye") {
                return;
            }
        }
    })
}

/// A request's head, as it came; what was read behind it is part of it.
pub fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut part = [0; 4096];
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        match read_once(stream, &mut part) {
            Ok(0) | Err(_) => break,
            Ok(count) => read.extend_from_slice(&part[..count]),
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}
