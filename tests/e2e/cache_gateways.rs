//! The cache behind FastCGI, SCGI and uwsgi: each has the directives that the proxy has.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use daemun_tests::{Answer, Server, Setup, eventually, read_once};

use crate::backend::backend;

/// How an application is spoken to.
#[derive(Clone, Copy)]
enum Protocol {
    FastCgi,
    Scgi,
    Uwsgi,
}

/// An application that counts what it is asked, and waits where it is held back.
struct Application {
    port: u16,
    asked: Arc<AtomicUsize>,
    held: Arc<Mutex<()>>,
}

impl Application {
    fn start(protocol: Protocol) -> Application {
        let asked = Arc::<AtomicUsize>::default();
        let held = Arc::<Mutex<()>>::default();
        let (counter, waits) = (Arc::clone(&asked), Arc::clone(&held));
        let port = backend(move |stream| {
            let request = read_request(stream, protocol);
            let number = counter.fetch_add(1, Ordering::SeqCst);
            drop(waits.lock().unwrap());
            let answer = answer(&request, number);
            let _ = stream.write_all(&match protocol {
                Protocol::FastCgi => [record(6, answer.as_bytes()), record(3, &[0; 8])].concat(),
                Protocol::Scgi | Protocol::Uwsgi => answer.into_bytes(),
            });
        });
        Application { port, asked, held }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}

/// All that was sent, as text; what stands between parameters may be anything.
fn read_request(stream: &mut TcpStream, protocol: Protocol) -> String {
    let (mut read, mut part) = (Vec::new(), [0; 4096]);
    let is_whole = |read: &[u8]| match protocol {
        Protocol::FastCgi => read.ends_with(&[1, 5, 0, 1, 0, 0, 0, 0]),
        Protocol::Scgi => read.ends_with(b","),
        Protocol::Uwsgi => {
            read.len() > 4 && read.len() == 4 + usize::from(u16::from_le_bytes([read[1], read[2]]))
        }
    };
    while !is_whole(&read) {
        match read_once(stream, &mut part) {
            Ok(count @ 1..) => read.extend_from_slice(&part[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// `stale` in the query has it be stale at once, `fail` has it fail.
fn answer(request: &str, number: usize) -> String {
    let body = format!("answer {number}");
    let is_confirmed = request.contains("HTTP_IF_NONE_MATCH") && request.contains("\"e\"");
    match () {
        () if request.contains("fail") && number > 0 => {
            "Status: 503 No\r\nContent-Type: text/plain\r\n\r\n".to_owned()
        }
        () if is_confirmed => "Status: 304 Same\r\nCache-Control: max-age=100\r\n\r\n".to_owned(),
        () if request.contains("stale") => {
            format!("X-Accel-Expires: @1\r\nETag: \"e\"\r\nContent-Type: text/plain\r\n\r\n{body}")
        }
        () => {
            let length = body.len();
            let fields = format!("Accept-Ranges: bytes\r\nContent-Length: {length}\r\n");
            format!("{fields}Content-Type: text/plain\r\n\r\n{body}")
        }
    }
}

fn start(application: &Application, configuration: &str) -> Server {
    let port = application.port.to_string();
    Setup::new().http(&configuration.replace("{behind}", &port))
}

fn is(answer: &Answer, status: &str, text: &str) {
    assert_eq!((answer.header("X-Cache"), answer.text()), (Some(status), text));
}

/// Goes through all that the directives say.
fn check(protocol: Protocol, configuration: &str) {
    let application = Application::start(protocol);
    let server = start(&application, configuration);
    is(&server.get("/a"), "MISS", "answer 0");
    let hit = server.get("/a?b");
    is(&hit, "HIT", "answer 0");
    assert_eq!(hit.header("X-Key"), Some("/a"));
    assert_eq!(hit.header("Content-Type"), Some("text/plain"));

    is(&server.get("/pass?no=1"), "MISS", "answer 1");
    is(&server.get("/pass"), "MISS", "answer 2");
    is(&server.get("/pass?by=1"), "BYPASS", "answer 3");
    is(&server.get("/pass"), "HIT", "answer 3");

    for number in 4..7 {
        is(&server.get("/uses"), "MISS", &format!("answer {number}"));
    }
    is(&server.get("/uses"), "HIT", "answer 6");

    let post = ["Content-Length: 0"];
    is(&server.request("POST", "/post", &post), "MISS", "answer 7");
    is(&server.request("POST", "/post", &post), "HIT", "answer 7");
    assert_eq!(server.request("POST", "/a", &post).header("X-Cache"), None);

    let far = server.get_with("/range", &["Range: bytes=6-7"]);
    assert_eq!(far.header("X-Cache"), Some("MISS"));
    let near = server.get_with("/range", &["Range: bytes=2-3"]);
    assert_eq!((near.header("X-Cache"), near.status), (Some("MISS"), 206), "it was not stored");
    assert_eq!(server.get("/range").header("X-Cache"), Some("HIT"));

    assert_eq!(server.get("/pass").header("X-Cache"), Some("HIT"));
    assert_eq!(server.get("/pass?purge=1").status, 204);
    assert_eq!(server.get("/pass").header("X-Cache"), Some("MISS"));
}

/// The same for what is stale.
fn check_stale(protocol: Protocol, configuration: &str) {
    let application = Application::start(protocol);
    let server = start(&application, configuration);
    is(&server.get("/stale?stale"), "MISS", "answer 0");
    is(&server.get("/stale?fail"), "STALE", "answer 0");
    is(&server.get("/stale?stale"), "EXPIRED", "answer 2");
    is(&server.get("/confirm?stale"), "MISS", "answer 3");
    is(&server.get("/confirm?stale"), "REVALIDATED", "answer 3");
    is(&server.get("/confirm?stale"), "HIT", "answer 3");
    is(&server.get("/update?stale"), "MISS", "answer 5");
    is(&server.get("/update?stale"), "STALE", "answer 5");
    eventually("it is brought up to date", || server.get("/update?stale").text() != "answer 5");
    assert_eq!(server.get("/ttl?stale").header("X-Cache"), Some("MISS"));
    assert_eq!(server.get("/ttl?fail").header("X-Cache"), Some("STALE"));
    let asked = application.asked();
    assert_eq!(server.get("/ttl?stale").header("X-Cache"), Some("STALE"));
    assert_eq!(application.asked(), asked, "a server that failed is left alone for a while");
}

/// The same for those who wait for each other.
fn check_lock(protocol: Protocol, configuration: &str) {
    let application = Application::start(protocol);
    let server = start(&application, configuration);
    let held = application.held.lock().unwrap();
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /lock HTTP/1.0\r\n\r\n");
    }
    eventually("one asks", || application.asked() == 1);
    drop(held);
    for client in &mut clients {
        assert_eq!(client.answer().text(), "answer 0");
    }
    assert_eq!(application.asked(), 1);
}

#[test]
fn fastcgi_has_a_cache() {
    const CONFIGURATION: &str = "
    fastcgi_cache_path {dir}/cache levels=1 keys_zone=c:1m;
    fastcgi_temp_path {dir}/waiting;
    server {
        listen 127.0.0.1:{port};
        add_header X-Cache $upstream_cache_status always;
        add_header X-Key $upstream_cache_key always;
        fastcgi_cache c;
        fastcgi_cache_key $uri;
        fastcgi_cache_valid 200 1m;
        fastcgi_param REQUEST_METHOD $request_method;
        fastcgi_param QUERY_STRING $query_string;
        location / { fastcgi_pass 127.0.0.1:{behind}; }
        location /pass {
            fastcgi_cache_bypass $arg_by;
            fastcgi_no_cache $arg_no;
            fastcgi_cache_purge $arg_purge;
            fastcgi_pass 127.0.0.1:{behind};
        }
        location /uses { fastcgi_cache_min_uses 3; fastcgi_pass 127.0.0.1:{behind}; }
        location /post { fastcgi_cache_methods POST; fastcgi_pass 127.0.0.1:{behind}; }
        location /range { fastcgi_cache_max_range_offset 5; fastcgi_pass 127.0.0.1:{behind}; }
        location /lock {
            fastcgi_cache_lock on;
            fastcgi_cache_lock_timeout 60s;
            fastcgi_cache_lock_age 60s;
            fastcgi_pass 127.0.0.1:{behind};
        }
        location /stale {
            fastcgi_cache_use_stale http_503;
            fastcgi_pass 127.0.0.1:{behind};
        }
        location /update {
            fastcgi_cache_use_stale updating;
            fastcgi_cache_background_update on;
            fastcgi_pass 127.0.0.1:{behind};
        }
        location /ttl {
            fastcgi_cache_use_stale http_503;
            fastcgi_cache_error_ttl 1h;
            fastcgi_pass 127.0.0.1:{behind};
        }
        location /confirm { fastcgi_cache_revalidate on; fastcgi_pass 127.0.0.1:{behind}; }
    }";
    check(Protocol::FastCgi, CONFIGURATION);
    check_stale(Protocol::FastCgi, CONFIGURATION);
    check_lock(Protocol::FastCgi, CONFIGURATION);
}

#[test]
fn scgi_has_a_cache() {
    const CONFIGURATION: &str = "
    scgi_cache_path {dir}/cache levels=1 keys_zone=c:1m;
    scgi_temp_path {dir}/waiting;
    server {
        listen 127.0.0.1:{port};
        add_header X-Cache $upstream_cache_status always;
        add_header X-Key $upstream_cache_key always;
        scgi_cache c;
        scgi_cache_key $uri;
        scgi_cache_valid 200 1m;
        scgi_param REQUEST_METHOD $request_method;
        scgi_param QUERY_STRING $query_string;
        location / { scgi_pass 127.0.0.1:{behind}; }
        location /pass {
            scgi_cache_bypass $arg_by;
            scgi_no_cache $arg_no;
            scgi_cache_purge $arg_purge;
            scgi_pass 127.0.0.1:{behind};
        }
        location /uses { scgi_cache_min_uses 3; scgi_pass 127.0.0.1:{behind}; }
        location /post { scgi_cache_methods POST; scgi_pass 127.0.0.1:{behind}; }
        location /range { scgi_cache_max_range_offset 5; scgi_pass 127.0.0.1:{behind}; }
        location /lock {
            scgi_cache_lock on;
            scgi_cache_lock_timeout 60s;
            scgi_cache_lock_age 60s;
            scgi_pass 127.0.0.1:{behind};
        }
        location /stale {
            scgi_cache_use_stale http_503;
            scgi_pass 127.0.0.1:{behind};
        }
        location /update {
            scgi_cache_use_stale updating;
            scgi_cache_background_update on;
            scgi_pass 127.0.0.1:{behind};
        }
        location /ttl {
            scgi_cache_use_stale http_503;
            scgi_cache_error_ttl 1h;
            scgi_pass 127.0.0.1:{behind};
        }
        location /confirm { scgi_cache_revalidate on; scgi_pass 127.0.0.1:{behind}; }
    }";
    check(Protocol::Scgi, CONFIGURATION);
    check_stale(Protocol::Scgi, CONFIGURATION);
    check_lock(Protocol::Scgi, CONFIGURATION);
}

#[test]
fn uwsgi_has_a_cache() {
    const CONFIGURATION: &str = "
    uwsgi_cache_path {dir}/cache levels=1 keys_zone=c:1m;
    uwsgi_temp_path {dir}/waiting;
    server {
        listen 127.0.0.1:{port};
        add_header X-Cache $upstream_cache_status always;
        add_header X-Key $upstream_cache_key always;
        uwsgi_cache c;
        uwsgi_cache_key $uri;
        uwsgi_cache_valid 200 1m;
        uwsgi_param REQUEST_METHOD $request_method;
        uwsgi_param QUERY_STRING $query_string;
        location / { uwsgi_pass 127.0.0.1:{behind}; }
        location /pass {
            uwsgi_cache_bypass $arg_by;
            uwsgi_no_cache $arg_no;
            uwsgi_cache_purge $arg_purge;
            uwsgi_pass 127.0.0.1:{behind};
        }
        location /uses { uwsgi_cache_min_uses 3; uwsgi_pass 127.0.0.1:{behind}; }
        location /post { uwsgi_cache_methods POST; uwsgi_pass 127.0.0.1:{behind}; }
        location /range { uwsgi_cache_max_range_offset 5; uwsgi_pass 127.0.0.1:{behind}; }
        location /lock {
            uwsgi_cache_lock on;
            uwsgi_cache_lock_timeout 60s;
            uwsgi_cache_lock_age 60s;
            uwsgi_pass 127.0.0.1:{behind};
        }
        location /stale {
            uwsgi_cache_use_stale http_503;
            uwsgi_pass 127.0.0.1:{behind};
        }
        location /update {
            uwsgi_cache_use_stale updating;
            uwsgi_cache_background_update on;
            uwsgi_pass 127.0.0.1:{behind};
        }
        location /ttl {
            uwsgi_cache_use_stale http_503;
            uwsgi_cache_error_ttl 1h;
            uwsgi_pass 127.0.0.1:{behind};
        }
        location /confirm { uwsgi_cache_revalidate on; uwsgi_pass 127.0.0.1:{behind}; }
    }";
    check(Protocol::Uwsgi, CONFIGURATION);
    check_stale(Protocol::Uwsgi, CONFIGURATION);
    check_lock(Protocol::Uwsgi, CONFIGURATION);
}
