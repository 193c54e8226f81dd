//! Bodies that are compressed on their way, or were beforehand.

use std::io::Read;

use daemun_tests::{Answer, Engine, Server, Setup, most_allocated};

fn text() -> String {
    (0..20_000)
        .map(|number: u32| format!("line {} of many\n", number.wrapping_mul(7919) % 3000))
        .collect()
}

fn site(rules: &str) -> Server {
    let server = format!("server {{ listen 127.0.0.1:{{port}}; root {{dir}}/html; {rules} }}");
    Setup::new()
        .file("html/short.html", "too short")
        .file("html/small.html", "a page that is long enough to be worth it")
        .file("html/long.html", text())
        .file("html/long.txt", text())
        .http(&server)
}

fn gunzip(answer: &Answer) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    text
}

const GZIP: &[&str] = &["Accept-Encoding: gzip"];

#[test]
fn gzip_compresses_what_is_worth_it_for_who_understands() {
    let server = site(
        "gzip on; gzip_vary on;
         location /more/ { alias {dir}/html/; gzip_types text/plain; gzip_comp_level 9; }",
    );
    let long = server.get_with("/long.html", GZIP);
    assert_eq!(long.header("Content-Encoding"), Some("gzip"));
    assert_eq!(long.header("Vary"), Some("Accept-Encoding"));
    assert!(long.header("ETag").unwrap().starts_with("W/\""));
    assert_eq!((long.content_length(), long.header("Accept-Ranges")), (None, None));
    assert!(gunzip(&long) == text() && long.body.len() < text().len() / 4);
    assert!(gunzip(&server.get_with("/small.html", GZIP)).contains("worth it"));
    assert!(gunzip(&server.get_with("/more/long.txt", GZIP)) == text());
    for (uri, field) in [
        ("/short.html", "Accept-Encoding: gzip"),
        ("/long.txt", "Accept-Encoding: gzip"),
        ("/long.html", "Accept-Encoding: gzip;q=0"),
        ("/long.html", "X: y"),
    ] {
        assert_eq!(
            server.get_with(uri, &[field]).header("Content-Encoding"),
            None,
            "{uri} {field}"
        );
    }
    let plain = server.get("/long.html");
    assert_eq!(plain.header("Vary"), Some("Accept-Encoding"));
    assert!(plain.header("ETag").unwrap().starts_with('"'));
}

#[test]
fn a_compressed_body_has_no_ranges_and_its_head_is_the_same_without_it() {
    let server = site("gzip on;");
    let part = server.get_with("/long.html", &["Accept-Encoding: gzip", "Range: bytes=0-9"]);
    assert_eq!((part.status, gunzip(&part).len()), (200, text().len()));
    let head = server.request("HEAD", "/long.html", GZIP);
    assert_eq!((head.header("Content-Encoding"), head.content_length()), (Some("gzip"), None));
    let tag = format!("If-None-Match: {}", head.header("ETag").unwrap());
    let unmodified = server.get_with("/long.html", &["Accept-Encoding: gzip", &tag]);
    assert_eq!((unmodified.status, unmodified.header("Content-Encoding")), (304, None));
    let mut client = server.client();
    for _ in 0..3 {
        client.send("GET /long.html HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        assert_eq!(gunzip(&client.answer()).len(), text().len());
    }
}

#[test]
fn proxies_and_old_browsers_get_what_the_configuration_lets_them() {
    let server = site(
        "gzip on; gzip_disable msie6 \"Nokia\";
         location /proxied/ { alias {dir}/html/; gzip_proxied any; }
         location /private/ { alias {dir}/html/; gzip_proxied private; add_header Cache-Control private; }
         location /old/ { alias {dir}/html/; gzip_http_version 1.0; }",
    );
    let coded = |uri: &str, fields: &[&str]| {
        let fields: Vec<&str> = GZIP.iter().chain(fields).copied().collect();
        server.get_with(uri, &fields).header("Content-Encoding").is_some()
    };
    assert!(!coded("/long.html", &["Via: 1.1 a"]));
    assert!(coded("/proxied/long.html", &["Via: 1.1 a"]));
    assert!(coded("/private/long.html", &["Via: 1.1 a"]));
    assert!(!coded("/long.html", &["User-Agent: nokia 3310"]));
    assert!(!coded(
        "/long.html",
        &["User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)"]
    ));
    let old =
        |uri: &str| server.send(format!("GET {uri} HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n"));
    assert!(
        !old("/short.html").contains("Content-Encoding") && !old("/long.html").contains("gzip")
    );
    assert!(
        server
            .send("GET /old/small.html HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
            .contains("gzip")
    );
}

#[test]
fn the_ratio_is_logged() {
    let server = Setup::new().file("html/a.html", "x".repeat(10_000)).http(
        "log_format ratio '$uri $gzip_ratio';
         server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             gzip on;
             access_log {dir}/ratio.log ratio;
         }",
    );
    server.get_with("/a.html", GZIP);
    server.file_has("ratio.log", "/a.html 222.22");
    server.get("/a.html");
    server.file_has("ratio.log", "/a.html -");
}

#[test]
fn newer_codings_go_before_gzip() {
    let server = site("gzip on; brotli on; location /zstd/ { zstd on; alias {dir}/html/; }");
    let all = &["Accept-Encoding: gzip, br, zstd"];
    let answer = server.get_with("/long.html", all);
    assert_eq!(answer.all("Content-Encoding").collect::<Vec<_>>(), ["br"]);
    let mut back = Vec::new();
    brotli::Decompressor::new(&answer.body[..], 4096).read_to_end(&mut back).unwrap();
    assert!(back == text().as_bytes());
    let answer = server.get_with("/zstd/long.html", &["Accept-Encoding: zstd"]);
    assert_eq!(answer.header("Content-Encoding"), Some("zstd"));
    assert!(zstd::decode_all(&answer.body[..]).unwrap() == text().as_bytes());
    let answer = server.get_with("/long.html", &["Accept-Encoding: gzip"]);
    assert_eq!(answer.header("Content-Encoding"), Some("gzip"));
}

#[test]
fn files_that_were_compressed_beforehand_are_sent_or_unpacked() {
    let packed = {
        let mut packed = Vec::new();
        let encoder =
            flate2::read::GzEncoder::new("unpacked".as_bytes(), flate2::Compression::new(6));
        let mut encoder = encoder;
        encoder.read_to_end(&mut packed).unwrap();
        packed
    };
    let server = Setup::new()
        .file("html/both.html", "plain")
        .file("html/both.html.gz", "gzipped")
        .file("html/both.html.br", "brotlied")
        .file("html/only.html.gz", packed)
        .file("html/broken.html.gz", "\x1f\u{8}garbage")
        .http(
            "server {
                 listen 127.0.0.1:{port};
                 root {dir}/html;
                 location / { gzip_static on; brotli_static on; gzip_vary on; }
                 location /always/ { alias {dir}/html/; gzip_static always; gunzip on; }
             }",
        );
    let gzip = server.get_with("/both.html", GZIP);
    assert_eq!((gzip.text(), gzip.header("Content-Encoding")), ("gzipped", Some("gzip")));
    assert_eq!(
        (gzip.header("Content-Type"), gzip.header("Vary")),
        (Some("text/html"), Some("Accept-Encoding"))
    );
    assert_eq!(server.get_with("/both.html", &["Accept-Encoding: gzip, br"]).text(), "brotlied");
    let plain = server.get("/both.html");
    assert_eq!((plain.text(), plain.header("Vary")), ("plain", Some("Accept-Encoding")));
    assert_eq!(server.get_with("/only.html", &[]).status, 404);
    let part = server.get_with("/both.html", &["Accept-Encoding: gzip", "Range: bytes=0-1"]);
    assert_eq!((part.status, part.text()), (206, "gz"));
    let unpacked = server.get("/always/only.html");
    assert_eq!((unpacked.text(), unpacked.header("Content-Encoding")), ("unpacked", None));
    assert_eq!(server.get_with("/always/only.html", GZIP).header("Content-Encoding"), Some("gzip"));
    let broken = server.send("GET /always/broken.html HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!broken.contains("\r\n0\r\n"), "a broken body has no end: {broken}");
    server.logs("inflate() failed");
}

#[test]
fn each_coding_has_its_own_types_lengths_and_levels() {
    let server = site(
        "location /gzip/ {
             gzip on; gzip_types text/plain; gzip_min_length 50; gzip_window 4k;
             alias {dir}/html/;
         }
         location /br/ {
             brotli on; brotli_types text/plain; brotli_min_length 50; brotli_comp_level 9;
             brotli_window 64k; brotli_buffers 4 8k;
             alias {dir}/html/;
         }
         location /zstd/ {
             zstd on; zstd_types text/plain; zstd_min_length 50; zstd_comp_level 9; zstd_buffers 4 8k;
             alias {dir}/html/;
         }",
    );
    for coding in ["gzip", "br", "zstd"] {
        let accept = format!("Accept-Encoding: {coding}");
        let get = |file: &str| server.get_with(&format!("/{coding}/{file}"), &[&accept]);
        let long = get("long.txt");
        assert_eq!(long.header("Content-Encoding"), Some(coding));
        assert!(long.body.len() < text().len() / 4, "{coding}: {} bytes", long.body.len());
        let short = get("small.html");
        assert_eq!(short.header("Content-Encoding"), None, "{coding}");
        assert_eq!(short.body.len(), 41);
    }
}

#[test]
fn zstd_files_that_are_there_are_sent() {
    let packed = zstd::encode_all(&b"made beforehand"[..], 1).unwrap();
    let server = Setup::new()
        .file("html/a.txt", "plain")
        .file("html/a.txt.zst", packed)
        .http("server { listen 127.0.0.1:{port}; root {dir}/html; zstd_static on; }");
    let answer = server.get_with("/a.txt", &["Accept-Encoding: zstd"]);
    assert_eq!(answer.header("Content-Encoding"), Some("zstd"));
    assert_eq!(zstd::decode_all(&answer.body[..]).unwrap(), b"made beforehand");
    assert_eq!(server.get("/a.txt").text(), "plain");
}

/// A little that becomes very much: it is decompressed as its client takes it.
#[test]
fn a_bomb_takes_little_memory() {
    use std::io::Write;
    const LENGTH: usize = 4 << 20;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeroes = vec![0; 1 << 20];
    (0..LENGTH >> 20).for_each(|_| packed.write_all(&zeroes).unwrap());
    let packed = packed.finish().unwrap();
    let setup = Setup::new().file("html/bomb.gz", &packed);
    let server = setup.http(
        "proxy_temp_path {dir}/proxy;
         server {
             listen 127.0.0.1:{port} sndbuf=32k;
             location /file { alias {dir}/html/bomb; gzip_static always; gunzip on; }
             location / { proxy_pass http://127.0.0.1:{port2}; gunzip on; }
         }
         server {
             listen 127.0.0.1:{port2};
             location / { add_header Content-Encoding gzip; root {dir}/html; try_files /bomb.gz =404; }
         }",
    );
    // Elsewhere each of them has a thread or a process of its own, of which there are fewer.
    let count = if Engine::current().mpm.is_empty() { 100 } else { 4 };
    for uri in ["/file", "/"] {
        let before = most_allocated(server.pid());
        let mut clients: Vec<_> = (0..count).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send(format!("GET {uri} HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
        for client in &mut clients {
            assert_eq!(client.head().status, 200);
            client.exactly(10_000);
        }
        let grown = most_allocated(server.pid()).saturating_sub(before);
        println!("{count} slow clients of {uri} took {grown} kB");
        assert!(grown <= 40 << 10, "{uri}: {grown} kB");
    }
}
