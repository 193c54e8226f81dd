//! Responses that are stored, found again, brought up to date and let go of.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use daemun_tests::{Answer, Server, Setup, children, eventually, signals, title};

use crate::backend::{backend, head};

/// A server behind, whose answers count themselves: `answer` is given the request and how many came before it.
struct Origin {
    port: u16,
    asked: Arc<AtomicUsize>,
    gate: Arc<Gate>,
}

/// Holds answers back until it is opened.
#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap() = is_shut;
        self.opened.notify_all();
    }

    fn pass(&self) {
        drop(self.opened.wait_while(self.is_shut.lock().unwrap(), |is_shut| *is_shut).unwrap());
    }
}

impl Origin {
    fn new(answer: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> Origin {
        let asked = Arc::<AtomicUsize>::default();
        let gate = Arc::<Gate>::default();
        let (counter, waits) = (Arc::clone(&asked), Arc::clone(&gate));
        let port = backend(move |stream| {
            let head = head(stream);
            if head.is_empty() {
                return;
            }
            let number = counter.fetch_add(1, Ordering::SeqCst);
            waits.pass();
            let _ = stream.write_all(answer(&head, number).as_bytes());
        });
        Origin { port, asked, gate }
    }

    /// Each answer says which it is, with these fields.
    fn counting(fields: &'static str) -> Origin {
        Origin::new(move |_, number| with_body(fields, &format!("answer {number}")))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn with_body(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A cache before the origin; workers may write to it, whoever they are.
fn front(origin: &Origin, path: &str, directives: &str) -> Server {
    Setup::new().http(&content(origin, path, directives))
}

fn content(origin: &Origin, path: &str, directives: &str) -> String {
    let port = origin.port;
    format!(
        "proxy_temp_path {{dir}}/waiting;
         proxy_cache_path {{dir}}/cache keys_zone=z:1m levels=1:2 {path};
         server {{
             listen 127.0.0.1:{{port}};
             add_header X-Cache $upstream_cache_status always;
             location / {{
                 proxy_pass http://127.0.0.1:{port};
                 proxy_cache z;
                 {directives}
             }}
         }}"
    )
}

fn status(answer: &Answer) -> &str {
    answer.header("X-Cache").unwrap_or("-")
}

/// Whence it came, and what it says.
fn told(server: &Server, uri: &str) -> (String, String) {
    let answer = server.get(uri);
    (status(&answer).to_owned(), answer.text().to_owned())
}

fn is(told: (String, String), status: &str, text: &str) {
    assert_eq!((told.0.as_str(), told.1.as_str()), (status, text));
}

/// The files in a folder, and in those within.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found.sort();
    found
}

fn process(server: &Server, name: &str) -> Option<i32> {
    children(server.pid()).into_iter().find(|pid| title(*pid).contains(name))
}

fn running(server: &Server, name: &str) -> i32 {
    eventually(name, || process(server, name).is_some());
    process(server, name).unwrap()
}

#[test]
fn what_was_fetched_once_is_served_again() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\nX-Other: yes\r\n");
    let server = front(&origin, "", "");
    is(told(&server, "/a?b"), "MISS", "answer 0");
    for _ in 0..3 {
        let answer = server.get("/a?b");
        assert_eq!((status(&answer), answer.text()), ("HIT", "answer 0"));
        assert_eq!(answer.header("X-Other"), Some("yes"));
    }
    is(told(&server, "/a?c"), "MISS", "answer 1");
    assert_eq!(origin.asked(), 2);
    let names = files(&server.folder().path("cache"));
    let mut name = names[0].components().rev().take(3).map(|part| part.as_os_str().len());
    assert_eq!([name.next(), name.next(), name.next()], [Some(32), Some(2), Some(1)]);
    assert!(files(&server.folder().path("waiting")).is_empty(), "nothing is left behind");
}

#[test]
fn what_may_not_be_stored_is_not() {
    for fields in [
        "",
        "Cache-Control: no-store\r\n",
        "Cache-Control: max-age=100\r\nSet-Cookie: a=b\r\n",
        "Cache-Control: max-age=100\r\nVary: Accept, *\r\n",
        "X-Accel-Expires: 0\r\nCache-Control: max-age=100\r\n",
        "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\n",
        "Cache-Control: max-age=100\r\nX-Accel-Buffering: no\r\n",
    ] {
        let origin = Origin::counting(fields);
        let server = front(&origin, "", "");
        is(told(&server, "/"), "MISS", "answer 0");
        is(told(&server, "/"), "MISS", "answer 1");
        assert!(files(&server.folder().path("cache")).is_empty(), "{fields:?}");
    }
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let server = front(&origin, "", "proxy_no_cache $arg_no; proxy_cache_bypass $arg_by;");
    is(told(&server, "/?no=1"), "MISS", "answer 0");
    is(told(&server, "/?no=1"), "MISS", "answer 1");
    is(told(&server, "/?by=1"), "BYPASS", "answer 2");
    assert_eq!(files(&server.folder().path("cache")).len(), 1, "what was passed by is stored");
}

#[test]
fn responses_that_break_off_are_not_stored() {
    for answer in [
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let origin = Origin::new(move |_, _| answer.to_owned());
        let server = front(&origin, "", "");
        for _ in 0..2 {
            server.send("GET / HTTP/1.0\r\n\r\n");
        }
        assert_eq!(origin.asked(), 2, "{answer}");
        assert!(files(&server.folder().path("cache")).is_empty());
    }
}

#[test]
fn a_stored_response_is_cut_compared_and_its_head_sent_alone() {
    let origin =
        Origin::counting("Cache-Control: max-age=100\r\nETag: \"e\"\r\nAccept-Ranges: bytes\r\n");
    let server = front(&origin, "", "");
    let first = server.request("HEAD", "/", &[]);
    assert_eq!((status(&first), first.content_length()), ("MISS", Some(8)));
    eventually("what was asked for by HEAD is stored whole", || {
        !files(&server.folder().path("cache")).is_empty()
    });
    is(told(&server, "/"), "HIT", "answer 0");
    let part = server.get_with("/", &["Range: bytes=0-2"]);
    assert_eq!((part.status, part.text()), (206, "ans"));
    let known = server.get_with("/", &["If-None-Match: \"e\""]);
    assert_eq!((known.status, status(&known)), (304, "HIT"));
    assert_eq!(origin.asked(), 1);
    // Whoever stores asks for all of it.
    let part = server.get_with("/other", &["Range: bytes=0-2"]);
    assert_eq!((part.status, part.text(), status(&part)), (206, "ans", "MISS"));
    eventually("the whole is stored", || told(&server, "/other").0 == "HIT");
    assert_eq!(told(&server, "/other").1, "answer 1");
}

#[test]
fn a_response_is_stored_whole_though_its_client_has_left() {
    let gate = Arc::<Gate>::default();
    gate.set(true);
    let ends = Arc::clone(&gate);
    let port = backend(move |stream| {
        head(stream);
        let fields =
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 200000\r\n\r\n";
        let _ = stream.write_all(fields.as_bytes());
        let _ = stream.write_all(&[b'x'; 100_000]);
        ends.pass();
        let _ = stream.write_all(&[b'y'; 100_000]);
    });
    let origin = Origin { port, asked: Arc::default(), gate: Arc::default() };
    let server = front(&origin, "", "");
    let mut client = server.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    client.exactly(50_000);
    drop(client);
    gate.set(false);
    eventually("it is stored", || !files(&server.folder().path("cache")).is_empty());
    let answer = server.get("/");
    assert_eq!((status(&answer), answer.body.len()), ("HIT", 200_000));
    assert_eq!(answer.body[199_999], b'y');
}

#[test]
fn one_request_fetches_for_all() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    origin.gate.set(true);
    let server = front(&origin, "", "proxy_cache_lock on; proxy_cache_lock_timeout 60s;");
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.0\r\n\r\n");
    }
    eventually("somebody asks", || origin.asked() == 1);
    origin.gate.set(false);
    let answers: Vec<_> = clients.iter_mut().map(|client| client.answer()).collect();
    assert!(answers.iter().all(|answer| answer.text() == "answer 0"));
    let misses = answers.iter().filter(|answer| status(answer) == "MISS").count();
    assert_eq!((misses, origin.asked()), (1, 1));
}

#[test]
fn whoever_waits_is_sent_what_has_come() {
    for framing in ["Content-Length: 8\r\n", "Connection: close\r\n"] {
        let (gate, asked) = (Arc::<Gate>::default(), Arc::<AtomicUsize>::default());
        gate.set(true);
        let (waits, counter) = (Arc::clone(&gate), Arc::clone(&asked));
        let port = backend(move |stream| {
            if head(stream).is_empty() {
                return;
            }
            counter.fetch_add(1, Ordering::SeqCst);
            let start =
                format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\n{framing}\r\nhalf");
            let _ = stream.write_all(start.as_bytes());
            waits.pass();
            let _ = stream.write_all(b"rest");
            let _ = stream.shutdown(std::net::Shutdown::Both);
        });
        let origin = Origin { port, asked, gate };
        let directives = "proxy_cache_lock on; proxy_cache_lock_follow on;";
        // One thread: another one's wait until the response is whole.
        let server = Setup::new().mpm("mpm native;").http(&content(&origin, "", directives));
        let mut clients: Vec<_> = (0..5).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.0\r\n\r\n");
            let answer = client.head();
            let is_first = origin.asked() == 1 && status(&answer) == "MISS";
            assert!(is_first || status(&answer) == "HIT", "{answer:?}");
            assert_eq!(client.exactly(4), b"half");
        }
        drop(clients.pop());
        origin.gate.set(false);
        for client in &mut clients {
            assert_eq!(client.rest(), b"rest");
        }
        is(told(&server, "/"), "HIT", "halfrest");
        assert_eq!(origin.asked(), 1);
    }
}

#[test]
fn followers_see_that_a_response_breaks_off() {
    let (gate, asked) = (Arc::<Gate>::default(), Arc::<AtomicUsize>::default());
    gate.set(true);
    let waits = Arc::clone(&gate);
    let port = backend(move |stream| {
        if head(stream).is_empty() {
            return;
        }
        let start = "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nContent-Length: 8\r\n\r\nhalf";
        let _ = stream.write_all(start.as_bytes());
        waits.pass();
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    let origin = Origin { port, asked, gate };
    let directives = "proxy_cache_lock on; proxy_cache_lock_follow on;";
    let server = Setup::new().mpm("mpm native;").http(&content(&origin, "", directives));
    let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").head();
        assert_eq!(client.exactly(4), b"half");
    }
    origin.gate.set(false);
    for client in &mut clients {
        assert!(client.is_closed());
    }
    assert!(files(&server.folder().path("cache")).is_empty());
}

#[test]
fn what_is_asked_for_seldom_or_in_parts_is_not_stored() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let server = front(&origin, "", "proxy_cache_min_uses 2; proxy_cache_methods POST;");
    is(told(&server, "/"), "MISS", "answer 0");
    is(told(&server, "/"), "MISS", "answer 1");
    is(told(&server, "/"), "HIT", "answer 1");
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let server = front(&origin, "", "proxy_cache_max_range_offset 5;");
    for range in ["bytes=5-6", "bytes=-3"] {
        assert_eq!(status(&server.get_with("/", &[&format!("Range: {range}")])), "MISS");
    }
    assert!(files(&server.folder().path("cache")).is_empty());
    server.get_with("/", &["Range: bytes=4-5"]);
    assert_eq!(told(&server, "/").0, "HIT");
}

#[test]
fn a_head_is_asked_for_as_it_is_where_that_is_wanted() {
    let origin = Origin::new(|head, number| {
        let method = head.split(' ').next().unwrap_or_default().to_owned();
        let length = if method == "HEAD" { 0 } else { 5 };
        let body = &"hello"[..length];
        let fields =
            format!("Cache-Control: max-age=100\r\nX-Method: {method}\r\nX-N: {number}\r\n");
        with_body(&fields, body)
    });
    let server =
        front(&origin, "", "proxy_cache_convert_head off; proxy_cache_key $uri$request_method;");
    let head = server.request("HEAD", "/", &[]);
    assert_eq!((status(&head), head.header("X-Method")), ("MISS", Some("HEAD")));
    is(told(&server, "/"), "MISS", "hello");
    let head = server.request("HEAD", "/", &[]);
    assert_eq!((status(&head), head.header("X-Method")), ("HIT", Some("HEAD")));
    let server = front(&origin, "", "");
    assert_eq!(server.request("HEAD", "/", &[]).header("X-Method"), Some("GET"));
}

#[test]
fn a_copy_in_memory_goes_with_its_file() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let mut server = front(&origin, "", "proxy_cache_bypass $arg_by; proxy_cache_key $uri;");
    server.expect("contains invalid header");
    let folder = server.folder().path("cache");
    is(told(&server, "/"), "MISS", "answer 0");
    for round in 1..4 {
        for _ in 0..20 {
            assert_eq!(told(&server, "/").0, "HIT");
        }
        // By hand, by another response, and by hand in place.
        match round {
            1 => fs::remove_file(files(&folder).remove(0)).unwrap(),
            2 => assert_eq!(told(&server, "/?by=1").0, "BYPASS"),
            _ => {
                let file = files(&folder).remove(0);
                let longer = [fs::read(&file).unwrap(), b"!".to_vec()].concat();
                fs::write(&file, longer).unwrap();
            }
        }
        let (status, text) = told(&server, "/");
        assert_eq!(text, format!("answer {round}"), "{status}");
    }
}

#[test]
fn what_cannot_be_stored_does_not_queue() {
    let origin = Origin::counting("Cache-Control: no-store\r\n");
    let server = front(
        &origin,
        "",
        "proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;",
    );
    is(told(&server, "/"), "MISS", "answer 0");
    // Each of these asks by itself, at the same time.
    origin.gate.set(true);
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.0\r\n\r\n");
    }
    eventually("all ask", || origin.asked() == 5);
    origin.gate.set(false);
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn whoever_waits_for_a_killed_worker_goes_on() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    origin.gate.set(true);
    let setup = Setup::new();
    let directives = "proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;";
    let mut server = setup.http(&content(&origin, "", directives));
    server.expect("exited on signal 9");
    let mut first = server.client();
    first.send("GET / HTTP/1.0\r\n\r\n");
    eventually("the first asks", || origin.asked() == 1);
    let workers: Vec<i32> = children(server.pid())
        .into_iter()
        .filter(|pid| title(*pid).contains("worker process"))
        .collect();
    for pid in &workers {
        signals::send(*pid, signals::SIGKILL).unwrap();
    }
    origin.gate.set(false);
    eventually("others serve", || {
        let now = children(server.pid());
        workers.iter().all(|pid| !now.contains(pid)) && server.get("/").text() == "answer 1"
    });
    assert_eq!(told(&server, "/").0, "HIT");
}

#[test]
fn stale_answers_stand_in_for_failures_and_updates() {
    let fails = Arc::<AtomicBool>::default();
    let fails_now = Arc::clone(&fails);
    let origin = Origin::new(move |_, number| match fails_now.load(Ordering::SeqCst) {
        true => "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        // It is stale at once.
        false => with_body("X-Accel-Expires: @1\r\n", &format!("answer {number}")),
    });
    let server = front(&origin, "", "proxy_cache_use_stale http_503;");
    is(told(&server, "/"), "MISS", "answer 0");
    fails.store(true, Ordering::SeqCst);
    is(told(&server, "/"), "STALE", "answer 0");
    fails.store(false, Ordering::SeqCst);
    is(told(&server, "/"), "EXPIRED", "answer 2");

    let origin = Origin::counting("X-Accel-Expires: @1\r\n");
    let server =
        front(&origin, "", "proxy_cache_use_stale updating; proxy_cache_background_update on;");
    is(told(&server, "/"), "MISS", "answer 0");
    origin.gate.set(true);
    is(told(&server, "/"), "STALE", "answer 0");
    eventually("the update asks", || origin.asked() == 2);
    is(told(&server, "/"), "UPDATING", "answer 0");
    origin.gate.set(false);
    eventually("the update is there", || told(&server, "/").1 == "answer 1");
}

#[test]
fn after_a_failure_nobody_tries_again_for_a_while() {
    let fails = Arc::<AtomicBool>::default();
    let fails_now = Arc::clone(&fails);
    let origin = Origin::new(move |_, number| match fails_now.load(Ordering::SeqCst) {
        true => "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        // It is stale at once.
        false => with_body("X-Accel-Expires: @1\r\n", &format!("answer {number}")),
    });
    let directives = "proxy_cache_use_stale http_503; proxy_cache_error_ttl 1h;";
    let server = front(&origin, "", directives);
    is(told(&server, "/"), "MISS", "answer 0");
    fails.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        is(told(&server, "/"), "STALE", "answer 0");
    }
    assert_eq!(origin.asked(), 2, "one of them has tried");

    // The same for an update that nobody waits for, and only for as long as that.
    fails.store(false, Ordering::SeqCst);
    let directives = "proxy_cache_use_stale http_503 updating; proxy_cache_error_ttl 1s;
        proxy_cache_background_update on;";
    let server = front(&origin, "", directives);
    is(told(&server, "/"), "MISS", "answer 2");
    fails.store(true, Ordering::SeqCst);
    eventually("an update has failed", || {
        assert_eq!(told(&server, "/").1, "answer 2");
        origin.asked() == 4
    });
    fails.store(false, Ordering::SeqCst);
    eventually("the next one succeeds", || told(&server, "/").1 != "answer 2");
}

#[test]
fn a_stale_response_is_confirmed() {
    let origin =
        Origin::new(|head, _| match head.to_ascii_lowercase().contains("if-none-match: \"e\"") {
            true => "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=100\r\n\r\n".to_owned(),
            false => with_body("X-Accel-Expires: @1\r\nETag: \"e\"\r\n", "same"),
        });
    let server = front(&origin, "", "proxy_cache_revalidate on;");
    is(told(&server, "/"), "MISS", "same");
    is(told(&server, "/"), "REVALIDATED", "same");
    is(told(&server, "/"), "HIT", "same");
    assert_eq!(origin.asked(), 2);
}

#[test]
fn variants_are_kept_apart() {
    let origin = Origin::new(|head, number| {
        let language = if head.contains("Accept-Language: de") { "de" } else { "en" };
        let fields = "Cache-Control: max-age=100\r\nVary: Accept-Language\r\n";
        with_body(fields, &format!("{language} {number}"))
    });
    let server = front(&origin, "", "");
    let ask = |language: &str| {
        let answer = server.get_with("/", &[&format!("Accept-Language: {language}")]);
        (status(&answer).to_owned(), answer.text().to_owned())
    };
    is(ask("en"), "MISS", "en 0");
    is(ask("de"), "MISS", "de 1");
    for _ in 0..2 {
        is(ask("en"), "HIT", "en 0");
        is(ask("de"), "HIT", "de 1");
    }
    assert_eq!(origin.asked(), 2);
}

#[test]
fn errors_are_remembered_without_a_file() {
    let origin = Origin::new(|_, _| "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned());
    let directives = "proxy_intercept_errors on; error_page 404 = @gone; proxy_cache_valid 404 1m;";
    let server = front(&origin, "", directives);
    for _ in 0..3 {
        server.get("/");
    }
    assert_eq!(origin.asked(), 1);
    assert!(files(&server.folder().path("cache")).is_empty());
}

#[test]
fn damaged_files_are_misses_and_replaced() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let mut server = front(&origin, "", "");
    server.expect("cache file");
    told(&server, "/");
    let file = files(&server.folder().path("cache")).remove(0);
    let good = fs::read(&file).unwrap();
    let flaws = [
        ("cut in the head", good[..100].to_vec()),
        ("empty", Vec::new()),
        ("of another key", [&good[..350], b"x", &good[351..]].concat()),
        ("of another version", [&[9], &good[1..]].concat()),
        ("with another checksum", [&good[..48], b"....", &good[52..]].concat()),
        ("with a long head", [&good[..56], &[0xff, 0xff], &good[58..]].concat()),
        ("with a long vary", [&good[..187], &[0xff], &good[188..]].concat()),
    ];
    for (asked, (what, damaged)) in (1..).zip(flaws) {
        fs::write(&file, damaged).unwrap();
        let (status, text) = told(&server, "/");
        assert_eq!((status.as_str(), text), ("MISS", format!("answer {asked}")), "{what}");
        assert_eq!(told(&server, "/").0, "HIT", "{what}");
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(told(&server, "/").0, "MISS", "removed by hand");
    assert_eq!(told(&server, "/").0, "HIT");
}

#[test]
fn manager_and_loader_are_processes_that_are_replaced() {
    let origin = Origin::counting("");
    let mut server = front(&origin, "", "");
    server.expect("exited on signal 9");
    for name in ["cache manager process", "cache loader process"] {
        eventually(name, || process(&server, name).is_some());
        let pid = process(&server, name).unwrap();
        server.logs(&format!("start {name} {pid}"));
        signals::send(pid, signals::SIGKILL).unwrap();
        server.logs(&format!("{name} {pid} exited on signal 9"));
        eventually("another one runs", || process(&server, name).is_some_and(|now| now != pid));
    }
    let manager = process(&server, "cache manager process").unwrap();
    assert_eq!(server.run(&["-s", "reload"]).code, Some(0));
    eventually("the old pair gives way", || {
        let now = children(server.pid());
        let titles: Vec<String> = now.iter().map(|pid| title(*pid)).collect();
        !now.contains(&manager)
            && titles.iter().filter(|title| title.contains("cache ")).count() == 2
    });
    server.logs(&format!("cache manager process {manager} exited with code 0"));
}

#[test]
fn what_nobody_asks_for_is_removed() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let server = front(&origin, "inactive=1s", "");
    told(&server, "/");
    let folder = server.folder().path("cache");
    assert_eq!(files(&folder).len(), 1);
    eventually("the manager removes it", || files(&folder).is_empty());
    is(told(&server, "/"), "MISS", "answer 1");
}

#[test]
fn a_cache_stays_within_its_size_at_each_store() {
    let body = "x".repeat(4000);
    let origin =
        Origin::new(move |_, _| with_body("Cache-Control: max-age=100\r\n", &body.clone()));
    let server = front(&origin, "max_size=40k", "");
    let folder = server.folder().path("cache");
    for number in 0..30 {
        assert_eq!(server.get(&format!("/{number}")).body.len(), 4000);
        let size: u64 = files(&folder).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        assert!(size <= 41_000, "{size} after {number}");
    }
    assert_eq!(told(&server, "/29").0, "HIT");
    assert_eq!(told(&server, "/0").0, "MISS");
}

#[test]
fn a_full_zone_makes_room() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let content = content(&origin, "", "").replace("z:1m", "z:16k");
    let server = Setup::new().http(&content);
    for number in 0..120 {
        assert_eq!(server.get(&format!("/{number}")).status, 200);
    }
    let count = files(&server.folder().path("cache")).len();
    assert!((10..100).contains(&count), "{count} files");
    assert_eq!(told(&server, "/119").0, "HIT");
}

#[test]
fn a_cache_that_cannot_be_written_serves_all_the_same() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let content = content(&origin, "use_temp_path=off", "");
    let mut server = Setup::new().http(&content);
    server.expect("creating a file for");
    let folder = server.folder().path("cache");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    is(told(&server, "/"), "MISS", "answer 0");
    is(told(&server, "/"), "MISS", "answer 1");
    fs::remove_file(&folder).unwrap();
}

#[test]
fn a_restarted_server_finds_what_is_there() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let server = front(&origin, "", "");
    is(told(&server, "/"), "MISS", "answer 0");
    let from = server.folder().path("cache");
    let file = files(&from).remove(0);
    let name = file.strip_prefix(&from).unwrap().to_owned();
    let stored = fs::read(&file).unwrap();
    let setup = Setup::new().file(&format!("cache/{}", name.display()), stored);
    let again = setup.http(&content(&origin, "", ""));
    is(told(&again, "/"), "HIT", "answer 0");
    assert_eq!(origin.asked(), 1);
}

#[test]
fn a_server_that_ended_knows_its_cache_at_its_next_start() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let server = front(&origin, "", "} location = /status { server_status;");
    for uri in ["/a", "/b"] {
        is(told(&server, uri), "MISS", if uri == "/a" { "answer 0" } else { "answer 1" });
    }
    let from = server.folder().path("cache");
    let manager = running(&server, "cache manager process");
    // The folders were read by nobody yet, so that what is saved is not all there may be.
    signals::send(manager, signals::SIGTERM).unwrap();
    eventually("the index is saved", || from.join(".daemun-index").exists());
    let read = || fs::read(from.join(".daemun-index")).unwrap();
    assert_eq!((&read()[..8], read()[24], read().len()), (&b"daemunI1"[..], 0, 32 + 80 + 4));

    // As the manager leaves it once they were read.
    let mut index = read();
    index[24] = 1;
    let copy = |index: Vec<u8>| {
        let mut setup = Setup::new().file("cache/.daemun-index", index);
        for file in files(&from).iter().filter(|file| !file.ends_with(".daemun-index")) {
            let name = format!("cache/{}", file.strip_prefix(&from).unwrap().display());
            setup = setup.file(&name, fs::read(file).unwrap());
        }
        open_to_all(&setup.folder.path("cache"));
        setup.http(&content(&origin, "", "} location = /status { server_status;"))
    };
    let again = copy(index.clone());
    again.logs("http file cache: ");
    let page = again.get("/status?json").text().to_owned();
    assert!(
        page.contains("\"size\":8192,\"max_size\":null,\"entries\":2,\"cold\":false"),
        "{page}"
    );
    is(told(&again, "/a"), "HIT", "answer 0");
    let saved = again.folder().path("cache/.daemun-index");
    assert_eq!(fs::read(&saved).unwrap()[24], 0, "it is used once");
    let manager = running(&again, "cache manager process");
    signals::send(manager, signals::SIGTERM).unwrap();
    eventually("it is complete at the end", || {
        fs::read(&saved).is_ok_and(|index| index.get(24) == Some(&1))
    });
    is(told(&again, "/c"), "MISS", "answer 2");
    eventually("what is stored makes it incomplete", || {
        fs::read(&saved).is_ok_and(|index| index[24] == 0)
    });

    // What is damaged is not believed.
    index[40] ^= 1;
    let again = copy(index);
    is(told(&again, "/b"), "HIT", "answer 1");
    let page = again.get("/status?json").text().to_owned();
    assert!(page.contains("\"cold\":true"), "{page}");
}

#[test]
fn slices_make_one_response() {
    let whole: String = (0..100).map(|number| format!("{number:02} ")).collect();
    let text = whole.clone();
    let origin = Origin::new(move |head, _| {
        let range = head.split("Range: bytes=").nth(1).and_then(|rest| rest.split("\r\n").next());
        let (start, end) = range.unwrap().split_once('-').unwrap();
        let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
        let end = (end + 1).min(text.len());
        format!(
            "HTTP/1.1 206 Partial\r\nCache-Control: max-age=100\r\nETag: \"e\"\r\n\
             Content-Range: bytes {start}-{}/{}\r\nContent-Length: {}\r\n\r\n{}",
            end - 1,
            text.len(),
            end - start,
            &text[start..end]
        )
    });
    let directives = "slice 64; proxy_set_header Range $slice_range;
                      proxy_cache_key $uri$slice_range;";
    let server = front(&origin, "", directives);
    assert_eq!(server.get("/").text(), whole);
    assert_eq!(origin.asked(), 5);
    assert_eq!(server.get("/").text(), whole);
    for (range, expected) in [
        ("0-9", &whole[..10]),
        ("70-80", &whole[70..81]),
        ("-5", &whole[295..]),
        ("250-", &whole[250..]),
    ] {
        let part = server.get_with("/", &[&format!("Range: bytes={range}")]);
        assert_eq!((part.status, part.text()), (206, expected), "{range}");
    }
    assert_eq!(origin.asked(), 5);
    assert_eq!(files(&server.folder().path("cache")).len(), 5);
    // Only what is wanted is fetched.
    let part = server.get_with("/other", &["Range: bytes=130-140"]);
    assert_eq!((part.status, part.text()), (206, &whole[130..141]));
    assert_eq!(origin.asked(), 6);
}

#[test]
fn a_reload_keeps_the_cache_and_refuses_another_folder() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let mut server = front(&origin, "", "");
    server.expect("cache path while previously it used");
    told(&server, "/");
    assert_eq!(server.run(&["-s", "reload"]).code, Some(0));
    is(told(&server, "/"), "HIT", "answer 0");
    server.configure_http(&content(&origin, "", "").replace("{dir}/cache", "{dir}/other"));
    server.run(&["-s", "reload"]);
    server.logs("cache \"z\" uses the \"");
    is(told(&server, "/"), "HIT", "answer 0");
}

/// What was asked for, whence it came, and which answer it was.
fn numbered() -> Origin {
    Origin::new(|head, number| {
        let uri = head.split(' ').nth(1).unwrap_or_default();
        let tags = match uri.starts_with("/tagged") {
            true => "Surrogate-Key: red blue\r\nVary: Accept-Language\r\n",
            false => "",
        };
        with_body(&format!("Cache-Control: max-age=100\r\n{tags}"), &number.to_string())
    })
}

fn purge(server: &Server, uri: &str, fields: &[&str]) -> u16 {
    let fields: Vec<&str> = fields.iter().copied().chain(["Content-Length: 0"]).collect();
    server.request("PURGE", uri, &fields).status
}

#[test]
fn what_is_purged_is_not_served_again() {
    let origin = numbered();
    let map = "map $request_method $purges { PURGE 1; default 0; }";
    let directives = "proxy_cache_purge $purges; proxy_cache_key $uri;";
    let content = format!("{map} {}", content(&origin, "", directives));
    let server = Setup::new().http(&content);
    let ask = |uri: &str, language: &str| {
        let answer = server.get_with(uri, &[&format!("Accept-Language: {language}")]);
        (status(&answer).to_owned(), answer.text().to_owned())
    };
    let fill = || {
        for uri in ["/a/1", "/a/2", "/b", "/tagged"] {
            for language in ["en", "de"] {
                ask(uri, language);
                assert_eq!(ask(uri, language).0, "HIT");
            }
        }
    };
    let gone = |uris: &[&str]| {
        for uri in ["/a/1", "/a/2", "/b", "/tagged"] {
            let expected = if uris.contains(&uri) { "MISS" } else { "HIT" };
            assert_eq!(ask(uri, "en").0, expected, "{uri} of {uris:?}");
        }
    };
    for (uri, fields, lost) in [
        ("/a/1", &[][..], &["/a/1"][..]),
        ("/tagged", &[], &["/tagged"]),
        ("/a/*", &[], &["/a/1", "/a/2"]),
        ("/nothing", &["Surrogate-Key: green blue"], &["/tagged"]),
        ("/nothing", &["Cache-Tag: red, green"], &["/tagged"]),
        ("/nothing", &[], &[]),
        ("/*", &[], &["/a/1", "/a/2", "/b", "/tagged"]),
    ] {
        fill();
        assert_eq!(purge(&server, uri, fields), 204);
        gone(lost);
        if lost.contains(&"/tagged") {
            assert_eq!(ask("/tagged", "de").0, "MISS", "all variants are purged");
        }
    }
    // What was fetched before counts as older, too.
    origin.gate.set(true);
    let mut client = server.client();
    let before = origin.asked();
    client.send("GET /late HTTP/1.0\r\n\r\n");
    eventually("it asks", || origin.asked() == before + 1);
    assert_eq!(purge(&server, "/late", &[]), 204);
    origin.gate.set(false);
    client.answer();
    assert_eq!(ask("/late", "en").0, "MISS");
    assert_eq!(ask("/late", "en").0, "HIT");
}

/// Whoever the workers are.
fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => open_to_all(&path),
            path => fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap(),
        }
    }
}

#[test]
fn a_soft_purge_makes_stale() {
    let origin = numbered();
    let directives = "proxy_cache_purge PURGE; proxy_cache_key $uri;
        proxy_cache_use_stale updating; proxy_cache_background_update on;";
    let server = front(&origin, "", directives);
    is(told(&server, "/"), "MISS", "0");
    is(told(&server, "/"), "HIT", "0");
    assert_eq!(purge(&server, "/", &["Soft-Purge: 1"]), 200);
    is(told(&server, "/"), "STALE", "0");
    eventually("another is fetched", || told(&server, "/") == ("HIT".to_owned(), "1".to_owned()));
}

#[test]
fn purges_may_have_a_method_or_a_location() {
    let origin = numbered();
    let directives = "proxy_cache_key $uri;
         location /own { proxy_pass http://127.0.0.1:1; proxy_cache_purge DELETE from 10.0.0.0/8; }
         location /all {
             proxy_pass http://127.0.0.1:1;
             proxy_cache_purge PURGE purge_all from 127.0.0.1;
         }";
    let text = content(&origin, "", directives).replace(
        "location / {",
        "location ~ ^/purge(/.*) { proxy_cache_purge z $1; } location / {",
    );
    let server = Setup::new().http(&text);
    told(&server, "/a");
    is(told(&server, "/a"), "HIT", "0");
    let answer = server.get("/purge/a");
    assert_eq!((answer.status, answer.text().contains("Key : /a")), (200, true));
    assert_eq!(server.get("/purge/a").status, 412, "there is none any more");
    is(told(&server, "/a"), "MISS", "1");
    assert_eq!(server.request("DELETE", "/own", &["Content-Length: 0"]).status, 403);
    assert_eq!(purge(&server, "/all", &[]), 200);
    is(told(&server, "/a"), "MISS", "2");
}

#[test]
fn purges_outlive_the_server_and_are_swept_in_the_end() {
    let origin = numbered();
    let directives = "proxy_cache_purge PURGE; proxy_cache_key $uri;";
    let server = front(&origin, "", directives);
    for uri in ["/a/1", "/a/2", "/b"] {
        told(&server, uri);
    }
    let from = server.folder().path("cache");
    let stored: Vec<_> =
        files(&from).iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    assert_eq!(purge(&server, "/a/*", &[]), 200);
    let purges = fs::read(from.join(".daemun-purges")).unwrap();
    // Another server on the same files, before anybody has gone through them.
    let mut setup = Setup::new().file("cache/.daemun-purges", purges);
    for (file, content) in stored {
        let name = file.strip_prefix(&from).unwrap().display().to_string();
        setup = setup.file(&format!("cache/{name}"), content);
    }
    open_to_all(&setup.folder.path("cache"));
    let again = setup.http(&content(&origin, "manager_sleep=1ms", directives));
    assert_eq!(told(&again, "/a/1").0, "MISS");
    assert_eq!(told(&again, "/b").0, "HIT");
    let folder = again.folder().path("cache");
    eventually("the manager has removed what was purged", || {
        !folder.join(".daemun-purges").exists() && files(&folder).len() == 2
    });
    assert_eq!(told(&again, "/b").0, "HIT");
}

#[test]
fn a_cache_is_looked_at_from_outside() {
    let origin = numbered();
    let server = front(&origin, "", "proxy_cache_key $uri;");
    for uri in ["/a", "/b", "/tagged"] {
        told(&server, uri);
    }
    let folder = server.folder().path("cache");
    let run = |words: &[&str]| {
        let binary = daemun_tests::named(server.folder(), "daemun");
        let folder = folder.to_str().unwrap();
        let mut command = std::process::Command::new(binary);
        command.args(["cache", words[0], folder]).args(&words[1..]);
        daemun_tests::Output::of(&mut command)
    };
    let list = run(&["ls", "--json"]).stdout;
    let keys: Vec<bool> = list.lines().map(|line| line.contains("\"key\":\"/")).collect();
    assert_eq!(keys, [true; 3], "{list}");
    let shown = run(&["show", "/tagged"]);
    assert!(shown.stdout.contains("Surrogate-Key: red blue"), "{}", shown.stdout);
    assert_eq!(run(&["show", "/nothing"]).code, Some(1));
    assert!(run(&["stats"]).stdout.starts_with("responses: 3, of which 3 are fresh\n"));
    assert_eq!(run(&["verify"]).stdout, "3 are sound, 0 are not\n");
    assert_eq!(run(&["purge", "--tag", "blue"]).stdout, "1 removed\n");
    assert_eq!((told(&server, "/tagged").0, told(&server, "/a").0), ("MISS".into(), "HIT".into()));
    assert_eq!(run(&["purge", "--prefix", "/"]).stdout, "3 removed\n");
    assert_eq!(told(&server, "/a").0, "MISS");
    let file = files(&folder).remove(0);
    fs::write(&file, "nothing").unwrap();
    let verified = run(&["verify"]);
    assert_eq!(verified.code, Some(1));
    assert!(verified.stdout.contains("it is too short"), "{}", verified.stdout);
}

#[test]
fn a_response_tells_how_the_cache_has_handled_its_request() {
    let origin = Origin::new(|head, _| match head {
        head if head.starts_with("GET /stale") => with_body("X-Accel-Expires: @1\r\n", "s"),
        _ => with_body("Cache-Control: max-age=1000\r\nCache-Status: other; hit\r\n", "a"),
    });
    let directives = "cache_status_header daemun; proxy_cache_bypass $arg_bypass;
        add_header X-Told $cache_status;";
    let server = front(&origin, "", directives);
    let told = |line: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = server.send(&request);
        let mut lines = answer.lines().filter_map(|line| line.strip_prefix("Cache-Status: "));
        lines.next_back().unwrap_or_default().to_owned()
    };
    assert_eq!(told("GET /a"), "daemun; fwd=uri-miss; fwd-status=200");
    let hit = told("GET /a");
    let ttl: i64 = hit.strip_prefix("daemun; hit; ttl=").unwrap().parse().unwrap();
    assert!((900..=1000).contains(&ttl), "{hit}");
    assert_eq!(told("GET /a?bypass=1"), "daemun; fwd=bypass; fwd-status=200");
    assert_eq!(told("DELETE /a"), "daemun; fwd=method");
    told("GET /stale");
    assert_eq!(told("GET /stale"), "daemun; fwd=stale; fwd-status=200");
    let answer = server.get("/a");
    assert_eq!(answer.header("Cache-Status"), Some("other; hit"), "the nearer one stands behind");
    assert!(answer.header("X-Told").unwrap().starts_with("hit; ttl="));
}

#[test]
fn a_cache_is_counted() {
    let origin = Origin::counting("Cache-Control: max-age=100\r\n");
    let server = front(&origin, "", "} location = /status { server_status;");
    for uri in ["/a", "/a", "/b", "/a"] {
        told(&server, uri);
    }
    let counts = "\"answers\":{\"MISS\":2,\"BYPASS\":0,\"EXPIRED\":0,\"STALE\":0,\"UPDATING\":0,\
                  \"REVALIDATED\":0,\"HIT\":2},\"served_bytes\":16,\"stored\":2,\
                  \"stored_bytes\":8192,\"removed\":0}";
    let start = "\"caches\":{\n\"z\":{\"size\":8192,\"max_size\":null,\"entries\":2,\"cold\":true,";
    // An answer is counted when its request is over, which its client knows before.
    eventually(counts, || server.get("/status?json").text().contains(&format!("{start}{counts}")));
    let page = server.get("/status").text().to_owned();
    let line = "Cache z: 2 entries, 8 kB; MISS 2 HIT 2; 2 stored, 0 removed";
    assert!(page.contains(line), "{page}");
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    let around = "events {} http { proxy_cache_path {dir}/c keys_zone=z:1m; server { location / { proxy_pass http://127.0.0.1:1; %% } } }";
    for (line, sentence) in [
        ("proxy_cache y;", "\"proxy_cache\" zone \"y\" is unknown"),
        ("proxy_cache z; proxy_store on;", "is incompatible with \"proxy_cache\""),
        ("proxy_store on; proxy_cache z;", "is incompatible with \"proxy_store\""),
        ("proxy_cache_valid 600 1m;", "invalid status \"600\""),
        ("proxy_cache_valid x;", "invalid time value \"x\""),
        ("proxy_cache_methods DELETE;", "invalid value \"DELETE\""),
    ] {
        let output = Setup::new().run(&around.replace("%%", line), &["-t"]);
        assert!(output.stderr.contains(sentence), "{line}: {}", output.stderr);
    }
    for (path, sentence) in [
        ("levels=3 keys_zone=y:1m", "invalid \"levels\" \"levels=3\""),
        ("keys_zone=y:4k", "keys zone \"y\" is too small"),
        ("keys_zone=y", "invalid keys zone size \"keys_zone=y\""),
        ("inactive=1m", "\"proxy_cache_path\" must have \"keys_zone\" parameter"),
        ("keys_zone=z:1m", "duplicate zone \"z\""),
        ("keys_zone=y:1m max_size=x", "invalid max_size value \"max_size=x\""),
        ("keys_zone=y:1m other=1", "invalid parameter \"other=1\""),
    ] {
        let line = format!("proxy_cache_path {{dir}}/d {path};");
        let text = around.replace("%%", "").replace("server {", &format!("{line} server {{"));
        let output = Setup::new().run(&text, &["-t"]);
        assert!(output.stderr.contains(sentence), "{path}: {}", output.stderr);
    }
    // A much-used include has them.
    let predicates = "proxy_no_cache $cookie_a; proxy_cache_bypass $cookie_a;";
    let output = Setup::new().run(&around.replace("%%", predicates), &["-t"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
}
