//! How responses go out: large ones, slow ones, remembered ones.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use daemun_tests::{Setup, children, eventually};

/// Reading past the kernel's memory of files, open(2).
const O_DIRECT: i32 = rustix::fs::OFlags::DIRECT.bits() as i32;

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
fn directio_leaves_the_cache_of_the_kernel_to_others() {
    let server =
        Setup::new().file("html/large", large(8 << 20)).file("html/small", large(1000)).http(
            "server {
             listen 127.0.0.1:{port} sndbuf=16k;
             root {dir}/html;
             directio 1m;
             sendfile on;
         }",
        );
    // In the flags of an open file, proc_pid_fdinfo(5).
    let reads_directly = || {
        let workers = children(server.pid()).into_iter();
        let folders = workers.map(|worker| format!("/proc/{worker}/fdinfo"));
        let infos = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
        let infos = infos.filter_map(|info| std::fs::read_to_string(info.path()).ok());
        let mut flags = infos.filter_map(|info| {
            let line = info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
            i32::from_str_radix(line, 8).ok()
        });
        flags.any(|flags| flags & O_DIRECT != 0)
    };
    assert_eq!(server.get("/small").body.len(), 1000);
    assert!(!reads_directly());
    let large = server.folder().path("html/large");
    if File::options().read(true).custom_flags(O_DIRECT).open(large).is_err() {
        eprintln!("the file system cannot be read directly, so nothing is shown");
        return;
    }
    let mut client = server.client();
    client.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 200);
    eventually("the large file is read directly", reads_directly);
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
    eventually("another is not held back", || time("/fast/a") < Duration::from_millis(500));
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
