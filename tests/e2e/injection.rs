//! What clients and upstreams send stays what it is: text in a line of a log, a value in a field.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use daemun_tests::{Server, Setup};

use crate::backend::{backend, head};

/// Nothing in a log but text and the ends of its own lines.
fn check_log(log: &[u8], begins: &str) {
    assert!(log.ends_with(b"\n"));
    for line in log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let shown = line.escape_ascii();
        assert!(line.starts_with(begins.as_bytes()), "a line of its own: {shown}");
        let raw = line.iter().find(|byte| matches!(byte, 0..=0x1f | 0x7f));
        assert_eq!(raw, None, "{shown}");
    }
}

#[test]
fn no_control_byte_of_a_peer_is_in_a_log() {
    // The bytes that a request names go into the response's head, line and field, and its body's framing.
    let port = backend(|stream| {
        let request = head(stream);
        let number = request.split('/').nth(2).and_then(|rest| rest.get(..2));
        let byte = number.and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(b'?');
        let shape = request.split('/').nth(3).and_then(|rest| rest.bytes().next());
        let mut answer = match shape {
            Some(b'n') => b"HTTP/1.1 200 OK\r\nX-".to_vec(),
            Some(b'v') => b"HTTP/1.1 200 OK\r\nX-From: a".to_vec(),
            Some(b's') => b"HTTP/1.1 200 O".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 1".to_vec(),
        };
        answer.push(byte);
        answer.extend_from_slice(b"2026/11/30 [error] x: y\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.write_all(&answer);
    });
    let server = Setup::new().file("html/a", "a").http(&format!(
        "log_format all '127.0.0.1 \"$request\" \"$uri\" \"$args\" \"$http_x\" \"$upstream_http_x_from\"';
         server {{
             listen 127.0.0.1:{{port}};
             root {{dir}}/html;
             large_client_header_buffers 2 1k;
             access_log {{dir}}/access.log all;
             location /up/ {{ proxy_pass http://127.0.0.1:{port}; }}
             location /auth/ {{ auth_basic a; auth_basic_user_file {{dir}}/html/a; }}
         }}"
    ));
    let ask = |parts: [&[u8]; 3]| {
        let mut client = server.client();
        client.send([parts[0], parts[1], parts[2]].concat());
        client.rest();
    };
    let end = b" HTTP/1.0\r\nHost: a\r\n\r\n";
    for byte in 0..=255u8 {
        let escaped = format!("%{byte:02x}2026/11/30 [crit] x: y");
        ask([b"GET /", escaped.replace(' ', "%20").as_bytes(), end]);
        ask([b"GET /path", &[byte], end]);
        ask([b"GET /?query", &[byte], end]);
        ask([b"GET / HTTP/1.0\r\nHost: a", &[byte], b"2026\r\n\r\n"]);
        ask([b"GET /auth/ HTTP/1.0\r\nX: a", &[byte], b"2026\r\nReferer: b\x1b[2J\r\n\r\n"]);
        ask([b"GET / HTTP/1.0\r\nX", &[byte], b"2026: a\r\n\r\n"]);
        let long = [&vec![b'x'; 1024][..], &[byte], b"2026/11/30 [crit] x: y\n"].concat();
        ask([b"GET / HTTP/1.0\r\nX: ", &long, b"\r\n"]);
        for shape in ["name", "value", "status", "length"] {
            ask([b"GET /up/", format!("{byte:02x}/{shape}").as_bytes(), end]);
        }
    }
    server.get("/up/last");
    server.file_has("access.log", "/up/last");
    let log = std::fs::read(server.folder().path("error.log")).unwrap();
    check_log(&log, "20");
    check_log(&std::fs::read(server.folder().path("access.log")).unwrap(), "127.0.0.1 ");
    // What is no control byte reads as it did.
    let log = String::from_utf8_lossy(&log);
    for told in [
        "/html/\\x0A2026/11/30 [crit] x: y\" failed (2: No such file or directory), client: 127.0.0.1",
        "/html/\\x1B2026/11/30 [crit] x: y\" failed (2: No such file or directory), client: 127.0.0.1",
        "/html/A2026/11/30 [crit] x: y\" failed",
        "client sent too long header line: \"X: xxx",
    ] {
        assert!(log.contains(told), "{told}");
    }
}

#[test]
fn values_end_no_line_of_a_head() {
    let port = backend(|stream| {
        let told = head(stream);
        let told = told.replace("\r\n", "|");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len());
        let _ = stream.write_all(answer.as_bytes());
    });
    let server = Server::http(&format!(
        "map $uri $set {{ default utf-8; ~(?s)^/charset/(?<name>.*)$ $name; }}
         server {{
             listen 127.0.0.1:{{port}};
             location /add/ {{ add_header X-Path $uri always; return 204; }}
             location /trailer/ {{ add_trailer X-Path $uri; return 200 a; }}
             location /return/ {{ return 302 $uri; }}
             location /away/ {{ return 302 http://other$uri; }}
             location /rewrite/ {{ rewrite ^ $uri? redirect; }}
             location /page/ {{ error_page 404 =301 http://other$uri; return 404; }}
             location /realm/ {{ auth_basic $uri; auth_basic_user_file nowhere; }}
             location /charset/ {{ charset $set; default_type text/html; return 200 a; }}
             location /etag/ {{ add_header ETag $uri; add_header Last-Modified $uri; return 200 a; }}
             location /field/ {{ proxy_set_header X-Path $uri; proxy_pass http://127.0.0.1:{port}/; }}
             location /host/ {{ proxy_set_header Host $uri; proxy_pass http://127.0.0.1:{port}/; }}
             location /method/ {{ proxy_method $uri; proxy_pass http://127.0.0.1:{port}/; }}
             location /uri/ {{ proxy_pass http://127.0.0.1:{port}$uri; }}
         }}"
    ));
    for place in [
        "add", "return", "away", "rewrite", "page", "realm", "charset", "etag", "field", "host",
        "method", "uri",
    ] {
        let uri = format!("/{place}/a%0d%0aX-Injected:%20yes%0d%0a%0d%0abody%0aX-Other:yes");
        let answer = server.get(&uri);
        assert!(answer.status > 0 && answer.header("X-Injected").is_none(), "{place}: {answer:?}");
        assert!(answer.header("X-Other").is_none(), "{place}: {answer:?}");
        for line in answer.text().split('|') {
            assert!(
                !line.starts_with("X-Injected") && !line.starts_with("body"),
                "{place}: {line}"
            );
        }
    }
    let trailer = server.send(
        "GET /trailer/a%0d%0aX-Injected:%20yes HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert!(trailer.ends_with("0\r\nX-Path: /trailer/aX-Injected: yes\r\n\r\n"), "{trailer}");
    let added = server.get("/add/a%0d%0ab");
    assert_eq!(added.header("X-Path"), Some("/add/ab"), "the rest is sent");
    assert!(server.get("/uri/a%0d%0ab").text().starts_with("GET /uri/a%0D%0Ab HTTP/1."));
}

#[test]
fn what_is_copied_or_moved_is_let_in_where_it_goes() {
    let server = Setup::new()
        .file("html/open/a.txt", "a")
        .file("html/denied/.keep", "")
        .file("html/locked/.keep", "")
        .file("html/inner/.keep", "")
        .file("html/closed/.keep", "")
        .file("html/other/.keep", "")
        .file("users", "me:{PLAIN}pass\n")
        .http(
            "server {
                 listen 127.0.0.1:{port};
                 root {dir}/html;
                 dav_methods PUT COPY MOVE;
                 location /denied/ { deny all; dav_methods COPY; }
                 location /locked/ { auth_basic here; auth_basic_user_file {dir}/users; }
                 location /inner/ { internal; }
                 location /closed/ { return 403; }
                 location /limited/ { limit_except GET { deny all; } }
                 location ~ ^/asked/ { auth_request /no; }
                 location = /no { return 403; }
                 rewrite ^/led/(.*)$ /denied/$1;
             }",
        );
    // The workers are nobody in particular.
    for folder in ["open", "denied", "locked", "inner", "closed", "other"] {
        let folder = server.folder().path(format!("html/{folder}"));
        std::fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    }
    let ask = |method: &str, to: &str, more: &[&str]| {
        let destination = format!("Destination: {to}");
        let fields = [&[&*destination], more].concat();
        server.request(method, "/open/a.txt", &fields)
    };
    for method in ["COPY", "MOVE"] {
        for (to, status) in [
            ("/denied/b.txt", 403),
            ("/%64enied/b.txt", 403),
            ("http://localhost/denied/b.txt", 403),
            ("/locked/b.txt", 401),
            ("/inner/b.txt", 404),
            ("/closed/b.txt", 403),
            ("/limited/b.txt", 403),
            ("/asked/b.txt", 403),
            ("/led/b.txt", 403),
        ] {
            let answer = ask(method, to, &[]);
            assert_eq!(answer.status, status, "{method} {to}");
            assert_eq!(answer.header("WWW-Authenticate").is_some(), status == 401, "{to}");
        }
    }
    for folder in ["denied", "locked", "inner", "closed"] {
        assert!(!server.folder().path(format!("html/{folder}/b.txt")).exists(), "{folder}");
    }
    let me = "Authorization: Basic bWU6cGFzcw==";
    assert_eq!(ask("COPY", "/locked/b.txt", &[me]).status, 204);
    assert_eq!(ask("COPY", "/other/b.txt", &[]).status, 204);
    assert_eq!(ask("MOVE", "/other/c.txt", &[]).status, 204);
    assert_eq!(server.get("/other/c.txt").text(), "a");
}
