//! How responses go out: large ones, slow ones, remembered ones.

use std::time::{Duration, Instant};

use daemun_tests::Setup;

/// Bytes that tell where they stand.
fn large(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7 % 251) as u8).collect()
}

#[test]
fn large_files_arrive_whole_by_any_way() {
    let content = large(5 << 20);
    let server = Setup::new().file("html/large", &content).http(
        "server {
             listen 127.0.0.1:{port} sndbuf=16k;
             root {dir}/html;
             location / { sendfile off; output_buffers 2 32k; postpone_output 1460; }
             location /sendfile/ {
                 sendfile on;
                 sendfile_max_chunk 64k;
                 tcp_nopush on;
                 tcp_nodelay off;
                 alias {dir}/html/;
             }
             location /direct/ { directio 1m; aio on; read_ahead 1m; alias {dir}/html/; }
         }",
    );
    for uri in ["/large", "/sendfile/large", "/direct/large"] {
        assert!(server.get(uri).body == content, "{uri}");
        let part = server.get_with(uri, &["Range: bytes=1000000-2000000"]);
        assert!(part.body == content[1_000_000..=2_000_000], "{uri}");
    }
}

#[test]
fn a_rate_holds_a_response_back() {
    let server = Setup::new().file("html/a", large(50_000)).http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             limit_rate 20k;
             limit_rate_after 10k;
             location /fast/ { limit_rate 0; alias {dir}/html/; }
         }",
    );
    let time = |uri: &str| {
        let start = Instant::now();
        assert_eq!(server.get(uri).body.len(), 50_000);
        start.elapsed()
    };
    // The first second has 30 KB to spend, the rest has to wait.
    assert!(time("/a") > Duration::from_millis(500));
    assert!(time("/fast/a") < Duration::from_millis(500));
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let server = Setup::new().file("html/a", large(20 << 20)).http(
        "server {
             listen 127.0.0.1:{port} sndbuf=16k;
             root {dir}/html;
             send_timeout 200ms;
         }",
    );
    let mut client = server.client();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    server.logs("client timed out (110: Connection timed out)");
    assert!(client.rest().len() < 20 << 20);
}

#[test]
fn open_files_are_remembered_for_a_while() {
    // Each process, and each thread, remembers files for itself.
    let server = Setup::new().mpm("mpm native;").file("html/a", "one").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             open_file_cache max=100 inactive=60s;
             open_file_cache_valid 60s;
             open_file_cache_min_uses 1;
             open_file_cache_errors on;
         }",
    );
    assert_eq!(server.get("/a").text(), "one");
    assert_eq!(server.get("/new").status, 404);
    server.folder().write("html/new", "now there");
    std::fs::remove_file(server.folder().path("html/a")).unwrap();
    assert_eq!(server.get("/a").text(), "one", "the open file is still known");
    assert_eq!(server.get("/new").status, 404, "and so is the error");
}

#[test]
fn chunks_can_be_turned_off() {
    let server = Setup::new().file("html/a", "text").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             add_trailer X-Trailer x;
             location /whole/ { chunked_transfer_encoding off; alias {dir}/html/; }
         }",
    );
    let whole = server.get_with("/whole/a", &["TE: trailers"]);
    assert!(!whole.is_chunked());
    assert_eq!(whole.text(), "text");
}
