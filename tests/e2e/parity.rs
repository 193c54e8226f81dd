//! Small things in which clients and logs could tell daemun from nginx.

use daemun_tests::{Server, Setup, eventually};

#[test]
fn a_refused_request_behind_blank_lines_is_answered() {
    let server = Server::http(
        "log_format length '$request_length';
         access_log access.log length;
         server { listen 127.0.0.1:{port}; return 200 fine; }",
    );
    let answer = server.send("\r\n\r\nGET / BAD\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_refused_head_request_has_no_body() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 fine; }");
    let answer = server.send("HEAD * HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_timed_out_connection_is_logged_with_what_it_waited_for() {
    let server = Server::http(
        "server { listen 127.0.0.1:{port}; client_header_timeout 50ms; return 200 fine; }",
    );
    let told =
        "while reading client request line, client: 127.0.0.1, server: , request: \"GET /slow\"";
    eventually("a part of the request came in time", || {
        assert_eq!(server.send("GET /slow"), "");
        server.error_log().contains(told)
    });
}

#[test]
fn a_request_that_breaks_off_is_logged_with_how_far_it_came() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 fine; }");
    for (sent, told) in [
        ("GET /begun", "client request line, client: 127.0.0.1, server: , request: \"GET /begun\""),
        (
            "GET /more HTTP/1.1\r\nHos",
            "client request headers, client: 127.0.0.1, server: , request: \"GET /more HTTP/1.1\"",
        ),
    ] {
        server.client().send(sent);
        server.logs(&format!("client prematurely closed connection while reading {told}"));
    }
}

#[test]
fn a_client_that_leaves_without_a_request_is_told_of() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 204; }");
    drop(server.client());
    let address = server.filled("127.0.0.1:{port}");
    server.logs(&format!(
        "client closed connection while waiting for request, client: 127.0.0.1, server: {address}"
    ));
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.answer();
    drop(client);
    server.logs("client 127.0.0.1 closed keepalive connection\n");
}

#[test]
fn only_what_came_with_the_request_before_is_pipelined() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 204; }");
    let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = server.client();
    client.send(good);
    client.answer();
    client.send("alone\r\n");
    server.logs("client sent invalid method while reading client request line");
    server.client().send(format!("{good}behind\r\n"));
    server.logs("client sent invalid method while reading client pipelined request line");
}

#[test]
fn a_broken_chunked_body_is_an_error() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 fine; }");
    server.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
    server.logs("client sent invalid chunked body");
    let log = server.error_log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("invalid chunked body")).collect();
    assert!(matches!(told[..], [line] if line.contains(" [error] ")), "{log}");
}

#[test]
fn a_file_of_an_empty_type_has_no_content_type() {
    let server = Setup::new()
        .file("html/a.txt", "text")
        .http("server { listen 127.0.0.1:{port}; root {dir}/html; types { } default_type \"\"; }");
    let answer = server.get("/a.txt");
    assert_eq!((answer.status, answer.text()), (200, "text"));
    assert_eq!(answer.header("Content-Type"), None);
}
