//! Connections that begin with the PROXY protocol.

use daemun_tests::{Client, Server};

const SITE: &str = "\
    log_format from '$remote_addr $request_uri';
    server {
        access_log {dir}/access.log from;
        listen 127.0.0.1:{port} proxy_protocol;
        listen 127.0.0.1:{port2};
        location / { return 200 \"$proxy_protocol_addr:$proxy_protocol_port \
            $proxy_protocol_server_addr:$proxy_protocol_server_port $remote_addr \
            $proxy_protocol_tlv_authority|$proxy_protocol_tlv_ssl_verify|$proxy_protocol_tlv_0xe0\"; }
        location /real {
            set_real_ip_from 127.0.0.1;
            real_ip_header proxy_protocol;
            error_page 404 = @tell;
        }
        location @tell { return 200 \"$remote_addr:$remote_port $realip_remote_addr\"; }
    }";

/// The harness asks the first port for a sign of life, and closes.
fn site() -> Server {
    Server::http(SITE)
}

const TEXT: &str = "PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n";

#[test]
fn the_header_names_both_ends_for_the_whole_connection() {
    let server = site();
    let mut client = server.client();
    client.send(TEXT);
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!(answer.text(), "192.0.2.1:123 192.0.2.2:5678 127.0.0.1 ||");
    }
    assert_eq!(client.get("/real").text(), "192.0.2.1:123 127.0.0.1");
    server.file_has("access.log", "192.0.2.1 /real");
    let mut plain = Client::connect(server.port2());
    assert_eq!(plain.get("/").text(), ": : 127.0.0.1 ||");
}

#[test]
fn version_2_has_values_besides() {
    let server = site();
    let ssl = [&[1, 0, 0, 0, 7][..], &[0x21, 0, 1, b'x']].concat();
    let mut body = vec![192, 0, 2, 1, 192, 0, 2, 2, 0, 123, 22, 46];
    for (kind, value) in [(2u8, &b"example.com"[..]), (0x20, &ssl), (0xe0, b"own")] {
        body.extend([kind, 0, value.len() as u8]);
        body.extend(value);
    }
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0".to_vec();
    header.push(body.len() as u8);
    header.extend(body);
    let mut client = server.client();
    client.send(header);
    let expected = "192.0.2.1:123 192.0.2.2:5678 127.0.0.1 example.com|7|own";
    assert_eq!(client.get("/").text(), expected);
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let server = site();
    let mut client = server.client();
    for byte in TEXT.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.get("/real").text(), "192.0.2.1:123 127.0.0.1");
    let mut unknown = server.client();
    unknown.send("PROXY UNKNOWN ffff ::1\r\n");
    assert_eq!(unknown.get("/real").text(), server_of(&unknown));
}

/// A header that names nobody leaves the connection's own address.
fn server_of(client: &Client) -> String {
    let port = client.stream().local_addr().unwrap().port();
    format!("127.0.0.1:{port} 127.0.0.1")
}

#[test]
fn what_is_no_header_ends_the_connection() {
    let server = site();
    assert_eq!(server.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "");
    server
        .logs("broken header: \"GET / HTTP/1.1\" while reading PROXY protocol, client: 127.0.0.1");
    assert_eq!(server.send("PROXY TCP4 a b c d\r\n"), "");
    assert_eq!(server.send(b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0"), "");
    server.logs("unknown PROXY protocol version: 1");
}

#[test]
fn the_header_outlives_a_reload() {
    let server = site();
    let mut client = server.client();
    client.send(TEXT);
    assert_eq!(client.get("/real").text(), "192.0.2.1:123 127.0.0.1");
    let output = server.run(&["-s", "reload"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert_eq!(client.get("/real").text(), "192.0.2.1:123 127.0.0.1");
}
