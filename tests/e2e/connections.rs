//! How long connections live, and how they end.

use std::time::{Duration, Instant};

use daemun_tests::Server;

#[test]
fn connections_are_kept_within_their_limits() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             keepalive_requests 3;
             keepalive_timeout 60s 20s;
             return 200 $connection_requests;
         }",
    );
    let mut client = server.client();
    for number in ["1", "2"] {
        let answer = client.get("/");
        assert_eq!((answer.text(), answer.header("Connection")), (number, Some("keep-alive")));
        assert_eq!(answer.header("Keep-Alive"), Some("timeout=20"));
    }
    let last = client.get("/");
    assert_eq!((last.text(), last.header("Connection")), ("3", Some("close")));
    assert!(client.is_closed());
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             keepalive_timeout 200ms;
             keepalive_min_timeout 0;
             return 200 x;
         }",
    );
    let mut client = server.client();
    let start = Instant::now();
    client.get("/");
    assert!(client.is_closed());
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(150), "{waited:?}");
}

#[test]
fn an_old_connection_gets_no_further_request() {
    let server =
        Server::http("server { listen 127.0.0.1:{port}; keepalive_time 1ms; return 200 x; }");
    let mut client = server.client();
    // The first request begins at once with the connection, a later one does not.
    let closes = (0..100).any(|_| client.get("/").header("Connection") == Some("close"));
    assert!(closes && client.is_closed());
}

#[test]
fn keepalive_is_not_for_every_browser() {
    let server =
        Server::http("server { listen 127.0.0.1:{port}; keepalive_disable safari; return 200 x; }");
    let mut client = server.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\n\
         User-Agent: Mozilla/5.0 (Macintosh; Mac OS X) AppleWebKit/1 Safari/1\r\n\r\n",
    );
    assert_eq!(client.answer().header("Connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 $uri; }");
    let mut client = server.client();
    let requests: String =
        (0..50).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(requests);
    for number in 0..50 {
        assert_eq!(client.answer().text(), format!("/{number}"));
    }
}

#[test]
fn slow_clients_are_given_up() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             client_header_timeout 200ms;
             reset_timedout_connection on;
             return 200 x;
         }",
    );
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHo");
    assert!(client.is_closed());
    server.logs("client timed out");
    assert!(server.client().is_closed(), "one that sends nothing");
}

#[test]
fn a_body_that_nobody_reads_is_taken_before_the_close() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             lingering_close always;
             lingering_time 5s;
             lingering_timeout 1s;
             client_max_body_size 1k;
             location / { return 200 x; }
         }",
    );
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    assert_eq!(client.answer().status, 413);
    // None of this may turn the answer into a reset.
    client.send(vec![b'x'; 1_000_000]);
    assert!(client.is_closed());
}

#[test]
fn the_next_request_follows_a_body_that_nobody_read() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 $uri; }");
    let mut client = server.client();
    for body in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        client.send(format!("POST /one HTTP/1.1\r\nHost: a\r\n{body}"));
        assert_eq!(client.answer().text(), "/one");
        assert_eq!(client.get("/two").text(), "/two");
    }
}

#[test]
fn a_client_that_waits_for_leave_gets_it() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 x; }");
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().line, "HTTP/1.1 100 Continue");
    assert_eq!(client.send("hello").answer().status, 200);
    assert_eq!(client.get("/").status, 200);
}
