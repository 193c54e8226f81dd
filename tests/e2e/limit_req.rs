//! `limit_req`: rates of requests.

use std::time::{Duration, Instant};

use daemun_tests::{Server, Setup, children, eventually, is_running, signals};

/// A page everywhere, and a log of what became of the requests.
fn setup() -> Setup {
    Setup::new().file("a", "page").file("b", "page")
}

/// With so slow a rate that nothing is forgiven while a test runs.
fn slow(content: &str) -> String {
    format!(
        "limit_req_zone $arg_k zone=one:1m rate=1r/m;
         limit_req_zone $arg_m zone=two:1m rate=1r/m;
         log_format s $uri:$limit_req_status;
         server {{
             listen 127.0.0.1:{{port}};
             root {{dir}};
             access_log {{dir}}/access.log s;
             {content}
         }}"
    )
}

fn statuses(server: &Server, uri: &str, count: usize) -> Vec<u16> {
    (0..count).map(|_| server.get(uri).status).collect()
}

#[test]
fn what_comes_too_fast_is_refused_key_by_key() {
    let server = setup().http(&slow(
        "location /a { limit_req zone=one burst=2 nodelay; }
         location /b { limit_req zone=one; limit_req_status 429; limit_req_log_level warn; }",
    ));
    assert_eq!(statuses(&server, "/a?k=1", 5), [200, 200, 200, 503, 503]);
    assert_eq!(statuses(&server, "/a?k=2", 1), [200]);
    assert_eq!(statuses(&server, "/b?k=2", 2), [429, 429]);
    assert_eq!(statuses(&server, "/a", 3), [200, 200, 200], "without a key nothing is counted");
    server.logs("[error]");
    server.logs("limiting requests, excess: ");
    server.logs(" by zone \"one\", client: 127.0.0.1");
    server.logs("[warn]");
    server.file_has("access.log", "/a:PASSED\n");
    server.file_has("access.log", "/a:REJECTED\n");
    server.file_has("access.log", "/b:REJECTED\n");
    server.file_has("access.log", "/a:-\n");
}

#[test]
fn what_is_beyond_the_mark_waits() {
    let server = setup().http(
        "limit_req_zone $arg_k zone=one:1m rate=5r/s;
         log_format s $uri:$limit_req_status;
         server {
             listen 127.0.0.1:{port};
             access_log {dir}/access.log s;
             root {dir};
             location /a { limit_req zone=one burst=5; }
             location /b { limit_req zone=one burst=5 delay=5; }
         }",
    );
    let began = Instant::now();
    assert_eq!(statuses(&server, "/a?k=1", 4), [200; 4]);
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    server.logs("[warn]");
    server.logs("delaying request, excess: ");
    server.logs(", by zone \"one\", client: 127.0.0.1");
    server.file_has("access.log", "/a:DELAYED\n");
    assert_eq!(statuses(&server, "/b?k=2", 4), [200; 4]);
    assert!(!server.folder().read("access.log").contains("/b:DELAYED"));
}

#[test]
fn a_client_that_leaves_while_it_waits_is_noticed() {
    let server = setup().http(
        "limit_req_zone k zone=one:1m rate=1r/m;
         log_format s $status:$limit_req_status;
         limit_req zone=one burst=5;
         server { listen 127.0.0.1:{port}; root {dir}; access_log {dir}/access.log s; }",
    );
    assert_eq!(server.get("/a").status, 200);
    let mut client = server.client();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    server.logs("delaying request");
    drop(client);
    server.file_has("access.log", "499:DELAYED\n");
    server.logs("client prematurely closed connection");
}

#[test]
fn one_limit_that_refuses_leaves_the_others_as_they_were() {
    let server = setup().http(&slow(
        "location /a { limit_req zone=one burst=1 nodelay; limit_req zone=two nodelay; }
         location /b { limit_req zone=one burst=1 nodelay; }",
    ));
    assert_eq!(statuses(&server, "/a?k=1&m=1", 3), [200, 503, 503]);
    server.logs("by zone \"two\"");
    assert_eq!(statuses(&server, "/b?k=1", 2), [200, 503], "two of three were not counted");
    assert_eq!(statuses(&server, "/a?k=2", 3), [200, 200, 503], "the first limit alone");
}

#[test]
fn a_dry_run_counts_and_refuses_nobody() {
    let server = setup().http(&slow(
        "limit_req_dry_run on;
         location /a { limit_req zone=one; }
         location /b { limit_req zone=one burst=9; }",
    ));
    assert_eq!(statuses(&server, "/a?k=1", 3), [200; 3]);
    assert_eq!(statuses(&server, "/b?k=1", 1), [200]);
    server.file_has("access.log", "/a:REJECTED_DRY_RUN\n");
    server.file_has("access.log", "/b:DELAYED_DRY_RUN\n");
    server.logs("limiting requests, dry run, excess: ");
    server.logs("delaying request, dry run, excess: ");
}

#[test]
fn a_request_is_counted_once_with_all_that_belongs_to_it() {
    let server = setup().file("c.shtml", "<!--#include virtual=\"/a?k=1\"-->").http(&slow(
        "limit_req zone=one burst=9;
         location /old { error_page 404 /a?k=1; }
         location /c { ssi on; ssi_types *; }",
    ));
    assert_eq!(server.get("/old?k=1").status, 404);
    assert_eq!(server.get("/c.shtml?k=2").text(), "page");
    server.file_has("access.log", "/a:PASSED\n");
    server.file_has("access.log", "/c.shtml:PASSED\n");
    assert!(!server.error_log().contains("delaying"), "{}", server.error_log());
}

#[test]
fn limits_are_inherited_until_a_block_has_its_own() {
    let server = setup().http(&slow(
        "limit_req zone=one;
         location /a { }
         location /b { limit_req zone=two; }",
    ));
    assert_eq!(statuses(&server, "/a?k=1&m=1", 2), [200, 503]);
    assert_eq!(statuses(&server, "/b?k=1&m=1", 2), [200, 503]);
}

/// Four workers of which any may have the next connection.
const FOUR: &str = "daemon off; worker_processes 4; pid {dir}/server.pid;
    error_log {dir}/error.log info;
    events { {events} }
    http { access_log off; client_body_temp_path {dir}/body; %% }";

#[test]
fn all_workers_count_together_and_one_that_dies_takes_nothing_along() {
    let content = slow("limit_req zone=one burst=19 nodelay;");
    let mut server = setup().start(&FOUR.replace("%%", &content));
    server.expect("exited on signal 9");
    assert_eq!(statuses(&server, "/a?k=1", 12), [200; 12]);
    let workers = children(server.pid());
    for worker in &workers {
        // it may have ended, and been replaced
        let _ = signals::send(*worker, signals::SIGKILL);
    }
    eventually("they are dead", || !workers.iter().any(|worker| is_running(*worker)));
    let statuses = statuses(&server, "/a?k=1", 12);
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 8, "{statuses:?}");
}

#[test]
fn a_reload_keeps_states_and_refuses_another_key() {
    let content = slow("limit_req zone=one;");
    let mut server = setup().http(&content);
    server.expect("while previously it used");
    assert_eq!(server.get("/a?k=1").status, 200);
    server.configure_http(&content.replace("zone=one:1m rate=1r/m", "zone=one:1m rate=2r/m"));
    let output = server.run(&["-s", "reload"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert_eq!(server.get("/a?k=1").status, 503, "the state is the same");

    server.configure_http(&content.replace("$arg_k", "$arg_other"));
    assert_eq!(server.run(&["-t"]).code, Some(0));
    assert_eq!(server.run(&["-s", "reload"]).code, Some(1));
    let sentence = "limit_req \"one\" uses the \"$arg_other\" key \
                    while previously it used the \"$arg_k\" key";
    server.logs(sentence);
    assert_eq!(server.get("/a?k=1").status, 503);

    let content = content.replace("$arg_k zone=one:1m", "$arg_other zone=one:2m");
    server.configure_http(&content);
    assert_eq!(server.run(&["-s", "reload"]).code, Some(0), "another size is another zone");
    eventually("the new workers count anew", || server.get("/a?k=1").status == 200);
}

#[test]
fn a_full_zone_forgets_who_came_first() {
    let server = setup().http(
        "limit_req_zone $arg_k zone=small:32k rate=1r/m;
         keepalive_requests 10000;
         server { listen 127.0.0.1:{port}; root {dir}; limit_req zone=small; }",
    );
    let mut client = server.client();
    let mut status = |key: usize| client.get(&format!("/a?k={key}")).status;
    assert_eq!((status(0), status(0)), (200, 503));
    // more than there are cells, with one that is asked for all the time
    for key in 1..600 {
        assert_eq!(status(key), 200);
        assert_eq!(status(1_000_000), if key == 1 { 200 } else { 503 });
    }
    assert_eq!(status(0), 200, "it was the oldest");
}

#[test]
fn a_key_that_is_longer_than_its_zone_is_refused() {
    let mut server = setup().http(
        "limit_req_zone $http_x$http_x$http_x zone=small:32k rate=1r/m;
         server { listen 127.0.0.1:{port}; root {dir}; limit_req zone=small; }",
    );
    server.expect("could not allocate node");
    let field = format!("X: {}", "x".repeat(7000));
    assert_eq!(server.get_with("/a", &[&field]).status, 503);
    server.logs("[alert]");
    server.logs("could not allocate node in limit_req zone \"small\"");
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    let zone = "limit_req_zone $uri zone=z:1m rate=1r/s;";
    for (text, sentence) in [
        ("limit_req_zone $uri zone=z rate=1r/s;", "invalid zone size \"zone=z\""),
        ("limit_req_zone $uri zone=z:x rate=1r/s;", "invalid zone size \"zone=z:x\""),
        ("limit_req_zone $uri zone=z:8k rate=1r/s;", "zone \"zone=z:8k\" is too small"),
        ("limit_req_zone $uri zone=z:1m rate=0r/s;", "invalid rate \"rate=0r/s\""),
        ("limit_req_zone $uri zone=z:1m burst=1;", "invalid parameter \"burst=1\""),
        (
            "limit_req_zone $uri rate=1r/s rate=2r/s;",
            "\"limit_req_zone\" must have \"zone\" parameter",
        ),
        (
            "ZONE limit_req_zone $args zone=z:1m rate=1r/s;",
            "limit_req_zone \"z\" is already bound to key \"$uri\"",
        ),
        ("ZONE limit_req zone=z burst=0;", "invalid burst value \"burst=0\""),
        ("ZONE limit_req zone=z delay=x;", "invalid delay value \"delay=x\""),
        ("ZONE limit_req zone=z slow;", "invalid parameter \"slow\""),
        ("limit_req nodelay;", "\"limit_req\" must have \"zone\" parameter"),
        ("ZONE limit_req zone=z; limit_req zone=z;", "\"limit_req\" directive is duplicate"),
        ("limit_req zone=none;", "zero size shared memory zone \"none\""),
        ("limit_req_status 399;", "value must be between 400 and 599"),
        ("limit_req_log_level crit;", "invalid value \"crit\""),
        (
            "ZONE limit_conn_zone $uri zone=z:1m;",
            "the shared memory zone \"z\" is already declared for a different use",
        ),
    ] {
        let text = text.replace("ZONE", zone);
        let output = Setup::new().run(&format!("events {{ }} http {{ {text} }}"), &["-t"]);
        assert_eq!(output.code, Some(1), "{text}");
        assert!(output.stderr.contains(sentence), "{text}: {}", output.stderr);
    }
}
