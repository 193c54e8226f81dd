//! Which location answers.

use daemun_tests::{Client, Server, Setup};

#[test]
fn modifiers_decide_in_nginx_order() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             location / { return 200 prefix; }
             location = / { return 200 exact; }
             location /images/ { return 200 images; }
             location ^~ /static/ { return 200 static; }
             location ~ \\.gif$ { return 200 gif; }
             location ~* \\.(jpg|png)$ { return 200 picture; }
         }",
    );
    for (uri, expected) in [
        ("/", "exact"),
        ("/x", "prefix"),
        ("/images/a", "images"),
        ("/images/a.gif", "gif"),
        ("/images/a.GIF", "images"),
        ("/static/a.gif", "static"),
        ("/A.JPG", "picture"),
        ("/images/../static/x.gif", "static"),
    ] {
        assert_eq!(server.get(uri).text(), expected, "{uri}");
    }
}

#[test]
fn locations_nest_and_inherit() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             location /a/ {
                 return 200 outer;
                 location /a/b/ {
                     location ~ \\.txt$ { return 200 \"nested pattern\"; }
                     return 200 inner;
                 }
             }
         }",
    );
    for (uri, expected) in [
        ("/a/x", "outer"),
        ("/a/b/x", "inner"),
        ("/a/b/x.txt", "nested pattern"),
        ("/a/x.txt", "outer"),
    ] {
        assert_eq!(server.get(uri).text(), expected, "{uri}");
    }
    assert_eq!(server.get("/other").status, 404);
}

#[test]
fn internal_and_named_locations_are_not_for_clients() {
    let server = Setup::new().file("html/secret/page.txt", "for the server's own").http(
        "server {
                 listen 127.0.0.1:{port};
                 root {dir}/html;
                 location /secret/ { internal; }
                 location /door { try_files /nothing /secret/page.txt; }
                 location /named { try_files $uri @elsewhere; }
                 location /code { try_files $uri =410; }
                 location @elsewhere { return 200 \"named $uri\"; }
             }",
    );
    assert_eq!(server.get("/secret/page.txt").status, 404);
    assert_eq!(server.get("/@elsewhere").status, 404);
    assert_eq!(server.get("/named").text(), "named /named");
    assert_eq!(server.get("/code").status, 410);
    assert_eq!(server.get("/door").text(), "for the server's own");
}

#[test]
fn limit_except_guards_other_methods() {
    let server = Setup::new().file("html/a.txt", "text").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             location / {
                 limit_except GET { deny all; }
             }
         }",
    );
    assert_eq!(server.get("/a.txt").status, 200);
    assert_eq!(server.request("HEAD", "/a.txt", &[]).status, 200);
    assert_eq!(server.request("DELETE", "/a.txt", &[]).status, 403);
    server.logs("access forbidden by rule");
}

#[test]
fn slashes_are_merged_unless_told_otherwise() {
    let server = Server::http(
        "server { listen 127.0.0.1:{port}; return 200 $uri; }
         server { listen 127.0.0.1:{port2}; merge_slashes off; return 200 $uri; }",
    );
    assert_eq!(server.get("//a///b/..//c").text(), "/a/c");
    let mut other = Client::connect(server.port2());
    assert_eq!(other.get("//a///b").text(), "//a///b");
}

#[test]
fn captures_of_a_pattern_are_variables() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             location ~ ^/user/(?<name>[a-z]+)/(\\d+)$ { return 200 \"$name has $2\"; }
         }",
    );
    assert_eq!(server.get("/user/ann/42").text(), "ann has 42");
}
