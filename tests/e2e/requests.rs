//! How requests are read: limits, versions, names of fields, framing.

use daemun_tests::{Client, Server};

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("")
}

#[test]
fn lines_and_heads_have_their_limits() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             client_header_buffer_size 128;
             large_client_header_buffers 2 256;
             max_headers 5;
             return 200 fine;
         }",
    );
    let long = "x".repeat(300);
    assert_eq!(server.get(&format!("/{}", &long[..200])).status, 200);
    assert_eq!(server.get(&format!("/{long}")).status, 414);
    assert_eq!(server.get_with("/", &[&format!("X: {long}")]).status, 400);
    let many = ["X: 1"; 4];
    assert_eq!(server.get_with("/", &many).status, 400);
    assert_eq!(server.get_with("/", &many[..3]).status, 200);
    server.logs("client sent too long URI");
    server.logs("client sent too long header line");
    server.logs("client sent too many header lines");
}

#[test]
fn fields_with_odd_names_are_passed_over_unless_told_otherwise() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             return 200 \"$http_a_b|$http_c\";
         }
         server {
             listen 127.0.0.1:{port2};
             underscores_in_headers on;
             ignore_invalid_headers off;
             return 200 \"$http_a_b|$http_c\";
         }",
    );
    assert_eq!(server.get_with("/", &["a_b: 1", "c: 2"]).text(), "|2");
    server.logs("client sent invalid header line: \"a_b: 1\"");
    assert_eq!(server.get_with("/", &["a-b: 1"]).text(), "1|");
    let mut lenient = Client::connect(server.port2());
    lenient.send("GET / HTTP/1.1\r\nHost: a\r\na_b: 1\r\nc!: 2\r\n\r\n");
    assert_eq!(lenient.answer().text(), "1|");
}

#[test]
fn versions_are_answered_as_they_ask() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 hello; }");
    assert_eq!(server.send("GET /\r\n"), "hello");
    let old = server.send("GET / HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.1 200 OK\r\n") && old.contains("Connection: close\r\n"));
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/2.0\r\n\r\n", "505"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"),
        ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET /../x HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        assert_eq!(status(&server.send(request)), expected, "{request:?}");
    }
}

#[test]
fn ambiguous_framing_is_refused() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 fine; }");
    for (fields, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Content-Length: 5\r\nContent-Length: 5", "hello"),
        ("Content-Length: 5\r\nContent-Length: 6", "hello"),
        ("Content-Length: +5", "hello"),
        ("Content-Length : 5", "hello"),
        ("X: a\r\n folded", ""),
        ("X: a\rb", ""),
        ("Transfer-Encoding: chunked", "5\nhello\n0\n\n"),
        ("Transfer-Encoding: chunked", "x\r\n"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
        assert_eq!(status(&server.send(request)), "400", "{fields:?} {body:?}");
    }
    let unknown = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n";
    assert_eq!(status(&server.send(unknown)), "501");
}

#[test]
fn a_head_may_come_in_any_pieces() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 \"$host $http_x\"; }");
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(3000));
    for step in [1, 7, 1000] {
        let mut client = server.client();
        for piece in request.as_bytes().chunks(step) {
            client.send(piece);
        }
        assert_eq!(client.answer().body.len(), 3002, "in pieces of {step}");
    }
}

#[test]
fn a_long_head_is_read_in_several_goes() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             large_client_header_buffers 40 8k;
             return 200 $host;
         }",
    );
    let fields: Vec<String> = (0..30).map(|n| format!("X-{n}: {}", "y".repeat(7000))).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    assert_eq!(server.get_with("/", &fields).text(), "localhost");
}
