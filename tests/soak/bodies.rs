//! Bodies of all kinds through locations of all kinds: what servers behind read is always whole requests that somebody
//! asked for, each with its own client's body or none.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use daemun_tests::{Client, Dice, Recorded, Recorder, Seen, Server, Setup, ok};

const LOCATIONS: usize = 12;
const SUBREQUESTS: usize = 4;
const CLIENTS: usize = 4;

#[test]
fn requests_behind_are_whole() {
    for seed in 1..=4 {
        run(seed, 400);
    }
}

#[test]
#[ignore = "takes minutes"]
fn soak_requests_behind_are_whole() {
    let total: u64 = std::env::var("DAEMUN_SOAK_REQUESTS")
        .map_or(1_000_000, |count| count.parse().expect("a number of requests"));
    let mut done = 0;
    for seed in 100.. {
        if done >= total {
            break;
        }
        done += run(seed, 10_000);
        println!("{done} requests, seed {seed}");
    }
}

/// Sends so many requests through a configuration of that seed.
fn run(seed: u64, requests: u64) -> u64 {
    let recorder = Recorder::start(answer);
    let configuration = configuration(&mut Dice(seed), recorder.port);
    let server = Setup::new().http(&configuration);
    let shared = Shared {
        next: AtomicU64::new(1),
        last: requests,
        may_break_off: Mutex::default(),
        findings: Mutex::default(),
    };
    thread::scope(|scope| {
        for client in 0..CLIENTS as u64 {
            let (server, recorder, shared) = (&server, &recorder, &shared);
            scope.spawn(move || {
                let mut dice = Dice(seed * 1000 + client);
                let mut connection = None;
                while shared.exchange(server, &mut dice, &mut connection) {
                    shared.check(recorder.take(0));
                }
            });
        }
    });
    shared.check(recorder.take(0));
    let findings = shared.findings.into_inner().unwrap();
    let log = server.error_log();
    assert!(
        findings.is_empty(),
        "seed {seed}: {} findings, the first: {}\n{}\n{}",
        findings.len(),
        findings[0],
        configuration,
        log.lines().rev().take(20).collect::<Vec<_>>().join("\n"),
    );
    requests
}

struct Shared {
    next: AtomicU64,
    last: u64,
    /// Requests that were cut, or that the server may give up.
    may_break_off: Mutex<HashSet<u64>>,
    findings: Mutex<Vec<String>>,
}

impl Shared {
    /// Sends the next request, and reads its answer; `false` where there have been enough.
    fn exchange(&self, server: &Server, dice: &mut Dice, connection: &mut Option<Client>) -> bool {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if id > self.last {
            return false;
        }
        let uri = format!("/l{}", dice.below(LOCATIONS));
        let method = dice.pick(&["POST", "PUT", "PATCH", "GET"]);
        let mut request = format!("{method} {uri} HTTP/1.1\r\nHost: a\r\nX-Id: {id}\r\n");
        let body = body_of(id);
        let mut parts: Vec<String> = Vec::new();
        match dice.below(5) {
            0 if body.is_empty() => parts.push("\r\n".into()),
            0..=2 => {
                write!(request, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
                split(dice, &body, |part| parts.push(part.into()));
            }
            _ => {
                request += "Transfer-Encoding: chunked\r\n\r\n";
                split(dice, &body, |part| {
                    parts.push(format!("{:x}\r\n{part}\r\n", part.len()));
                });
                parts.push("0\r\n\r\n".into());
            }
        }
        let is_cut = dice.one_in(12);
        if is_cut {
            parts.truncate(dice.below(parts.len() + 1));
        }
        // A body that is too large is refused, also in the middle of being passed on.
        if is_cut || uri.ends_with('9') {
            self.may_break_off.lock().unwrap().insert(id);
        }
        let client = connection.get_or_insert_with(|| server.client());
        send(dice, client, request, parts);
        if is_cut {
            *connection = None;
            return true;
        }
        let answer = client.answer();
        let text = String::from_utf8_lossy(&answer.body);
        for told in text.split("id=").skip(1) {
            if told.split(' ').next() != Some(&id.to_string()) {
                self.finding(format!("request {id} got {answer:?}"));
            }
        }
        if answer.header("Connection") == Some("close") || dice.one_in(20) {
            *connection = None;
        }
        true
    }

    fn check(&self, seen: Vec<Seen>) {
        for seen in seen {
            match seen {
                Seen::Request(request) => self.check_request(&request),
                Seen::Nonsense(text) => self.finding(format!("no request: {text:?}")),
                Seen::Cut(text) => {
                    let id = text.split("X-Id: ").nth(1).and_then(|rest| rest.lines().next());
                    let id = id.and_then(|id| id.parse().ok()).unwrap_or(0);
                    if !self.may_break_off.lock().unwrap().contains(&id) {
                        self.finding(format!("cut: {text:?}"));
                    }
                }
            }
        }
    }

    fn check_request(&self, request: &Recorded) {
        let id = request.field("X-Id").and_then(|id| id.parse().ok()).unwrap_or(0);
        let is_known = ["/l", "/sub", "/inner"].iter().any(|name| request.uri.starts_with(name));
        let is_own = request.body.is_empty() || request.body == body_of(id).as_bytes();
        if id == 0 || !is_known || !is_own {
            self.finding(format!("{request:?}"));
        }
    }

    fn finding(&self, finding: String) {
        self.findings.lock().unwrap().push(finding.chars().take(2000).collect());
    }
}

/// Sends the parts, some by themselves, so that what comes first is passed on before the rest is there.
fn send(dice: &mut Dice, client: &mut Client, head: String, parts: Vec<String>) {
    let mut gathered = head;
    for part in parts {
        if dice.one_in(3) {
            client.send(std::mem::take(&mut gathered));
            if dice.one_in(4) {
                thread::sleep(Duration::from_micros(300));
            }
        }
        gathered += &part;
    }
    client.send(gathered);
}

/// Cuts a body into a few pieces.
fn split(dice: &mut Dice, mut body: &str, mut take: impl FnMut(&str)) {
    while !body.is_empty() {
        let length = (1 + dice.below(body.len())).max(body.len() / 4);
        let (part, rest) = body.split_at(length);
        take(part);
        body = rest;
    }
}

/// The body of a request: requests that nobody asked for, if it stood bare.
fn body_of(id: u64) -> String {
    let length = [0, 1, 7, 300, 2000, 30_000, 90_000][(id % 7) as usize];
    let line = format!("GET /evil HTTP/1.1\r\nHost: a\r\nX-Id: {id}\r\n\r\n");
    let mut body = line.repeat(length / line.len() + 1);
    body.truncate(length);
    body
}

/// What the server behind says, as the location that asks has it.
fn answer(request: &Recorded) -> String {
    let text = format!("id={} {}\n", request.field("X-Id").unwrap_or("?"), request.uri);
    let wanted = request.field("X-Answer").unwrap_or("ok");
    let (wanted, uri) = wanted.split_once(' ').unwrap_or((wanted, ""));
    match wanted {
        "ssi" => ok(&format!("{text}<!--#include virtual=\"{uri}\" -->")),
        "accel" => {
            format!("HTTP/1.1 200 OK\r\nX-Accel-Redirect: {uri}\r\nContent-Length: 0\r\n\r\n")
        }
        "fail" => {
            format!("HTTP/1.1 500 No\r\nContent-Length: {}\r\n\r\n{text}", text.len())
        }
        "continue" => format!("HTTP/1.1 100 Continue\r\n\r\n{}", ok(&text)),
        "chunked" => format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
            text.len()
        ),
        _ => ok(&text),
    }
}

fn configuration(dice: &mut Dice, port: u16) -> String {
    let mut text = format!(
        "upstream u {{ server 127.0.0.1:{port}; keepalive 4; }}
         server {{
             listen 127.0.0.1:{{port}};
             client_max_body_size 1m;
             keepalive_requests 100000;\n"
    );
    for number in 0..LOCATIONS {
        let own = own_directives(dice);
        let passing = passing(dice, true);
        // The last but two is where bodies are too large.
        let limit = if number == 9 { "client_max_body_size 1000;" } else { "" };
        writeln!(text, "location = /l{number} {{ {own} {limit} {passing} }}").unwrap();
    }
    for number in 0..SUBREQUESTS {
        for name in [format!("= /sub{number}"), format!("= /inner{number}")] {
            let passing = passing(dice, false);
            writeln!(text, "location {name} {{ internal; {passing} }}").unwrap();
        }
        let passing = passing(dice, false);
        writeln!(text, "location @named{number} {{ {passing} }}").unwrap();
    }
    text + "}"
}

/// What else is asked for besides, or instead.
fn own_directives(dice: &mut Dice) -> String {
    let mut text = String::new();
    let mut some = |dice: &mut Dice, chances, directive: &str| {
        if dice.one_in(chances) {
            let number = dice.below(SUBREQUESTS).to_string();
            text += &directive.replace('#', &number);
        }
    };
    some(dice, 3, "mirror /sub#;");
    some(dice, 4, "mirror_request_body off;");
    some(dice, 3, "auth_request /sub#;");
    some(dice, 4, "add_before_body /sub#;");
    some(dice, 4, "add_after_body /sub#;");
    some(dice, 4, "post_action /sub#;");
    some(dice, 2, "ssi on;");
    match dice.below(3) {
        0 => some(dice, 1, "proxy_intercept_errors on; error_page 500 413 =200 /inner#;"),
        1 => some(dice, 1, "proxy_intercept_errors on; error_page 500 413 =200 @named#;"),
        _ => {}
    }
    text
}

/// How a location asks the server behind.
fn passing(dice: &mut Dice, is_first: bool) -> String {
    let mut text = String::new();
    let mut some = |dice: &mut Dice, chances, directive: &str| {
        if dice.one_in(chances) {
            text += directive;
        }
    };
    some(dice, 2, "proxy_request_buffering off;");
    some(dice, 3, "proxy_buffering off;");
    some(dice, 4, "proxy_http_version 1.0;");
    some(dice, 5, "proxy_pass_request_body off;");
    some(dice, 5, "proxy_set_header Content-Length \"\";");
    some(dice, 9, "proxy_set_header Content-Length $http_content_length;");
    some(dice, 3, "client_body_buffer_size 1k;");
    some(dice, 8, "client_body_in_file_only clean;");
    let kinds: &[&str] = match is_first {
        true => &["ok", "ssi /sub#", "accel /inner#", "accel @named#", "fail", "continue"],
        false => &["ok", "ok", "chunked", "continue"],
    };
    let kind = dice.pick(kinds).replace('#', &dice.below(SUBREQUESTS).to_string());
    text + &format!("proxy_set_header X-Answer \"{kind}\"; proxy_pass http://u;")
}
