//! What becomes of a URI: `rewrite`, `if`, `set`, `break`, `return`.

use daemun_tests::{Server, Setup};

#[test]
fn rewriting_goes_from_location_to_location() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             rewrite ^/old/(.*)$ /new/$1;
             location /new/ { rewrite ^/new/(.*)\\.gif$ /pictures/$1.png last; return 200 \"new $uri\"; }
             location /pictures/ { rewrite ^ /shown?from=$uri break; return 200 no; }
             location /kept/ {
                 rewrite ^/kept/(.*)$ /else/$1;
                 break;
                 alias {dir}/;
             }
             location /moved/ { rewrite ^/moved/(.*)$ /new/$1 permanent; }
             location /away { rewrite ^ https://example.org$uri?; }
         }",
    );
    assert_eq!(server.get("/old/a").text(), "new /new/a");
    assert_eq!(server.get("/kept/a").status, 404);
    let moved = server.get("/moved/a%20b?c=d");
    assert_eq!(moved.status, 301);
    let expected = server.filled("http://localhost:{port}/new/a%20b?c=d");
    assert_eq!(moved.header("Location"), Some(&*expected));
    let away = server.get("/away?gone");
    assert_eq!((away.status, away.header("Location")), (302, Some("https://example.org/away")));
}

#[test]
fn an_if_is_a_location_of_its_own() {
    let server = Setup::new().file("html/a", "plain").file("other/a", "mobile").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             add_header X-Site outer;
             location / {
                 if ($http_user_agent ~* (?<kind>mobile|phone)) {
                     root {dir}/other;
                     add_header X-Site $kind;
                 }
                 if ($request_method !~ ^(GET|HEAD)$) { return 405; }
                 if (!-e $request_filename) { return 410 \"gone: $uri\"; }
             }
         }",
    );
    let plain = server.get("/a");
    assert_eq!((plain.text(), plain.header("X-Site")), ("plain", Some("outer")));
    let mobile = server.get_with("/a", &["User-Agent: a MOBILE one"]);
    assert_eq!((mobile.text(), mobile.header("X-Site")), ("mobile", Some("MOBILE")));
    assert_eq!(server.request("DELETE", "/a", &[]).status, 405);
    assert_eq!(server.get("/b").text(), "gone: /b");
}

#[test]
fn a_cycle_ends() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             location / { rewrite ^/(.*)$ /$1x last; }
         }",
    );
    assert_eq!(server.get("/a").status, 500);
    server.logs("rewrite or internal redirection cycle while processing \"/axxxxxxxxxxx\"");
}

#[test]
fn a_pattern_that_runs_away_is_stopped() {
    let mut server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             location /in-rewrite/ { rewrite ^/in-rewrite/(a+)+\\1$ /x; return 200 no; }
             location ~ ^/in-location/(a+)+\\1$ { return 200 no; }
             location / { return 200 yes; }
         }",
    );
    server.expect("pcre2_match() failed: -47 on");
    let long = "a".repeat(50);
    assert_eq!(server.get(&format!("/in-rewrite/{long}b")).status, 500);
    assert_eq!(server.get(&format!("/in-location/{long}b")).status, 500);
    assert_eq!(server.get("/in-location/b").text(), "yes");
    server.logs("b\" using \"^/in-rewrite/(a+)+\\1$\"");
}

#[test]
fn the_log_tells_of_each_step_where_it_is_asked_to() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             rewrite_log on;
             rewrite ^/a$ /b?c=d;
             location / {
                 if ($args ~ ^e) { return 404; }
                 return 200 \"[$unset] [$quiet]\";
             }
             location /quiet { uninitialized_variable_warn off; return 200 \"[$quiet]\"; }
             location /sets { set $unset x; set $quiet x; }
         }",
    );
    assert_eq!(server.get("/a?x=y").text(), "[] []");
    for text in [
        "\"^/a$\" matches \"/a\"",
        "rewritten data: \"/b\", args: \"c=d&x=y\"",
        "\"^e\" does not match \"c=d&x=y\"",
        "using uninitialized \"unset\" variable",
    ] {
        server.logs(text);
    }
    assert_eq!(server.get("/quiet").text(), "[]");
    let complaints = server.error_log().matches("\"quiet\" variable").count();
    assert_eq!(complaints, 1);
}

#[test]
fn an_answered_request_goes_on_to_its_post_action() {
    let server = Setup::new().file("html/a", "text").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             location / { post_action /count; }
             location = /count {
                 internal;
                 access_log {dir}/count.log combined;
                 set $args counted;
                 return 204;
             }
         }",
    );
    let mut client = server.client();
    assert_eq!(client.get("/a").text(), "text");
    assert_eq!(client.get("/a").text(), "text");
    server.file_has("count.log", "\"GET /a HTTP/1.1\"");
}

#[test]
fn what_rewriting_cannot_mean_is_refused() {
    for (text, sentence) in [
        ("rewrite ^ \"\";", "empty replacement"),
        ("rewrite ^ /x later;", "invalid parameter \"later\""),
        ("rewrite ( /x;", "pcre2_compile() failed: missing closing parenthesis in \"(\""),
        ("if $a { }", "invalid condition \"$a\""),
        ("if ($uri ~) { }", "invalid condition \"$uri\""),
        ("if ($uri == x) { }", "unexpected \"==\" in condition"),
        ("if (-g $uri) { }", "invalid condition \"-g\""),
        ("if (x) { }", "invalid condition \"x\""),
        ("set uri x;", "invalid variable name \"uri\""),
        ("set $uri x;", "the duplicate \"uri\" variable"),
        ("return 200 $nowhere;", "unknown \"nowhere\" variable"),
    ] {
        let setup = Setup::new();
        let text = format!("events {{ }} http {{ server {{ listen {{port}}; {text} }} }}");
        let output = setup.run(&text, &["-t"]);
        assert!(output.stderr.contains(sentence), "{text}: {}", output.stderr);
    }
}
