//! One folder that nginx and daemun serve in turns: what one has stored the other finds, and neither complains.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use daemun_tests::{Folder, Server, Setup, read_once};

use crate::backend::{backend, head};

const NGINX: &str = "/usr/sbin/nginx";

/// How often each of these was asked for.
type Asked = Arc<Mutex<BTreeMap<String, usize>>>;

fn count(asked: &Asked, what: &str) {
    *asked.lock().unwrap().entry(what.to_owned()).or_default() += 1;
}

/// Long bodies, short ones, chunks, variants, pieces, and what is stale at once and can be confirmed.
fn http_origin(asked: &Asked) -> u16 {
    let asked = Arc::clone(asked);
    backend(move |stream| {
        let head = head(stream);
        let Some(uri) = head.split(' ').nth(1) else { return };
        let field = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .into_iter()
                .find(|(field, _)| field.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        let lasting = "Cache-Control: max-age=1000\r\n";
        let answer = match uri {
            "/vary" => {
                let language = field("Accept-Language").unwrap_or("none");
                count(&asked, &format!("{uri} {language}"));
                let body = format!("in {language}");
                let length = body.len();
                format!(
                    "HTTP/1.1 200 OK\r\n{lasting}Vary: Accept-Language\r\nContent-Length: {length}\r\n\r\n{body}"
                )
            }
            "/slices" => {
                let range = field("Range").unwrap();
                count(&asked, &format!("{uri} {range}"));
                let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
                let whole = "0123456789".repeat(10);
                let end = (end + 1).min(whole.len());
                let part = &whole[start..end];
                format!(
                    "HTTP/1.1 206 Partial\r\n{lasting}ETag: \"s\"\r\nContent-Range: bytes {start}-{}/100\r\nContent-Length: {}\r\n\r\n{part}",
                    end - 1,
                    part.len()
                )
            }
            "/stale" if field("If-None-Match") == Some("\"e\"") => {
                count(&asked, "/stale confirmed");
                "HTTP/1.1 304 Not Modified\r\nX-Accel-Expires: @1\r\n\r\n".to_owned()
            }
            "/stale" => {
                count(&asked, uri);
                "HTTP/1.1 200 OK\r\nX-Accel-Expires: @1\r\nETag: \"e\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:09 GMT\r\nContent-Length: 5\r\n\r\nstale".to_owned()
            }
            "/chunks" => {
                count(&asked, uri);
                format!(
                    "HTTP/1.1 200 OK\r\n{lasting}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                )
            }
            _ => {
                count(&asked, uri);
                let length = uri.strip_prefix("/long").map_or(1, |_| 300_000);
                format!(
                    "HTTP/1.1 200 OK\r\n{lasting}Content-Length: {length}\r\n\r\n{}",
                    "x".repeat(length)
                )
            }
        };
        let _ = stream.write_all(answer.as_bytes());
    })
}

/// A FastCGI application, with a record of complaints before its answer.
fn application(asked: &Asked) -> u16 {
    let asked = Arc::clone(asked);
    backend(move |stream| {
        let (mut read, mut part) = (Vec::new(), [0; 4096]);
        // The end of the request's body: an empty record of type 5.
        while !read.ends_with(&[1, 5, 0, 1, 0, 0, 0, 0]) {
            match read_once(stream, &mut part) {
                Ok(count @ 1..) => read.extend_from_slice(&part[..count]),
                _ => return,
            }
        }
        count(&asked, "fastcgi");
        let record = |kind: u8, content: &[u8], padding: u8| {
            let [high, low] = (content.len() as u16).to_be_bytes();
            let mut record = vec![1, kind, 0, 1, high, low, padding, 0];
            record.extend_from_slice(content);
            record.resize(record.len() + usize::from(padding), 0);
            record
        };
        let head = b"Content-Type: text/x-app\r\nCache-Control: max-age=1000\r\n";
        let answer = [
            record(6, head, 3),
            record(6, b"\r\nfrom ", 0),
            record(6, b"the application", 1),
            record(6, b"", 0),
            record(3, &[0; 8], 0),
        ];
        let _ = stream.write_all(&answer.concat());
    })
}

fn start(program: &'static str, folder: &Folder, ports: (u16, u16)) -> Server {
    let cache = folder.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    let (http, fastcgi) = ports;
    let setup = Setup::new();
    let setup = if program == NGINX { setup.called(program) } else { setup };
    // Files of a cache are their user's alone.
    let user = if daemun_sys::identity::effective_uid() == 0 { "user root;" } else { "" };
    setup.start(&format!(
        "daemon off;
         pid {{dir}}/server.pid;
         error_log {{dir}}/error.log info;
         {user}
         events {{ {{events}} }}
         http {{
         access_log off;
         client_body_temp_path {{dir}}/body;
         proxy_cache_path {cache}/p levels=1:2 keys_zone=p:1m;
         fastcgi_cache_path {cache}/f levels=2 keys_zone=f:1m;
         proxy_temp_path {{dir}}/waiting;
         fastcgi_temp_path {{dir}}/waiting2;
         server {{
             listen 127.0.0.1:{{port}};
             add_header X-Cache $upstream_cache_status always;
             proxy_cache p;
             proxy_cache_revalidate on;
             location / {{ proxy_pass http://127.0.0.1:{http}; }}
             location /key {{ proxy_pass http://127.0.0.1:{http}/other; proxy_cache_key $uri; }}
             location /slices {{
                 slice 40;
                 proxy_set_header Range $slice_range;
                 proxy_cache_key $uri$slice_range;
                 proxy_http_version 1.1;
                 proxy_pass http://127.0.0.1:{http};
             }}
             location /app {{
                 fastcgi_cache f;
                 fastcgi_cache_key $uri;
                 fastcgi_param REQUEST_METHOD $request_method;
                 fastcgi_pass 127.0.0.1:{fastcgi};
             }}
         }}
         }}"
    ))
}

/// Asks for everything, and says whence it came.
fn ask(server: &Server) -> Vec<(String, String, usize)> {
    let mut told = Vec::new();
    let mut get = |uri: &str, field: &str| {
        let answer = match field {
            "" => server.get(uri),
            field => server.get_with(uri, &[field]),
        };
        let status = answer.header("X-Cache").unwrap_or("-").to_owned();
        told.push((format!("{uri} {field}"), status, answer.body.len()));
        if uri == "/app" {
            assert_eq!(answer.header("Content-Type"), Some("text/x-app"));
            assert_eq!(answer.text(), "from the application");
        }
    };
    for uri in ["/plain", "/long", "/chunks", "/key/1", "/app", "/stale"] {
        get(uri, "");
    }
    get("/vary", "Accept-Language: de");
    get("/vary", "Accept-Language: en");
    get("/slices", "");
    get("/slices", "Range: bytes=70-79");
    told
}

#[test]
fn nginx_and_daemun_serve_each_others_files() {
    for order in [["daemun", NGINX, "daemun"], [NGINX, "daemun", NGINX]] {
        let asked = Asked::default();
        let folder = Folder::fresh();
        let ports = (http_origin(&asked), application(&asked));
        let mut stored = None;
        for (turn, program) in order.into_iter().enumerate() {
            let server = start(program, &folder, ports);
            let told = ask(&server);
            let lengths: Vec<usize> = told.iter().map(|(_, _, length)| *length).collect();
            match &stored {
                None => {
                    assert!(told[..8].iter().all(|(_, status, _)| status == "MISS"), "{told:?}");
                    stored = Some(lengths);
                }
                Some(first) => {
                    assert_eq!(lengths, *first, "{program} {told:?}");
                    for (what, status, _) in &told {
                        let expected =
                            if what.starts_with("/stale") { "REVALIDATED" } else { "HIT" };
                        assert_eq!(status, expected, "{program} in turn {turn}: {what}");
                    }
                }
            }
            let log = server.error_log();
            for level in ["[warn]", "[error]", "[crit]", "[alert]", "[emerg]"] {
                let mut lines = log.lines().filter(|line| line.contains(level));
                let is_own = |line: &&str| !line.contains("is buffered to a temporary file");
                assert_eq!(lines.find(is_own), None, "{program} in turn {turn}");
            }
        }
        let asked = asked.lock().unwrap();
        for (what, times) in asked.iter() {
            let expected = if what == "/stale confirmed" { 2 } else { 1 };
            assert_eq!(*times, expected, "{order:?}: {what}");
        }
        assert_eq!(asked.len(), 12, "{asked:?}");
    }
}
