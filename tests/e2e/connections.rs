//! How long connections live, and how they end.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use daemun_sys::socket::{self, Setting};
use daemun_tests::{Server, Setup, most_allocated};

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

/// Closing a socket with unread bytes resets it, and what was still on its way is lost.
#[test]
fn the_end_of_a_pipelined_connection_is_not_lost() {
    const LENGTH: usize = 2_000_000;
    let setup = Setup::new().file("html/large", "x".repeat(LENGTH));
    let server = setup.http(
        "log_format served '$connection_requests served';
         server {
             listen 127.0.0.1:{port}; root {dir}/html;
             access_log {dir}/served.log served;
             keepalive_requests 5;
         }",
    );
    let request = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = server.client();
    socket::set(client.stream().as_fd(), Setting::ReceiveBuffer, 16 << 10).unwrap();
    client.send(request.repeat(5));
    for _ in 0..4 {
        assert_eq!(client.answer().body.len(), LENGTH);
    }
    assert_eq!(client.head().content_length(), Some(LENGTH));
    // Once the server has sent all of the last one, the end of it is on its way.
    let mut read = 0;
    while !server.folder().read("served.log").contains("5 served") {
        read += client.exactly(20_000).len();
    }
    client.send(request);
    assert_eq!(client.rest().len(), LENGTH - read);
}

#[test]
fn a_head_that_comes_byte_by_byte_is_a_head() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             large_client_header_buffers 4 32k;
             return 200 \"$http_x_long|$http_y|$host\";
         }",
    );
    let long = "v".repeat(20_000);
    let mut client = server.client();
    client.send(format!("\r\n\r\nGET / HTTP/1.1\r\nHost: name\r\nX-Long: {}", &long[..19_000]));
    for byte in long.as_bytes()[19_000..].iter().chain(b"\r\nY: z\r\n\r\n") {
        client.send([*byte]);
    }
    assert_eq!(client.answer().text(), format!("{long}|z|name"));
    // One that is not allowed is refused as soon as it is too long, or wrong.
    for (field, status) in [("a".repeat(40_000), 400), ("a\0b".into(), 400), ("a\rb".into(), 400)] {
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: name\r\nX-Long: ");
        for part in field.as_bytes().chunks(if field.len() > 100 { 1000 } else { 1 }) {
            client.send(part);
        }
        assert_eq!(client.answer().status, status);
    }
}

#[test]
fn blank_lines_in_front_of_a_request_take_no_memory() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200 ok; }");
    let before = most_allocated(server.pid());
    let mut client = server.client();
    for _ in 0..400 {
        client.send("\r\n".repeat(50_000));
    }
    let grown = most_allocated(server.pid()).saturating_sub(before);
    assert!(grown < 4 << 10, "40 MB of blank lines took {grown} kB");
    assert_eq!(client.get("/").text(), "ok");
}
