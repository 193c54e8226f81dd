//! Files and what names them: root, alias, index, types, conditions.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use daemun_tests::{Folder, Setup};

fn site() -> Setup {
    Setup::new()
        .file("html/index.html", "<h1>home</h1>")
        .file("html/a.txt", "text")
        .file("html/data.bin", "bytes")
        .file("html/folder/start.htm", "start")
        .file("other/a.txt", "other")
}

#[test]
fn files_have_the_type_of_their_extension() {
    let server = site().http(
        "types { text/html html htm; text/plain txt; }
         default_type application/x-unknown;
         types_hash_max_size 2048;
         types_hash_bucket_size 64;
         server {
             listen 127.0.0.1:{port};
             root {dir}/html;
         }",
    );
    let page = server.get("/index.html");
    assert_eq!((page.status, page.text()), (200, "<h1>home</h1>"));
    assert_eq!(page.header("Content-Type"), Some("text/html"));
    assert_eq!(server.get("/a.txt").header("Content-Type"), Some("text/plain"));
    let unknown = server.get("/data.bin");
    assert_eq!(unknown.header("Content-Type"), Some("application/x-unknown"));
    assert_eq!(server.get("/nothing").status, 404);
    server.logs("open() \"");
}

#[test]
fn a_folder_is_answered_by_its_index_file() {
    let server = site().http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             index missing.html start.htm index.html;
         }",
    );
    assert_eq!(server.get("/").text(), "<h1>home</h1>");
    assert_eq!(server.get("/folder/").text(), "start");
    let redirect = server.get("/folder?x=1");
    assert_eq!(redirect.status, 301);
    let location = server.filled("http://localhost:{port}/folder/?x=1");
    assert_eq!(redirect.header("Location"), Some(&*location));
}

#[test]
fn alias_replaces_the_location() {
    let server = site().http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             location /files/ { alias {dir}/other/; }
             location ~ ^/download/(.+)$ { alias {dir}/other/$1; }
         }",
    );
    for uri in ["/files/a.txt", "/download/a.txt"] {
        assert_eq!(server.get(uri).text(), "other", "{uri}");
    }
    assert_eq!(server.get("/a.txt").text(), "text");
}

#[test]
fn a_copy_that_the_client_has_is_not_sent_again() {
    let server = site().http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             location /plain/ { alias {dir}/html/; etag off; if_modified_since off; }
             location /later/ { alias {dir}/html/; if_modified_since before; }
         }",
    );
    let first = server.get("/a.txt");
    let tag = first.header("ETag").expect("a tag").to_owned();
    let date = first.header("Last-Modified").expect("a date").to_owned();
    let if_none = format!("If-None-Match: {tag}");
    let if_since = format!("If-Modified-Since: {date}");
    assert_eq!(server.get_with("/a.txt", &[&if_none]).status, 304);
    assert_eq!(server.get_with("/a.txt", &[&if_since]).status, 304);
    assert_eq!(server.get_with("/a.txt", &["If-None-Match: \"x\""]).status, 200);
    assert_eq!(server.get_with("/a.txt", &["If-Match: \"x\""]).status, 412);

    assert_eq!(server.get("/plain/a.txt").header("ETag"), None);
    assert_eq!(server.get_with("/plain/a.txt", &[&if_since]).status, 200);
    let tomorrow = "If-Modified-Since: Fri, 31 Dec 2038 23:59:59 GMT";
    assert_eq!(server.get_with("/a.txt", &[tomorrow]).status, 200);
    assert_eq!(server.get_with("/later/a.txt", &[tomorrow]).status, 304);
}

#[test]
fn changes_on_disk_are_seen_at_once() {
    let server = site().http(
        "content_cache 1m;
         server {
             listen 127.0.0.1:{port};
             root {dir}/html;
         }",
    );
    for text in ["one", "another", "x"] {
        server.folder().write("html/a.txt", text);
        assert_eq!(server.get("/a.txt").text(), text);
    }
}

/// Files that have stood still for a while are remembered: which of two they are changes between requests, while others
/// ask for them all the time.
#[test]
fn a_change_is_seen_by_whoever_asks_after_it() {
    // Old ones that everybody may read; the project may lie where the workers do not get.
    let versions = ["/etc/passwd", "/etc/group"].map(Path::new);
    let texts = versions.each_ref().map(|version| std::fs::read_to_string(version).unwrap());
    let server = site().http(
        "server {
             listen 127.0.0.1:{port};
             location = /now { alias {dir}/now; }
         }",
    );
    point_at(versions[0], server.folder());
    let ends = AtomicBool::new(false);
    let stale = thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client();
                while !ends.load(Ordering::Relaxed) {
                    client.get("/now");
                }
            });
        }
        let mut client = server.client();
        let changes = (0..100).map(|round| round % 2);
        let stale = changes.filter(|&version| {
            point_at(versions[version], server.folder());
            client.get("/now").text() != texts[version]
        });
        let stale = stale.count();
        ends.store(true, Ordering::Relaxed);
        stale
    });
    assert_eq!(stale, 0, "answers that were older than the request");
}

/// Has the link `now` lead to another file, in one step.
fn point_at(version: &Path, folder: &Folder) {
    symlink(version, folder.path("next")).unwrap();
    std::fs::rename(folder.path("next"), folder.path("now")).unwrap();
}
