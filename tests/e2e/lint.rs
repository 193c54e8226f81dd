//! `-t --lint`: each rule's example request, sent to daemun and to Debian's nginx, shows what the rule warns of.

use std::process::Command;

use daemun_tests::{Answer, Output, Server, Setup, eventually};
use serde_json::Value;

const NGINX: &str = "/usr/sbin/nginx";

/// A rule, the content of an `http` block that it warns of, and how one tells its effect.
struct Case {
    code: &'static str,
    http: &'static str,
    shows: fn(&Answer, &Server) -> bool,
}

const CASES: &[Case] = &[
    Case {
        code: "alias-slash",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html; location /i { alias {dir}/i/; } }",
        shows: |answer, _| answer.text() == "above",
    },
    Case {
        code: "alias-slash",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html; location /i { alias {dir}/icons; } }",
        shows: |answer, _| answer.text() == "neighbour",
    },
    Case {
        code: "alias-slash",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html; location /i/ { alias {dir}/i; } }",
        shows: |answer, server| answer.status == 404 && server.folder().path("i/file.txt").exists(),
    },
    Case {
        code: "add-header-dropped",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html; add_header X-A a;
                   location / { add_header X-B b; } }",
        shows: |answer, _| answer.header("X-A").is_none() && answer.header("X-B") == Some("b"),
    },
    Case {
        code: "header-not-always",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html; add_header X-Frame-Options DENY; }",
        shows: |answer, _| answer.status == 404 && answer.header("X-Frame-Options").is_none(),
    },
    Case {
        code: "if-in-location",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html;
                   location = /a { try_files /index.html =404; if ($arg_long) { expires 1h; } } }",
        shows: |answer, _| answer.status == 404,
    },
    Case {
        code: "if-in-location",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html;
                   location / { if ($uri) { add_header X-A a; } # daemun-lint: allow if-in-location the other

                       if ($arg_b) { add_header X-B b; } } }",
        shows: |answer, _| answer.header("X-A").is_none() && answer.header("X-B") == Some("b"),
    },
    Case {
        code: "allow-without-deny",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html; location / { allow 192.0.2.1; } }",
        shows: |answer, _| answer.status == 200,
    },
    Case {
        code: "return-before-access",
        http: "server { listen 127.0.0.1:{port}; location / { deny all; return 200 secret; } }",
        shows: |answer, _| answer.text() == "secret",
    },
    Case {
        code: "decoded-in-header",
        http: "server { listen 127.0.0.1:{port}; return 301 https://other.example$uri; }",
        shows: |answer, _| is_injected(answer, "Location"),
    },
    Case {
        code: "decoded-in-header",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html;
                   location ~ ^/b/([^/]*)$ { add_header X-Part $1 always; return 204; } }",
        shows: |answer, _| is_injected(answer, "X-Part"),
    },
    Case {
        code: "decoded-in-header",
        http: "server { listen unix:{dir}/b.sock; return 200 $http_x_path|$http_x_injected; }
               server { listen 127.0.0.1:{port};
                   location / { proxy_set_header X-Path $uri; proxy_pass http://unix:{dir}/b.sock; } }",
        shows: |answer, _| {
            answer.text().ends_with("|yes") || answer.text().ends_with("xX-Injected: yes|")
        },
    },
    Case {
        code: "unanchored-pattern",
        http: r"server { listen 127.0.0.1:{port}; root {dir}/html;
                   if ($http_origin ~ example\.com) { return 200 welcome; } }",
        shows: |answer, _| answer.text() == "welcome",
    },
    Case {
        code: "unanchored-pattern",
        http: r"server { listen 127.0.0.1:{port}; root {dir}/html; valid_referers server_names ~\.example\.;
                   if ($invalid_referer) { return 403; } }",
        shows: |answer, _| answer.status == 200,
    },
    Case {
        code: "location-shadowed",
        http: "server { listen 127.0.0.1:{port}; location ~ ^/adm { return 200 pattern; }
                   location /admin/ { return 200 prefix; } }",
        shows: |answer, _| answer.text() == "pattern",
    },
    Case {
        code: "location-unreachable",
        http: "server { listen 127.0.0.1:{port}; return 200 server; location /a/ { return 200 location; } }",
        shows: |answer, _| answer.text() == "server",
    },
    Case {
        code: "location-unreachable",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html; location @lost { return 200 lost; } }",
        shows: |answer, _| answer.status == 404,
    },
    Case {
        code: "real-ip-from-everyone",
        http: "server { listen 127.0.0.1:{port}; set_real_ip_from 0.0.0.0/0; return 200 $remote_addr; }",
        shows: |answer, _| answer.text() == "192.0.2.1",
    },
    Case {
        code: "referers-none",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html; valid_referers none *.example.com;
                   if ($invalid_referer) { return 403; } }",
        shows: |answer, _| answer.status == 200,
    },
    Case {
        code: "no-default-server",
        http: "server { listen 127.0.0.1:{port}; server_name a.example; return 200 $server_name; }
               server { listen 127.0.0.1:{port}; server_name b.example; return 200 $server_name; }",
        shows: |answer, _| answer.text() == "a.example",
    },
    Case {
        code: "error-log-off",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html; error_log off; }",
        shows: |answer, server| {
            server.file_has("off", "no-such-file");
            answer.status == 404
        },
    },
    Case {
        code: "root-missing",
        http: "server { listen 127.0.0.1:{port}; location /i/ { root {dir}; } }",
        shows: |answer, server| {
            server.logs("/html/no-such-file\" failed");
            answer.status == 404
        },
    },
    Case {
        code: "runaway-pattern",
        http: "server { listen 127.0.0.1:{port}; root {dir}/html; location ~ ^/(a+)+(?!b)$ { } }",
        shows: |answer, _| answer.status == 500,
    },
    Case {
        code: "server-name-conflict",
        http: "server { listen 127.0.0.1:{port} default_server; server_name a.example; return 200 first; }
               server { listen 127.0.0.1:{port}; server_name A.example; return 200 second; }",
        shows: |answer, _| answer.text() == "first",
    },
    Case {
        code: "status-exposed",
        http: "server { listen {port}; location = /status { stub_status; } }",
        shows: |answer, _| answer.text().starts_with("Active connections"),
    },
    Case {
        code: "proxy-slash",
        http: "server { listen unix:{dir}/b.sock; return 200 $request_uri; }
               server { listen 127.0.0.1:{port}; location /api { proxy_pass http://unix:{dir}/b.sock:/; } }",
        shows: |answer, _| answer.text() == "//users",
    },
    Case {
        code: "proxy-decoded-path",
        http: "server { listen unix:{dir}/b.sock; return 200 $request_uri; }
               server { listen 127.0.0.1:{port}; location / { proxy_pass http://unix:{dir}/b.sock:$uri; } }",
        shows: |answer, _| answer.status == 400,
    },
    Case {
        code: "proxy-header-dropped",
        http: "server { listen unix:{dir}/b.sock; return 200 $http_x_a|$http_x_b; }
               server { listen 127.0.0.1:{port}; proxy_set_header X-A a;
                   location / { proxy_set_header X-B b; proxy_pass http://unix:{dir}/b.sock; } }",
        shows: |answer, _| answer.text() == "|b",
    },
    Case {
        code: "resolver-missing",
        http: "server { listen 127.0.0.1:{port}; set $app app.example; location / { proxy_pass http://$app; } }",
        shows: |answer, server| {
            server.logs("no resolver defined to resolve app.example");
            answer.status == 502
        },
    },
    Case {
        code: "address-from-request",
        http: "server { listen 127.0.0.1:{port}; resolver 127.0.0.1;
                   location / { proxy_pass http://$arg_to; } }",
        shows: |_, server| {
            server.logs("upstream: \"http://127.0.0.1:22");
            true
        },
    },
    Case {
        code: "http-host-passed",
        http: "server { listen unix:{dir}/b.sock; return 200 $host; }
               server { listen 127.0.0.1:{port};
                   location / { proxy_set_header Host $http_host; proxy_pass http://unix:{dir}/b.sock; } }",
        shows: |answer, _| answer.text() == "other.example",
    },
    Case {
        code: "php-file-unchecked",
        http: r"server { listen 127.0.0.1:{port}; root {dir}/html;
                    location ~ \.php$ { fastcgi_pass unix:{dir}/nobody.sock; } }",
        shows: |answer, server| {
            server.logs("upstream: \"fastcgi://unix:");
            answer.status == 502
        },
    },
    Case {
        code: "upgrade-headers",
        http: "server { listen unix:{dir}/b.sock; return 200 upgrade:$http_upgrade; }
               server { listen 127.0.0.1:{port};
                   location /ws/ { proxy_pass http://unix:{dir}/b.sock; } }",
        shows: |answer, _| answer.text() == "upgrade:",
    },
];

#[test]
fn examples_show_what_the_rules_warn_of() {
    for case in CASES {
        let example = example_of(case);
        for program in ["daemun", NGINX] {
            let mut server = setup().called(program).http(case.http);
            server.expect("pcre2_match() failed");
            let answer = ask(&server, &example);
            assert!(
                (case.shows)(&answer, &server),
                "{} on {program}: {example} {answer:?}",
                case.code
            );
        }
    }
}

/// Clients that say nothing take the descriptors, and the log tells when there are none left.
#[test]
fn connections_run_out_of_descriptors() {
    let text = "daemon off; pid {dir}/server.pid; error_log {dir}/error.log;
        worker_rlimit_nofile 40; events { worker_connections 80; }
        http { access_log off; client_body_temp_path {dir}/body;
            server { listen 127.0.0.1:{port}; root {dir}/html; } }";
    let output = setup().with_any_engine().run(text, &["-t", "--lint=json"]);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["findings"][0]["code"], "descriptor-limit", "{}", output.stdout);
    for program in ["daemun", NGINX] {
        let server = setup().called(program).with_any_engine().start(text);
        let _silent: Vec<_> = (0..60).map(|_| server.client()).collect();
        let mut last = server.client();
        last.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        eventually("the log tells", || {
            let log = server.error_log();
            log.contains("24: Too many open files")
                || log.contains("open files are in use")
                || log.contains("worker_connections are not enough")
        });
    }
}

#[test]
fn findings_are_told_in_three_forms() {
    let setup = setup();
    let text = "events { }
http {
    access_log off;
    server {
        listen 127.0.0.1:{port};
        root {dir}/html;
        location /i { alias {dir}/i/; }
    }
}
";
    let output = setup.run(text, &["-t", "--lint"]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    for part in [
        "daemun: [warn] location \"/i\" has no slash at its end, and its alias has one [alias-slash] in ",
        "/server.conf:7\n 7 |         location /i { alias ",
        "example: 'GET http://localhost:",
        "/i../secret.txt'\n",
        "1 finding\n",
    ] {
        assert!(output.stdout.contains(part), "{part:?} in:\n{}", output.stdout);
    }
    let sarif: Value =
        serde_json::from_str(&setup.run(text, &["-t", "--lint=sarif"]).stdout).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "alias-slash");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 7);
}

#[test]
fn a_test_says_that_there_is_more_to_see() {
    let text =
        "events { } http { access_log off; server { listen 127.0.0.1:{port}; error_log off; } }";
    let notice =
        "daemun: [notice] 1 line may mean something else than it seems: daemun -t --lint\n";
    let output = setup().run(text, &["-t"]);
    assert_eq!(output.code, Some(0));
    assert!(output.stderr.contains(notice), "{}", output.stderr);
    assert_eq!(setup().run(text, &["-t", "-q"]).stderr, "");
    let as_nginx = setup().called("nginx").run(text, &["-t"]);
    assert_eq!(as_nginx.stderr.lines().count(), 2, "{}", as_nginx.stderr);
    let good = setup()
        .run("events { } http { access_log off; server { listen 127.0.0.1:{port}; } }", &["-t"]);
    assert!(!good.stderr.contains("[notice]"), "{}", good.stderr);
}

/// A file as its package brought it; `None` where somebody has changed it since.
fn as_installed(path: &str) -> Option<String> {
    let sum = Output::of(Command::new("md5sum").arg(path)).stdout;
    let format = "--showformat=${Conffiles}\n";
    let sums = Output::of(Command::new("dpkg-query").args(["--show", format, "nginx-common"]));
    let is_as_it_was = sums.stdout.contains(&format!(" {path} {}", sum.split(' ').next()?));
    is_as_it_was.then(|| std::fs::read_to_string(path).unwrap())
}

/// Debian's, as installed, less the lines about TLS, with ports and places of the test's own.
#[test]
fn the_stock_configuration_has_no_findings() {
    let stock = as_installed("/etc/nginx/nginx.conf");
    let site = as_installed("/etc/nginx/sites-available/default");
    let (Some(stock), Some(site)) = (stock, site) else {
        eprintln!("nginx's configuration is not Debian's here, so nothing is shown");
        return;
    };
    let kept = |line: &&str| {
        !line.trim_start().starts_with("ssl_")
            && !["modules-enabled", "conf.d", "listen [::]"].iter().any(|part| line.contains(part))
    };
    let text = stock.replace("include /etc/nginx/sites-enabled/*;", &site);
    let lines = text.lines().filter(kept).map(|line| format!("{line}\n"));
    let text = lines.collect::<String>().replace("listen 80 ", "listen {port} ");
    let text = text.replace("/var/log/nginx/", "{dir}/").replace("/run/nginx.pid", "{dir}/pid");
    assert!(text.contains("listen {port} default_server;"), "{text}");
    let output = setup().run(&text, &["-t", "--lint=json"]);
    let report: Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr));
    assert_eq!(report["findings"], Value::Array(Vec::new()));
}

/// As a field of its own, as nginx sends it, or in the one where daemun drops the line break.
fn is_injected(answer: &Answer, name: &str) -> bool {
    let within = answer.header(name).is_some_and(|value| value.ends_with("xX-Injected: yes"));
    within || answer.header("X-Injected") == Some("yes")
}

fn setup() -> Setup {
    Setup::new()
        .file("html/index.html", "home")
        .file("html/x", "x")
        .file("secret.txt", "above")
        .file("i/file.txt", "file")
        .file("icons-old/secret.txt", "neighbour")
}

/// The example of the rule's first finding, which has to be the only rule with one.
fn example_of(case: &Case) -> Value {
    let http = format!("events {{ }} http {{ access_log off; {} }}", case.http);
    let output = setup().run(&http, &["-t", "--lint=json"]);
    let report: Value = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}\n{}", case.code, output.stderr));
    let findings = report["findings"].as_array().unwrap();
    assert!(!findings.is_empty(), "{}: no findings", case.code);
    for finding in findings {
        assert_eq!(finding["code"], case.code, "{}", output.stdout);
    }
    findings[0]["example"].clone()
}

fn ask(server: &Server, example: &Value) -> Answer {
    let host = example["host"].as_str().unwrap().split(':').next().unwrap();
    let uri = example["uri"].as_str().unwrap();
    let mut request = format!("GET {uri} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for field in example["headers"].as_array().unwrap() {
        request += &format!("{}\r\n", field.as_str().unwrap());
    }
    let mut client = server.client();
    client.send(request + "\r\n");
    client.answer()
}
