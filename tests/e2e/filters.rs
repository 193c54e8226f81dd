//! Bodies that are rewritten on their way, and requests that the server makes for itself.

use std::io::{Read, Write};
use std::sync::{Mutex, mpsc};

use daemun_tests::{PATIENCE, Server, Setup, signals};

use crate::backend::{backend, head};

fn site(rules: &str) -> Server {
    let server = format!("server {{ listen 127.0.0.1:{{port}}; root {{dir}}/html; {rules} }}");
    Setup::new()
        .file("html/a.html", "one two one two")
        .file("html/b.txt", "one text")
        .file("html/long.html", "0123456789one".repeat(20_000))
        .file("html/head", "head:")
        .file("html/foot", ":foot")
        .http(&server)
}

#[test]
fn text_is_replaced_once_or_always() {
    let server = site(
        "sub_filter one 1; sub_filter TWO $arg_two;
         location /all/ { sub_filter_once off; sub_filter_types *; sub_filter_last_modified on; alias {dir}/html/; }",
    );
    let once = server.get("/a.html?two=2");
    assert_eq!(once.text(), "1 2 one two");
    assert_eq!((once.header("ETag"), once.header("Last-Modified")), (None, None));
    let all = server.get("/all/a.html?two=");
    assert_eq!(all.text(), "1  1 ");
    assert!(all.header("ETag").unwrap().starts_with("W/") && all.header("Last-Modified").is_some());
    assert_eq!(server.get("/all/b.txt").text(), "1 text");
    assert_eq!(server.get("/b.txt").text(), "one text");
    assert!(server.get("/all/long.html").body == "01234567891".repeat(20_000).as_bytes());
    assert_eq!(server.get_with("/a.html", &["Range: bytes=0-1"]).status, 200);
}

#[test]
fn responses_are_added_around_a_response() {
    let server = site(
        "sub_filter one 1;
         location / { add_before_body /head; add_after_body /foot; default_type text/html; }
         location /plain/ { alias {dir}/html/; }",
    );
    let page = server.get("/a.html");
    assert_eq!(page.text(), "head:1 two one two:foot");
    assert_eq!(page.content_length(), None);
    assert_eq!(server.get("/nothing").status, 404);
    assert_eq!(
        server.send("GET /a.html HTTP/1.0\r\n\r\n").split("\r\n\r\n").nth(1),
        Some("head:1 two one two:foot")
    );
}

#[test]
fn another_location_decides_who_may_pass() {
    let server = site(
        "location /in/ {
             auth_request /auth;
             auth_request_set $who \"$who $arg_who $request_uri $uri\";
             add_header X-Got $who always;
             alias {dir}/html/;
         }
         location /any/ { satisfy any; deny all; auth_request /auth; alias {dir}/html/; }
         location = /auth {
             internal;
             set $who set;
             if ($http_key = right) { return 204; }
             if ($http_key = forbidden) { return 403; }
             if ($http_key = strange) { return 302; }
             return 401;
         }",
    );
    let get = |uri: &str, key: &str| server.get_with(uri, &[&format!("Key: {key}")]);
    let passed = get("/in/a.html?who=me", "right");
    assert_eq!(
        (passed.status, passed.header("X-Got")),
        (200, Some("set  /in/a.html?who=me /auth"))
    );
    assert_eq!(get("/in/a.html", "forbidden").status, 403);
    assert_eq!(get("/in/a.html", "strange").status, 500);
    server.logs("auth request unexpected status: 302");
    assert_eq!(get("/in/a.html", "").status, 401);
    assert_eq!(get("/any/a.html", "right").status, 200);
    assert_eq!(get("/any/a.html", "").status, 401);
    assert_eq!(server.get("/auth").status, 404);
}

#[test]
fn copies_are_sent_with_the_body() {
    let server = Setup::new().file("html/a", "text").http(
        "log_format copy '$request_method $uri?$args $request_body';
         server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             location / { mirror /one; mirror /two; error_page 405 =200 @done; }
             location @done { return 200 done; }
             location /one { internal; log_subrequest on; access_log {dir}/copy.log copy; return 200; }
             location /two { internal; log_subrequest on; access_log {dir}/copy.log copy; return 200; }
         }",
    );
    let mut client = server.client();
    client.send("POST /a?x=y HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.answer().text(), "done");
    server.file_has("copy.log", "POST /one?x=y body\n");
    server.file_has("copy.log", "POST /two?x=y body\n");
}

#[test]
fn visitors_are_told_apart() {
    let server = Setup::new().file("html/a", "text").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             userid on; userid_name id; userid_path /p; userid_domain example.com;
             userid_expires max; userid_flags secure samesite=lax; userid_p3p policy;
             add_header X-Set $uid_set; add_header X-Got $uid_got;
             location /marked/ { alias {dir}/html/; userid_mark A; }
         }",
    );
    let first = server.get("/a");
    let cookie = first.header("Set-Cookie").unwrap().to_owned();
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(
        attributes,
        "expires=Thu, 31-Dec-37 23:55:55 GMT; domain=example.com; path=/p; secure; samesite=lax"
    );
    assert_eq!(first.header("P3P"), Some("policy"));
    let number = first.header("X-Set").unwrap();
    let again = server.get_with("/a", &[&format!("Cookie: {value}")]);
    assert_eq!((again.header("Set-Cookie"), again.header("X-Got")), (None, Some(number)));
    let marked = server.get_with("/marked/a", &[&format!("Cookie: {value}")]);
    assert!(marked.header("Set-Cookie").unwrap().starts_with(&format!("{}A=;", &value[..25])));
    assert_ne!(server.get("/a").header("X-Set"), Some(number));
    assert_eq!(server.get_with("/a", &["Cookie: id=short"]).header("X-Got"), None);
    server.logs("client sent too short userid cookie \"id=short\"");
}

#[test]
fn an_index_may_be_any_file() {
    let server = Setup::new()
        .file("html/q/one", "1")
        .file("html/q/two", "2")
        .file("html/q/.hidden", "3")
        .file("html/q/folder/file", "4")
        .http("server { listen 127.0.0.1:{port}; root {dir}/html; location /q/ { random_index on; } }");
    let mut seen: Vec<String> = (0..40).map(|_| server.get("/q/").text().to_owned()).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["1", "2"]);
}

#[test]
fn filters_touch_the_types_that_they_are_told() {
    let server = site(
        "location /added/ { add_after_body /foot; addition_types text/plain; alias {dir}/html/; }
         location /named/ {
             charset utf-8; charset_types image/gif; override_charset on;
             types {}
             default_type image/gif;
             alias {dir}/html/;
         }",
    );
    assert_eq!(server.get("/added/b.txt").text(), "one text:foot");
    let named = server.get("/named/b.txt");
    assert_eq!(named.header("Content-Type"), Some("image/gif; charset=utf-8"));
}

#[test]
fn copies_may_leave_the_body_out() {
    let server = Setup::new().file("html/a", "text").http(
        "log_format copy '$request_method $uri [$request_body] $content_length';
         server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             location / { mirror /copy; mirror_request_body off; error_page 405 =200 @done; }
             location @done { return 200 done; }
             location /copy { internal; log_subrequest on; access_log {dir}/copy.log copy; return 200; }
         }",
    );
    let mut client = server.client();
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.answer().text(), "done");
    server.file_has("copy.log", "POST /copy [");
    assert!(!server.folder().read("copy.log").contains("body"));
}

#[test]
fn a_visitor_number_names_its_service() {
    let server = Setup::new()
        .file("html/a", "text")
        .http("server { listen 127.0.0.1:{port}; root {dir}/html; userid on; userid_service 7; }");
    let answer = server.get("/a");
    let cookie = answer.header("Set-Cookie").unwrap();
    // Four bytes in network order come first: 00 00 00 07.
    assert!(cookie.starts_with("uid=AAAAB"), "{cookie}");
}

#[test]
fn old_browsers_get_a_page_that_leads_on() {
    let server = Setup::new().http(
        "server {
             listen 127.0.0.1:{port};
             location /go { msie_refresh on; return 302 http://localhost/there; }
         }",
    );
    let old = server.get_with("/go", &["User-Agent: Mozilla/4.0 (compatible; MSIE 7.0)"]);
    assert_eq!(old.status, 200);
    assert!(old.text().contains("http-equiv=\"Refresh\""), "{}", old.text());
    assert_eq!(server.get("/go").status, 302);
}

/// Whoever was asked for a client's sake is let go of as soon as that has left, whatever it was asked for.
#[test]
fn a_client_that_leaves_takes_its_subrequests_with_it() {
    for (asks, uri, status) in [
        ("auth_request /sub;", "/a.html", "499"),
        ("add_before_body /sub;", "/a.html", ""),
        ("add_after_body /sub;", "/a.html", ""),
        ("ssi on;", "/ssi.html", ""),
        ("ssi on;", "/wait.html", ""),
        ("ssi on; auth_request /in;", "/ssi.html", "499"),
    ] {
        let (asked, was_asked) = mpsc::channel();
        let (left, was_left) = mpsc::channel();
        let port = backend(move |stream| {
            head(stream);
            asked.send(()).unwrap();
            // The end of the connection, since nothing else comes.
            left.send(stream.read(&mut [0; 1]).unwrap_or(0)).unwrap();
        });
        let mut server = Setup::new()
            .file("html/a.html", "text")
            .file("html/ssi.html", "<!--#include virtual=\"/sub\" -->")
            .file("html/wait.html", "<!--#include virtual=\"/sub\" wait=\"yes\" -->more")
            .http(&format!(
                "log_format status '$uri $status';
                 server {{
                     listen 127.0.0.1:{{port}}; root {{dir}}/html;
                     access_log {{dir}}/status.log status;
                     location / {{ {asks} }}
                     location /sub {{ proxy_pass http://127.0.0.1:{port}; }}
                     location /in {{ auth_request /sub; empty_gif; }}
                 }}"
            ));
        let mut client = server.client();
        client.send(format!("GET {uri} HTTP/1.1\r\nHost: a\r\n\r\n"));
        was_asked.recv().unwrap();
        drop(client);
        assert_eq!(was_left.recv_timeout(PATIENCE / 2), Ok(0), "{asks}");
        server.file_has("status.log", &format!("{uri} {status}"));
        server.logs("client prematurely closed connection, so upstream connection is closed too");
        // Nobody is waited for.
        server.signal(signals::SIGQUIT);
        assert_eq!(server.wait(), Some(0));
    }
}

#[test]
fn a_subrequest_may_be_wanted_without_its_client() {
    let (asked, was_asked) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::sync_channel(0);
    let may_go_on = Mutex::new(may_go_on);
    let port = backend(move |stream| {
        head(stream);
        asked.send(()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
        stream.write_all(b"HTTP/1.1 204 No\r\n\r\n").unwrap();
    });
    let server = Setup::new().file("html/a.html", "text").http(&format!(
        "log_format status '$uri $status';
         server {{
             listen 127.0.0.1:{{port}}; root {{dir}}/html;
             access_log {{dir}}/status.log status;
             location / {{ auth_request /sub; }}
             location /sub {{ proxy_pass http://127.0.0.1:{port}; proxy_ignore_client_abort on; }}
         }}"
    ));
    let mut client = server.client();
    client.send("GET /a.html HTTP/1.1\r\nHost: a\r\n\r\n");
    was_asked.recv().unwrap();
    drop(client);
    // By the time another client is answered the server knows that this one has gone.
    assert_eq!(server.client().send("GET /sub2 nonsense\r\n\r\n").answer().status, 400);
    go_on.send(()).unwrap();
    server.file_has("status.log", "/a.html 200");
}
