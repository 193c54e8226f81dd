//! `proxy_pass`: what becomes of responses, good and bad ones.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use daemun_tests::{Server, most_allocated};

use crate::backend::{backend, head, saying};

fn front(port: u16, directives: &str) -> Server {
    Server::http(&format!(
        "server {{
             listen 127.0.0.1:{{port}};
             location / {{ proxy_pass http://127.0.0.1:{port}; {directives} }}
             location = /page {{ return 200 \"own page\"; }}
         }}"
    ))
}

#[test]
fn framing_of_all_kinds_is_understood() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello and more",
        "HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nHTTP/1.1\r\nContent-Length: 5\r\r\n\r\nhello",
    ] {
        let server = front(saying(answer), "");
        let got = server.get("/");
        assert_eq!((got.status, got.text()), (200, "hello"), "{answer}");
    }
    let server = front(saying("hello, this is no HTTP"), "");
    assert_eq!(server.get("/").status, 502);
    server.logs("upstream sent no valid HTTP/1.0 header");
    assert_eq!(server.send("GET /\r\n"), "hello, this is no HTTP");
}

#[test]
fn long_responses_reach_many_clients_in_order() {
    const CLIENTS: usize = 32;
    const REQUESTS: usize = 40;
    let text: String = (0..10_000).map(|line| format!("{line:09}\n")).collect();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    let port = backend(move |stream| {
        while !head(stream).is_empty() {
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let server = Server::http(&format!(
        "upstream u {{ server 127.0.0.1:{port}; keepalive {CLIENTS}; }}
         server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://u; }} }}"
    ));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..REQUESTS {
                    assert!(client.get("/").text() == text, "another text");
                }
            });
        }
    });
}

#[test]
fn bad_responses_are_answered_with_502() {
    for (answer, sentence) in [
        ("", "upstream prematurely closed connection while reading response header from upstream"),
        (
            "HTTP/1.1 200 OK\r\nbad header: x\r\n\r\n",
            "upstream sent invalid header: \"bad\\x20...\"",
        ),
        ("HTTP/1.1 200 OK\r\nX: a \rb\r\n\r\n", "upstream sent invalid header: \"X: a\\x20...\""),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "upstream sent invalid \"Content-Length\" header: \"Content-Length: x\"",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "upstream sent unknown \"Transfer-Encoding\": \"gzip\"",
        ),
        (
            "HTTP/1.1 200 OK\r\nX-Long: 0123456789012345678901234567890",
            "upstream prematurely closed",
        ),
    ] {
        let server = front(saying(answer), "");
        assert_eq!(server.get("/").status, 502, "{answer}");
        server.logs(sentence);
    }
    let server = front(
        saying("HTTP/1.1 200 OK\r\nX-Long: 012345678901234567890123456789\r\n\r\n"),
        "proxy_buffer_size 40; proxy_buffers 4 40; proxy_busy_buffers_size 80;
         proxy_temp_file_write_size 80; proxy_max_temp_file_size 0;",
    );
    assert_eq!(server.get("/").status, 502);
    server.logs("upstream sent too big header while reading response header from upstream");
}

#[test]
fn a_response_that_breaks_off_is_not_passed_off_as_whole() {
    let server = front(saying("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), "");
    let got = server.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(got.ends_with("\r\n\r\nhalf"), "{got}");
    server.logs("upstream prematurely closed connection while reading upstream");
}

#[test]
fn fields_are_hidden_and_obeyed() {
    let answer = "HTTP/1.1 200 Fine\r\nServer: s\r\nX-Pad: p\r\nX-Own: o\r\nX-Accel-Expires: 1\r\n\
                  Content-Type: text/plain;charset=koi8-r\r\nContent-Length: 0\r\n\r\n";
    let server = front(saying(answer), "proxy_hide_header X-Own; proxy_pass_header Server;");
    let got = server.get("/");
    assert_eq!(got.line, "HTTP/1.1 200 Fine");
    assert_eq!((got.header("Server"), got.header("X-Pad")), (Some("s"), None));
    assert_eq!((got.header("X-Own"), got.header("X-Accel-Expires")), (None, None));
    assert_eq!(got.header("Content-Type"), Some("text/plain;charset=koi8-r"));
    let redirect = "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /page\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(front(saying(redirect), "").get("/").text(), "own page");
    let server = front(saying(redirect), "proxy_ignore_headers X-Accel-Redirect;");
    assert_eq!(server.get("/").text(), "");
    let typed = "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /page\r\nContent-Type: application/pdf\r\n\
                 Content-Length: 0\r\n\r\n";
    let got = front(saying(typed), "").get("/");
    assert_eq!((got.header("Content-Type"), got.text()), (Some("application/pdf"), "own page"));
}

#[test]
fn a_field_that_is_passed_and_was_not_sent_is_not_made_up() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let got = front(saying(answer), "proxy_pass_header Server;").get("/");
    assert_eq!(got.header("Server"), None, "it is the server's behind, which has none");
    assert!(got.header("Date").is_some());
    let got = front(saying(answer), "proxy_pass_header Date;").get("/");
    assert!(got.header("Server").is_some() && got.header("Date").is_none());
}

#[test]
fn what_could_be_read_of_a_bad_head_is_known() {
    let server = front(
        saying("HTTP/1.1 200 OK\r\nX-Why: because\r\nbad header\r\n\r\n"),
        "error_page 502 = @why;} location @why { return 200 $upstream_http_x_why;",
    );
    assert_eq!(server.get("/").text(), "because");
}

#[test]
fn a_response_may_choose_its_charset_among_those_that_are_known() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nX-Accel-Charset: koi8-r\r\n\
                  Content-Length: 1\r\n\r\nx";
    let plain = Some("text/css");
    assert_eq!(front(saying(answer), "").get("/").header("Content-Type"), plain);
    let server = front(saying(answer), "charset utf-8;");
    assert_eq!(server.get("/").header("Content-Type"), plain);
    server.logs("unknown charset \"koi8-r\" to override");
    let elsewhere = "} location /elsewhere { charset koi8-r;";
    let told = front(saying(answer), elsewhere).get("/");
    assert_eq!(told.header("Content-Type"), Some("text/css; charset=koi8-r"));
    let ignored =
        front(saying(answer), &format!("proxy_ignore_headers X-Accel-Charset; {elsewhere}"));
    assert_eq!(ignored.get("/").header("Content-Type"), plain);
}

#[test]
fn errors_can_have_pages_of_the_servers_own() {
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone";
    assert_eq!(front(saying(missing), "error_page 404 /page;").get("/").text(), "gone");
    let server = front(saying(missing), "error_page 404 /page; proxy_intercept_errors on;");
    let got = server.get("/");
    assert_eq!((got.status, got.text()), (404, "own page"));
}

#[test]
fn cookies_are_rewritten() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\
                  Set-Cookie: a=b; domain=behind.example; path=/old/x\r\n\r\n";
    let server = front(
        saying(answer),
        "proxy_cookie_domain behind.example front.example;
         proxy_cookie_path /old/ /new/;
         proxy_cookie_flags a httponly samesite=lax;",
    );
    assert_eq!(
        server.get("/").header("Set-Cookie"),
        Some("a=b; domain=front.example; path=/new/x; HttpOnly; SameSite=Lax")
    );
}

#[test]
fn ranges_are_cut_from_what_knows_none() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
    let server = front(saying(answer), "proxy_force_ranges on;");
    let got = server.get_with("/", &["Range: bytes=2-4"]);
    assert_eq!((got.status, got.text()), (206, "234"));
}

#[test]
fn trailers_and_early_hints_pass_where_that_is_asked_for() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
                  HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: t\r\n\r\n";
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let plain = front(saying(answer), "").send(request);
    assert!(plain.starts_with("HTTP/1.1 200 ") && plain.ends_with("0\r\n\r\n"), "{plain}");
    let server = front(saying(answer), "early_hints $http_host; proxy_pass_trailers on;");
    let both = server.send(request);
    assert!(both.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"), "{both}");
    assert!(both.ends_with("0\r\nX-T: t\r\n\r\n"), "{both}");
}

/// A server behind that goes on when it is told to.
fn waiting(
    serve: impl Fn(&mut TcpStream, &mpsc::Receiver<()>) + Send + Sync + 'static,
) -> (u16, mpsc::Sender<()>) {
    let (next, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let port = backend(move |stream| {
        head(stream);
        serve(stream, &wait.lock().unwrap());
    });
    (port, next)
}

#[test]
fn events_reach_the_client_at_once() {
    let (port, next) = waiting(|stream, wait| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        while wait.recv().is_ok() {
            stream.write_all(b"data: x\n\n").unwrap();
        }
    });
    let server = front(port, "proxy_flush_idle on;");
    let mut client = server.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.head().status, 200, "before the first event");
    for _ in 0..3 {
        next.send(()).unwrap();
        assert_eq!(client.exactly(9), b"data: x\n\n");
    }
    drop(next);
    assert!(client.is_closed());
}

#[test]
fn what_trickles_is_compressed_at_once() {
    for (coding, directives) in [
        ("gzip", "proxy_buffering off;"),
        ("gzip", ""),
        ("br", "proxy_buffering off;"),
        ("zstd", "proxy_buffering off;"),
    ] {
        let (port, next) = waiting(|stream, wait| {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(b"first ").unwrap();
            let _ = wait.recv();
            stream.write_all(b"last").unwrap();
        });
        let server = front(
            port,
            &format!(
                "{directives} sub_filter i I; gzip on; brotli on; zstd on;
                 gzip_proxied any; gzip_http_version 1.0;"
            ),
        );
        let mut client = server.client();
        client.send(format!("GET / HTTP/1.0\r\nAccept-Encoding: {coding}\r\n\r\n"));
        assert_eq!(client.head().header("Content-Encoding"), Some(coding));
        let mut packed = Vec::new();
        while unpacked(coding, &packed) != b"fIrst " {
            packed.extend(client.exactly(1));
        }
        next.send(()).unwrap();
        packed.extend(client.rest());
        assert_eq!(unpacked(coding, &packed), b"fIrst last", "{coding}, {directives}");
    }
}

/// What a part of a compressed body can be read as.
fn unpacked(coding: &str, packed: &[u8]) -> Vec<u8> {
    let mut decoder: Box<dyn Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(packed)),
        "br" => Box::new(brotli::Decompressor::new(packed, 4096)),
        _ => Box::new(zstd::stream::read::Decoder::new(packed).unwrap()),
    };
    let (mut text, mut byte) = (Vec::new(), [0]);
    while let Ok(1) = decoder.read(&mut byte) {
        text.extend(byte);
    }
    text
}

#[test]
fn nginxs_way_of_gathering_can_be_had() {
    let (port, next) = waiting(|stream, wait| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst ").unwrap();
        wait.recv().unwrap();
        stream.write_all(b"last").unwrap();
    });
    let server = front(port, "proxy_flush_idle off;");
    let mut client = server.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    client.stream().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let nothing = client.stream().read(&mut [0; 100]);
    assert!(nothing.is_err(), "not even the head: {nothing:?}");
    client.stream().set_read_timeout(Some(daemun_tests::PATIENCE)).unwrap();
    next.send(()).unwrap();
    let got = String::from_utf8(client.rest()).unwrap();
    assert!(got.ends_with("\r\n\r\nfirst last"), "{got}");
}

#[test]
fn a_slow_client_does_not_hold_the_server_behind() {
    let (done, ended) = mpsc::channel();
    let done = std::sync::Mutex::new(done);
    let port = backend(move |stream| {
        head(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n").unwrap();
        stream.write_all(&vec![b'x'; 20_000_000]).unwrap();
        let _ = done.lock().unwrap().send(());
    });
    let server = front(port, "proxy_temp_path {dir}/responses 1; proxy_buffering on;");
    let mut client = server.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    ended.recv_timeout(daemun_tests::PATIENCE).expect("all of it was taken");
    server.logs("an upstream response is buffered to a temporary file");
    client.head();
    assert_eq!(client.rest().len(), 20_000_000);
}

#[test]
fn a_response_can_be_read_slowly() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567890123456789";
    let server = front(saying(answer), "proxy_limit_rate 1m; proxy_buffering off;");
    assert_eq!(server.get("/").text(), "01234567890123456789");
}

#[test]
fn the_length_of_a_response_is_that_of_its_framing_too() {
    let chunked =
        saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let server = Server::http(&format!(
        "log_format lengths '$request_method $upstream_response_length';
         server {{
             listen 127.0.0.1:{{port}};
             access_log {{dir}}/lengths.log lengths;
             location / {{ proxy_pass http://127.0.0.1:{chunked}; }}
         }}"
    ));
    assert_eq!(server.get("/").text(), "ok");
    server.file_has("lengths.log", "GET 12\n");
    server.send("HEAD / HTTP/1.0\r\n\r\n");
    server.file_has("lengths.log", "HEAD 0\n");
}

#[test]
fn interim_responses_are_skipped() {
    const FINAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal";
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\nX-Part: 1\r\n\r\n",
        "HTTP/1.1 199 Odd\r\nContent-Length: 7\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 On\r\n\r\nHTTP/1.1 100 Go\r\n\r\n",
    ] {
        // In one piece, and each byte by itself.
        for length in [usize::MAX, 1] {
            let port = backend(move |stream| {
                while !head(stream).is_empty() {
                    for part in [interim, FINAL].concat().as_bytes().chunks(length) {
                        stream.write_all(part).unwrap();
                    }
                }
            });
            let server = Server::http(&format!(
                "upstream u {{ server 127.0.0.1:{port}; keepalive 8; }}
                 server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://u; }} }}"
            ));
            let mut client = server.client();
            for _ in 0..3 {
                let answer = client.get("/");
                assert_eq!((answer.status, answer.text()), (200, "final"), "{interim}");
                assert_eq!(answer.header("X-Part"), None);
            }
        }
    }
}

#[test]
fn nobody_is_upgraded_who_did_not_ask() {
    let upgraded =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let ask = ["Upgrade: echo", "Connection: upgrade"];
    // The client has not asked, or the server behind was not.
    let asks = "proxy_set_header Upgrade echo; proxy_set_header Connection upgrade;";
    for (directives, fields) in [(asks, &[][..]), ("", &ask), ("", &[])] {
        let server = front(saying(upgraded), directives);
        assert_eq!(server.get_with("/", fields).status, 502, "{directives} {fields:?}");
        server.logs("upstream sent unexpected status 101");
    }
}

/// What a server behind can send without an end: whoever reads it has to make progress, or give up.
#[test]
fn no_head_keeps_a_worker_busy() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n";
    let odd = "HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let of = |interim: &str| interim.repeat(100_000 / interim.len()) + ok;
    let cases = [
        (of(hint), 200),
        (of(odd), 200),
        // The first one ends within a hint.
        (format!("HTTP/1.1 103 A\r\nX: {}\r\n\r\n{}", "a".repeat(4000), of(hint)), 200),
        (format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(100_000)), 502),
        (format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(20_000)), 502),
        ("HTTP/1.1 200 ".to_owned() + &"a".repeat(100_000), 502),
        ("\r\n".repeat(50_000), 502),
        ("a".repeat(100_000), 502),
    ];
    for (answer, status) in cases {
        for directives in ["", "early_hints 1;", "proxy_buffer_size 16k; proxy_buffers 8 16k;"] {
            let shown: String = answer.chars().take(60).collect();
            let said = answer.clone();
            let port = backend(move |stream| {
                head(stream);
                let _ = stream.write_all(said.as_bytes());
                let _ = stream.read(&mut [0; 16]);
            });
            let server = Server::http(&format!(
                "server {{
                     listen 127.0.0.1:{{port}};
                     location / {{ proxy_pass http://127.0.0.1:{port}; {directives} }}
                     location /other {{ return 200 other; }}
                 }}"
            ));
            let mut client = server.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let mut got = client.head();
            while got.status == 103 {
                got = client.head();
            }
            assert_eq!(got.status, status, "{shown} {directives}");
            // Whatever becomes of it, others are served.
            assert_eq!(server.get("/other").text(), "other", "{shown}");
        }
    }
}

#[test]
fn an_answer_that_comes_before_the_body_was_read_is_the_clients() {
    const LENGTH: usize = 8 << 20;
    for pause in [false, true] {
        let port = backend(move |stream| {
            head(stream);
            let _ = stream
                .write_all(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            if pause {
                thread::sleep(Duration::from_millis(20));
            }
            // Closing with bytes that were not read resets the connection.
        });
        for buffering in ["on", "off"] {
            let server = front(
                port,
                &format!("proxy_request_buffering {buffering}; client_max_body_size 0;"),
            );
            for _ in 0..10 {
                let mut client = server.client();
                client.send(format!(
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"
                ));
                client.send(vec![b'a'; LENGTH]);
                let answer = client.answer();
                assert_eq!((answer.status, answer.text()), (401, "no"), "{pause} {buffering}");
            }
        }
    }
}

#[test]
fn at_the_limit_of_its_file_a_response_is_read_no_further() {
    const LENGTH: usize = 64 << 20;
    let port = backend(|stream| {
        head(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        let piece = vec![b'a'; 100_000];
        let mut left = LENGTH;
        while left > 0 && stream.write_all(&piece[..left.min(piece.len())]).is_ok() {
            left -= left.min(piece.len());
        }
    });
    for size in ["0", "1m", "1000000"] {
        let server = Server::http(&format!(
            "proxy_temp_path {{dir}}/proxy;
             server {{
                 listen 127.0.0.1:{{port}};
                 location / {{
                     proxy_pass http://127.0.0.1:{port};
                     proxy_max_temp_file_size {size};
                 }}
             }}"
        ));
        let before = most_allocated(server.pid());
        let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.0\r\n\r\n");
            client.head();
        }
        // They take some, so that reading ahead begins anew.
        for client in &mut clients {
            client.exactly(4 << 20);
        }
        let grown = most_allocated(server.pid()).saturating_sub(before);
        println!("proxy_max_temp_file_size {size}: 4 slow clients took {grown} kB");
        assert!(grown < 8 << 10, "{size}: {grown} kB");
        for client in clients {
            let mut client = client;
            assert_eq!(client.rest().len(), LENGTH - (4 << 20));
        }
    }
}

#[test]
fn a_content_type_passes_as_it_came() {
    for kind in [
        "application/json;charset=UTF-8",
        "text/html;  charset=\"utf-8\"; x=y",
        "text/html; CHARSET=koi8-r",
        "text/html; x=y; charset=",
        "text/html ; charset= utf-8 ",
        "text/plain;charset=utf-8;charset=koi8-r",
    ] {
        let port = backend(move |stream| {
            head(stream);
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 2\r\n\r\nok");
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let server = front(port, "add_header X-Type $sent_http_content_type;");
        let answer = server.get("/");
        for name in ["Content-Type", "X-Type"] {
            assert_eq!(answer.header(name), Some(kind.trim_end()), "{name}");
        }
        let changed = front(port, "charset utf-8; override_charset on; charset_types *;");
        let changed = changed.get("/").header("Content-Type").unwrap().to_owned();
        if kind.starts_with("application") {
            assert_eq!(changed, "application/json; charset=utf-8");
        }
    }
    let answer = "HTTP/1.1 200 OK\r\nX-Accel-Charset: none\r\nContent-Type: a/b\r\n\r\n";
    let server = front(saying(answer), "");
    assert_eq!(server.get("/").header("Content-Type"), Some("a/b"));
    server.logs("unknown charset \"none\" to override while reading response header from upstream");
}

#[test]
fn the_log_tells_what_led_to_a_named_location() {
    let leads = saying("HTTP/1.1 200 OK\r\nX-Accel-Redirect: @files\r\n\r\n");
    let misses = saying("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    let server = Server::http(&format!(
        "proxy_intercept_errors on;
         server {{
             listen 127.0.0.1:{{port}};
             location @files {{ root {{dir}}/none; }}
             location /led {{ proxy_pass http://127.0.0.1:{leads}; }}
             location /missed {{ error_page 404 = @files; proxy_pass http://127.0.0.1:{misses}; }}
             location /uri {{ error_page 404 = /nowhere; proxy_pass http://127.0.0.1:{misses}; }}
             location /nowhere {{ root {{dir}}/none; }}
         }}"
    ));
    for (uri, told) in [
        ("/led", "/led\" failed (2: No such file or directory) while reading response header from"),
        ("/missed", "/missed\" failed (2: No such file or directory) while sending to client, "),
        ("/uri", "/nowhere\" failed (2: No such file or directory), client"),
    ] {
        assert_eq!(server.get(uri).status, 404, "{uri}");
        server.logs(told);
    }
}

#[test]
fn trailers_have_their_order_and_their_bound() {
    let of = |trailers: &str| {
        let text = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{trailers}\r\n"
        );
        front(saying(text.leak()), "proxy_pass_trailers on; add_trailer X-Own own;")
    };
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let both = of("X-Up: 1\r\nX-Up: 2\r\n").send(request);
    assert!(both.ends_with("0\r\nX-Up: 1\r\nX-Up: 2\r\nX-Own: own\r\n\r\n"), "{both}");
    // One page is the bound, with the line that ends them.
    let longest = format!("X: {}\r\n", "a".repeat(4096 - 7));
    assert!(of(&longest).send(request).ends_with("X-Own: own\r\n\r\n"));
    let server = of(&longest.replace("X: ", "X: a"));
    assert_eq!(server.send(request), "");
    server.logs("upstream sent too big trailers while reading upstream");
}

#[test]
fn nothing_is_sent_of_a_response_whose_framing_is_broken_from_the_start() {
    for body in ["zz\r\nok\r\n0\r\n\r\n", "2\r\nok\r\nzz\r\n"] {
        let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let server = front(saying(text.leak()), "");
        assert_eq!(server.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "");
        server.logs("upstream sent invalid chunked response while reading upstream");
    }
}

#[test]
fn names_without_a_letter_are_no_fields() {
    let port = backend(|stream| {
        head(stream);
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n".to_vec();
        for name in
            [&b"\x80"[..], b"\xff\xfe", b"!", b"(\"", b".", b"\xe9-", b"\xe9t", b"_", b"A\x80"]
        {
            answer.extend_from_slice(name);
            answer.extend_from_slice(b": v\r\n");
        }
        answer.extend_from_slice(b"\r\nok");
        let _ = stream.write_all(&answer);
    });
    let server = front(port, "");
    let mut client = server.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = client.rest();
    let head = String::from_utf8_lossy(&answer).into_owned();
    assert!(!head.contains("\n\u{fffd}: v") && !head.contains("\n!: v"), "{head}");
    let fields = answer.windows(3).filter(|part| part == b": v").count();
    assert_eq!(fields, 4, "{head}");
}
