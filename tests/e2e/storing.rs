//! `proxy_store`: responses that are kept as files.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use daemun_tests::{Server, Setup, eventually};

use crate::backend::{backend, head, saying};

const DATED: &str = "HTTP/1.1 200 OK\r\nLast-Modified: Sun, 09 Sep 2001 01:46:40 GMT\r\n\
                     Content-Length: 5\r\n\r\nhello";

/// A server before the port. Workers may write to its folder `kept`, whoever they are.
fn front(port: u16, directives: &str) -> Server {
    let server = Setup::new().file("kept/.keep", "").http(&format!(
        "proxy_temp_path {{dir}}/waiting;
         server {{
             listen 127.0.0.1:{{port}};
             location / {{ root {{dir}}/kept; proxy_pass http://127.0.0.1:{port}; {directives} }}
         }}"
    ));
    fs::set_permissions(server.folder().path("kept"), Permissions::from_mode(0o777)).unwrap();
    server
}

/// Neither kept nor left behind.
fn has_no_files(server: &Server) -> bool {
    let folders = ["kept", "waiting"].map(|folder| fs::read_dir(server.folder().path(folder)));
    let names = folders.into_iter().flat_map(|entries| entries.unwrap());
    names.map(|entry| entry.unwrap().file_name()).all(|name| name == ".keep")
}

#[test]
fn a_response_is_kept_where_its_uri_leads() {
    let server = front(saying(DATED), "proxy_store on; proxy_store_access user:rw group:rw all:r;");
    assert_eq!(server.get("/a/b/c.txt?d").text(), "hello");
    let file = server.folder().path("kept/a/b/c.txt");
    assert_eq!(fs::read(&file).unwrap(), b"hello");
    let info = fs::metadata(&file).unwrap();
    assert_eq!((info.mode() & 0o777, info.mtime()), (0o664, 1_000_000_000));
    let folder = fs::metadata(server.folder().path("kept/a/b")).unwrap();
    assert_eq!(folder.mode() & 0o777, 0o775);
}

#[test]
fn a_path_may_be_computed_and_files_are_their_users_alone() {
    let server = front(saying(DATED), "proxy_store {dir}/kept/$host$uri.html;");
    assert_eq!(server.get_from("example.com", "/x").text(), "hello");
    let file = server.folder().path("kept/example.com/x.html");
    assert_eq!(fs::read(&file).unwrap(), b"hello");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn what_was_fetched_once_is_answered_from_the_file() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let port = backend(move |stream| {
        head(stream);
        counter.fetch_add(1, Ordering::Relaxed);
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                       2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        let _ = stream.write_all(chunks);
    });
    let server = Setup::new().http(&format!(
        "proxy_temp_path {{dir}}/waiting;
         server {{
             listen 127.0.0.1:{{port}};
             root {{dir}}/waiting/kept;
             location / {{ error_page 404 = @fetch; log_not_found off; }}
             location @fetch {{ proxy_pass http://127.0.0.1:{port}; proxy_store on; }}
         }}"
    ));
    for _ in 0..3 {
        let got = server.get("/page");
        assert_eq!((got.status, got.text()), (200, "hello"));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn only_whole_responses_to_get_with_status_200_are_kept() {
    let on = "proxy_store on;";
    for (answer, directives) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone", on),
        ("HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nmade", on),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", on),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", on),
        (DATED, "proxy_store on; proxy_buffering off;"),
        (DATED, "proxy_store off;"),
        (DATED, "proxy_store $arg_nothing;"),
    ] {
        let server = front(saying(answer), directives);
        server.send("GET /a HTTP/1.0\r\n\r\n");
        assert!(has_no_files(&server), "{answer} {directives}");
    }
    let server = front(saying("HTTP/1.1 200 OK\r\n\r\n"), on);
    assert_eq!(server.request("HEAD", "/a", &[]).status, 200);
    assert!(has_no_files(&server));
    assert_eq!(server.get("/a").text(), "");
    assert!(server.folder().path("kept/a").exists(), "an empty response is a file, too");
}

#[test]
fn a_response_is_kept_whole_though_its_client_has_left() {
    let (go_on, may_go_on) = mpsc::channel();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let port = backend(move |stream| {
        head(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n");
        let _ = stream.write_all(&[b'x'; 1_000_000]);
        may_go_on.lock().unwrap().recv().unwrap();
        let _ = stream.write_all(&[b'y'; 2_000_000]);
    });
    let server = front(port, "proxy_store on;");
    let mut client = server.client();
    client.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    client.stream().shutdown(std::net::Shutdown::Both).unwrap();
    drop(client);
    go_on.send(()).unwrap();
    let file = server.folder().path("kept/long");
    eventually("the file is there", || file.exists());
    let mut kept = Vec::new();
    fs::File::open(&file).unwrap().read_to_end(&mut kept).unwrap();
    assert_eq!(kept.len(), 3_000_000);
    assert!(kept[..1_000_000].iter().all(|byte| *byte == b'x'));
    assert!(kept[1_000_000..].iter().all(|byte| *byte == b'y'));
}

#[test]
fn a_client_that_reads_slowly_gets_what_is_kept() {
    let port = backend(|stream| {
        head(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n");
        let bytes: Vec<u8> = (0..8_000_000u32).map(|at| (at / 1000) as u8).collect();
        let _ = stream.write_all(&bytes);
    });
    // Much more than memory may hold, and sockets.
    let server = front(port, "proxy_store on; proxy_max_temp_file_size 0;");
    let mut client = server.client();
    client.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    let file = server.folder().path("kept/long");
    eventually("the file is there before the client has read anything", || file.exists());
    let got = client.answer();
    assert_eq!(got.body.len(), 8_000_000);
    assert!(got.body == fs::read(&file).unwrap());
}

#[test]
fn a_file_that_cannot_be_written_costs_the_client_nothing() {
    let server = front(saying(DATED), "proxy_store {dir}/kept/.keep/a;");
    assert_eq!(server.get("/a").text(), "hello");
    server.logs("[crit]");
    server.logs("failed (20: Not a directory) while reading upstream");
    assert!(has_no_files(&server));
}

#[test]
fn mistakes_are_told_in_nginxs_words() {
    for (directives, sentence) in [
        ("proxy_store '';", "empty path"),
        ("proxy_store on; proxy_store off;", "\"proxy_store\" directive is duplicate"),
        ("proxy_store_access user:x;", "invalid value \"user:x\""),
        ("proxy_store_access nobody:rw;", "invalid value \"nobody:rw\""),
    ] {
        let output = Setup::new().run(&format!("events {{}} http {{ {directives} }}"), &["-t"]);
        assert!(output.stderr.contains(sentence), "{directives}: {}", output.stderr);
    }
}
