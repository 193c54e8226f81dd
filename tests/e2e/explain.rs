//! `-t --explain`: what it says is what the running server does.

use std::fmt::Write;

use daemun_tests::{Answer, Dice, Server, Setup};

#[test]
fn a_request_is_followed_from_station_to_station() {
    let setup = files(Setup::new());
    let text = "events { }
http {
    access_log {dir}/access.log;
    error_log {dir}/explained.log;
    server {
        listen 127.0.0.1:{port};
        server_name a.example;
        root {dir}/html;
        rewrite ^/old/(.*)$ /$1;
        location / { }
        location ~ [.]txt$ { allow 10.0.0.0/8; deny all; }
        error_page 403 /index.html;
    }
}
";
    let url = setup.filled("GET http://a.example:{port}/old/a/x.txt");
    let output = setup.run(text, &["-t", "-q", "--explain", &url, "-H", "X-Other: 1"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    let mut rest = output.stdout.as_str();
    for part in [
        "a.example, by its name \"a.example\": server at ",
        "server.conf:5\n",
        "rewrite ^/old/(.*)$ /$1: makes it /a/x.txt (",
        "server.conf:9)\n",
        "candidate: location / at ",
        "matches: location ~ [.]txt$ at ",
        "access says 403, by \"deny all\" at ",
        "server.conf:11\n",
        "sent to      /index.html\n",
        "static answers\n",
        "access forbidden by rule, client: 127.0.0.1",
        "html/index.html\n",
        "answered by  location / at ",
        "status       403\n",
    ] {
        let place = rest.find(part);
        let place = place.unwrap_or_else(|| panic!("{part:?} in:\n{}", output.stdout));
        rest = &rest[place + part.len()..];
    }
    for file in ["access.log", "explained.log"] {
        assert!(!setup.folder.path(file).exists(), "{file}");
    }
}

#[test]
fn requests_over_tls_are_what_they_would_be() {
    let setup = Setup::new().identity_of("a.example");
    let text = "events { } http { access_log off;
        ssl_certificate {dir}/a.example.crt; ssl_certificate_key {dir}/a.example.key;
        server { listen 127.0.0.1:{port}; return 201; }
        server { listen 127.0.0.1:{port2} ssl; server_name a.example; ssl_verify_client optional_no_ca;
            set $both $scheme$https;
            if ($both = httpson) { return 202; }
            return 500; }
        server { listen 127.0.0.1:{port2} ssl; server_name b.example;
            if ($ssl_server_name = b.example) { return 203; }
            return 500; } }";
    for (url, expected) in [
        ("http://a.example:{port}/", Ok("status       201\n")),
        ("https://a.example:{port2}/", Ok("status       202\n")),
        ("https://a.example/", Ok("status       202\n")),
        ("https://b.example:{port2}/", Ok("status       203\n")),
        ("https://a.example:{port}/", Err("speaks no TLS: try http://")),
        ("http://a.example:{port2}/", Err("speaks TLS: try https://")),
        ("https://a.example:1/", Err("nothing listens on port 1")),
    ] {
        let output = setup.run(text, &["-t", "-q", "--explain", &setup.filled(url)]);
        let (said, part) = match expected {
            Ok(part) => (&output.stdout, part),
            Err(part) => (&output.stderr, part),
        };
        assert!(said.contains(part), "{url}: {} {}", output.stdout, output.stderr);
        assert_eq!(output.code == Some(0), expected.is_ok(), "{url}");
    }
}

#[test]
fn another_server_is_named_and_not_asked() {
    let setup = Setup::new();
    let text = "events { }
http {
    access_log off;
    upstream php { server 127.0.0.1:{port2}; }
    server {
        listen 127.0.0.1:{port};
        location / { fastcgi_pass php; }
        location /api/ { proxy_pass http://$arg_to:81; }
        error_page 502 /502.html;
    }
}
";
    for (uri, part) in [
        ("/a", "passed to    fastcgi://php, which is not asked\n"),
        (
            "/api/?to=b.example",
            "passed to    http://b.example:81/api/?to=b.example, which is not asked\n",
        ),
    ] {
        let url = setup.filled(&format!("GET http://localhost:{{port}}{uri}"));
        let output = setup.run(text, &["-t", "-q", "--explain", &url]);
        assert!(output.stdout.contains(part), "{}", output.stdout);
        assert!(output.stdout.ends_with("as the server answers that it is passed to\n"));
        assert!(!output.stdout.contains("error log"), "{}", output.stdout);
    }
}

#[test]
fn a_request_that_cannot_be_explained_says_why() {
    let setup = Setup::new();
    let text = "events { } http { access_log off; server { listen 127.0.0.1:{port}; } }";
    for (request, reason) in [
        ("GET http://localhost:1/", "daemun: nothing listens on port 1\n"),
        ("https://localhost/", "daemun: no \"listen\" has the \"ssl\" parameter\n"),
    ] {
        let output = setup.run(text, &["-t", "-q", "--explain", request]);
        assert_eq!((output.code, &*output.stderr), (Some(1), reason));
    }
}

#[test]
fn it_agrees_with_the_running_server() {
    agree(4, 40);
}

#[test]
#[ignore = "takes minutes"]
fn soak_it_agrees_with_the_running_server() {
    agree(50, 200);
}

/// Compares so many requests to each of so many configurations.
fn agree(configurations: u64, requests: u64) {
    for seed in 1..=configurations {
        let mut dice = Dice(seed);
        let text = configuration(&mut dice);
        let mut server = files(Setup::new()).with_any_engine().http(&text);
        server.expect("is not a directory");
        for _ in 0..requests {
            compare(&server, &request(&mut dice), &text, seed);
        }
    }
}

/// What a configuration and a request come to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Course {
    status: String,
    /// Lines of the configuration.
    server: String,
    location: String,
    file: Option<String>,
}

fn compare(server: &Server, asked: &Asked, text: &str, seed: u64) {
    let url = format!("{} http://{}:{}{}", asked.method, asked.host, server.port(), asked.uri);
    let mut words = vec!["-t", "-q", "--explain", &url];
    for field in &asked.fields {
        words.extend(["-H", field]);
    }
    let output = server.run(&words);
    let told = told(&output.stdout);
    let mut client = server.client();
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", asked.method, asked.uri, asked.host);
    for field in &asked.fields {
        let _ = write!(head, "{field}\r\n");
    }
    client.send(head + "Connection: close\r\n\r\n");
    let done = done(&client.rest(), &told);
    assert_eq!(told, done, "seed {seed}, {words:?}\n{}{}\n{text}", output.stdout, output.stderr);
}

/// What the explanation says.
fn told(text: &str) -> Course {
    let value = |label: &str| {
        let line = text.lines().rfind(|line| line.split("  ").next() == Some(label));
        line.map(|line| line[label.len()..].trim().to_owned())
    };
    let line_of = |label: &str| {
        let place = value(label).unwrap_or_default();
        place.rsplit(':').next().unwrap_or_default().to_owned()
    };
    Course {
        status: value("status").unwrap_or_default(),
        server: line_of("server"),
        location: line_of("answered by"),
        file: value("file"),
    }
}

/// What the server's answer says, as far as there is something to compare.
fn done(bytes: &[u8], told: &Course) -> Course {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        let status = "none: the connection is closed".to_owned();
        return Course { status, ..told.clone() };
    };
    let answer = Answer::parse_head(&bytes[..end]);
    let field = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    Course {
        status: answer.status.to_string(),
        server: field("X-Server"),
        location: field("X-Location"),
        file: told.file.as_ref().and(answer.header("X-File")).map(str::to_owned),
    }
}

/// What may stand in a location, after its header.
const LOCATIONS: &[(&str, &str)] = &[
    ("/", "try_files $uri $uri/ /index.html;"),
    ("/", "try_files $uri =404;"),
    ("/", ""),
    ("/a/", ""),
    ("^~ /a/", "expires 1h;"),
    ("= /a/x.txt", "return 200 exact;"),
    ("~ [.]html$", ""),
    ("~* [.](txt|gif)$", "satisfy any; deny all; auth_basic x; auth_basic_user_file {dir}/users;"),
    ("/b/", "alias {dir}/html/a/;"),
    ("/b", "alias {dir}/html/a;"),
    ("/d/", "deny all;"),
    ("/d/", "allow 127.0.0.1; deny all; return 200 d;"),
    ("/p/", "alias {dir}/html/a/; auth_basic x; auth_basic_user_file {dir}/users;"),
    ("/r/", "rewrite ^/r/(.*)$ /a/$1 last; return 410;"),
    ("/r/", "rewrite ^/r/(.*)$ /a/$1 break;"),
    ("/r/", "rewrite ^/r/(.*)$ /a/$1 permanent;"),
    ("/s/", "set $where /b/; rewrite ^/s/(.*)$ $where$1; return 302 $uri;"),
    ("/i/", "internal;"),
    ("/i/", "if ($arg_x) { return 402; } if ($arg_y = 2) { break; }"),
    ("/l", "rewrite ^ /l last;"),
    ("/m/", "alias {dir}/html/a/; limit_except GET { deny all; }"),
    ("/o/", "alias {dir}/html/; autoindex on;"),
    ("/e", "empty_gif;"),
    ("/q/", "auth_request /a/x.txt; alias {dir}/html/a/;"),
    ("/q/", "auth_request /missing; alias {dir}/html/a/;"),
    ("/t/", "try_files /a/x.txt /b/;"),
    ("/t/", "try_files $uri @named;"),
    ("/u/", "index missing.html y.html /index.html; alias {dir}/html/b/;"),
];

/// What may stand in a server.
const STEPS: &[&str] = &[
    "",
    "",
    "error_page 404 /index.html;",
    "error_page 404 = @named;",
    "error_page 403 404 =200 /a/x.txt;",
    "error_page 401 402 403 /missing.html; recursive_error_pages on;",
    "rewrite ^/old/(.*)$ /$1;",
    "if ($http_x_old) { rewrite ^ /b/y.html last; }",
    "if ($request_method = PUT) { return 405; }",
    "if ($arg_x = 9) { return 444; }",
    "merge_slashes off;",
    "index y.html index.html;",
];

const NAMES: &[&str] =
    &["a.example", "*.example", "b.*", "~^c[0-9]+[.]example$", "\"\"", ".d.example a.d.example"];

/// A configuration whose answers tell by which lines they came about.
fn configuration(dice: &mut Dice) -> String {
    // Where the harness puts the content of its `http` block.
    let mut lines = vec![String::new()];
    for _ in 0..=dice.below(3) {
        let server = lines.len() + FIRST;
        lines.push("server {".to_owned());
        lines.push("listen 127.0.0.1:{port};".to_owned());
        lines.push(format!("server_name {};", dice.pick(NAMES)));
        lines.push("root {dir}/html;".to_owned());
        lines.push(marks(server, server));
        let half = STEPS.len() / 2;
        lines.push(dice.pick(&STEPS[..half]).to_owned());
        lines.push(dice.pick(&STEPS[half..]).to_owned());
        let mut used: Vec<&str> = Vec::new();
        for _ in 0..=dice.below(8) {
            let (header, content) = LOCATIONS[dice.below(LOCATIONS.len())];
            let name = header.trim_start_matches("^~ ");
            if used.contains(&name) {
                continue;
            }
            used.push(name);
            let content = content
                .replace("{ break; }", &format!("{{ {} }}", marks(server, lines.len() + FIRST)));
            lines.push(format!(
                "location {header} {{ {} {content} }}",
                marks(server, lines.len() + FIRST)
            ));
        }
        let named = lines.len() + FIRST;
        lines.push(format!("location @named {{ {} return 200 named; }}", marks(server, named)));
        lines.push("}".to_owned());
    }
    lines.join("\n")
}

/// The line of the file on which the first line of the content stands.
const FIRST: usize = 8;

fn marks(server: usize, location: usize) -> String {
    format!(
        "add_header X-Server {server} always; add_header X-Location {location} always; \
         add_header X-File $request_filename always;"
    )
}

struct Asked {
    method: &'static str,
    host: &'static str,
    uri: String,
    fields: Vec<&'static str>,
}

fn request(dice: &mut Dice) -> Asked {
    let folders =
        ["/", "/a/", "/b/", "/d/", "/p/", "/r/", "/s/", "/i/", "/m/", "/o/", "/q/", "/t/", "/u/"];
    let names =
        ["", "x.txt", "y.html", "index.html", "missing", "a", "%41.txt", "../a/x.txt", "/x.txt"];
    let whole = ["/l", "/e", "/a", "/old/a/x.txt", "/old/b/y.html", "/b.html", "/A/X.TXT"];
    let mut uri = match dice.one_in(6) {
        true => dice.pick(&whole).to_owned(),
        false => format!("{}{}", dice.pick(&folders), dice.pick(&names)),
    };
    if dice.one_in(4) {
        uri += dice.pick(&["?x=1", "?y=2", "?x=9", "?"]);
    }
    let mut fields = Vec::new();
    for field in [
        "X-Old: 1",
        "Authorization: Basic YW5uOm9uZQ==",
        "If-None-Match: *",
        "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
        "Range: bytes=0-1",
        "Range: bytes=900-",
    ] {
        if dice.one_in(8) {
            fields.push(field);
        }
    }
    let hosts =
        ["a.example", "x.example", "b.test", "c7.example", "d.example", "a.d.example", "other"];
    let method = dice.pick(&["GET", "GET", "GET", "HEAD", "POST", "PUT"]);
    Asked { method, host: dice.pick(&hosts), uri, fields }
}

fn files(setup: Setup) -> Setup {
    setup
        .file("users", "ann:{PLAIN}one\n")
        .file("html/index.html", "home")
        .file("html/a/x.txt", "x marks the spot")
        .file("html/a/index.html", "a")
        .file("html/b/y.html", "y")
        .file("html/d/x.txt", "d")
        .file("html/old/x.txt", "old")
}
