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

/// A client may send a byte at a time: its file is written in longer pieces.
#[test]
fn chunks_of_a_byte_are_gathered() {
    const LENGTH: usize = 100_000;
    let server = Setup::new().http(
        "server {
             listen 127.0.0.1:{port};
             client_body_buffer_size 4k;
             location / { proxy_pass http://127.0.0.1:{port2}; }
             location /file { client_body_in_file_only clean; proxy_pass http://127.0.0.1:{port2}; }
         }
         server { listen 127.0.0.1:{port2}; return 200 $http_content_length; }",
    );
    let written = || -> u64 {
        let calls = |pid| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("syscw: "));
            line.map_or(0, |count| count.parse::<u64>().unwrap())
        };
        daemun_tests::children(server.pid()).into_iter().chain([server.pid()]).map(calls).sum()
    };
    for uri in ["/", "/file"] {
        let before = written();
        let mut client = server.client();
        client
            .send(format!("POST {uri} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
        client.send("1\r\na\r\n".repeat(LENGTH)).send("0\r\n\r\n");
        assert_eq!(client.answer().text(), LENGTH.to_string());
        let calls = written() - before;
        println!("{LENGTH} chunks of a byte took {calls} writes");
        assert!(calls < LENGTH as u64 / 100, "{calls} writes");
    }
}

#[test]
fn a_body_a_quarter_longer_than_the_buffer_stays_in_memory() {
    let server = Setup::new().http(
        "server {
             listen 127.0.0.1:{port};
             client_body_buffer_size 8k;
             location / {
                 proxy_pass http://127.0.0.1:{port2};
                 add_header X-File \"$request_body_file|\" always;
             }
         }
         server { listen 127.0.0.1:{port2}; return 200 $http_content_length; }",
    );
    for (length, is_in_memory) in [(8000, true), (10_239, true), (10_300, false)] {
        let mut client = server.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        client.send(vec![b'a'; length]);
        let answer = client.answer();
        assert_eq!(answer.text(), length.to_string());
        assert_eq!(answer.header("X-File") == Some("|"), is_in_memory, "{length}");
    }
}

#[test]
fn numbers_of_the_log_are_those_of_what_went_over_the_wire() {
    let server = Setup::new().http(
        "log_format numbers '$uri $bytes_sent $body_bytes_sent $request_length $content_length [$args]';
         server {
             listen 127.0.0.1:{port};
             access_log {dir}/numbers.log numbers;
             log_subrequest on;
             location /r { return 200 ok; }
             location /m { mirror /copy; proxy_pass http://127.0.0.1:{port2}; }
             location /copy { return 204; }
             location /rw { rewrite ^ /r? ; }
             location /tf { try_files /none /r; }
         }
         server { listen 127.0.0.1:{port2}; return 200; access_log off; }",
    );
    let numbers = |request: &str, line: &str| {
        server.send(request);
        server.file_has("numbers.log", line);
    };
    let expects = "POST /r HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\
                   Connection: close\r\n\r\nhello";
    let sent = server.send(expects).len();
    // A body that nobody reads is none of the request's.
    server.file_has("numbers.log", &format!("/r {sent} 27 {} 5 [-]", expects.len() - 5));
    let chunked = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    numbers(&format!("POST /m HTTP/1.1\r\nHost: a\r\n{chunked}"), "/copy 0 0 0 5 [-]");
    numbers("GET /rw?a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", " 2 50 - []");
    numbers("GET /tf HTTP/1.1\r\nHost: ab\r\nConnection: close\r\n\r\n", " 2 49 - []");
}
