//! `limit_conn`: numbers of connections.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use daemun_tests::{Client, Server, Setup, children, eventually, listener, ok, signals};

/// A server that is asked and answers when the test wants it to.
struct Behind(TcpListener);

impl Behind {
    fn new() -> Behind {
        let listener = listener();
        listener.set_nonblocking(true).unwrap();
        Behind(listener)
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// The next request that was let through.
    fn asked(&self) -> TcpStream {
        let mut asked = None;
        eventually("a request was let through", || {
            asked = self.0.accept().ok();
            asked.is_some()
        });
        let (stream, _) = asked.unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    }
}

/// A request that is in progress.
fn begin(server: &Server, behind: &Behind, uri: &str) -> (Client, TcpStream) {
    let mut client = server.client();
    client.send(format!("GET {uri} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let asked = behind.asked();
    (client, asked)
}

fn end((mut client, mut asked): (Client, TcpStream)) -> Client {
    asked.write_all(ok("done").as_bytes()).unwrap();
    drop(asked);
    assert_eq!(client.answer().text(), "done");
    client
}

fn content(behind: &Behind, limits: &str) -> String {
    format!(
        "limit_conn_zone $arg_k zone=one:1m;
         limit_conn_zone $arg_m zone=two:1m;
         log_format s $uri:$limit_conn_status;
         server {{
             listen 127.0.0.1:{{port}};
             access_log {{dir}}/access.log s;
             root {{dir}};
             location /held {{ {limits} proxy_pass http://{}; }}
             location / {{ {limits} }}
         }}",
        behind.address()
    )
}

fn setup() -> Setup {
    Setup::new().file("a", "page")
}

#[test]
fn connections_are_counted_while_they_have_a_request() {
    let behind = Behind::new();
    let server = setup().http(&content(&behind, "limit_conn one 2;"));
    let first = begin(&server, &behind, "/held?k=1");
    let second = begin(&server, &behind, "/held?k=1");
    assert_eq!(server.get("/a?k=1").status, 503);
    assert_eq!(server.get("/a?k=2").status, 200);
    assert_eq!(server.get("/a").status, 200, "without a key nothing is counted");
    server.logs("[error]");
    server.logs("limiting connections by zone \"one\", client: 127.0.0.1");
    server.file_has("access.log", "/a:REJECTED\n");
    server.file_has("access.log", "/a:PASSED\n");
    server.file_has("access.log", "/a:-\n");
    let mut idle = end(first);
    eventually("an idle connection does not count", || server.get("/a?k=1").status == 200);
    eventually("it counts anew with a request", || idle.get("/a?k=1").status == 200);
    // one that leaves is no longer counted, either
    drop(second.0);
    server.logs("client prematurely closed connection");
    let held = begin(&server, &behind, "/held?k=1");
    eventually("the second has gone", || server.get("/a?k=1").status == 200);
    end(held);
}

#[test]
fn one_limit_that_refuses_leaves_the_others_as_they_were() {
    let behind = Behind::new();
    let limits = "limit_conn one 2; limit_conn two 1; limit_conn_status 429;
                  limit_conn_log_level warn;";
    let server = setup().http(&content(&behind, limits));
    let held = begin(&server, &behind, "/held?k=1&m=1");
    for _ in 0..3 {
        assert_eq!(server.get("/a?k=1&m=1").status, 429);
    }
    server.logs("[warn]");
    server.logs("limiting connections by zone \"two\"");
    assert_eq!(server.get("/a?k=1&m=2").status, 200, "the refused hold nothing of the first");
    end(held);
}

#[test]
fn a_dry_run_counts_and_refuses_nobody() {
    let behind = Behind::new();
    let server = setup().http(&content(&behind, "limit_conn one 1; limit_conn_dry_run on;"));
    let held = begin(&server, &behind, "/held?k=1");
    assert_eq!(server.get("/a?k=1").status, 200);
    server.file_has("access.log", "/a:REJECTED_DRY_RUN\n");
    server.logs("limiting connections, dry run, by zone \"one\"");
    end(held);
}

/// Four workers of which any may have the next connection.
const FOUR: &str = "daemon off; worker_processes 4; pid {dir}/server.pid;
    error_log {dir}/error.log info;
    events { {events} }
    http { access_log off; client_body_temp_path {dir}/body; %% }";

#[test]
fn all_workers_count_together_and_the_dead_hold_nothing() {
    let behind = Behind::new();
    let content = content(&behind, "limit_conn one 8;");
    let mut server = setup().start(&FOUR.replace("%%", &content));
    server.expect("exited on signal 9");
    let mut killed = 0;
    for _ in 0..3 {
        let held: Vec<_> = (0..8).map(|_| begin(&server, &behind, "/held?k=1")).collect();
        assert_eq!(server.get("/a?k=1").status, 503);
        let workers = children(server.pid());
        for worker in &workers {
            // it may have ended, and been replaced
            let _ = signals::send(*worker, signals::SIGKILL);
        }
        killed += workers.len();
        eventually("they have been reaped", || {
            server.error_log().matches("exited on signal 9").count() >= killed
        });
        drop(held);
        let mut client = server.client();
        eventually("their connections are not counted", || client.get("/a?k=1").status == 200);
    }
}

#[test]
fn a_reload_keeps_counts_and_refuses_another_key() {
    let behind = Behind::new();
    let content = content(&behind, "limit_conn one 1;");
    let mut server = setup().http(&content);
    server.expect("while previously it used");
    let held = begin(&server, &behind, "/held?k=1");
    let output = server.run(&["-s", "reload"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert_eq!(server.get("/a?k=1").status, 503, "the old worker's request counts");
    server.configure_http(&content.replace("$arg_k", "$arg_other"));
    assert_eq!(server.run(&["-s", "reload"]).code, Some(1));
    server.logs(
        "limit_conn_zone \"one\" uses the \"$arg_other\" key \
         while previously it used the \"$arg_k\" key",
    );
    end(held);
    eventually("it has ended", || server.get("/a?k=1").status == 200);
}

#[test]
fn a_full_zone_refuses() {
    let behind = Behind::new();
    // a cell holds less than 40 bytes: this takes more cells than there are for two
    let pad = "x".repeat(240);
    let server = setup().http(&format!(
        "limit_conn_zone {pad}$arg_k zone=small:32k;
         server {{
             listen 127.0.0.1:{{port}};
             root {{dir}};
             limit_conn small 1;
             location /held {{ proxy_pass http://{}; }}
         }}",
        behind.address()
    ));
    let held: Vec<_> = (0..80)
        .map(|key| {
            let mut client = server.client();
            client.send(format!("GET /held?k={key} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client
        })
        .collect();
    server.logs("[crit]");
    server.logs("ngx_slab_alloc() failed: no memory in limit_conn_zone \"small\"");
    drop(held);
    eventually("there is room again", || server.get("/a?k=new").status == 200);
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    let zone = "limit_conn_zone $uri zone=z:1m;";
    for (text, sentence) in [
        ("limit_conn_zone $uri zone=z;", "invalid zone size \"zone=z\""),
        ("limit_conn_zone $uri zone=z:8k;", "zone \"zone=z:8k\" is too small"),
        ("limit_conn_zone $uri rate=1r/s;", "invalid parameter \"rate=1r/s\""),
        ("limit_conn_zone $uri zone=:1m;", "\"limit_conn_zone\" must have \"zone\" parameter"),
        (
            "ZONE limit_conn_zone $args zone=z:1m;",
            "limit_conn_zone \"z\" is already bound to key \"$uri\"",
        ),
        ("ZONE limit_conn z 0;", "invalid number of connections \"0\""),
        ("ZONE limit_conn z 65536;", "connection limit must be less 65536"),
        ("ZONE limit_conn z 1; limit_conn z 2;", "\"limit_conn\" directive is duplicate"),
        ("limit_conn none 1;", "zero size shared memory zone \"none\""),
        ("limit_conn_status 600;", "value must be between 400 and 599"),
    ] {
        let text = text.replace("ZONE", zone);
        let output = Setup::new().run(&format!("events {{ }} http {{ {text} }}"), &["-t"]);
        assert_eq!(output.code, Some(1), "{text}");
        assert!(output.stderr.contains(sentence), "{text}: {}", output.stderr);
    }
}
