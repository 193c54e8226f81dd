//! gRPC servers behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use daemun_tests::http2::Code;
use daemun_tests::{Authority, Http2Backend, Http2Client, Http2Peer, Server, Setup, eventually};

/// A server before one that is a test's own.
fn before(backend: &Http2Backend, inside: &str) -> Server {
    let port = backend.port;
    // Kept connections are a thread's own: all requests meet the same one.
    Setup::new().mpm("mpm native;").http(&format!(
        "upstream u {{ server 127.0.0.1:{port}; keepalive 4; }}
         server {{ listen 127.0.0.1:{{port}}; http2 on; {inside} location / {{ grpc_pass grpc://u; }} }}"
    ))
}

const FIELDS: &[(&str, &str)] = &[("content-type", "application/grpc"), ("te", "trailers")];

/// A message of gRPC.
fn message(text: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn answer(peer: &mut Http2Peer, stream: u32, text: &str) {
    peer.respond(stream, 200, &[("content-type", "application/grpc")], false);
    peer.send(stream, &message(text), false);
    peer.trailers(stream, &[("grpc-status", "0"), ("grpc-message", "")]);
}

#[test]
fn a_call_is_answered_with_trailers() {
    let backend = Http2Backend::start();
    let server = before(&backend, "");
    let mut client = Http2Client::connect(server.port());
    let mut peer = None;
    for number in 0..3 {
        let stream = client.begin("POST", "/shop.Shop/Buy", FIELDS, false);
        client.send_body(stream, &message("one"), true);
        let peer = peer.get_or_insert_with(|| backend.accept());
        let asked = peer.request();
        assert_eq!(asked.stream, 2 * number + 1, "one connection for all");
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/shop.Shop/Buy"),
            (":authority", "u"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ] {
            assert_eq!(asked.field(name), Some(value), "{name}");
        }
        assert_eq!(asked.body, message("one"));
        answer(peer, asked.stream, "two");
        let reply = client.reply(stream);
        assert_eq!((reply.answer.status, &reply.answer.body), (200, &message("two")));
        let status = ("grpc-status".to_owned(), "0".to_owned());
        assert!(reply.trailers.contains(&status), "{:?}", reply.trailers);
    }
}

#[test]
fn both_sides_go_on_at_once() {
    let backend = Http2Backend::start();
    let server = before(&backend, "");
    let mut client = Http2Client::connect(server.port());
    let stream = client.begin("POST", "/chat.Chat/Talk", FIELDS, false);
    let mut peer = backend.accept();
    let asked = peer.head();
    peer.respond(asked.stream, 200, &[("content-type", "application/grpc")], false);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for word in ["a", "bb", "ccc", "dddd"] {
        up.extend_from_slice(&message(word));
        client.send_body(stream, &message(word), false);
        assert_eq!(peer.body(asked.stream, up.len()), up);
        down.extend_from_slice(&message(word));
        peer.send(asked.stream, &message(word), false);
        client.until(|client| client.so_far(stream).answer.body.len() == down.len());
    }
    client.send_body(stream, b"", true);
    peer.until(|peer| peer.so_far(asked.stream).is_whole);
    peer.trailers(asked.stream, &[("grpc-status", "0")]);
    let reply = client.reply(stream);
    assert_eq!((reply.answer.body, reply.trailers.len()), (down, 1));
}

#[test]
fn a_long_upload_goes_on_behind_the_head_of_the_response() {
    let backend = Http2Backend::start();
    let server = before(&backend, "client_max_body_size 0;");
    let mut client = Http2Client::connect(server.port());
    let stream = client.begin("POST", "/a.A/B", FIELDS, false);
    let mut peer = backend.accept();
    let asked = peer.head();
    peer.respond(asked.stream, 200, &[("content-type", "application/grpc")], false);
    let body = vec![b'x'; 1_000_000];
    std::thread::scope(|scope| {
        let (client, body) = (&mut client, &body);
        scope.spawn(move || client.send_body(stream, body, true));
        peer.until(|peer| peer.so_far(asked.stream).is_whole);
    });
    assert!(peer.so_far(asked.stream).body == body);
    peer.trailers(asked.stream, &[("grpc-status", "0")]);
    assert!(client.reply(stream).is_whole);
}

#[test]
fn errors_come_with_heads_alone_and_calls_are_cancelled() {
    let backend = Http2Backend::start();
    let server = before(&backend, "");
    let mut client = Http2Client::connect(server.port());
    let stream = client.begin("POST", "/a.A/B", FIELDS, true);
    let mut peer = backend.accept();
    let asked = peer.request();
    let fields = [("content-type", "application/grpc"), ("grpc-status", "12")];
    peer.respond(asked.stream, 200, &fields, true);
    let reply = client.reply(stream);
    assert_eq!(reply.answer.header("grpc-status"), Some("12"));
    assert!(reply.answer.body.is_empty() && reply.trailers.is_empty());
    let stream = client.begin("POST", "/a.A/B", FIELDS, false);
    let asked = peer.head();
    peer.respond(asked.stream, 200, &[("content-type", "application/grpc")], false);
    client.until(|client| client.so_far(stream).answer.status == 200);
    client.reset(stream, Code::CANCEL);
    peer.closed();
}

#[test]
fn fields_are_set_hidden_and_passed() {
    let backend = Http2Backend::start();
    let server = before(
        &backend,
        "grpc_set_header Host shop.example; grpc_set_header X-Set '$request_method';
         grpc_set_header X-Gone ''; grpc_hide_header X-Secret; grpc_pass_header Server;
         grpc_ignore_headers X-Accel-Redirect; grpc_buffer_size 16k; grpc_socket_keepalive on;
         grpc_bind 127.0.0.1; grpc_connect_timeout 5s; grpc_send_timeout 5s; grpc_read_timeout 5s;
         grpc_socket_rcvbuf 64k; grpc_socket_sndbuf 64k;",
    );
    let mut client = Http2Client::connect(server.port());
    let stream = client.begin("POST", "/", &[("x-gone", "1"), ("x-mine", "2")], true);
    let mut peer = backend.accept();
    let asked = peer.request();
    assert_eq!(asked.field(":authority"), Some("shop.example"));
    assert_eq!((asked.field("x-set"), asked.field("x-mine")), (Some("POST"), Some("2")));
    assert_eq!((asked.field("x-gone"), asked.field("te")), (None, None));
    let long = "l".repeat(8000);
    let fields =
        [("server", "shop"), ("x-secret", "1"), ("x-accel-redirect", "/a"), ("x-long", &long)];
    peer.respond(asked.stream, 200, &fields, true);
    let answer = client.answer(stream);
    assert_eq!((answer.header("server"), answer.header("x-secret")), (Some("shop"), None));
    assert_eq!(answer.header("x-long"), Some(&*long));
}

#[test]
fn errors_made_here_may_be_grpc_statuses() {
    let backend = Http2Backend::start();
    let port = backend.port;
    let server = Server::http(&format!(
        "server {{ listen 127.0.0.1:{{port}}; http2 on; grpc_read_timeout 200ms; grpc_intercept_errors on;
             grpc_next_upstream off; grpc_next_upstream_tries 1; grpc_next_upstream_timeout 1s;
             error_page 404 504 = @status;
             location / {{ grpc_pass 127.0.0.1:{port}; }}
             location @status {{ internal; default_type application/grpc; add_header grpc-status 14;
                 return 204; }} }}"
    ));
    let mut client = Http2Client::connect(server.port());
    let stream = client.begin("POST", "/", FIELDS, true);
    let mut peer = backend.accept();
    let asked = peer.request();
    peer.respond(asked.stream, 404, &[], true);
    assert_eq!(client.answer(stream).header("grpc-status"), Some("14"));
    let stream = client.begin("POST", "/late", FIELDS, true);
    let mut peer = backend.accept();
    peer.request();
    assert_eq!(client.answer(stream).header("grpc-status"), Some("14"));
    server.logs("upstream timed out (110: Connection timed out) while reading response header from upstream");
}

#[test]
fn servers_speak_tls() {
    let authority = Authority::new("Authority");
    let server = Setup::new()
        .identity("behind.example", &authority.issue("behind.example"))
        .file("ca.crt", authority.pem())
        .identity_of("friend.example")
        .file("words", "word")
        .http(
            "ssl_certificate {dir}/behind.example.crt; ssl_certificate_key {dir}/behind.example.key;
             server { listen 127.0.0.1:{port2} ssl; http2 on; ssl_verify_client optional_no_ca;
                 return 200 '$ssl_alpn_protocol $ssl_server_name $ssl_protocol $ssl_client_s_dn'; }
             upstream behind { server 127.0.0.1:{port2}; keepalive 2; }
             server { listen 127.0.0.1:{port}; grpc_ssl_name behind.example; grpc_ssl_server_name on;
                 grpc_ssl_verify on; grpc_ssl_verify_depth 2; grpc_ssl_trusted_certificate {dir}/ca.crt;
                 grpc_ssl_protocols TLSv1.2; grpc_ssl_ciphers DEFAULT; grpc_ssl_session_reuse off;
                 grpc_ssl_password_file {dir}/words; grpc_ssl_certificate_cache off;
                 location / { grpc_pass grpcs://behind; }
                 location /known { grpc_pass grpcs://behind; grpc_ssl_certificate {dir}/friend.example.crt;
                     grpc_ssl_certificate_key {dir}/friend.example.key; }
                 location /command { grpc_pass grpcs://behind; grpc_ssl_protocols TLSv1.3;
                     grpc_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; }
                 location /variable { set $to behind; grpc_pass grpcs://$to; } }",
        );
    let text = |path| server.get(path).text().to_owned();
    assert_eq!(text("/"), "h2 behind.example TLSv1.2 ");
    assert_eq!(text("/known"), "h2 behind.example TLSv1.2 CN=friend.example");
    assert_eq!(text("/command"), "h2 behind.example TLSv1.3 ");
    assert_eq!(text("/variable"), "h2 behind.example TLSv1.2 ");
}

#[test]
fn mistakes_are_told() {
    let setup = Setup::new();
    for (inside, sentence) in [
        ("grpc_pass grpc://a/b;", "invalid host in upstream \"a/b\""),
        ("grpc_pass 127.0.0.1:1; grpc_pass 127.0.0.1:2;", "is duplicate"),
        ("grpc_next_upstream updating;", "invalid value \"updating\""),
        (
            "grpc_ssl_crl {dir}/none; grpc_ssl_verify on; grpc_pass grpcs://127.0.0.1:1;",
            "no grpc_ssl_trusted_certificate for grpc_ssl_verify",
        ),
    ] {
        let text = format!("events {{ }} http {{ server {{ location / {{ {inside} }} }} }}");
        let output = setup.run(&setup.filled(&text), &["-t"]);
        assert!(output.stderr.contains(sentence), "{sentence:?} in:\n{}", output.stderr);
    }
}

/// Answers checks with what stands in `health`, and calls with a message.
fn serve(backend: Http2Backend, health: Arc<AtomicU8>) {
    thread::spawn(move || {
        loop {
            let mut peer = backend.accept();
            let asked = peer.request();
            if asked.field(":path") != Some("/grpc.health.v1.Health/Check") {
                answer(&mut peer, asked.stream, "well");
                continue;
            }
            assert_eq!(asked.body, b"\0\0\0\0\x0b\x0a\x09shop.Shop");
            peer.respond(asked.stream, 200, &[("content-type", "application/grpc")], false);
            let status = health.load(Ordering::Relaxed);
            peer.send(asked.stream, &[0, 0, 0, 0, 2, 8, status], false);
            peer.trailers(asked.stream, &[("grpc-status", "0")]);
        }
    });
}

#[test]
fn servers_are_asked_for_their_health() {
    let (backend, silent) = (Http2Backend::start(), Http2Backend::start());
    let (port, none) = (backend.port, silent.port);
    let health = Arc::new(AtomicU8::new(2));
    serve(backend, Arc::clone(&health));
    thread::spawn(move || {
        loop {
            // A server without a health service.
            let mut peer = silent.accept();
            let asked = peer.request();
            peer.respond(asked.stream, 200, &[("grpc-status", "12")], true);
        }
    });
    let server = Server::http(&format!(
        "upstream u {{ zone z 64k; server 127.0.0.1:{port}; }}
         upstream v {{ zone v 64k; server 127.0.0.1:{none}; }}
         server {{ listen 127.0.0.1:{{port}}; http2 on;
             location / {{ grpc_pass u;
                 health_check type=grpc grpc_service=shop.Shop interval=20ms mandatory; }}
             location /v {{ grpc_pass v;
                 health_check type=grpc grpc_status=12 interval=20ms mandatory; }} }}"
    ));
    let status = |path| Http2Client::connect(server.port()).get(path).status;
    server.logs("peer is unhealthy while checking the status of the service");
    eventually("whoever has no health service may say so", || status("/v") == 200);
    assert_eq!(status("/"), 502);
    health.store(1, Ordering::Relaxed);
    eventually("it serves", || status("/") == 200);
    health.store(2, Ordering::Relaxed);
    eventually("it does not", || status("/") == 502);
}

#[test]
fn checks_have_their_place() {
    let output = Setup::new().run(
        "events { }
http {
    upstream u { zone z 64k; server 127.0.0.1:1; }
    server { location / { grpc_pass u; health_check; } location /a { grpc_pass u; health_check type=tcp; } }
    server { location / { proxy_pass http://u; health_check type=grpc; } }
    server { location / { grpc_pass u; health_check type=grpc uri=/a; } }
    server { location / { grpc_pass u; health_check grpc_status=1; } }
}
",
        &["-t"],
    );
    for part in [
        "\"type=grpc\" allows neither \"uri\" nor \"match\" in ",
        "\"grpc_service\" and \"grpc_status\" need \"type=grpc\" in ",
        "\"health_check\" works with \"type=grpc\" or \"type=tcp\" alone in this location in ",
        "\"type=grpc\" works with \"grpc_pass\" alone in ",
    ] {
        assert!(output.stderr.contains(part), "{part:?} in:\n{}", output.stderr);
    }
}
