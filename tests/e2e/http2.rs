//! Clients that speak HTTP/2.

use std::io::Write;

use daemun_tests::http2::Config;
use daemun_tests::http2::frame::Kind;
use daemun_tests::{
    Http2Client, Recorder, Server, Setup, TlsClient, VERSIONS, children, client_config, eventually,
    ok, signals,
};

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 7 + place / 251) as u8).collect()
}

#[test]
fn both_versions_are_spoken_on_one_port() {
    let server = Server::http(
        "log_format l '$request $server_protocol $http2'; 
         server { listen 127.0.0.1:{port}; http2 on; access_log {dir}/access.log l;
             return 200 '$server_protocol [$http2] $host $request_uri'; }",
    );
    assert_eq!(server.get("/one").text(), "HTTP/1.1 [] localhost /one");
    let mut client = Http2Client::connect(server.port());
    let answer = client.get("/two?q");
    assert_eq!((answer.status, answer.text()), (200, "HTTP/2.0 [h2c] localhost /two?q"));
    assert_eq!(answer.header("server"), Some(concat!("daemun/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(answer.header("connection"), None);
    server.file_has("access.log", "GET /one HTTP/1.1 HTTP/1.1 -\n");
    server.file_has("access.log", "GET /two?q HTTP/2.0 HTTP/2.0 h2c\n");
    // An offer to change over in HTTP/1.1 is declined.
    let fields =
        ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"];
    assert_eq!(server.get_with("/three", &fields).text(), "HTTP/1.1 [] localhost /three");
}

#[test]
fn it_is_off_where_nobody_turns_it_on() {
    let server = Server::http("server { listen 127.0.0.1:{port}; return 200; }");
    let answer = server.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn it_is_agreed_on_over_tls() {
    let server = Setup::new().identity_of("one.example").http(
        "ssl_certificate {dir}/one.example.crt; ssl_certificate_key {dir}/one.example.key;
         server { listen 127.0.0.1:{port} ssl; http2 on;
             return 200 '$http2 $ssl_alpn_protocol $scheme $https'; }",
    );
    let mut client = Http2Client::over_tls(server.port(), "one.example");
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "h2 h2 https on");
    }
    let mut old =
        TlsClient::connect(server.port(), &client_config(VERSIONS[0], None), "one.example");
    assert_eq!(old.get("/").text(), "  https on");
}

#[test]
fn a_thousand_requests_go_over_one_connection_a_hundred_at_a_time() {
    let server = Server::http(
        "server { listen 127.0.0.1:{port}; http2 on; keepalive_requests 10000;
             return 200 $connection_requests:$request_uri; }",
    );
    let mut client = Http2Client::connect(server.port());
    for round in 0..10 {
        let paths: Vec<String> = (0..100).map(|number| format!("/{round}/{number}")).collect();
        let streams: Vec<u32> = paths.iter().map(|path| client.ask(path)).collect();
        for (stream, path) in streams.into_iter().zip(&paths) {
            let answer = client.answer(stream);
            assert!(answer.text().ends_with(&format!(":{path}")), "{}", answer.text());
        }
    }
    assert_eq!(client.get("/last").text(), "1001:/last");
}

#[test]
fn files_of_every_size_come_whole_through_small_windows() {
    let sizes = [0, 1, 8191, 8192, 16_384, 100_000, 1_500_000];
    let mut setup = Setup::new();
    for size in sizes {
        setup = setup.file(&format!("root/{size}"), noise(size));
    }
    let server = setup.http("server { listen 127.0.0.1:{port}; http2 on; root {dir}/root; }");
    for window in [1000, 65_535] {
        let config =
            Config { stream_window: window, connection_window: 65_535, ..Config::default() };
        let mut client = Http2Client::with_config(server.port(), config);
        let streams = sizes.map(|size| (size, client.ask(&format!("/{size}"))));
        for (size, stream) in streams {
            let answer = client.answer(stream);
            assert_eq!(answer.content_length(), Some(size));
            assert!(answer.body == noise(size), "{size} bytes, window {window}");
        }
        let stream = client.begin("HEAD", "/100000", &[], true);
        let answer = client.answer(stream);
        assert_eq!((answer.content_length(), answer.body.len()), (Some(100_000), 0));
    }
}

#[test]
fn a_frame_carries_no_more_than_the_chunk_size() {
    let server = Setup::new().file("root/f", noise(20_000)).http(
        "server { listen 127.0.0.1:{port}; http2 on; http2_chunk_size 2k; root {dir}/root; }",
    );
    let mut raw = daemun_tests::RawHttp2::connect(server.port());
    raw.send(b"\0\0\x09\x01\x05\0\0\0\x01\x82\x86\x41\x01a\x04\x02/f").unwrap();
    let mut lengths = Vec::new();
    while lengths.iter().sum::<u32>() < 20_000 {
        let (head, _) = raw.frame().expect("more of the file");
        if head.kind == Kind::Data {
            lengths.push(head.length);
        }
    }
    assert!(lengths.iter().all(|length| *length <= 2048), "{lengths:?}");
}

#[test]
fn bodies_of_requests_go_on_as_they_are() {
    for buffering in ["on", "off"] {
        let recorder = Recorder::start(|request| ok(&format!("{} bytes", request.body.len())));
        let server = Server::http(&format!(
            "server {{ listen 127.0.0.1:{{port}}; http2 on; client_max_body_size 0;
                 proxy_request_buffering {buffering}; proxy_http_version 1.1;
                 location / {{ proxy_pass http://127.0.0.1:{}; }} }}",
            recorder.port
        ));
        let mut client = Http2Client::connect(server.port());
        for size in [0, 5, 20_000, 2_000_000] {
            let body = noise(size);
            for is_announced in [true, false] {
                let length = size.to_string();
                let length = [("content-length", &*length)];
                let fields: &[_] = if is_announced { &length } else { &[] };
                let stream = client.begin("POST", "/b", fields, false);
                client.send_body(stream, &body, true);
                assert_eq!(client.answer(stream).text(), format!("{size} bytes"), "{buffering}");
                let seen = recorder.requests(1).remove(0);
                assert!(seen.body == body, "{size} bytes, {is_announced}, {buffering}");
            }
        }
        // Trailers behind a body end it.
        let stream = client.begin("POST", "/t", &[], false);
        client.send_body(stream, b"hello", false);
        client.send_trailers(stream, &[("x-sum", "1")]);
        assert_eq!(client.answer(stream).text(), "5 bytes");
        assert_eq!(recorder.requests(1)[0].body, b"hello");
    }
}

#[test]
fn a_body_that_does_not_fit_what_was_announced_is_refused() {
    let server = Server::http(
        "server { listen 127.0.0.1:{port2}; return 200 $content_length; }
         server { listen 127.0.0.1:{port}; http2 on; client_max_body_size 10;
             location / { proxy_pass http://127.0.0.1:{port2}; } }",
    );
    let mut client = Http2Client::connect(server.port());
    let stream = client.begin("POST", "/", &[("content-length", "5")], false);
    client.send_body(stream, b"only", true);
    let reply = client.reply(stream);
    assert!(reply.reset.is_some() || reply.answer.status == 400, "{reply:?}");
    let stream = client.begin("POST", "/", &[("content-length", "11")], false);
    assert_eq!(client.answer(stream).status, 413);
    let stream = client.begin("POST", "/", &[], false);
    client.send_body(stream, b"eleven byte", true);
    assert_eq!(client.answer(stream).status, 413);
    // The connection goes on.
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn interim_responses_and_trailers_go_through() {
    let recorder = Recorder::start(|_| {
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
         HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"
            .into()
    });
    let server = Server::http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; http2 on; early_hints 1;
             proxy_pass_trailers on; proxy_http_version 1.1; proxy_set_header TE trailers;
             proxy_set_header Connection TE; add_trailer X-Own $host;
             location / {{ proxy_pass http://127.0.0.1:{}; }} }}",
        recorder.port
    ));
    let mut client = Http2Client::connect(server.port());
    let stream = client.ask("/");
    let reply = client.reply(stream);
    assert_eq!(reply.answer.text(), "hello");
    assert_eq!(reply.interim.len(), 1, "{reply:?}");
    assert_eq!(reply.interim[0].status, 103);
    assert_eq!(reply.interim[0].header("link"), Some("</a.css>"));
    let trailer = |name| reply.trailers.iter().find(|(known, _)| known == name).map(|(_, v)| &**v);
    assert_eq!((trailer("x-sum"), trailer("x-own")), (Some("7"), Some("localhost")));
}

#[test]
fn a_client_that_reads_slowly_holds_nobody_else_up() {
    let server = Setup::new()
        .file("root/big", noise(3_000_000))
        .file("root/small", "small")
        .http("server { listen 127.0.0.1:{port}; http2 on; root {dir}/root; }");
    let config = Config { stream_window: 10, ..Config::default() };
    let mut client = Http2Client::with_config(server.port(), config);
    // Its window is as good as closed, since nobody widens it before the small one is there.
    let big = client.ask("/big");
    let small = client.ask("/small");
    assert_eq!(client.answer(small).text(), "small");
    assert!(!client.so_far(big).is_whole);
    client.reset(big, daemun_tests::http2::Code::CANCEL);
    assert_eq!(client.get("/small").text(), "small");
}

#[test]
fn subrequests_and_error_pages_work_as_ever() {
    let server = Setup::new().file("root/page.shtml", "a<!--#include virtual=\"/part\" -->c").http(
        "server { listen 127.0.0.1:{port}; http2 on; root {dir}/root; ssi on; ssi_types *;
             error_page 401 = /denied;
             location /part { return 200 b; }
             location = /denied { return 200 denied; }
             location /auth { auth_request /check; return 200 never; }
             location = /check { return 401; } }",
    );
    let mut client = Http2Client::connect(server.port());
    assert_eq!(client.get("/page.shtml").text(), "abc");
    let stream = client.begin("GET", "/none", &[("accept", "*/*")], true);
    assert_eq!(client.answer(stream).status, 404);
}

#[test]
fn a_client_that_gives_up_is_logged_so() {
    let recorder = Recorder::start(|_| String::new());
    let server = Server::http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; http2 on; access_log {{dir}}/access.log;
             location /slow {{ proxy_pass http://127.0.0.1:{}; }}
             location / {{ return 200; }} }}",
        recorder.port
    ));
    let mut client = Http2Client::connect(server.port());
    let stream = client.ask("/slow");
    recorder.requests(1);
    client.reset(stream, daemun_tests::http2::Code::CANCEL);
    server.file_has("access.log", "\"GET /slow HTTP/2.0\" 499 ");
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn what_is_beyond_the_limit_is_refused_and_may_be_tried_again() {
    let recorder = Recorder::start(|_| String::new());
    let server = Server::http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; http2 on; http2_max_concurrent_streams 2;
             location /slow {{ proxy_pass http://127.0.0.1:{}; }}
             location / {{ return 200 ok; }} }}",
        recorder.port
    ));
    // The client does not wait for the settings that would tell it.
    let mut client = Http2Client::connect(server.port());
    let slow = [client.ask("/slow"), client.ask("/slow")];
    let third = client.ask("/");
    let code = client.reply(third).reset;
    assert_eq!(code, Some(daemun_tests::http2::Code::REFUSED_STREAM));
    client.reset(slow[0], daemun_tests::http2::Code::CANCEL);
    client.ping();
    assert_eq!(client.get("/").text(), "ok");
}

#[test]
fn a_connection_ends_in_good_order_after_its_requests() {
    let server = Server::http(
        "server { listen 127.0.0.1:{port}; http2 on; keepalive_requests 3; return 200 ok; }",
    );
    let mut client = Http2Client::connect(server.port());
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "ok");
    }
    client.until(|client| client.is_closed);
    assert_eq!(client.goodbye.map(|(last, code)| (last, code.0)), Some((5, 0)));
}

#[test]
fn a_reload_says_goodbye_and_loses_nothing() {
    let recorder = Recorder::start(|request| match &*request.uri {
        "/slow" => String::new(),
        _ => ok("ok"),
    });
    let server = Server::http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; http2 on;
             location / {{ proxy_pass http://127.0.0.1:{}; proxy_read_timeout 2s; }} }}",
        recorder.port
    ));
    let mut idle = Http2Client::connect(server.port());
    assert_eq!(idle.get("/").text(), "ok");
    let mut busy = Http2Client::connect(server.port());
    let slow = busy.ask("/slow");
    recorder.requests(2);
    let before = children(server.pid());
    server.signal(signals::SIGHUP);
    // Who waits is told, and closed; who is served is told, and served to the end.
    idle.until(|client| client.is_closed);
    assert_eq!(idle.goodbye.map(|(_, code)| code.0), Some(0));
    busy.until(|client| client.goodbye.is_some());
    assert_eq!(busy.goodbye.map(|(last, _)| last), Some(slow));
    assert_eq!(busy.answer(slow).status, 504);
    eventually("the old workers have ended", || {
        children(server.pid()).iter().all(|child| !before.contains(child))
    });
    assert_eq!(Http2Client::connect(server.port()).get("/").text(), "ok");
}

#[test]
fn what_comes_byte_by_byte_is_understood() {
    let server =
        Server::http("server { listen 127.0.0.1:{port}; http2 on; return 200 $request_uri; }");
    let mut raw = daemun_tests::RawHttp2::connect(server.port());
    for byte in b"\0\0\x0a\x01\x05\0\0\0\x01\x82\x86\x41\x01a\x04\x03/ab" {
        raw.stream().write_all(&[*byte]).unwrap();
    }
    loop {
        let (head, payload) = raw.frame().expect("the response");
        if head.kind == Kind::Data {
            assert_eq!(payload, b"/ab");
            break;
        }
    }
}

#[test]
fn old_directives_are_said_to_be_obsolete() {
    let setup = Setup::new();
    let output = setup.run(
        "events {} http { http2_recv_buffer_size 256k;
             server { listen 127.0.0.1:{port} http2; http2_max_requests 5;
             http2_idle_timeout 5; http2_max_field_size 1k; http2_max_header_size 1k;
             http2_recv_timeout 5; http2_max_concurrent_pushes 5; http2_push off;
             http2_push_preload off; http2_body_preread_size 64k;
             http2_pool_size 4k; http2_streams_index_size 32; } }",
        &["-t"],
    );
    assert_eq!(output.code, Some(0), "{output:?}");
    for text in [
        "the \"listen ... http2\" directive is deprecated, use the \"http2\" directive instead",
        "the \"http2_max_requests\" directive is obsolete, use the \"keepalive_requests\" directive instead",
        "the \"http2_idle_timeout\" directive is obsolete, use the \"keepalive_timeout\" directive instead",
        "the \"http2_max_field_size\" directive is obsolete, use the \"large_client_header_buffers\" directive instead",
        "the \"http2_max_header_size\" directive is obsolete, use the \"large_client_header_buffers\" directive instead",
        "the \"http2_max_concurrent_pushes\" directive is obsolete, ignored",
        "the \"http2_push\" directive is obsolete, ignored",
        "the \"http2_push_preload\" directive is obsolete, ignored",
        "the \"http2_recv_timeout\" directive is obsolete, use the \"client_header_timeout\" directive instead",
    ] {
        assert!(output.stderr.contains(text), "{text}: {}", output.stderr);
    }
}

/// The order in which large responses end whose client says these priorities.
fn order(server: &Server, priorities: [Option<&str>; 4]) -> Vec<usize> {
    let config = Config { stream_window: 1 << 20, connection_window: 65_535, ..Config::default() };
    let mut client = Http2Client::with_config(server.port(), config);
    let streams = priorities.map(|priority| {
        let fields: Vec<_> = priority.iter().map(|value| ("priority", *value)).collect();
        client.begin("GET", "/large", &fields, true)
    });
    for stream in streams {
        client.answer(stream);
    }
    let place = |ended: &u32| streams.iter().position(|stream| stream == ended).unwrap();
    client.ended.iter().map(place).collect()
}

#[test]
fn urgent_responses_go_first() {
    let server = Setup::new()
        .file("root/large", noise(400_000))
        .http("server { listen 127.0.0.1:{port}; http2 on; root {dir}/root; }");
    // The first ones are under way before the last ones are read.
    assert_eq!(order(&server, [Some("u=7"), Some("u=5"), Some("u=1"), Some("u=0")]), [3, 2, 1, 0]);
    // Whole ones go one after the other.
    assert_eq!(order(&server, [Some("u=3"), Some(""), Some("u=3"), None]), [0, 1, 2, 3]);
    assert_eq!(order(&server, [Some("u=6, i"), Some("u=6"), Some("u=2, i"), None])[..2], [2, 3]);
}

#[test]
fn a_client_that_says_nothing_is_served_in_turns() {
    let server = Setup::new()
        .file("root/large", noise(400_000))
        .file("root/small", noise(70_000))
        .http("server { listen 127.0.0.1:{port}; http2 on; root {dir}/root; }");
    let config = Config { stream_window: 1 << 20, connection_window: 65_535, ..Config::default() };
    let mut client = Http2Client::with_config(server.port(), config);
    let large = client.ask("/large");
    let small = client.ask("/small");
    client.answer(large);
    assert_eq!(client.ended, [small, large]);
}

#[test]
fn a_response_may_say_how_urgent_it_is_and_a_client_change_its_mind() {
    let server = Setup::new().file("root/large", noise(400_000)).http(
        "server { listen 127.0.0.1:{port}; http2 on; root {dir}/root;
             location = /last { alias {dir}/root/large; add_header Priority u=7; } }",
    );
    let config = Config { stream_window: 1 << 20, connection_window: 65_535, ..Config::default() };
    let mut client = Http2Client::with_config(server.port(), config.clone());
    let last = client.begin("GET", "/last", &[("priority", "u=1")], true);
    let first = client.begin("GET", "/large", &[], true);
    client.answer(last);
    assert_eq!(client.ended, [first, last]);

    let mut client = Http2Client::with_config(server.port(), config);
    let first = client.begin("GET", "/large", &[("priority", "u=1")], true);
    let second = client.begin("GET", "/large", &[("priority", "u=2")], true);
    let update = [&first.to_be_bytes()[..], b"u=5"].concat();
    client.frame(Kind::PriorityUpdate, 0, 0, &update);
    client.answer(first);
    assert_eq!(client.ended, [second, first]);
}

/// A server behind that takes an upgrade and sends back what it gets; what it was asked.
fn echo() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = daemun_tests::listener();
    let port = listener.local_addr().unwrap().port();
    let (asked, heads) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut client = daemun_tests::Client::over(stream.unwrap());
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.extend(client.exactly(1));
            }
            asked.send(String::from_utf8(head).unwrap()).unwrap();
            client.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
            );
            std::thread::spawn(move || {
                let stream = client.stream().try_clone().unwrap();
                let _ = std::io::copy(&mut &stream, &mut &stream);
                let _ = stream.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    (port, heads)
}

#[test]
fn a_websocket_goes_over_a_stream_without_a_line_for_it() {
    let (port, heads) = echo();
    let server = Server::http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; http2 on; http2_extended_connect on;
             access_log {{dir}}/access.log;
             location / {{ proxy_pass http://127.0.0.1:{port}; }}
             location /file {{ return 200 no; }} }}"
    ));
    let mut client = Http2Client::connect(server.port());
    client.ping();
    assert!(client.has_extended_connect());
    let ask = |client: &mut Http2Client, path, protocol| {
        let fields = [(":protocol", protocol), ("sec-websocket-version", "13")];
        client.begin("CONNECT", path, &fields, false)
    };
    let stream = ask(&mut client, "/chat", "websocket");
    client.until(|client| client.so_far(stream).answer.status > 0);
    let answer = client.so_far(stream).answer.clone();
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (200, Some("chat")));
    assert_eq!(answer.header("sec-websocket-accept"), None);
    let head = heads.recv().unwrap().to_ascii_lowercase();
    assert!(head.starts_with("get /chat http/1.1\r\n"), "{head}");
    for field in ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"] {
        assert_eq!(head.matches(&format!("\r\n{field}\r\n")).count(), 1, "{head}");
    }
    assert!(head.contains("\r\nsec-websocket-key: "), "{head}");
    // Talk, and more than windows hold.
    client.send_body(stream, b"hello", false);
    client.until(|client| client.so_far(stream).answer.body == b"hello");
    let long = noise(1_000_000);
    client.send_body(stream, &long, false);
    client.until(|client| client.so_far(stream).answer.body.len() == 1_000_005);
    assert!(client.so_far(stream).answer.body[5..] == long);
    // Others are served beside it.
    assert_eq!(client.get("/file").text(), "no");
    client.send_body(stream, b"", true);
    client.until(|client| client.so_far(stream).is_whole);
    server.file_has("access.log", "\"GET /chat HTTP/2.0\" 200 1000005 ");

    // What is no tunnel does not look like one.
    let stream = ask(&mut client, "/file", "websocket");
    assert_eq!(client.reply(stream).answer.status, 501);
    let stream = ask(&mut client, "/chat", "carrier-pigeon");
    assert_eq!(client.reply(stream).answer.status, 501);
}

#[test]
fn a_tunnel_is_refused_where_none_was_offered() {
    let server = Server::http("server { listen 127.0.0.1:{port}; http2 on; return 200 ok; }");
    let mut client = Http2Client::connect(server.port());
    client.ping();
    assert!(!client.has_extended_connect());
    let stream = client.begin("CONNECT", "/", &[(":protocol", "websocket")], false);
    assert_eq!(client.reply(stream).answer.status, 400);
    assert_eq!(client.get("/").text(), "ok");
}
