//! Request bodies: into memory, into files, too large, too slow.

use daemun_tests::{Server, Setup};

fn post(server: &Server, uri: &str, body: &str) -> String {
    let length = body.len();
    server.send(format!(
        "POST {uri} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

#[test]
fn a_body_is_kept_in_memory_or_in_a_file() {
    let server = Setup::new().http(
        "server {
             listen 127.0.0.1:{port};
             client_body_temp_path {dir}/temporary 1 2;
             client_body_early_read 1;
             client_body_buffer_size 8;
             location / { return 200 \"$request_body|$request_body_file\"; }
         }",
    );
    let small = post(&server, "/", "short");
    assert!(small.ends_with("\r\n\r\nshort|"), "{small}");
    let large = post(&server, "/", "longer than that");
    let file = large.rsplit_once('|').unwrap().1;
    assert!(file.starts_with(&server.filled("{dir}/temporary/")), "{large}");
    assert!(!std::path::Path::new(file).exists(), "it is gone with its request");
    server.logs("a client request body is buffered to a temporary file");
    let chunked = server.send(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n",
    );
    assert!(chunked.ends_with("\r\n\r\nabcde|"), "{chunked}");
}

#[test]
fn a_body_can_be_kept_for_others_to_read() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             client_body_early_read 1;
             client_body_in_file_only on;
             return 200 $request_body_file;
         }",
    );
    let answer = post(&server, "/", "keep me");
    let file = answer.rsplit_once("\r\n\r\n").unwrap().1;
    assert_eq!(std::fs::read_to_string(file).unwrap(), "keep me");
}

#[test]
fn too_much_is_refused() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             client_max_body_size 10;
             location /unlimited { client_max_body_size 0; return 200 fine; }
             location / { return 200 fine; }
         }",
    );
    let eleven = "x".repeat(11);
    assert!(post(&server, "/unlimited", &eleven).starts_with("HTTP/1.1 200 "));
    assert!(post(&server, "/", "0123456789").starts_with("HTTP/1.1 200 "));
    let refused = post(&server, "/", &eleven);
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    server.logs("client intended to send too large body: 11 bytes");
}

#[test]
fn a_body_that_does_not_come_ends_the_request() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             client_body_timeout 200ms;
             client_body_early_read 1;
             return 200 $request_body;
         }",
    );
    let answer = server.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(answer, "", "nginx closes without an answer, too");
}
