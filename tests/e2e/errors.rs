//! What is said when something is wrong.

use std::io::Read;

use daemun_tests::{Server, Setup};

#[test]
fn error_page_has_many_forms() {
    let server =
        Setup::new().file("html/404.html", "not here").file("html/sorry.txt", "sorry").http(
            "server {
                 listen 127.0.0.1:{port};
                 root {dir}/html;
                 error_page 404 /404.html;
                 error_page 403 =200 /sorry.txt;
                 error_page 410 = /echo;
                 error_page 402 http://example.org/pay;
                 error_page 500 502 503 @apology;
                 location = /403 { return 403; }
                 location = /410 { return 410; }
                 location = /402 { return 402; }
                 location = /503 { return 503; }
                 location = /echo { return 201 \"echo $uri\"; }
                 location @apology { return 200 \"apology for $uri\"; }
             }",
        );
    let expect = |uri: &str, status: u16, text: &str| {
        let answer = server.get(uri);
        assert_eq!((answer.status, answer.text()), (status, text), "{uri}");
    };
    expect("/nothing", 404, "not here");
    expect("/403", 200, "sorry");
    expect("/410", 201, "echo /echo");
    expect("/503", 503, "apology for /503");
    let elsewhere = server.get("/402");
    assert_eq!(elsewhere.status, 302);
    assert_eq!(elsewhere.header("Location"), Some("http://example.org/pay"));
}

#[test]
fn the_first_of_two_named_locations_counts() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             error_page 404 = @page;
             location @page { return 200 first; }
             location @page { return 200 second; }
         }",
    );
    assert_eq!(server.get("/nothing").text(), "first");
    server.logs("[warn]");
    server.logs("duplicate location \"@page\", ignored in ");
}

#[test]
fn an_error_within_an_error_page_is_told_plainly_unless_recursive() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             error_page 404 /broken;
             error_page 403 /fine;
             location = /broken { return 403; }
             location = /fine { return 200 fine; }
             location /recursive/ {
                 recursive_error_pages on;
                 error_page 404 /again;
                 return 404;
             }
             location = /again { error_page 403 /fine; recursive_error_pages on; return 403; }
         }",
    );
    let plain = server.get("/nothing");
    assert!(plain.text().contains("404 Not Found") || plain.text().contains("403 Forbidden"));
    assert_ne!(plain.text(), "fine");
    assert_eq!(server.get("/recursive/").text(), "fine");
}

#[test]
fn pages_tell_the_version_or_not() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             location /loud { return 404; }
             location /quiet { server_tokens off; return 404; }
         }",
    );
    let version = concat!("daemun/", env!("CARGO_PKG_VERSION"));
    let loud = server.get("/loud");
    assert_eq!(loud.header("Server"), Some(version));
    assert!(loud.text().contains(&format!("<center>{version}</center>")));
    let quiet = server.get("/quiet");
    assert_eq!(quiet.header("Server"), Some("daemun"));
    assert!(quiet.text().contains("<center>daemun</center>"));
}

#[test]
fn called_nginx_it_is_nginx() {
    let server = Setup::new().called("nginx").http("server { listen 127.0.0.1:{port}; }");
    let page = server.get("/nothing");
    assert_eq!(page.header("Server"), Some("nginx/1.31.5"));
    assert!(page.text().contains("<hr><center>nginx/1.31.5</center>"));
}

#[test]
fn pages_are_padded_for_old_browsers() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             location /padded { return 404; }
             location /bare { msie_padding off; return 404; }
         }",
    );
    let browser = "User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)";
    assert!(server.get_with("/padded", &[browser]).body.len() > 512);
    assert!(server.get_with("/bare", &[browser]).body.len() < 512);
    assert!(server.get("/padded").body.len() < 512);
}

#[test]
fn missing_files_are_logged_unless_told_otherwise() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             root {dir};
             location = /favicon.ico { log_not_found off; }
         }",
    );
    assert_eq!(server.get("/favicon.ico").status, 404);
    assert_eq!(server.get("/missing").status, 404);
    server.logs("/missing\" failed (2: No such file or directory), client: 127.0.0.1");
    assert!(!server.error_log().contains("favicon"));
}

/// What a handler or a filter had made ready for the response is nothing of the page's.
#[test]
fn pages_have_nothing_of_what_they_replace() {
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(&b"hello, hello"[..], flate2::Compression::fast())
        .read_to_end(&mut packed)
        .unwrap();
    let server = Setup::new()
        .file("html/a.html.gz", packed)
        .file("html/page.txt", "page")
        .file("html/a.txt", "text")
        .http(
            "server {
                 listen 127.0.0.1:{port};
                 root {dir}/html;
                 location /on/ { alias {dir}/html/; gzip_static on; gzip_vary on; }
                 location /always/ { alias {dir}/html/; gzip_static always; gunzip on; }
                 location /paged/ { alias {dir}/html/; gzip_static always; gunzip on; error_page 412 416 /page.txt; }
                 location /picture/ { alias {dir}/html/; image_filter test; add_header T t; }
             }",
        );
    let conditions = [
        ("If-Match: \"x\"", 412),
        ("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:01 GMT", 412),
        ("Range: bytes=100000-", 416),
    ];
    for (condition, status) in conditions {
        for place in ["on", "always", "paged"] {
            for accepts in ["Accept-Encoding: gzip", "Accept-Encoding: none"] {
                if accepts.ends_with("none") && (place == "on" || status == 416) {
                    continue;
                }
                let uri = format!("/{place}/a.html");
                let answer = server.get_with(&uri, &[condition, accepts]);
                let shown = format!("{uri} {condition} {accepts}: {answer:?}");
                let page = match place {
                    "on" | "always" => format!("<center><h1>{status} "),
                    _ => "page".to_owned(),
                };
                assert_eq!(answer.status, status, "{shown}");
                assert!(answer.text().contains(&page), "{shown}");
                assert_eq!(answer.header("Content-Encoding"), None, "{shown}");
                assert!(!answer.is_chunked(), "{shown}");
            }
        }
    }
    let refused = server.get("/picture/a.txt");
    assert_eq!((refused.status, refused.header("Last-Modified")), (415, None));
    assert_eq!(refused.header("T"), None);
}
