//! Small things in which clients and logs could tell daemun from nginx.

use daemun_tests::Server;

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
    assert_eq!(server.send("GET /slow"), "");
    server.logs(
        "while reading client request line, client: 127.0.0.1, server: , request: \"GET /slow\"",
    );
}
