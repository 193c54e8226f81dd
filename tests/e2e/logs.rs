//! What is written, where and when.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use daemun_tests::{PATIENCE, Server, Setup, signals};

#[test]
fn a_request_leaves_a_line() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             access_log {dir}/access.log;
             location = /silent { access_log off; return 200 x; }
             location / { return 200 hello; }
         }",
    );
    server.get_with("/a?b=c", &["User-Agent: tester/1", "Referer: http://here/"]);
    server.get("/silent");
    server.file_has("access.log", "\n");
    let log = server.folder().read("access.log");
    assert!(log.starts_with("127.0.0.1 - - ["), "{log}");
    assert!(
        log.contains("] \"GET /a?b=c HTTP/1.1\" 200 5 \"http://here/\" \"tester/1\"\n"),
        "{log}"
    );
}

#[test]
fn formats_escape_what_clients_send() {
    let server = Server::http(
        "log_format plain '$status $request_method \"$http_x\" $body_bytes_sent';
         log_format json escape=json '{\"x\":\"$http_x\",\"uri\":\"$uri\"}';
         log_format raw escape=none '$http_x';
         server {
             listen 127.0.0.1:{port};
             access_log {dir}/plain.log plain;
             access_log {dir}/json.log json;
             access_log {dir}/raw.log raw;
             return 200 hello;
         }",
    );
    server.get_with("/x", &["X: a\"b\\c\u{e4}"]);
    server.file_has("plain.log", "200 GET \"a\\x22b\\x5Cc\\xC3\\xA4\" 5\n");
    server.file_has("json.log", "{\"x\":\"a\\\"b\\\\c\u{e4}\",\"uri\":\"/x\"}\n");
    server.file_has("raw.log", "a\"b\\c\u{e4}\n");
}

#[test]
fn a_line_that_is_no_request_has_no_uri() {
    let server = Server::http(
        "log_format uri '<$uri> <$document_uri>';
         server { listen 127.0.0.1:{port}; access_log {dir}/access.log uri; return 200 x; }",
    );
    server.send("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n");
    server.file_has("access.log", "<-> <->\n");
    // Here it has one, that can't be made sense of.
    server.send("GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n");
    server.file_has("access.log", "<> <>\n");
}

#[test]
fn a_condition_chooses_what_is_logged() {
    let server = Server::http(
        "log_format uri $uri;
         server {
             listen 127.0.0.1:{port};
             access_log {dir}/access.log uri if=$arg_log;
             return 200 x;
         }",
    );
    for uri in ["/no", "/zero?log=0", "/yes?log=1"] {
        server.get(uri);
    }
    server.file_has("access.log", "/yes");
    assert_eq!(server.folder().read("access.log"), "/yes\n");
}

#[test]
fn names_of_logs_may_have_variables() {
    let server = Server::http(
        "log_format uri $uri;
         open_log_file_cache max=10 inactive=1m valid=1m min_uses=1;
         server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             location / { access_log {dir}/logs/$host.log uri; return 200 x; }
         }",
    );
    let logs = server.folder().path("logs");
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::create_dir_all(server.folder().path("html")).unwrap();
    let anyone = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o777);
    std::fs::set_permissions(&logs, anyone).unwrap();
    server.get_from("one", "/1");
    server.get_from("two", "/2");
    server.file_has("logs/one.log", "/1\n");
    server.file_has("logs/two.log", "/2\n");
}

#[test]
fn buffered_lines_are_written_when_logs_are_reopened() {
    let server = Server::http(
        "log_format uri $uri;
         server {
             listen 127.0.0.1:{port};
             access_log {dir}/buffered.log uri buffer=64k flush=1h;
             access_log {dir}/direct.log uri;
             return 200 x;
         }",
    );
    server.get("/one");
    server.file_has("direct.log", "/one\n");
    assert_eq!(server.folder().read("buffered.log"), "");
    let moved = server.folder().path("moved.log");
    std::fs::rename(server.folder().path("buffered.log"), moved).unwrap();
    server.signal(signals::SIGUSR1);
    server.file_has("moved.log", "/one\n");
    server.logs("reopening logs");
    server.get("/two");
    drop(server.client());
    server.file_has("direct.log", "/two\n");
}

#[test]
fn compressed_logs_can_be_read() {
    let mut server = Server::http(
        "log_format uri $uri;
         server {
             listen 127.0.0.1:{port};
             access_log {dir}/access.log.gz uri gzip=6 flush=1h;
             return 200 x;
         }",
    );
    for number in 0..100 {
        server.get(&format!("/page/{number}"));
    }
    server.signal(signals::SIGQUIT);
    assert_eq!(server.wait(), Some(0));
    let file = server.folder().path("access.log.gz");
    let output = std::process::Command::new("gzip").arg("-dc").arg(file).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<String> = (0..100).map(|number| format!("/page/{number}")).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn syslog_gets_datagrams() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = udp.local_addr().unwrap();
    let setup = Setup::new();
    let unix = UnixDatagram::bind(setup.folder.path("log.sock")).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    let anyone = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o777);
    std::fs::set_permissions(setup.folder.path("log.sock"), anyone).unwrap();
    let server = setup.http(&format!(
        "log_format uri $uri;
         server {{
             listen 127.0.0.1:{{port}};
             access_log syslog:server={address},facility=local7,tag=gate,severity=info uri;
             error_log syslog:server=unix:{{dir}}/log.sock,nohostname error;
             root {{dir}};
         }}"
    ));
    server.get("/missing");
    let mut buffer = [0; 2048];
    let length = udp.recv(&mut buffer).unwrap();
    let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(line.starts_with("<190>") && line.ends_with("gate: /missing"), "{line}");
    let length = unix.recv(&mut buffer).unwrap();
    let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(line.starts_with("<187>") && line.contains("/missing\" failed"), "{line}");
}

#[test]
fn levels_choose_what_the_error_log_has() {
    let server = Server::start(
        "daemon off;
         pid {dir}/server.pid;
         error_log {dir}/error.log notice;
         error_log {dir}/errors.log error;
         error_log {dir}/debug.log debug;
         events { {events} debug_connection 127.0.0.1; }
         http {
             access_log off;
             server {
                 listen 127.0.0.1:{port};
                 root {dir};
                 location /quiet { error_log {dir}/quiet.log crit; }
             }
         }",
    );
    server.get("/missing");
    server.get("/quiet");
    server.file_has("errors.log", "/missing\" failed (2: No such file or directory)");
    server.file_has("debug.log", "[debug]");
    assert!(server.error_log().contains("[notice]"));
    let errors = server.folder().read("errors.log");
    assert!(!errors.contains("[notice]") && !errors.contains("/quiet\" failed"), "{errors}");
}

/// Whoever bans clients that try a server's patience reads these lines.
#[test]
fn heads_that_never_end_leave_lines() {
    let server = Server::http(
        "log_format all '$request|$status|$body_bytes_sent|$request_length|$uri|$http_a';
         server {
             listen 127.0.0.1:{port};
             access_log {dir}/access.log all;
             client_header_timeout 100ms;
             return 200 x;
         }",
    );
    let whole = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    for (sent, told) in [
        ("G", "G|{}|0|0|-|-"),
        ("GET /begun", "GET /begun|{}|0|0|-|-"),
        ("GET /more HTTP/1.1\r\n", "GET /more HTTP/1.1|{}|0|20|/more|-"),
        ("GET /more HTTP/1.1\r\nA: b\r\nHos", "GET /more HTTP/1.1|{}|0|26|/more|b"),
        ("GET /two", "GET /two|{}|0|0|-|-"),
    ] {
        for (status, breaks_off) in [("400", true), ("408", false)] {
            let mut client = server.client();
            if sent == "GET /two" {
                // A connection that is kept.
                client.send(whole);
                client.answer();
            }
            client.send(sent);
            match breaks_off {
                true => drop(client),
                false => assert!(client.rest().is_empty()),
            }
            server.file_has("access.log", &(told.replace("{}", status) + "\n"));
        }
    }
    // Who says nothing leaves none.
    let mut silent = server.client();
    silent.send(whole);
    silent.answer();
    drop(silent);
    drop(server.client());
    server.get("/last");
    server.file_has("access.log", "/last");
    let log = server.folder().read("access.log");
    assert_eq!(log.lines().count(), 10 + 2 + 2, "{log}");
}
