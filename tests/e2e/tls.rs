//! Connections that speak TLS, from both sides.

use std::io::{Read, Write};
use std::net::TcpStream;

use daemun_tests::{
    Authority, Identity, PATIENCE, Server, Setup, TlsClient, VERSIONS, children, client_config,
    eventually, signals,
};
use rustls::HandshakeKind;

fn site(content: &str) -> Server {
    Setup::new().identity_of("one.example").http(&format!(
        "ssl_certificate {{dir}}/one.example.crt;
         ssl_certificate_key {{dir}}/one.example.key;
         {content}"
    ))
}

/// Reloads, and waits until a worker of before is gone.
fn reload(server: &Server, worker: i32) {
    server.signal(signals::SIGHUP);
    eventually("the old worker has ended", || !children(server.pid()).contains(&worker));
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 7u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| byte()).collect()
}

#[test]
fn responses_of_every_size_come_whole() {
    let sizes = [0, 1, 1000, 16_384, 16_385, 100_000, 3_000_000];
    let mut setup = Setup::new().identity_of("one.example");
    for size in sizes {
        setup = setup.file(&format!("root/{size}"), noise(size));
    }
    let server = setup.http(
        "ssl_certificate {dir}/one.example.crt;
         ssl_certificate_key {dir}/one.example.key;
         server { listen 127.0.0.1:{port} ssl; root {dir}/root; }",
    );
    for version in VERSIONS {
        let config = client_config(version, None);
        let mut client = TlsClient::connect(server.port(), &config, "one.example");
        for size in sizes {
            assert!(client.get(&format!("/{size}")).body == noise(size), "{size} bytes");
        }
    }
}

#[test]
fn bodies_of_requests_come_whole() {
    let server = site(
        "server { listen 127.0.0.1:{port} ssl; client_max_body_size 0;
             location / { proxy_pass http://127.0.0.1:{port2}; } }
         server { listen 127.0.0.1:{port2}; client_max_body_size 0;
             location / { proxy_pass http://127.0.0.1:{port3}/; proxy_request_buffering off; } }
         server { listen 127.0.0.1:{port3}; client_max_body_size 0; return 200 $content_length; }",
    );
    let config = client_config(VERSIONS[0], None);
    let mut client = TlsClient::connect(server.port(), &config, "one.example");
    for size in [0, 5, 20_000, 2_000_000] {
        let head =
            format!("POST / HTTP/1.1\r\nHost: one.example\r\nContent-Length: {size}\r\n\r\n");
        client.send(head.as_bytes());
        client.send(&noise(size));
        assert_eq!(client.answer().text(), size.to_string());
    }
}

#[test]
fn a_server_is_chosen_by_the_name_in_the_handshake() {
    let setup = Setup::new().identity_of("one.example");
    let server = setup.identity_of("two.example").http(
        "ssl_certificate {dir}/$ssl_server_name.crt;
         ssl_certificate_key {dir}/$ssl_server_name.key;
         server { listen 127.0.0.1:{port} ssl; server_name one.example;
             ssl_certificate {dir}/one.example.crt; ssl_certificate_key {dir}/one.example.key;
             return 200 \"one $ssl_server_name $scheme $https $ssl_protocol\"; }
         server { listen 127.0.0.1:{port} ssl; server_name two.example;
             ssl_protocols TLSv1.2; return 200 two; }
         server { listen 127.0.0.1:{port} ssl; server_name no.example; ssl_reject_handshake on; }",
    );
    let config = client_config(VERSIONS[0], None);
    let answer = TlsClient::connect(server.port(), &config, "one.example").get("/");
    assert_eq!(answer.text(), "one one.example https on TLSv1.3");
    let config = client_config(VERSIONS[1], None);
    let mut client = TlsClient::connect(server.port(), &config, "two.example");
    client.get("/");
    let shown = client.0.conn.peer_certificates().unwrap()[0].to_vec();
    assert!(shown.windows(11).any(|part| part == b"two.example"));
    let mut refused = TlsClient::connect(server.port(), &config, "no.example");
    let error = refused.0.write_all(b"x").unwrap_err().to_string();
    assert!(error.contains("UnrecognisedName") || error.contains("UnrecognizedName"), "{error}");
    server.logs("SSL_do_handshake() failed (SSL: callback failed) while SSL handshaking");
}

#[test]
fn plain_http_is_told_to_use_tls() {
    let server = site("server { listen 127.0.0.1:{port} ssl; return 200; }");
    let answer = server.get("/");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("The plain HTTP request was sent to HTTPS port"));
    server
        .logs("client sent plain HTTP request to HTTPS port while reading client request headers");
}

#[test]
fn keys_change_when_the_client_wants() {
    let server = site("server { listen 127.0.0.1:{port} ssl; return 200 $connection_requests; }");
    let config = client_config(VERSIONS[0], None);
    let mut client = TlsClient::connect(server.port(), &config, "one.example");
    for count in 1..5 {
        assert_eq!(client.get("/").text(), count.to_string());
        client.0.conn.refresh_traffic_keys().unwrap();
    }
}

#[test]
fn sessions_are_gone_on_with_by_any_worker_and_behind_a_reload() {
    let server =
        site("server { listen 127.0.0.1:{port} ssl; return 200 \"$ssl_session_reused $pid\"; }");
    for version in VERSIONS {
        let config = client_config(version, None);
        let first = TlsClient::connect(server.port(), &config, "one.example").get("/");
        assert!(first.text().starts_with(". "), "{}", first.text());
        reload(&server, first.text().split_once(' ').unwrap().1.parse().unwrap());
        let mut client = TlsClient::connect(server.port(), &config, "one.example");
        let second = client.get("/");
        let second = second.text();
        assert!(second.starts_with("r "), "{second}");
        assert_eq!(client.kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn clients_are_known_by_their_certificates() {
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    let server = Setup::new()
        .identity("s", &authority.issue("one.example"))
        .file("ca.crt", authority.pem())
        .http(
            "ssl_certificate {dir}/s.crt; ssl_certificate_key {dir}/s.key;
             ssl_client_certificate {dir}/ca.crt;
             server { listen 127.0.0.1:{port} ssl; ssl_verify_client on;
                 return 200 \"$ssl_client_verify $ssl_client_s_dn\"; }
             server { listen 127.0.0.1:{port2} ssl; ssl_verify_client optional_no_ca;
                 return 200 \"$ssl_client_verify\"; }",
        );
    for version in VERSIONS {
        let get = |port, identity: Option<&Identity>| {
            let config = client_config(version, identity);
            TlsClient::connect(port, &config, "one.example").get("/")
        };
        let (known, unknown) = (authority.issue("friend"), stranger.issue("foe"));
        let (on, no_ca) = (server.port(), server.port2());
        let answer = get(on, Some(&known));
        assert_eq!(answer.text(), "SUCCESS CN=friend");
        let answer = get(on, Some(&unknown));
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("The SSL certificate error"));
        let answer = get(on, None);
        assert!(answer.text().contains("No required SSL certificate was sent"));
        assert_eq!(get(no_ca, None).text(), "NONE");
        let answer = get(no_ca, Some(&unknown));
        assert_eq!(answer.text(), "FAILED:unable to verify the first certificate");
    }
    server.logs("client SSL certificate verify error: (21:unable to verify the first certificate)");
}

#[test]
fn servers_behind_are_asked_over_tls_and_have_to_prove_who_they_are() {
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    let server = Setup::new()
        .identity("s", &authority.issue("behind.example"))
        .file("ca.crt", authority.pem())
        .file("other.crt", stranger.pem())
        .http(
            "upstream behind { server 127.0.0.1:{port2}; }
             server { listen 127.0.0.1:{port2} ssl;
                 ssl_certificate {dir}/s.crt; ssl_certificate_key {dir}/s.key;
                 return 200 \"$ssl_server_name $ssl_session_reused $connection_requests\"; }
             server { listen 127.0.0.1:{port}; proxy_ssl_name behind.example;
                 location /any { proxy_pass https://behind; }
                 location /named { proxy_ssl_server_name on; proxy_pass https://behind; }
                 proxy_ssl_verify on; proxy_ssl_trusted_certificate {dir}/ca.crt;
                 location /right { proxy_pass https://behind; }
                 location /stranger { proxy_ssl_trusted_certificate {dir}/other.crt;
                     proxy_pass https://behind; }
                 location /name { proxy_ssl_name elsewhere.example; proxy_pass https://behind; } }",
        );
    assert!(server.get("/any").text().starts_with(" . "));
    assert!(server.get("/named").text().starts_with("behind.example . "));
    assert_eq!(server.get("/right").status, 200);
    assert_eq!(server.get("/stranger").status, 502);
    assert_eq!(server.get("/name").status, 502);
    server
        .logs("upstream SSL certificate verify error: (21:unable to verify the first certificate)");
    server.logs("upstream SSL certificate does not match \"elsewhere.example\"");
}

/// No server cuts a connection at a reload: those that speak TLS go on under the keys that they have.
#[test]
fn connections_that_wait_outlive_a_reload() {
    let server = site("server { listen 127.0.0.1:{port} ssl; return 200 \"$pid $connection\"; }");
    for version in VERSIONS {
        let config = client_config(version, None);
        let mut client = TlsClient::connect(server.port(), &config, "one.example");
        let before = client.get("/").text().to_owned();
        let worker: i32 = before.split_once(' ').unwrap().0.parse().unwrap();
        reload(&server, worker);
        let after = client.get("/").text().to_owned();
        assert_ne!(before, after, "another worker answers");
        let number = |text: &str| text.split_once(' ').unwrap().1.to_owned();
        assert_eq!(number(&before), number(&after), "on the same connection");
    }
}

#[test]
fn an_end_without_a_word_is_known() {
    let server = site("server { listen 127.0.0.1:{port} ssl; keepalive_timeout 1s; return 200; }");
    let config = client_config(VERSIONS[0], None);
    let mut client = TlsClient::connect(server.port(), &config, "one.example");
    client.get("/");
    // The server says that it closes, so that nobody can cut a response short unnoticed.
    let mut rest = Vec::new();
    assert_eq!(client.0.read_to_end(&mut rest).unwrap(), 0);
}

#[test]
fn garbage_ends_a_connection_and_nothing_else() {
    let server = site("server { listen 127.0.0.1:{port} ssl; return 200 fine; }");
    let config = client_config(VERSIONS[0], None);
    for garbage in [&[22, 3, 1, 0, 5, 1, 0, 0, 1, 9][..], &[22, 3, 1, 255, 255], &[0x80, 1, 3]] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let mut client = TlsClient::connect(server.port(), &config, "one.example");
    client.get("/");
    client
        .0
        .sock
        .write_all(&[
            23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
        ])
        .unwrap();
    assert!(
        client.0.read_to_end(&mut Vec::new()).unwrap_err().to_string().contains("BadRecordMac")
    );
    let mut client = TlsClient::connect(server.port(), &config, "one.example");
    assert_eq!(client.get("/").text(), "fine");
}

#[test]
fn old_protocols_alone_are_refused_with_the_reason() {
    let setup = Setup::new().identity_of("one.example");
    let check = |protocols: &str| {
        let configuration = format!(
            "events {{ }} http {{ server {{ listen 127.0.0.1:{{port}} ssl; ssl_protocols {protocols};
                ssl_certificate {{dir}}/one.example.crt; ssl_certificate_key {{dir}}/one.example.key; }} }}"
        );
        setup.run(&configuration, &["-t"])
    };
    let output = check("TLSv1 TLSv1.1 TLSv1.2 TLSv1.3");
    assert!(output.stderr.contains("\"TLSv1\" is never spoken"), "{}", output.stderr);
    assert!(output.stderr.contains("test is successful"), "{}", output.stderr);
    let output = check("TLSv1 TLSv1.1");
    assert!(output.stderr.contains("\"ssl_protocols\" directive has nothing that can be spoken"));
}

#[test]
fn certificates_that_no_listener_shows_are_told_of() {
    let setup = Setup::new().identity_of("one.example");
    let check = |listen: &str, arguments: &[&str]| {
        let configuration = format!(
            "events {{ }} http {{ server {{ listen 127.0.0.1:{{port}} {listen};
                ssl_certificate {{dir}}/one.example.crt;
                ssl_certificate_key {{dir}}/one.example.key; }} }}"
        );
        setup.run(&configuration, arguments)
    };
    let notice = "no \"listen\" has the \"ssl\" parameter";
    assert!(check("", &["-t"]).stderr.contains(notice));
    assert_eq!(check("", &["-t", "-q"]).stderr, "");
    assert!(!check("ssl", &["-t"]).stderr.contains(notice));
}

#[test]
fn a_certificate_and_a_key_have_to_belong_together() {
    let setup = Setup::new().identity_of("one.example");
    let setup = setup.identity_of("two.example").file("none.crt", "nothing");
    for (certificate, key, message) in [
        ("one.example.crt", "two.example.key", "key values mismatch"),
        ("none.crt", "one.example.key", "cannot load certificate \"{dir}/none.crt\""),
        ("missing.crt", "one.example.key", "No such file or directory"),
        ("one.example.crt", "one.example.crt", "cannot load certificate key"),
    ] {
        let configuration = format!(
            "events {{ }} http {{ server {{ listen 127.0.0.1:{{port}} ssl;
                ssl_certificate {{dir}}/{certificate}; ssl_certificate_key {{dir}}/{key}; }} }}"
        );
        let output = setup.run(&configuration, &["-t"]);
        assert_eq!(output.code, Some(1), "{certificate} {key}");
        assert!(output.stderr.contains(&setup.filled(message)), "{}", output.stderr);
    }
    let output = setup.run("events { } http { server { listen 127.0.0.1:{port} ssl; } }", &["-t"]);
    assert!(output.stderr.contains("no \"ssl_certificate\" is defined for the \"listen ... ssl\""));
}
