//! Requests as the servers behind get them: whole ones that somebody asked for, whatever the client's body was like.

use std::io::Write;
use std::sync::{Mutex, mpsc};

use daemun_tests::{Recorded, Recorder, Server, Setup, children, eventually, ok, signals};

use crate::backend::{backend, head};

/// A body that would be a request where it stood bare.
const EVIL: &str = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";

/// The same request in the ways to frame a body.
fn shapes(uri: &str) -> [(&'static str, String); 4] {
    let head = format!("POST {uri} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    let length = EVIL.len();
    let (first, rest) = EVIL.split_at(3);
    let of_length = format!("{head}Content-Length: {length}\r\n\r\n{EVIL}");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    [
        ("length", of_length),
        ("one chunk", format!("{chunked}{length:x}\r\n{EVIL}\r\n0\r\n\r\n")),
        ("chunks", format!("{chunked}3\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len())),
        ("nothing", format!("{head}Content-Length: 0\r\n\r\n")),
    ]
}

/// What was asked, and how its body was framed; a body is all of the client's, or none.
fn shown(requests: &[Recorded]) -> Vec<String> {
    let shown = requests.iter().map(|Recorded { method, uri, framing, body, .. }| {
        assert!(body.is_empty() || body == EVIL.as_bytes(), "{uri}: {body:?}");
        let body = if body.is_empty() { "" } else { " +" };
        format!("{method} {uri} [{framing}]{body}")
    });
    shown.collect()
}

/// Sends each shape twice, through connections that are kept, and compares what comes behind.
fn check(configuration: &str, uri: &str, count: usize, expected: impl Fn(&str) -> Vec<String>) {
    let recorder = Recorder::start(|request| match &*request.uri {
        "/ssi" => ok("<!--#include virtual=\"/part\" -->"),
        "/accel" => {
            "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /inner\r\nContent-Length: 0\r\n\r\n".into()
        }
        "/fail" => "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno".into(),
        _ => ok("ok"),
    });
    let server = Server::http(&format!(
        "upstream u {{ server 127.0.0.1:{}; keepalive 8; }}
         server {{ listen 127.0.0.1:{{port}}; {configuration} }}",
        recorder.port
    ));
    for (shape, request) in shapes(uri) {
        for _ in 0..2 {
            let answer = server.client().send(&request).answer();
            assert_eq!(answer.status, 200, "{shape}: {answer:?}");
            assert_eq!(shown(&recorder.requests(count)), expected(shape), "{shape}");
        }
    }
}

/// The request without it: of a body that is empty anyway it may be said.
fn bare(shape: &str, request: &str) -> String {
    match shape {
        "nothing" => format!("{request} [Content-Length: 0]"),
        _ => format!("{request} []"),
    }
}

/// The request that has the body.
fn whole(shape: &str, request: &str) -> String {
    match shape {
        "nothing" => format!("{request} [Content-Length: 0]"),
        _ => format!("{request} [Content-Length: {}] +", EVIL.len()),
    }
}

#[test]
fn a_mirrored_body_is_framed() {
    check(
        "location / { mirror /copy; proxy_pass http://u; }
         location = /copy { internal; proxy_pass http://u/mirrored; }",
        "/m",
        2,
        |shape| vec![whole(shape, "POST /m"), whole(shape, "POST /mirrored")],
    );
}

#[test]
fn a_mirror_without_the_body_announces_none() {
    check(
        "location / { mirror /copy; mirror_request_body off; proxy_pass http://u; }
         location = /copy { internal; proxy_pass http://u/mirrored; }",
        "/m",
        2,
        |shape| vec![whole(shape, "POST /m"), bare(shape, "POST /mirrored")],
    );
}

#[test]
fn what_is_included_is_asked_for_with_the_body_or_without() {
    check("location / { ssi on; proxy_pass http://u; }", "/ssi", 2, |shape| {
        vec![whole(shape, "GET /part"), whole(shape, "POST /ssi")]
    });
    // nobody has read the body here
    check(
        "location / { ssi on; return 200 '<!--#include virtual=\"/part\" -->'; default_type text/html; }
         location /part { proxy_pass http://u; }",
        "/",
        1,
        |shape| vec![bare(shape, "GET /part")],
    );
}

#[test]
fn what_is_added_is_asked_for_with_the_body_or_without() {
    check(
        "location / { add_before_body /part; proxy_pass http://u; }
         location /part { proxy_pass http://u; }",
        "/m",
        2,
        |shape| vec![whole(shape, "POST /m"), whole(shape, "GET /part")],
    );
    check(
        "location / { add_after_body /part; return 200 text; default_type text/html; }
         location /part { proxy_pass http://u; }",
        "/",
        1,
        |shape| vec![bare(shape, "GET /part")],
    );
}

#[test]
fn who_is_asked_for_access_is_told_of_no_body() {
    for more in ["", "proxy_pass_request_body off;", "proxy_http_version 1.0;"] {
        check(
            &format!(
                "location / {{ auth_request /auth; proxy_pass http://u; }}
                 location = /auth {{ internal; {more} proxy_pass http://u; }}"
            ),
            "/z",
            2,
            |shape| vec![bare(shape, "GET /auth"), whole(shape, "POST /z")],
        );
    }
}

#[test]
fn a_body_that_is_left_out_is_not_announced() {
    let none = |_: &str| vec!["POST /m [Content-Length: 0]".into()];
    let off = "location / { proxy_pass_request_body off; proxy_pass http://u; }";
    check(off, "/m", 1, none);
    let silent = off.replace('}', "proxy_set_header Content-Length \"\"; }");
    check(&silent, "/m", 1, |_| vec!["POST /m []".into()]);
    // what is set and not true
    let lied = off.replace('}', "proxy_set_header Content-Length $http_content_length; }");
    check(&lied, "/m", 1, |shape| match shape {
        "nothing" => none(shape),
        _ => vec!["POST /m []".into()],
    });
}

#[test]
fn what_the_configuration_sets_does_not_unframe_a_body() {
    for set in [
        "proxy_set_header Content-Length \"\";",
        "proxy_set_header Content-Length 3;",
        "proxy_set_header Content-Length 0;",
        "proxy_set_header Transfer-Encoding chunked;",
        "proxy_set_header Transfer-Encoding $http_transfer_encoding;",
        "proxy_http_version 1.0;",
    ] {
        let recorder = Recorder::agreeing();
        let server = Server::http(&format!(
            "server {{
                 listen 127.0.0.1:{{port}};
                 location / {{ {set} proxy_pass http://127.0.0.1:{}; }}
             }}",
            recorder.port
        ));
        for (shape, request) in shapes("/m").into_iter().take(3) {
            assert_eq!(server.client().send(&request).answer().status, 200);
            assert_eq!(shown(&recorder.requests(1)), [whole(shape, "POST /m")], "{set}: {shape}");
        }
    }
}

#[test]
fn a_body_that_went_elsewhere_is_not_announced_again() {
    let locations = "
        proxy_request_buffering off;
        location / { proxy_pass http://u; }
        location /inner { internal; proxy_pass http://u; }
        location /fail { proxy_intercept_errors on; error_page 500 =200 @inner; proxy_pass http://u; }
        location @inner { proxy_pass http://u; }";
    for (uri, second) in
        [("/accel", "GET /inner [Content-Length: 0]"), ("/fail", "POST /fail [Content-Length: 0]")]
    {
        let recorder = Recorder::start(|request| match (&*request.uri, request.body.len()) {
            ("/accel", _) => {
                "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /inner\r\nContent-Length: 0\r\n\r\n".into()
            }
            ("/fail", 1..) => "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno".into(),
            _ => ok("ok"),
        });
        let server = Server::http(&format!(
            "upstream u {{ server 127.0.0.1:{}; keepalive 8; }}
             server {{ listen 127.0.0.1:{{port}}; {locations} }}",
            recorder.port
        ));
        for (number, (shape, request)) in shapes(uri).into_iter().take(3).enumerate() {
            // The body comes behind its head, so that it is passed on as it comes.
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let mut client = server.client();
            client.send(format!("{head}\r\n\r\n{}", &body[..4]));
            recorder.wait_for_heads(2 * number + 1);
            client.send(&body[4..]);
            assert_eq!(client.answer().text(), "ok", "{uri}: {shape}");
            let seen = recorder.requests(2);
            let again = seen.iter().filter(|request| request.body.is_empty());
            let again: Vec<_> = shown(&again.cloned().collect::<Vec<_>>());
            assert_eq!(again, [second], "{uri}: {shape}");
        }
    }
}

#[test]
fn a_first_server_that_is_down_costs_nothing_of_a_body_that_is_passed_on() {
    let recorder = Recorder::agreeing();
    let server = Server::http(&format!(
        "upstream u {{ server 127.0.0.1:{{port3}} max_fails=0; server 127.0.0.1:{}; }}
         server {{
             listen 127.0.0.1:{{port}};
             location / {{ proxy_pass http://u; proxy_request_buffering off; }}
         }}",
        recorder.port
    ));
    for _ in 0..4 {
        let mut client = server.client();
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
        server.logs("Connection refused");
        client.send("def");
        assert_eq!(client.answer().text(), "ok");
        assert_eq!(recorder.requests(1)[0].body, b"abcdef");
    }
}

#[test]
fn a_refused_body_is_dropped_before_another_server_is_asked() {
    let recorder = Recorder::agreeing();
    let server = Server::http(&format!(
        "upstream u {{ server 127.0.0.1:{}; keepalive 8; }}
         server {{
             listen 127.0.0.1:{{port}};
             client_max_body_size 10;
             error_page 413 =200 /large;
             location / {{ proxy_pass http://u; }}
         }}",
        recorder.port
    ));
    for (shape, request) in shapes("/m").into_iter().take(3) {
        assert_eq!(server.client().send(&request).answer().text(), "ok", "{shape}");
        let seen = shown(&recorder.requests(1));
        assert_eq!(seen, ["GET /large [Content-Length: 0]"], "{shape}");
    }
}

#[test]
fn a_chunk_that_is_too_large_is_refused_before_it_comes() {
    let server = Setup::new().http(
        "server {
             listen 127.0.0.1:{port};
             client_max_body_size 10;
             location / { proxy_pass http://127.0.0.1:{port3}; }
             location /off { proxy_pass http://127.0.0.1:{port2}; proxy_request_buffering off; }
         }
         server { listen 127.0.0.1:{port2}; return 200; }",
    );
    for uri in ["/", "/off"] {
        let mut client = server.client();
        client.send(format!(
            "POST {uri} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n7\r\n"
        ));
        assert_eq!(client.answer().status, 413);
        server.logs("client intended to send too large chunked body: 4+7 bytes");
    }
}

/// The body of a request in SCGI, and its parameters, one after the other with their values.
fn scgi_request(bytes: &[u8]) -> (Vec<String>, Vec<u8>) {
    let colon = bytes.iter().position(|byte| *byte == b':').unwrap();
    let length: usize = std::str::from_utf8(&bytes[..colon]).unwrap().parse().unwrap();
    let params = &bytes[colon + 1..][..length];
    assert_eq!(bytes[colon + 1 + length], b',');
    let params = params.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into());
    (params.collect(), bytes[colon + 2 + length..].to_vec())
}

#[test]
fn gateways_are_told_the_length_of_what_follows() {
    use std::io::Read;
    let (send, requests) = std::sync::mpsc::sync_channel(8);
    let scgi = backend(move |stream| {
        let mut read = Vec::new();
        let mut part = [0; 4096];
        // All of a short request comes at once.
        while let Ok(count @ 1..) = stream.read(&mut part) {
            read.extend_from_slice(&part[..count]);
            let (params, body) = scgi_request(&read);
            if params[1].parse() == Ok(body.len()) {
                break;
            }
        }
        stream.write_all(b"Content-Length: 2\r\n\r\nok").unwrap();
        let _ = stream.read_to_end(&mut read);
        send.send(read).unwrap();
    });
    let server = Server::http(&format!(
        "server {{
             listen 127.0.0.1:{{port}};
             scgi_param CONTENT_LENGTH $content_length;
             scgi_param URI $uri;
             location / {{ mirror /copy; scgi_pass 127.0.0.1:{scgi}; }}
             location /copy {{ scgi_pass 127.0.0.1:{scgi}; }}
             location /off {{ scgi_pass_request_body off; scgi_pass 127.0.0.1:{scgi}; }}
             location /auth {{ auth_request /copy; empty_gif; }}
         }}"
    ));
    let value = |params: &[String], name: &str| {
        let places = params.iter().enumerate().filter(|(_, param)| *param == name);
        places.map(|(place, _)| params[place + 1].clone()).collect::<Vec<_>>()
    };
    for (uri, count, lengths) in [("/", 2, EVIL.len()), ("/off", 1, 0), ("/auth", 1, 0)] {
        for (shape, request) in shapes(uri).into_iter().take(3) {
            let _ = server.client().send(&request).answer();
            for _ in 0..count {
                let (params, body) = scgi_request(&requests.recv().unwrap());
                assert_eq!(body.len(), lengths, "{uri} {shape}: {params:?}");
                for told in value(&params, "CONTENT_LENGTH") {
                    let is_true = told.is_empty() && lengths == 0 || told.parse() == Ok(lengths);
                    assert!(is_true, "{uri} {shape}: {params:?}");
                }
                for told in value(&params, "HTTP_CONTENT_LENGTH") {
                    assert_eq!(told.parse(), Ok(lengths), "{uri} {shape}: {params:?}");
                }
            }
        }
    }
}

/// Whether all threads of a process have been stopped.
fn stands_still(pid: i32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')').is_none_or(|(_, rest)| rest.starts_with(" T"))
    })
}

#[test]
fn what_was_not_asked_for_never_reaches_another_client() {
    let (go, may_go) = mpsc::channel();
    let (stray, had_come) = mpsc::channel();
    let may_go = Mutex::new(may_go);
    let port = backend(move |stream| {
        while !head(stream).is_empty() {
            stream.write_all(ok("asked").as_bytes()).unwrap();
            if may_go.lock().unwrap().recv().is_err() {
                return;
            }
            let _ = stream.write_all(ok("stray").as_bytes());
            let _ = stray.send(());
        }
    });
    let server = Server::http(&format!(
        "upstream u {{ server 127.0.0.1:{port}; keepalive 8; }}
         server {{
             listen 127.0.0.1:{{port}};
             keepalive_requests 5000;
             location / {{ proxy_pass http://u; }}
         }}"
    ));
    let mut client = server.client();
    assert_eq!(client.get("/").text(), "asked");
    // Whoever has answered is among them; before, they may not have been started.
    let workers = children(server.pid());
    let tell = |signal| {
        workers.iter().for_each(|worker| signals::send(*worker, signal).unwrap());
    };
    for number in 0..1000 {
        // The worker learns of the request and of the stray response at once, in this order or the other.
        tell(signals::SIGSTOP);
        eventually("all threads stand still", || {
            workers.iter().all(|worker| stands_still(*worker))
        });
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        if number % 2 == 0 {
            client.send(request);
        }
        go.send(()).unwrap();
        had_come.recv().unwrap();
        if number % 2 == 1 {
            client.send(request);
        }
        tell(signals::SIGCONT);
        assert_eq!(client.answer().text(), "asked", "{number}");
    }
}
