//! A gigabyte each way through the proxy: memory stays within the buffers that the configuration names.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use daemun_tests::{Server, Setup, most_allocated, read_once};

const LENGTH: usize = 1 << 30;
const PIECE: usize = 1 << 18;
/// Kilobytes that a process may grow by: buffers of 64 KB each way, and what an allocator keeps.
const ROOM: usize = 4 << 10;

/// A server in front of one that this test plays.
fn proxy(settings: &str) -> (Server, TcpListener) {
    let setup = Setup::new();
    let listener = daemun_tests::listener();
    let port = listener.local_addr().unwrap().port();
    let server = setup.http(
        &"proxy_temp_path {dir}/proxy;
          server {
              listen 127.0.0.1:{port}; client_max_body_size 0;
              proxy_read_timeout 60s; proxy_send_timeout 60s;
              location / { proxy_pass http://127.0.0.1:BEHIND; SETTINGS }
          }"
        .replace("BEHIND", &port.to_string())
        .replace("SETTINGS", settings),
    );
    (server, listener)
}

#[test]
fn a_gigabyte_is_uploaded_as_it_comes() {
    let (server, listener) = proxy("proxy_request_buffering off;");
    upload(&server, listener);
}

#[test]
fn a_gigabyte_is_uploaded_by_way_of_a_file() {
    let (server, listener) = proxy("client_body_buffer_size 64k;");
    upload(&server, listener);
}

#[test]
fn a_gigabyte_is_downloaded_as_it_comes() {
    let (server, listener) = proxy("proxy_buffering off;");
    download(&server, listener);
}

#[test]
fn a_gigabyte_is_downloaded_with_buffers_alone() {
    let (server, listener) = proxy("proxy_buffers 8 8k; proxy_max_temp_file_size 0;");
    download(&server, listener);
}

#[test]
fn a_gigabyte_is_downloaded_by_way_of_a_file() {
    let (server, listener) = proxy("proxy_buffers 8 8k;");
    download(&server, listener);
}

fn upload(server: &Server, listener: TcpListener) {
    let before = most_allocated(server.pid());
    let behind = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; PIECE];
        let mut received = 0;
        let mut head_end = None;
        let mut head = Vec::new();
        while head_end.is_none_or(|end| received < end + LENGTH) {
            let count = read_once(&mut stream, &mut buffer).unwrap();
            assert!(count > 0, "cut after {received} bytes");
            received += count;
            if head_end.is_none() {
                head.extend_from_slice(&buffer[..count]);
                head_end = head.windows(4).position(|part| part == b"\r\n\r\n").map(|at| at + 4);
            }
        }
        assert_eq!(received, head_end.unwrap() + LENGTH);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").unwrap();
    });
    let mut client = server.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LENGTH}\r\n\r\n"));
    let piece = vec![b'x'; PIECE];
    let mut growth = Growth::since(before);
    for _ in 0..LENGTH / PIECE {
        client.send(&piece);
        growth.look(server);
    }
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, "done"));
    behind.join().unwrap();
    growth.is_within(ROOM);
}

fn download(server: &Server, listener: TcpListener) {
    let before = most_allocated(server.pid());
    let behind = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let piece = vec![b'y'; PIECE];
        for _ in 0..LENGTH / PIECE {
            stream.write_all(&piece).unwrap();
        }
    });
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut growth = Growth::since(before);
    let mut buffer = vec![0; PIECE];
    let mut received = 0;
    while received < LENGTH {
        let count = read_once(&mut stream, &mut buffer).unwrap();
        assert!(count > 0, "cut after {received} bytes");
        received += count;
        growth.look(server);
    }
    behind.join().unwrap();
    growth.is_within(ROOM);
}

/// Byte by byte: what follows is the body's.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// How much the server's memory has grown, at most, in kilobytes.
struct Growth {
    before: usize,
    most: usize,
    last_look: Instant,
}

impl Growth {
    fn since(before: usize) -> Growth {
        Growth { before, most: 0, last_look: Instant::now() }
    }

    /// Looks now and then: it takes the kernel a while to tell.
    fn look(&mut self, server: &Server) {
        if self.last_look.elapsed() < Duration::from_millis(50) {
            return;
        }
        self.last_look = Instant::now();
        self.most = self.most.max(most_allocated(server.pid()).saturating_sub(self.before));
    }

    fn is_within(&self, most: usize) {
        println!("  memory grew by {} KB", self.most);
        assert!(self.most <= most, "memory grew by {} KB", self.most);
    }
}
