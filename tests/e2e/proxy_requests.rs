//! `proxy_pass`: how requests get to servers: which one, when, and on what connection.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use daemun_tests::{Engine, Server, Setup, read_once};

use crate::backend::{backend, echo, head, saying};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn the_next_server_is_asked() {
    let (good, bad) = (saying(OK), saying("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"));
    let server = Server::http(&format!(
        "upstream u {{ server 127.0.0.1:{{port3}}; server 127.0.0.1:{bad}; server 127.0.0.1:{good}; }}
         log_format tries '$upstream_addr $upstream_status';
         server {{
             listen 127.0.0.1:{{port}};
             access_log {{dir}}/tries.log tries;
             location / {{
                 proxy_pass http://u;
                 proxy_next_upstream error http_503;
                 proxy_next_upstream_timeout 1m;
             }}
             location /few {{ proxy_pass http://u; proxy_next_upstream_tries 1; }}
             location /none {{ proxy_pass http://u; proxy_next_upstream off; }}
         }}"
    ));
    assert_eq!(server.get("/").text(), "ok");
    let tried = server
        .filled(&format!("127.0.0.1:{{port3}}, 127.0.0.1:{bad}, 127.0.0.1:{good} 502, 503, 200\n"));
    server.file_has("tries.log", &tried);
    server.logs("connect() failed (111: Connection refused) while connecting to upstream");
}

#[test]
fn connections_are_kept_and_a_dead_one_is_replaced() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    // Two requests on each connection; the third finds it closed.
    let port = backend(move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        for _ in 0..2 {
            if head(stream).is_empty() {
                return;
            }
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let server = Server::http(&format!(
        "upstream u {{ server 127.0.0.1:{port}; }}
         server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://u; }} }}"
    ));
    for _ in 0..6 {
        assert_eq!(server.get("/").text(), "ok");
    }
    // Each thread keeps its own: where there are several, requests meet other ones.
    let made = connections.load(Ordering::SeqCst);
    let is_one_thread = Engine::current().mpm.is_empty();
    assert!(made == 3 || !is_one_thread && made <= 6, "{made} connections");
}

#[test]
fn a_long_response_leaves_its_connection_to_the_next_request() {
    const LENGTH: usize = 20_000;
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let port = backend(move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let body = "x".repeat(LENGTH);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n{body}");
        while !head(stream).is_empty() {
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let server = Server::http(&format!(
        "upstream u {{ server 127.0.0.1:{port}; }}
         server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://u; }} }}"
    ));
    const REQUESTS: usize = 20;
    for _ in 0..REQUESTS {
        assert_eq!(server.get("/").text().len(), LENGTH);
    }
    // Each thread keeps its own: where there are several, requests meet other ones.
    let made = connections.load(Ordering::SeqCst);
    let is_one_thread = Engine::current().mpm.is_empty();
    assert!(made == 1 || !is_one_thread && made < REQUESTS, "{made} connections");
}

#[test]
fn requests_that_met_a_dead_connection_are_counted() {
    // One answer on each connection; the next request is taken, and the connection closed.
    let port = backend(|stream| {
        head(stream);
        stream.write_all(OK.as_bytes()).unwrap();
        head(stream);
    });
    let server = Server::http(&format!(
        "upstream u {{ server 127.0.0.1:{port}; }}
         server {{
             listen 127.0.0.1:{{port}};
             location / {{ proxy_pass http://u; }}
             location = /status {{ server_status; }}
         }}"
    ));
    for _ in 0..3 {
        assert_eq!(server.get("/").text(), "ok");
    }
    let status = server.get("/status?json");
    let count =
        status.text().split("\"stale_retries\":").nth(1).and_then(|rest| rest.split('}').next());
    // Each thread keeps its own: where there are several, requests meet other ones.
    match Engine::current().mpm.is_empty() {
        true => assert_eq!(count, Some("2")),
        false => assert!(count.is_some()),
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let port = backend(|stream| {
        head(stream);
        let _ = stream.read(&mut [0; 1]);
    });
    let server = Server::http(&format!(
        "server {{
             listen 127.0.0.1:{{port}};
             location / {{
                 proxy_pass http://127.0.0.1:{port};
                 proxy_connect_timeout 1m;
                 proxy_send_timeout 1m;
                 proxy_read_timeout 100ms;
             }}
         }}"
    ));
    assert_eq!(server.get("/").status, 504);
    server.logs("upstream timed out (110: Connection timed out) while reading response header");
}

#[test]
fn a_client_that_leaves_ends_the_request() {
    let (arrived, wait) = mpsc::channel();
    let (left, gone) = mpsc::channel();
    let (arrived, left) = (std::sync::Mutex::new(arrived), std::sync::Mutex::new(left));
    let port = backend(move |stream| {
        head(stream);
        arrived.lock().unwrap().send(()).unwrap();
        let end = stream.read(&mut [0; 1]);
        left.lock().unwrap().send(end.unwrap()).unwrap();
    });
    let server = Server::http(&format!(
        "log_format status $status;
         server {{
             listen 127.0.0.1:{{port}};
             access_log {{dir}}/status.log status;
             location / {{ proxy_pass http://127.0.0.1:{port}; }}
             location /ignored {{
                 proxy_pass http://127.0.0.1:{port};
                 proxy_ignore_client_abort on;
                 proxy_read_timeout 300ms;
             }}
         }}"
    ));
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait.recv().unwrap();
    drop(client);
    assert_eq!(gone.recv().unwrap(), 0, "the connection behind is closed");
    server.logs("client prematurely closed connection, so upstream connection is closed too");
    server.file_has("status.log", "499\n");
    let mut client = server.client();
    client.send("GET /ignored HTTP/1.1\r\nHost: a\r\n\r\n");
    wait.recv().unwrap();
    drop(client);
    server.file_has("status.log", "504\n");
}

#[test]
fn a_body_may_go_on_as_it_comes() {
    let (seen, parts) = mpsc::channel();
    let seen = std::sync::Mutex::new(seen);
    let port = backend(move |stream| {
        let mut all = head(stream);
        seen.lock().unwrap().send(all.clone()).unwrap();
        let mut part = [0; 1024];
        while !all.ends_with("0\r\n\r\n") {
            let count = read_once(stream, &mut part).unwrap();
            all.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        seen.lock().unwrap().send(all).unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let server = Server::http(&format!(
        "server {{
             listen 127.0.0.1:{{port}};
             location / {{ proxy_pass http://127.0.0.1:{port}; proxy_request_buffering off; }}
         }}"
    ));
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(parts.recv().unwrap().contains("\r\nTransfer-Encoding: chunked\r\n"));
    client.send("3\r\nabc\r\n").send("0\r\n\r\n");
    let all = parts.recv().unwrap();
    assert!(all.ends_with("3\r\nabc\r\n0\r\n\r\n"), "{all}");
    assert_eq!(client.answer().text(), "ok");
}

#[test]
fn what_is_passed_on_can_be_left_out() {
    let server = Setup::new().http(
        "server {
             listen 127.0.0.1:{port};
             proxy_set_header Content-Length \"\";
             location / {
                 proxy_pass http://127.0.0.1:{port2};
                 proxy_pass_request_headers off;
                 proxy_pass_request_body off;
             }
             location /old { proxy_pass http://127.0.0.1:{port2}; proxy_http_version 1.0; }
         }
         server {
             listen 127.0.0.1:{port2};
             return 200 \"$server_protocol $http_x_a|$content_length\";
         }",
    );
    let posted = server.send(
        "POST / HTTP/1.1\r\nHost: a\r\nX-A: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab",
    );
    assert!(posted.ends_with("\r\n\r\nHTTP/1.1 |"), "{posted}");
    assert_eq!(server.get_with("/old", &["X-A: a"]).text(), "HTTP/1.0 a|");
}

#[test]
fn connections_come_from_where_they_are_told_to() {
    let server = Setup::new().http(
        "server {
             listen 127.0.0.1:{port};
             location / {
                 proxy_pass http://127.0.0.1:{port2};
                 proxy_bind 127.0.0.$arg_last;
                 proxy_socket_keepalive on;
                 proxy_socket_rcvbuf 64k;
                 proxy_socket_sndbuf 64k;
             }
         }
         server { listen 127.0.0.1:{port2}; return 200 $remote_addr; }",
    );
    assert_eq!(server.get("/?last=7").text(), "127.0.0.7");
    assert_eq!(server.get("/?last=x").text(), "127.0.0.1");
    server.logs("invalid local address \"127.0.0.x\"");
}

#[test]
fn upgraded_connections_carry_anything() {
    let port = echo();
    let server = Server::http(&format!(
        "log_format bytes '$status $bytes_sent $upstream_bytes_received';
         server {{
             listen 127.0.0.1:{{port}};
             access_log {{dir}}/bytes.log bytes;
             location / {{
                 proxy_pass http://127.0.0.1:{port};
                 proxy_set_header Upgrade $http_upgrade;
                 proxy_set_header Connection upgrade;
             }}
         }}"
    ));
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly ");
    let head = client.head();
    assert_eq!((head.status, head.header("Connection")), (101, Some("upgrade")));
    assert_eq!(client.exactly(6), b"early ");
    for _ in 0..3 {
        client.send("hello");
        assert_eq!(client.exactly(5), b"hello");
    }
    drop(client);
    server.file_has("bytes.log", "101 ");
}

#[test]
fn the_name_of_a_folder_redirects_to_it() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             location /app/ { proxy_pass http://127.0.0.1:{port2}; }
             location /other/ { return 200 other; }
         }",
    );
    let answer = server.get("/app?a=b");
    let place = server.filled("http://localhost:{port}/app/?a=b");
    assert_eq!((answer.status, answer.header("Location")), (301, Some(&*place)));
    assert_eq!(server.get("/other").status, 404);
}

#[test]
fn clients_reach_others_through_a_tunnel() {
    let server = Setup::new().http(
        "server {
             listen 127.0.0.1:{port};
             location / {
                 tunnel_pass;
                 tunnel_bind 127.0.0.5;
                 tunnel_socket_keepalive on;
                 tunnel_socket_rcvbuf 64k;
                 tunnel_socket_sndbuf 64k;
                 tunnel_connect_timeout 1m;
                 tunnel_send_timeout 1m;
                 tunnel_read_timeout 1m;
                 tunnel_buffer_size 8k;
                 tunnel_next_upstream error timeout;
                 tunnel_next_upstream_tries 2;
                 tunnel_next_upstream_timeout 1m;
             }
         }
         server { listen 127.0.0.1:{port2}; return 200 \"reached by $remote_addr\"; }
         server { listen 127.0.0.1:{port3}; location / { return 200 no; } }",
    );
    let mut client = server.client();
    let target = server.filled("127.0.0.1:{port2}");
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    let head = client.head();
    assert_eq!((head.status, head.header("Content-Length")), (200, None));
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert!(String::from_utf8(client.rest()).unwrap().ends_with("reached by 127.0.0.5"));
    assert_eq!(server.get("/").status, 405);
}

/// Answers with the head that it got.
fn mirror() -> u16 {
    backend(|stream| {
        let head = head(stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len()).unwrap();
    })
}

#[test]
fn a_request_tells_of_the_tries_before_it() {
    let missing = saying("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    let found = mirror();
    let server = Server::http(&format!(
        "server {{
             listen 127.0.0.1:{{port}};
             proxy_set_header X-Tried $upstream_status;
             location / {{
                 proxy_intercept_errors on;
                 error_page 404 = @other;
                 proxy_pass http://127.0.0.1:{missing};
             }}
             location @other {{ proxy_pass http://127.0.0.1:{found}; }}
             location /first {{ proxy_pass http://127.0.0.1:{found}; }}
             location /other {{
                 fastcgi_pass 127.0.0.1:{{port3}};
                 add_header X-Host \"[$proxy_host]\" always;
             }}
         }}"
    ));
    assert!(server.get("/").text().contains("\r\nX-Tried: 404\r\n"));
    assert!(!server.get("/first").text().contains("X-Tried"));
    // Nor does it know of what another request was passed to.
    assert_eq!(server.get("/other").header("X-Host"), Some("[]"));
}

#[test]
fn an_absolute_uri_without_a_path_gets_one() {
    let port = mirror();
    let server = Server::http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://127.0.0.1:{port}; }} }}"
    ));
    let got = server.send("GET http://front?x=1 HTTP/1.0\r\nHost: front\r\n\r\n");
    assert!(got.contains("GET /?x=1 HTTP/1.1\r\n"), "{got}");
}

/// The path is escaped where it came so; what the query has says nothing of it.
#[test]
fn a_query_says_nothing_of_the_path() {
    let port = backend(|stream| {
        let told = head(stream).lines().next().unwrap_or_default().to_owned();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len());
        let _ = stream.write_all(answer.as_bytes());
    });
    let server = Server::http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; location /a/ {{ proxy_pass http://127.0.0.1:{port}/b/; }} }}"
    ));
    for (uri, passed) in [
        ("/a/x^y", "/b/x^y"),
        ("/a/x^y?q=%41", "/b/x^y?q=%41"),
        ("/a/x^y#%41", "/b/x^y"),
        ("/a/%78^y", "/b/x%5Ey"),
        ("/a/%78^y?q=^", "/b/x%5Ey?q=^"),
    ] {
        assert!(server.get(uri).text().starts_with(&format!("GET {passed} HTTP/1.")), "{uri}");
    }
}
