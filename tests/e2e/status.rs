//! `server_status`: what the workers do, for people and for programs.

use daemun_tests::{Engine, Server, eventually};

/// The value behind a key of `?auto`.
fn value<'p>(page: &'p str, key: &str) -> &'p str {
    let line = page.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {key} in\n{page}"))
}

/// Busy requests are those that wait here for a body which never comes whole.
const CONFIGURATION: &str = "
    worker_processes 2;
    daemon off;
    pid {dir}/server.pid;
    error_log {dir}/error.log info;
    events { {events} }
    http {
        access_log off;
        client_body_temp_path {dir}/body;
        server {
            listen 127.0.0.1:{port};
            server_name example.org;
            location = /status { server_status; }
            client_body_early_read $arg_slow;
            location / { return 200 0123456789; }
        }
    }";

#[test]
fn programs_find_the_keys_of_apache_in_its_order() {
    let server = Server::start(CONFIGURATION);
    server.get("/");
    // Whatever has no value within the first second is there in the second one.
    eventually("there are rates", || server.get("/status?auto").text().contains("ReqPerSec"));
    let answer = server.get("/status?auto");
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    let keys: Vec<_> =
        answer.text().lines().skip(1).filter_map(|line| line.split(':').next()).collect();
    // Apache leaves it out as long as the processes used less than a tick.
    let keys: Vec<_> = keys.into_iter().filter(|key| *key != "CPULoad").collect();
    // Where no connection waits without a worker, Apache has nothing to say of such.
    let waiting = match Engine::current().mpm {
        "mpm prefork;" | "mpm worker;" => "",
        _ => {
            "Processes Stopping ConnsTotal ConnsAsyncWaitIO ConnsAsyncWriting ConnsAsyncKeepAlive \
             ConnsAsyncClosing "
        }
    };
    let expected = "ServerVersion ServerMPM Server Built CurrentTime RestartTime \
         ParentServerConfigGeneration ParentServerMPMGeneration ServerUptimeSeconds ServerUptime \
         Load1 Load5 Load15 Total Accesses Total kBytes Total Duration CPUUser CPUSystem \
         CPUChildrenUser CPUChildrenSystem Uptime ReqPerSec BytesPerSec BytesPerReq DurationPerReq \
         BusyWorkers GracefulWorkers IdleWorkers";
    assert_eq!(keys.join(" "), format!("{expected} {waiting}Scoreboard"));
}

#[test]
fn requests_and_bytes_add_up() {
    let server = Server::start(CONFIGURATION);
    let before: u64 = value(server.get("/status?auto").text(), "Total Accesses").parse().unwrap();
    let mut bytes = 0;
    let mut client = server.client();
    for _ in 0..200 {
        let answer = client.get("/");
        bytes += answer.body.len() as u64;
    }
    let page = server.get("/status?auto");
    let accesses: u64 = value(page.text(), "Total Accesses").parse().unwrap();
    assert_eq!(accesses - before, 201);
    let kilobytes: u64 = value(page.text(), "Total kBytes").parse().unwrap();
    assert!(kilobytes >= bytes >> 10, "{kilobytes} kB for {bytes} bytes of bodies alone");
}

#[test]
fn what_workers_do_is_on_the_board() {
    let server = Server::start(CONFIGURATION);
    let mut idle = server.client();
    idle.get("/");
    let mut slow = server.client();
    slow.send("POST /?slow=1&<b>&\"x HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\nab");
    eventually("the slow request and the idle connection are shown", || {
        let page = server.get("/status?json");
        // The request for the page is the second one.
        page.text().contains("\"writing\":2,\"waiting\":1}")
    });
    assert!(value(server.get("/status?auto").text(), "Scoreboard").contains('W'));

    let page = server.get("/status?refresh=7");
    assert_eq!(page.header("Refresh"), Some("7"));
    assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
    let text = page.text();
    assert!(text.contains("<td>example.org</td>"), "{text}");
    assert!(!text.contains("<b>&\"x"), "{text}");

    let json = server.get("/status?json");
    assert_eq!(json.header("Content-Type"), Some("application/json"));
    let mpm = Engine::current().mpm.trim_start_matches("mpm ").trim_end_matches(';');
    let mpm = format!("\"mpm\":\"{}\"", if mpm.is_empty() { "native" } else { mpm });
    assert!(json.text().contains(&mpm), "{}", json.text());
    assert!(json.text().contains("\"client\":\"127.0.0.1\""), "{}", json.text());
}

#[test]
fn only_readers_see_the_page_and_nothing_else_shows_it() {
    let server = Server::start(CONFIGURATION);
    assert_eq!(server.request("POST", "/status", &["Content-Length: 0"]).status, 405);
    assert_eq!(server.get("/status?auto").header("Cache-Control"), Some("no-store"));
    assert_eq!(server.get("/elsewhere").text(), "0123456789");
}
