//! What FastCGI, SCGI and uwsgi have in common, said under each one's prefix.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use daemun_tests::{PATIENCE, Server, Setup, eventually};

/// An application in one of the protocols.
#[derive(Clone, Copy)]
enum Protocol {
    FastCgi,
    Scgi,
    Uwsgi,
}

/// A request as an application gets it: parameters in no order, as they stand in the packet.
struct Asked {
    params: Vec<u8>,
    body: Vec<u8>,
}

impl Asked {
    fn has(&self, text: &str) -> bool {
        self.params.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

impl Protocol {
    /// Serves on the port, for as long as the tests run.
    fn start(self, port: u16) {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A server that leaves in the middle is what some tests are about.
                let _ = self.serve(stream.unwrap());
            }
        });
    }

    fn serve(self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let asked = self.read(&mut stream)?;
        for (pause, part) in answer(&asked, &stream) {
            thread::sleep(pause);
            self.write(&mut stream, &part)?;
        }
        if asked.has("/trickle") && !asked.has("/patient") {
            // Nothing more, however long somebody waits.
            return stream.read(&mut [0]).map(|_| ());
        }
        self.write(&mut stream, b"")
    }

    fn read(self, stream: &mut TcpStream) -> io::Result<Asked> {
        match self {
            Protocol::FastCgi => read_records(stream),
            Protocol::Scgi => {
                let mut length = 0;
                loop {
                    match exactly(stream, 1)?[0] {
                        b':' => break,
                        digit => length = length * 10 + usize::from(digit - b'0'),
                    }
                }
                let params = exactly(stream, length + 1)?;
                let digits = params["CONTENT_LENGTH\0".len()..].split(|byte| *byte == 0).next();
                let body = digits.map_or(0, |digits| {
                    digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
                });
                let passes = params.windows(5).any(|window| window == b"BODY\0");
                let body = exactly(stream, if passes { body } else { 0 })?;
                Ok(Asked { params, body })
            }
            Protocol::Uwsgi => {
                let head = exactly(stream, 4)?;
                let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
                let params = exactly(stream, length)?;
                let passes = params.windows(4).any(|window| window == b"BODY");
                let body = exactly(stream, if passes { 5 } else { 0 })?;
                Ok(Asked { params, body })
            }
        }
    }

    /// An empty part ends a response.
    fn write(self, stream: &mut TcpStream, part: &[u8]) -> io::Result<()> {
        if let Protocol::FastCgi = self {
            let [high, low] = (part.len() as u16).to_be_bytes();
            stream.write_all(&[1, 6, 0, 1, high, low, 0, 0])?;
        }
        stream.write_all(part)
    }
}

fn exactly(stream: &mut TcpStream, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_records(stream: &mut TcpStream) -> io::Result<Asked> {
    let mut asked = Asked { params: Vec::new(), body: Vec::new() };
    loop {
        let head = exactly(stream, 8)?;
        let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let content = exactly(stream, length + usize::from(head[6]))?;
        match head[1] {
            4 => asked.params.extend_from_slice(&content[..length]),
            5 if length == 0 => return Ok(asked),
            5 => asked.body.extend_from_slice(&content[..length]),
            _ => {}
        }
    }
}

/// The response to a request: parts, each after a pause.
fn answer(asked: &Asked, stream: &TcpStream) -> Vec<(Duration, Vec<u8>)> {
    let now = Duration::ZERO;
    let whole = |text: &str| vec![(now, text.into())];
    if asked.has("/fail") {
        return whole("Status: 500 Broken\r\n\r\nbroken");
    }
    if asked.has("/busy") {
        return whole("Status: 503 Busy\r\n\r\nbusy");
    }
    if asked.has("/obey") {
        return whole("X-Accel-Redirect: /obeyed\r\nX-Accel-Expires: 5\r\nX-Secret: 1\r\n\r\nhere");
    }
    if asked.has("/digits") {
        return whole("Content-Length: 10\r\nServer: toy\r\n\r\n0123456789");
    }
    if asked.has("/long") {
        let head = format!("X-Long: {}\r\n\r\n", "x".repeat(6000));
        return whole(&head);
    }
    if asked.has("/much") {
        let mut parts = whole("\r\n");
        parts.extend((0..64).map(|_| (now, vec![b'x'; 16 << 10])));
        return parts;
    }
    if asked.has("/patient/trickle") {
        return vec![
            (now, b"\r\nfirst".to_vec()),
            (Duration::from_millis(400), b" second".to_vec()),
        ];
    }
    if asked.has("/trickle") {
        return whole("\r\nfirst");
    }
    let from = stream.peer_addr().map_or(String::new(), |peer| peer.ip().to_string());
    let body = String::from_utf8_lossy(&asked.body);
    let field = if asked.has("HTTP_X_FIELD") { "field" } else { "no field" };
    whole(&format!("\r\n{from} {body} {field}"))
}

/// The server before a toy on `{port2}`, and one that nobody serves on `{port3}`.
fn server(protocol: Protocol, configuration: &str) -> Server {
    let setup = Setup::new();
    let port: u16 = setup.filled("{port2}").parse().unwrap();
    protocol.start(port);
    setup.http(configuration)
}

/// What must hold whatever the prefix.
fn check(server: &Server) {
    let mut client = server.client();
    let mut told = |uri: &str| {
        client.send(format!(
            "POST {uri} HTTP/1.1\r\nHost: a\r\nX-Field: 1\r\nContent-Length: 5\r\n\r\nhello"
        ));
        client.answer().text().to_owned()
    };
    assert_eq!(told("/"), "127.0.0.9 hello field");
    assert_eq!(told("/unbuffered"), "127.0.0.1 hello field");
    assert_eq!(told("/bare"), "127.0.0.1  no field");

    assert_eq!(server.get("/busy").text(), "our own words");
    assert_eq!(server.get("/fail").text(), "broken");
    server.logs("connect() failed (111: Connection refused) while connecting to upstream");

    let obeyed = server.get("/obey");
    assert_eq!(obeyed.text(), "here");
    assert_eq!((obeyed.header("X-Accel-Expires"), obeyed.header("X-Secret")), (Some("5"), None));

    assert_eq!(server.get("/digits").text(), "0123456789");
    let kept = server.folder().path("temp/kept");
    // The client may have it all before the response has ended.
    eventually("the response is kept", || kept.exists());
    assert_eq!(fs::read(&kept).unwrap(), b"0123456789");
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o777, 0o604);

    let range = server.get_with("/digits", &["Range: bytes=3-5"]);
    assert_eq!((range.status, range.text()), (206, "345"));
    assert_eq!(range.header("Server"), Some("toy"));

    assert_eq!(server.get("/long").status, 200);
    assert_eq!(server.get("/short/long").status, 502);
    server.logs("upstream sent too big header while reading response header from upstream");

    let before = Instant::now();
    assert_eq!(server.get("/much").body.len(), 1 << 20);
    assert!(before.elapsed() > Duration::from_millis(500), "{:?}", before.elapsed());

    // what comes late is not waited for, and what came before it is there at once
    assert_eq!(server.get("/patient/trickle").text(), "first second");
    eventually("the first part came in time", || {
        let mut client = server.client();
        client.send("GET /trickle HTTP/1.0\r\n\r\n");
        client.rest().ends_with(b"first")
    });
    server.logs("upstream timed out (110: Connection timed out) while reading upstream");
}

#[test]
fn directives_of_fastcgi_have_the_effects_of_their_kind() {
    let server = server(
        Protocol::FastCgi,
        "upstream toys { server 127.0.0.1:{port3}; server 127.0.0.1:{port2}; }
        fastcgi_param URI $uri;
        fastcgi_connect_timeout 1m;
        fastcgi_send_timeout 1m;
        fastcgi_read_timeout 1m;
        fastcgi_buffer_size 8k;
        fastcgi_buffers 4 8k;
        fastcgi_busy_buffers_size 16k;
        fastcgi_temp_path {dir}/temp 1 2;
        fastcgi_temp_file_write_size 16k;
        fastcgi_max_temp_file_size 1m;
        fastcgi_send_lowat 0;
        fastcgi_socket_keepalive on;
        fastcgi_socket_rcvbuf 64k;
        fastcgi_socket_sndbuf 64k;
        fastcgi_buffering on;
        fastcgi_flush_idle on;
        fastcgi_request_buffering on;
        fastcgi_ignore_client_abort on;
        fastcgi_next_upstream error timeout http_500;
        fastcgi_next_upstream_tries 2;
        fastcgi_next_upstream_timeout 1m;
        server {
            listen 127.0.0.1:{port};
            error_page 503 = @own;
            location @own { return 200 'our own words'; }
            location / { fastcgi_bind 127.0.0.9; fastcgi_pass 127.0.0.1:{port2}; }
            location /unbuffered { fastcgi_buffering off; fastcgi_pass 127.0.0.1:{port2}; }
            location /bare {
                fastcgi_pass_request_headers off;
                fastcgi_pass_request_body off;
                fastcgi_pass 127.0.0.1:{port2};
            }
            location /busy { fastcgi_intercept_errors on; fastcgi_pass 127.0.0.1:{port2}; }
            location /fail { fastcgi_pass toys; }
            location /obey {
                fastcgi_ignore_headers X-Accel-Redirect;
                fastcgi_pass_header X-Accel-Expires;
                fastcgi_hide_header X-Secret;
                fastcgi_pass 127.0.0.1:{port2};
            }
            location /digits {
                fastcgi_force_ranges on;
                fastcgi_store {dir}/temp/kept;
                fastcgi_store_access user:rw all:r;
                fastcgi_pass 127.0.0.1:{port2};
            }
            location /short { fastcgi_buffer_size 4k; fastcgi_pass 127.0.0.1:{port2}; }
            location /much { fastcgi_limit_rate 1m; fastcgi_pass 127.0.0.1:{port2}; }
            location /trickle { fastcgi_read_timeout 200ms; fastcgi_pass 127.0.0.1:{port2}; }
        }",
    );
    check(&server);
}

#[test]
fn directives_of_scgi_have_the_effects_of_their_kind() {
    let server = server(
        Protocol::Scgi,
        "upstream toys { server 127.0.0.1:{port3}; server 127.0.0.1:{port2}; }
        scgi_param URI $uri;
        scgi_param BODY '';
        scgi_connect_timeout 1m;
        scgi_send_timeout 1m;
        scgi_read_timeout 1m;
        scgi_buffer_size 8k;
        scgi_buffers 4 8k;
        scgi_busy_buffers_size 16k;
        scgi_temp_path {dir}/temp 1 2;
        scgi_temp_file_write_size 16k;
        scgi_max_temp_file_size 1m;
        scgi_socket_keepalive on;
        scgi_socket_rcvbuf 64k;
        scgi_socket_sndbuf 64k;
        scgi_buffering on;
        scgi_flush_idle on;
        scgi_request_buffering on;
        scgi_ignore_client_abort on;
        scgi_next_upstream error timeout http_500;
        scgi_next_upstream_tries 2;
        scgi_next_upstream_timeout 1m;
        server {
            listen 127.0.0.1:{port};
            error_page 503 = @own;
            location @own { return 200 'our own words'; }
            location / { scgi_bind 127.0.0.9; scgi_pass 127.0.0.1:{port2}; }
            location /unbuffered { scgi_buffering off; scgi_pass 127.0.0.1:{port2}; }
            location /bare {
                scgi_param URI $uri;
                scgi_pass_request_headers off;
                scgi_pass_request_body off;
                scgi_pass 127.0.0.1:{port2};
            }
            location /busy { scgi_intercept_errors on; scgi_pass 127.0.0.1:{port2}; }
            location /fail { scgi_pass toys; }
            location /obey {
                scgi_ignore_headers X-Accel-Redirect;
                scgi_pass_header X-Accel-Expires;
                scgi_hide_header X-Secret;
                scgi_pass 127.0.0.1:{port2};
            }
            location /digits {
                scgi_force_ranges on;
                scgi_store {dir}/temp/kept;
                scgi_store_access user:rw all:r;
                scgi_pass 127.0.0.1:{port2};
            }
            location /short { scgi_buffer_size 4k; scgi_pass 127.0.0.1:{port2}; }
            location /much { scgi_limit_rate 1m; scgi_pass 127.0.0.1:{port2}; }
            location /trickle { scgi_read_timeout 200ms; scgi_pass 127.0.0.1:{port2}; }
        }",
    );
    check(&server);
}

#[test]
fn directives_of_uwsgi_have_the_effects_of_their_kind() {
    let server = server(
        Protocol::Uwsgi,
        "upstream toys { server 127.0.0.1:{port3}; server 127.0.0.1:{port2}; }
        map $request_method $with_body { POST BODY; }
        uwsgi_param URI $uri;
        uwsgi_connect_timeout 1m;
        uwsgi_send_timeout 1m;
        uwsgi_read_timeout 1m;
        uwsgi_buffer_size 8k;
        uwsgi_buffers 4 8k;
        uwsgi_busy_buffers_size 16k;
        uwsgi_temp_path {dir}/temp 1 2;
        uwsgi_temp_file_write_size 16k;
        uwsgi_max_temp_file_size 1m;
        uwsgi_socket_keepalive on;
        uwsgi_socket_rcvbuf 64k;
        uwsgi_socket_sndbuf 64k;
        uwsgi_buffering on;
        uwsgi_flush_idle on;
        uwsgi_request_buffering on;
        uwsgi_ignore_client_abort on;
        uwsgi_next_upstream error timeout http_500;
        uwsgi_next_upstream_tries 2;
        uwsgi_next_upstream_timeout 1m;
        uwsgi_param METHOD $with_body;
        server {
            listen 127.0.0.1:{port};
            error_page 503 = @own;
            location @own { return 200 'our own words'; }
            location / { uwsgi_bind 127.0.0.9; uwsgi_pass 127.0.0.1:{port2}; }
            location /unbuffered { uwsgi_buffering off; uwsgi_pass 127.0.0.1:{port2}; }
            location /bare {
                uwsgi_param URI $uri;
                uwsgi_pass_request_headers off;
                uwsgi_pass_request_body off;
                uwsgi_pass 127.0.0.1:{port2};
            }
            location /busy { uwsgi_intercept_errors on; uwsgi_pass 127.0.0.1:{port2}; }
            location /fail { uwsgi_pass toys; }
            location /obey {
                uwsgi_ignore_headers X-Accel-Redirect;
                uwsgi_pass_header X-Accel-Expires;
                uwsgi_hide_header X-Secret;
                uwsgi_pass 127.0.0.1:{port2};
            }
            location /digits {
                uwsgi_force_ranges on;
                uwsgi_store {dir}/temp/kept;
                uwsgi_store_access user:rw all:r;
                uwsgi_pass 127.0.0.1:{port2};
            }
            location /short { uwsgi_buffer_size 4k; uwsgi_pass 127.0.0.1:{port2}; }
            location /much { uwsgi_limit_rate 1m; uwsgi_pass 127.0.0.1:{port2}; }
            location /trickle { uwsgi_read_timeout 200ms; uwsgi_pass 127.0.0.1:{port2}; }
        }",
    );
    check(&server);
}
