//! Variables that depend on others: `map`.

use daemun_tests::{Server, Setup};

#[test]
fn a_map_finds_names_wildcards_and_patterns() {
    let server = Setup::new().file("more.conf", "included from-file;").http(
        "map $arg_host $site {
             hostnames;
             default other;
             example.com main;
             *.example.com below;
             www.example.* \"www of $server_name\";
             ~^(?<user>[a-z]+)@ \"user $user\";
             include {dir}/more.conf;
         }
         map_hash_max_size 1024;
         map_hash_bucket_size 64;
         server { listen 127.0.0.1:{port}; server_name a.test; return 200 $site; }",
    );
    for (host, site) in [
        ("example.com", "main"),
        ("EXAMPLE.com.", "main"),
        ("a.b.example.com", "below"),
        ("www.example.net", "www of a.test"),
        ("kim@x", "user kim"),
        ("included", "from-file"),
        ("", "other"),
    ] {
        assert_eq!(server.get(&format!("/?host={host}")).text(), site, "{host}");
    }
}

#[test]
fn a_map_is_computed_once_unless_it_is_volatile() {
    let server = Server::http(
        "map $uri $once { default $uri; }
         map $uri $each { volatile; default $uri; }
         server {
             listen 127.0.0.1:{port};
             location / {
                 set $before \"$once $each\";
                 rewrite ^ /b;
                 return 200 \"$before $once $each\";
             }
         }",
    );
    assert_eq!(server.get("/a").text(), "/a /a /a /b");
}

/// Debian's nginx before its security update 1.22.1-9+deb12u11 sends bytes of its memory here, so the differential tests
/// do not ask for it.
#[test]
fn captures_are_those_after_the_variables() {
    let server = Server::http(
        "map $arg_m $mapped { default none; ~^(?<head>[a-z]+)-(.*)$ \"$head:$2\"; }
         server {
             listen 127.0.0.1:{port};
             location ~ ^/order/(.*)$ { return 200 \"$1 $mapped $1\"; }
         }",
    );
    assert_eq!(server.get("/order/abc?m=x-yzw").text(), "x x:yzw x");
    assert_eq!(server.get("/order/abc?m=0").text(), "abc none abc");
}

#[test]
fn a_map_that_needs_itself_ends() {
    let server = Server::http(
        "map $a $b { default \"b$a\"; }
         map $b $a { default \"a$b\"; }
         server { listen 127.0.0.1:{port}; return 200 $a; }",
    );
    assert_eq!(server.get("/").status, 200);
    server.logs("cycle while evaluating variable \"");
}

#[test]
fn mistakes_in_a_map_are_told_in_nginx_words() {
    for (text, sentence) in [
        ("map $uri $x { a b c; }", "invalid number of the map parameters"),
        ("map $uri $x { default a; default b; }", "duplicate default map parameter"),
        ("map $uri $x { a 1; A 2; }", "conflicting parameter \"A\""),
        ("map $uri $x { hostnames; a.*.b 1; }", "invalid hostname or wildcard \"a.*.b\""),
        ("map $uri x { }", "invalid variable name \"x\""),
        ("map $uri $host { }", "the duplicate \"host\" variable"),
    ] {
        let text = format!("events {{ }} http {{ {text} server {{ listen {{port}}; }} }}");
        let output = Setup::new().run(&text, &["-t"]);
        assert!(output.stderr.contains(sentence), "{text}: {}", output.stderr);
    }
}
