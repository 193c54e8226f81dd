//! `proxy_pass`: requests and responses as they pass through.

use daemun_tests::{Server, Setup};

/// A server in front, and one behind that tells what it was asked.
fn pair(front: &str) -> Server {
    Setup::new().http(
        &"upstream behind { server 127.0.0.1:{port2}; }
         server { listen 127.0.0.1:{port}; %% }
         server {
             listen 127.0.0.1:{port2};
             location / { return 200 \"$request_method $request_uri|$http_host|$http_x_a|$content_length\"; }
             location /away { return 302 http://behind/place; }
             location /missing { return 404 gone; }
         }"
        .replace("%%", front),
    )
}

#[test]
fn requests_go_to_the_server_behind() {
    let server = pair("location / { proxy_pass http://behind; }");
    let answer = server.get("/a%20b/./c?d=e");
    assert_eq!(answer.text(), "GET /a%20b/./c?d=e|behind||");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Content-Length"), Some("27"));
    assert_eq!(server.get("/missing").status, 404);
}

#[test]
fn a_uri_in_the_directive_replaces_the_locations_name() {
    let server = pair(
        "location /a/ { proxy_pass http://behind/b/; }
         location /bare { proxy_pass http://behind?x=; }
         location ~ ^/re { proxy_pass http://behind; }
         location /v/ { proxy_pass http://behind/fixed?$args; }
         location /broken/ { rewrite ^ /new break; proxy_pass http://behind/old/; }",
    );
    assert_eq!(server.get("/a/%20c/d?e").text(), "GET /b/%20c/d?e|behind||");
    assert_eq!(server.get("/re%2e").text(), "GET /re%2e|behind||");
    assert_eq!(server.get("/v/?q").text(), "GET /fixed?q|behind||");
    assert_eq!(server.get("/broken/x").text(), "GET /new|behind||");
}

#[test]
fn fields_and_bodies_are_passed_on() {
    let server = pair(
        "location / { proxy_pass http://behind; proxy_set_header X-A \"$arg_a\"; }
         location /host { proxy_pass http://behind; proxy_set_header Host $host; }
         location /body { proxy_pass http://behind; proxy_set_body \"b=$arg_a\"; proxy_method PUT; }",
    );
    assert_eq!(server.get_with("/?a=1", &["X-A: client's"]).text(), "GET /?a=1|behind|1|");
    assert_eq!(server.get_with("/", &["X-A: client's"]).text(), "GET /|behind||");
    assert_eq!(server.get("/host").text(), "GET /host|localhost||");
    assert_eq!(server.get("/body?a=1").text(), "PUT /body?a=1|behind||3");
    let posted = server.send(
        "POST /p HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
    );
    assert!(posted.ends_with("POST /p|behind||5"), "{posted}");
}

#[test]
fn redirects_lead_to_the_front() {
    let server = pair(
        "location / { proxy_pass http://behind; }
         location /off/ { proxy_pass http://behind/; proxy_redirect off; }
         location /own/ {
             proxy_pass http://behind/;
             proxy_redirect ~^http://behind/(.*) http://$host/x/$1;
         }",
    );
    let location = |uri: &str| server.get(uri).header("Location").unwrap().to_owned();
    assert_eq!(location("/away"), server.filled("http://localhost:{port}/place"));
    assert_eq!(location("/off/away"), "http://behind/place");
    assert_eq!(location("/own/away"), "http://localhost/x/place");
}

#[test]
fn a_server_that_is_not_there_is_told_of() {
    let server = pair("location / { proxy_pass http://127.0.0.1:{port3}/x; }");
    assert_eq!(server.get("/a").status, 502);
    let expected = server.filled(
        "connect() failed (111: Connection refused) while connecting to upstream, \
         client: 127.0.0.1, server: , request: \"GET /a HTTP/1.1\", \
         upstream: \"http://127.0.0.1:{port3}/xa\", host: \"localhost\"",
    );
    server.logs(&expected);
}
