//! Fields that the configuration adds.

use daemun_tests::{Server, Setup};

#[test]
fn add_header_adds_to_what_went_well_and_always_to_all() {
    let server = Setup::new().file("html/a", "text").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             add_header X-Outer outer;
             location / {
                 add_header X-Well \"for $uri\";
                 add_header X-Always always always;
             }
             location /merged/ {
                 add_header_inherit merge;
                 add_header X-Inner inner;
                 alias {dir}/html/;
             }
             location /inherits/ { alias {dir}/html/; }
         }",
    );
    let well = server.get("/a");
    assert_eq!(well.header("X-Well"), Some("for /a"));
    assert_eq!(well.header("X-Always"), Some("always"));
    assert_eq!(well.header("X-Outer"), None);
    let missing = server.get("/missing");
    assert_eq!((missing.header("X-Well"), missing.header("X-Always")), (None, Some("always")));
    assert_eq!(server.get("/inherits/a").header("X-Outer"), Some("outer"));
    let merged = server.get("/merged/a");
    assert_eq!(
        (merged.header("X-Outer"), merged.header("X-Inner")),
        (Some("outer"), Some("inner"))
    );
}

#[test]
fn trailers_follow_a_chunked_body() {
    let server = Setup::new().file("html/a", "text").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             add_trailer X-Outer outer;
             location / { add_trailer_inherit merge; add_trailer X-Sent $body_bytes_sent; }
         }",
    );
    let answer =
        server.send("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close, TE\r\nTE: trailers\r\n\r\n");
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(body.starts_with("4\r\ntext\r\n0\r\n"), "{answer}");
    assert!(body.contains("X-Outer: outer\r\n") && body.contains("X-Sent: "), "{answer}");
}

#[test]
fn expires_tells_caches_how_long() {
    let server = Setup::new().file("html/a", "text").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             location /hour/ { expires 1h; alias {dir}/html/; }
             location /epoch/ { expires epoch; alias {dir}/html/; }
             location /max/ { expires max; alias {dir}/html/; }
             location /past/ { expires -1; alias {dir}/html/; }
             location /modified/ { expires modified +24h; alias {dir}/html/; }
         }",
    );
    for (uri, control) in [
        ("/hour/a", Some("max-age=3600")),
        ("/epoch/a", Some("no-cache")),
        ("/max/a", Some("max-age=315360000")),
        ("/past/a", Some("no-cache")),
        ("/a", None),
    ] {
        assert_eq!(server.get(uri).header("Cache-Control"), control, "{uri}");
    }
    let epoch = server.get("/epoch/a");
    assert_eq!(epoch.header("Expires"), Some("Thu, 01 Jan 1970 00:00:01 GMT"));
    let max = server.get("/max/a");
    assert_eq!(max.header("Expires"), Some("Thu, 31 Dec 2037 23:55:55 GMT"));
    assert!(server.get("/modified/a").header("Cache-Control").unwrap().starts_with("max-age=86"));
}

#[test]
fn a_pixel_comes_from_memory() {
    let server =
        Server::http("server { listen 127.0.0.1:{port}; location = /pixel.gif { empty_gif; } }");
    let pixel = server.get("/pixel.gif");
    assert_eq!(pixel.header("Content-Type"), Some("image/gif"));
    assert_eq!((pixel.body.len(), &pixel.body[..6]), (43, &b"GIF89a"[..]));
}
