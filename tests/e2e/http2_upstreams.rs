//! `proxy_http_version 2`: servers behind that speak HTTP/2.

use daemun_tests::http2::frame::Kind;
use daemun_tests::http2::{Code, Config};
use daemun_tests::{Http2Backend, Http2Client, Server, Setup, eventually};

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 7 + place / 251) as u8).collect()
}

/// A server before one that is a test's own.
fn before(backend: &Http2Backend, inside: &str) -> Server {
    let port = backend.port;
    // Kept connections are a thread's own: all requests meet the same one.
    Setup::new().mpm("mpm native;").http(&format!(
        "upstream u {{ server 127.0.0.1:{port}; keepalive 4; }}
         server {{ listen 127.0.0.1:{{port}}; http2 on; proxy_http_version 2; proxy_set_header Connection '';
             {inside} location / {{ proxy_pass http://u; }} }}"
    ))
}

#[test]
fn a_server_is_before_another_of_its_kind() {
    let server = Setup::new().file("root/f", noise(300_000)).http(
        "server { listen 127.0.0.1:{port2}; http2 on; root {dir}/root;
             location /echo { add_trailer X-Sum 42; return 200 '$server_protocol $http_host $http_x_a $http_connection'; } }
         upstream behind { server 127.0.0.1:{port2}; keepalive 2; }
         server { listen 127.0.0.1:{port}; http2 on; proxy_http_version 2;
             location / { proxy_pass http://behind; }
             location /set/ { proxy_pass http://behind/echo; proxy_set_header Host other.example;
                 proxy_set_header X-A b; proxy_set_header Connection keep-alive; } }",
    );
    assert_eq!(
        server.get_with("/echo", &["X-A: 1", "Connection: close"]).text(),
        "HTTP/2.0 behind 1 "
    );
    assert_eq!(server.get("/set/").text(), "HTTP/2.0 other.example b ");
    let mut client = Http2Client::connect(server.port());
    for _ in 0..3 {
        assert!(client.get("/f").body == noise(300_000));
        assert_eq!(client.get("/none").status, 404);
    }
    let stream = client.begin("HEAD", "/f", &[], true);
    let answer = client.answer(stream);
    assert_eq!((answer.content_length(), answer.body.len()), (Some(300_000), 0));
}

#[test]
fn heads_have_no_fields_of_a_connection_of_http_1() {
    let backend = Http2Backend::start();
    let server = before(&backend, "");
    let mut client = server.client();
    client.send("GET /a?b HTTP/1.1\r\nHost: me\r\nConnection: x, te\r\nTE: trailers\r\nKeep-Alive: 1\r\nX-Mine: 1\r\n\r\n");
    let mut peer = backend.accept();
    let asked = peer.request();
    let expected = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "u"),
        (":path", "/a?b"),
        ("x-mine", "1"),
    ];
    let fields = asked.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    assert_eq!(fields.collect::<Vec<_>>(), expected);
    peer.respond(asked.stream, 103, &[("link", "</a>")], false);
    peer.respond(asked.stream, 200, &[("x-b", "c"), ("server", "me")], false);
    peer.send(asked.stream, b"body", true);
    let answer = client.answer();
    assert_eq!((answer.header("x-b"), answer.text()), (Some("c"), "body"));
    assert_ne!(answer.header("server"), Some("me"));
}

#[test]
fn connections_are_kept_and_their_servers_heard_meanwhile() {
    let backend = Http2Backend::start();
    let server = before(&backend, "");
    let mut client = server.client();
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: me\r\n\r\n");
    client.send(request("/1"));
    let window = Config { connection_window: 65_535, ..Config::default() };
    let mut peer = backend.accept_with(window);
    let first = peer.request();
    peer.respond(first.stream, 204, &[], true);
    assert_eq!(client.answer().status, 204);
    // What it says between two requests is answered, and ends nothing.
    peer.frame(Kind::WindowUpdate, 0, 0, &1000u32.to_be_bytes());
    peer.ping();
    client.send(request("/2"));
    let second = peer.request();
    assert_eq!((first.stream, second.stream, second.field(":path")), (1, 3, Some("/2")));
    peer.respond(second.stream, 200, &[], true);
    assert_eq!(client.answer().status, 200);
    // One that goes away gets no other request.
    peer.go_away(second.stream, Code::NO_ERROR);
    peer.closed();
    client.send(request("/3"));
    let mut peer = backend.accept();
    let third = peer.request();
    assert_eq!(third.stream, 1);
    peer.respond(third.stream, 200, &[], true);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn what_was_not_begun_goes_to_another_connection_whatever_its_method() {
    let backend = Http2Backend::start();
    let server = before(&backend, "");
    for refusal in ["goaway", "refused"] {
        let mut client = server.client();
        client.send("POST / HTTP/1.1\r\nHost: me\r\nContent-Length: 4\r\n\r\nbody");
        let mut peer = backend.accept();
        let asked = peer.request();
        match refusal {
            "goaway" => peer.go_away(0, Code::NO_ERROR),
            _ => peer.reset(asked.stream, Code::REFUSED_STREAM),
        }
        let mut peer = backend.accept();
        let again = peer.request();
        assert_eq!((again.field(":method"), &again.body[..]), (Some("POST"), &b"body"[..]));
        peer.respond(again.stream, 200, &[], false);
        peer.send(again.stream, refusal.as_bytes(), true);
        assert_eq!(client.answer().text(), refusal);
        // Nobody goes on for ever.
        client.send("POST / HTTP/1.1\r\nHost: me\r\nContent-Length: 4\r\n\r\nbody");
        let asked = peer.request();
        peer.reset(asked.stream, Code::REFUSED_STREAM);
        let mut peer = backend.accept();
        let asked = peer.request();
        peer.reset(asked.stream, Code::REFUSED_STREAM);
        assert_eq!(client.answer().status, 502);
        assert!(backend.is_quiet());
    }
    server.logs("upstream sent goaway with error 0 while reading response header from upstream");
    server.logs("upstream rejected request with error 7 while reading");
}

#[test]
fn bodies_keep_to_windows_and_frames() {
    let backend = Http2Backend::start();
    let server = before(
        &backend,
        "client_max_body_size 0; location /u { proxy_request_buffering off; proxy_pass http://u; }",
    );
    let body = noise(200_000);
    for path in ["/buffered", "/u"] {
        let mut client = Http2Client::connect(server.port());
        let stream = client.begin("POST", path, &[], false);
        if path == "/buffered" {
            client.send_body(stream, &body, true);
        }
        let window =
            Config { stream_window: 65_535, connection_window: 65_535, ..Config::default() };
        let mut peer = backend.accept_with(window);
        let asked = std::thread::scope(|scope| {
            if path == "/u" {
                let (client, body) = (&mut client, &body);
                scope.spawn(move || client.send_body(stream, body, true));
            }
            peer.request()
        });
        assert!(asked.body == body, "{path}: {} bytes", asked.body.len());
        peer.respond(asked.stream, 200, &[("content-length", "2")], false);
        peer.send(asked.stream, b"ok", true);
        assert_eq!(client.answer(stream).text(), "ok");
        peer.go_away(asked.stream, Code::NO_ERROR);
        peer.closed();
    }
}

#[test]
fn the_configuration_makes_bodies_and_methods() {
    let backend = Http2Backend::start();
    let server = before(&backend, "proxy_set_body '$request_uri'; proxy_method PUT;");
    let mut client = server.client();
    client.send("GET /own HTTP/1.1\r\nHost: me\r\n\r\n");
    let mut peer = backend.accept();
    let asked = peer.request();
    assert_eq!((asked.field(":method"), asked.field("content-length")), (Some("PUT"), Some("4")));
    assert_eq!(asked.body, b"/own");
    peer.respond(asked.stream, 200, &[], true);
    assert_eq!(client.answer().content_length(), Some(0));
}

#[test]
fn faults_have_their_sentences() {
    let backend = Http2Backend::start();
    let server = before(&backend, "");
    type Play = fn(&mut daemun_tests::Http2Peer, u32);
    let heads: [(Play, &str); 6] = [
        (|peer, stream| peer.reset(stream, Code::CANCEL), "upstream rejected request with error 8"),
        (|peer, stream| peer.send(stream, b"a", false), "upstream sent unexpected http2 frame: 0"),
        (|peer, stream| peer.trailers(stream, &[("a", "b")]), "upstream sent no :status header"),
        (
            |peer, stream| peer.respond(stream, 200, &[("connection", "close")], true),
            "upstream sent connection-specific header",
        ),
        (
            |peer, stream| peer.frame(Kind::Ping, 0, stream, b"8 bytes."),
            "upstream sent PING frame with incorrect identifier",
        ),
        (
            |peer, stream| peer.respond(stream, 200, &[("a", &"b".repeat(5000))], true),
            "upstream sent too big header",
        ),
    ];
    for (play, sentence) in heads {
        let mut client = server.client();
        client.send("GET / HTTP/1.0\r\n\r\n");
        let mut peer = backend.accept();
        let asked = peer.request();
        play(&mut peer, asked.stream);
        assert_eq!(client.answer().status, 502, "{sentence}");
        server.logs(sentence);
        peer.closed();
    }
    let bodies: [(Play, &str); 3] = [
        (
            |peer, stream| peer.send(stream, b"five!", true),
            "upstream sent response body larger than indicated content length",
        ),
        (|peer, stream| peer.send(stream, b"one", true), "upstream prematurely closed stream"),
        (
            |peer, stream| {
                peer.send(stream, b"one", false);
                peer.reset(stream, Code::INTERNAL_ERROR);
            },
            "upstream rejected request with error 2",
        ),
    ];
    for (play, sentence) in bodies {
        let mut client = Http2Client::connect(server.port());
        let stream = client.ask("/");
        let mut peer = backend.accept();
        let asked = peer.request();
        peer.respond(asked.stream, 200, &[("content-length", "4")], false);
        play(&mut peer, asked.stream);
        let reply = client.reply(stream);
        assert!(reply.reset.is_some(), "{sentence}");
        server.logs(sentence);
        peer.closed();
    }
}

#[test]
fn tls_has_servers_agree_to_it() {
    let server = Setup::new().mpm("mpm native;").identity_of("behind.example").http(
        "ssl_certificate {dir}/behind.example.crt; ssl_certificate_key {dir}/behind.example.key;
         server { listen 127.0.0.1:{port2} ssl; http2 on;
             return 200 '$http2 $ssl_alpn_protocol $scheme $host $connection_requests'; }
         upstream behind { server 127.0.0.1:{port2}; keepalive 2; }
         server { listen 127.0.0.1:{port}; proxy_http_version 2; proxy_ssl_server_name on;
             proxy_pass_trailers on; location / { proxy_pass https://behind; } }",
    );
    let mut client = server.client();
    for number in 1..4 {
        assert_eq!(client.get("/").text(), format!("h2 h2 https behind {number}"));
    }
}

#[test]
fn a_client_that_leaves_takes_the_request_along() {
    let backend = Http2Backend::start();
    let server = before(&backend, "");
    let mut client = Http2Client::connect(server.port());
    let stream = client.ask("/");
    let mut peer = backend.accept();
    let asked = peer.request();
    peer.respond(asked.stream, 200, &[], false);
    peer.send(asked.stream, b"some", false);
    client.until(|client| !client.so_far(stream).answer.body.is_empty());
    client.reset(stream, Code::CANCEL);
    peer.closed();
    server.logs("client prematurely closed connection");
}

#[test]
fn their_health_is_asked_for_over_http_2_as_well() {
    let server = Setup::new().identity_of("behind.example").http(
        "ssl_certificate {dir}/behind.example.crt; ssl_certificate_key {dir}/behind.example.key;
         log_format l '$request $status'; access_log off;
         server { listen 127.0.0.1:{port2} ssl; http2 on;
             location /health { access_log {dir}/checks l; return 200 well; }
             location / { return 200 served; } }
         upstream behind { zone z 64k; server 127.0.0.1:{port2}; }
         match good { status 200; body ~ well; }
         server { listen 127.0.0.1:{port}; proxy_http_version 2;
             location / { proxy_pass https://behind;
                 health_check uri=/health match=good interval=20ms mandatory; } }",
    );
    eventually("it is found to be well", || server.get("/").text() == "served");
    server.file_has("checks", "GET /health HTTP/2.0 200");
}
