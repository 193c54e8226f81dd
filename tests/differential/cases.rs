//! The requests: lists of what varies, put into the same frame.

use crate::data::{
    self, BODIES, CLIENT_FIELDS, CLIENT_URIS, CONDITIONS, FIELDS, FILTER_FIELDS, FILTER_URIS,
    HOSTS, METHODS, RANGES, RAW, REWRITING_URIS, RULE_URIS, SITE_URIS, URIS,
};

/// A raw request, and the name that the list of differences knows it by.
pub struct Case {
    pub name: String,
    /// The name of all cases of one kind, which the list may have instead.
    kind: Option<String>,
    pub request: Vec<u8>,
}

impl Case {
    fn new(name: String, request: String) -> Case {
        Case { name, kind: None, request: request.into_bytes() }
    }

    /// Whether the list of differences means this case.
    pub fn is_called(&self, listed: &str) -> bool {
        self.name == listed || self.kind.as_deref() == Some(listed)
    }
}

pub fn site() -> Vec<Case> {
    let mut cases = uris(&data::lines(URIS));
    cases.extend(uris(&data::lines(SITE_URIS)));
    cases.extend(methods("/a.txt"));
    cases.extend(methods("/folder"));
    cases.extend(fields("/a.txt", &data::lines(RANGES)));
    cases.extend(fields("/plain/a.txt", &data::lines(RANGES)));
    cases.extend(fields("/no-ranges/a.txt", &["Range: bytes=0-1"]));
    cases.extend(fields("/empty.txt", &["Range: bytes=0-", "Range: bytes=-1"]));
    cases.extend(fields("/a.txt", &data::lines(CONDITIONS)));
    cases.extend(fields("/plain/a.txt", &data::lines(CONDITIONS)));
    cases.extend(fields("/before/a.txt", &data::lines(CONDITIONS)));
    cases.extend(fields("/nothing", &data::lines(CONDITIONS)));
    cases
}

pub fn echo() -> Vec<Case> {
    let mut cases = uris(&data::lines(URIS));
    cases.extend(methods("/"));
    cases.extend(hosts());
    cases.extend(fields("/", &data::lines(FIELDS)));
    cases.extend(raws(&data::lines(RAW)));
    cases.extend(bodies("/"));
    cases
}

pub fn limits() -> Vec<Case> {
    let mut cases = uris(&["//a//b", "/echo//x/../y", "/file", "/./echo", "/echo/%2e%2e//z"]);
    cases.extend(fields("/echo", &data::lines(FIELDS)));
    for length in [200, 230, 250, 256, 300, 480, 500, 512, 600, 1000, 1100] {
        let long = "x".repeat(length);
        cases.push(get(format!("long uri {length}"), &format!("/echo/{long}"), ""));
        let field = format!("X: {long}\r\n");
        cases.push(get(format!("long field {length}"), "/echo", &field));
        let name = format!("{long}: x\r\n");
        cases.push(get(format!("long name {length}"), "/echo", &name));
        let fields = format!("Y: {}\r\n", "y".repeat(90)).repeat(length / 100);
        cases.push(get(format!("many fields {length}"), "/echo", &fields));
    }
    cases.extend(bodies("/echo"));
    cases.extend(bodies("/unlimited"));
    cases.extend(bodies("/file"));
    let pipelined = "GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(5);
    cases.push(raw("five requests where three are allowed", &pipelined));
    cases
}

pub fn rules() -> Vec<Case> {
    let statuses = [
        "200", "201", "204", "204-text", "301", "302", "303", "307", "308", "308?x=y", "url",
        "400", "401", "402", "403", "405", "408", "410", "413", "416", "418", "429", "444", "494",
        "498", "500", "502", "503", "504", "507", "599", "999",
    ];
    let paths: Vec<String> = statuses.iter().map(|status| format!("/{status}")).collect();
    let mut cases = uris(&paths);
    cases.extend(uris(&data::lines(RULE_URIS)));
    for path in paths {
        cases.push(raw(
            &format!("kept {path}"),
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\nGET /200 HTTP/1.0\r\n\r\n"),
        ));
        cases.push(raw(
            &format!("head {path}"),
            &format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ));
        cases.push(raw(&format!("old {path}"), &format!("GET {path} HTTP/1.0\r\n\r\n")));
    }
    cases.extend(methods("/limited/a.txt"));
    cases.extend(methods("/201"));
    cases.extend(methods("/pages/403"));
    cases.extend(methods("/headers/a.txt"));
    let agents = [
        "User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)",
        "User-Agent: Mozilla/4.0 (compatible; MSIE 5.0)",
        "User-Agent: Mozilla/5.0 Chrome/1",
        "User-Agent: Mozilla/5.0 Safari/1",
        "User-Agent: Opera MSIE 6.0",
    ];
    cases.extend(fields("/404", &agents));
    cases.extend(fields(
        "/headers/a.txt",
        &["If-Modified-Since: Sun, 13 Sep 2020 12:26:40 GMT", "Range: bytes=1-2"],
    ));
    cases
}

pub fn rewriting() -> Vec<Case> {
    let mut cases = uris(&data::lines(REWRITING_URIS));
    cases.extend(uris(&data::lines(RULE_URIS)));
    cases.extend(methods("/return/"));
    cases.extend(methods("/none/x"));
    cases.extend(fields("/if/?a=1", &["X-Break: yes", "X-Break: 0"]));
    cases.extend(fields("/family/", &["X-Never: told"]));
    cases
}

pub fn clients() -> Vec<Case> {
    let mut cases = uris(&data::lines(CLIENT_URIS));
    for (uri, field) in data::pairs(CLIENT_FIELDS) {
        cases.extend(fields(&uri, &[field]));
    }
    cases.extend(methods("/auth/limited/a.txt"));
    cases
}

/// By HTTP/1.0, where bodies are not cut into chunks, and heads alone.
pub fn filters() -> Vec<Case> {
    let mut cases = Vec::new();
    for uri in data::lines(FILTER_URIS) {
        let old = format!("GET {uri} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        cases.push(raw(&format!("old {uri}"), &old));
        let head = format!("HEAD {uri} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        cases.push(raw(&format!("head {uri}"), &head));
    }
    for (uri, field) in data::pairs(FILTER_FIELDS) {
        let name = format!("{uri} with {}", field.escape_debug());
        let head = format!("HEAD {uri} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n");
        cases.push(raw(&format!("head {name}"), &head));
        if !uri.starts_with("/gzip/")
            && !uri.starts_with("/proxied")
            && !uri.starts_with("/disabled")
        {
            let old = format!("GET {uri} HTTP/1.0\r\nHost: localhost\r\n{field}\r\n\r\n");
            cases.push(raw(&format!("old {name}"), &old));
        }
    }
    cases
}

/// What servers behind say, each by number, to HTTP/1.0, where bodies are not cut into chunks.
pub fn responses(http: &[String], scgi: &[String]) -> Vec<Case> {
    let folders = ["", "unbuffered/", "own/", "fields/", "ranges/", "changed/"];
    let mut cases = Vec::new();
    for (protocol, responses) in [("http", http), ("scgi", scgi)] {
        for (number, response) in responses.iter().enumerate() {
            let shown = response.escape_debug().to_string();
            let case = |place: &str, request: String| Case {
                kind: Some(shown.clone()),
                ..Case::new(format!("{place} {shown}"), request)
            };
            for folder in folders {
                let field = if folder == "ranges/" { "Range: bytes=1-2\r\n" } else { "" };
                let uri = format!("/{protocol}/{folder}{number}");
                let request = format!("GET {uri} HTTP/1.0\r\nHost: localhost\r\n{field}\r\n");
                cases.push(case(&format!("{protocol}/{folder}"), request));
            }
            let request = format!("HEAD /{protocol}/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            cases.push(case(&format!("head {protocol}/"), request));
        }
    }
    cases
}

fn hosts() -> Vec<Case> {
    let hosts = data::lines(HOSTS);
    let host = |host: &String| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        Case::new(format!("host {}", host.escape_debug()), request)
    };
    let target = |host: &String| {
        let head = format!("GET http://{host}/ HTTP/1.1\r\nHost: other");
        let name = format!("target's host {}", host.escape_debug());
        Case::new(name, format!("{head}\r\nConnection: close\r\n\r\n"))
    };
    hosts.iter().map(host).chain(hosts.iter().map(target)).collect()
}

fn methods(uri: &str) -> Vec<Case> {
    let case = |method: String| {
        let line = format!("{method} {uri} HTTP/1.1");
        let request = format!("{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        Case::new(format!("{method} {uri}"), request)
    };
    data::lines(METHODS).into_iter().map(case).collect()
}

/// Bodies of every framing, each with a request behind it.
fn bodies(uri: &str) -> Vec<Case> {
    let case = |number: usize, field: &str, body: &str, version: &str| {
        let field = if field.is_empty() { String::new() } else { format!("{field}\r\n") };
        let shown = (field.trim_end().escape_debug(), body.escape_debug());
        let name = format!("body {number} {uri} {version}: {} | {}", shown.0, shown.1);
        let head = format!("POST {uri} HTTP/{version}\r\nHost: localhost\r\n{field}\r\n");
        let next = "GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n";
        raw(&name, &format!("{head}{body}{next}"))
    };
    let bodies = data::pairs(BODIES);
    let numbered = bodies.iter().enumerate();
    numbered
        .flat_map(|(number, (field, body))| {
            ["1.1", "1.0"].map(|version| case(number, field, body, version))
        })
        .collect()
}

fn fields(uri: &str, fields: &[impl AsRef<str>]) -> Vec<Case> {
    let case = |field: &str| {
        let name = format!("{uri} with {}", field.escape_debug());
        get(name, uri, &format!("{field}\r\n"))
    };
    fields.iter().map(|field| case(field.as_ref())).collect()
}

fn uris(uris: &[impl AsRef<str>]) -> Vec<Case> {
    let case = |uri: &str| get(format!("uri {}", uri.escape_debug()), uri, "Connection: close\r\n");
    uris.iter().map(|uri| case(uri.as_ref())).collect()
}

fn raws(requests: &[String]) -> Vec<Case> {
    let case = |request: &String| raw(&format!("raw {}", request.escape_debug()), request);
    requests.iter().map(case).collect()
}

fn raw(name: &str, request: &str) -> Case {
    Case::new(name.to_owned(), request.to_owned())
}

fn get(name: String, uri: &str, fields: &str) -> Case {
    Case::new(name, format!("GET {uri} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
}
