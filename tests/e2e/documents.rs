//! What the documents show is so: each snippet is taken out of them and tried.

use daemun_tests::{Output, Setup};

const DOCUMENTS: [(&str, &str); 4] = [
    ("README.md", include_str!("../../README.md")),
    ("ARCHITECTURE.md", include_str!("../../ARCHITECTURE.md")),
    ("CONTRIBUTING.md", include_str!("../../CONTRIBUTING.md")),
    ("docs/operating.md", include_str!("../../docs/operating.md")),
];

/// The blocks of a language, each with its document.
fn snippets(language: &str) -> Vec<(&'static str, &'static str)> {
    let fence = format!("```{language}\n");
    let mut found = Vec::new();
    for (name, text) in DOCUMENTS {
        let parts = text.split(fence.as_str()).skip(1);
        found.extend(parts.map(|part| (name, part.split("```").next().unwrap())));
    }
    found
}

/// Directives and blocks of the outermost level, without comments.
fn statements(snippet: &str) -> Vec<String> {
    let (mut found, mut one, mut depth, mut quote) = (Vec::new(), String::new(), 0, None);
    let lines = snippet.lines().map(|line| line.split(" # ").next().unwrap_or(line));
    let lines = lines.map(|line| line.split("  #").next().unwrap_or(line));
    for letter in lines.flat_map(|line| line.chars().chain(['\n'])) {
        one.push(letter);
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '{') => depth += 1,
            (None, '}') => depth -= 1,
            _ => {}
        }
        if quote.is_none() && depth == 0 && matches!(letter, ';' | '}') {
            found.push(std::mem::take(&mut one).trim().to_owned());
        }
    }
    assert_eq!(one.trim(), "", "{snippet}");
    found
}

/// A whole configuration with each statement at its level.
fn configuration(snippet: &str) -> String {
    let (mut main, mut http, mut server) = (String::new(), String::new(), String::new());
    for statement in statements(snippet) {
        let name = statement.split([' ', '{', ';']).next().unwrap();
        let level = match name {
            "events" | "http" | "mpm" | "thread_pool" | "user" | "worker_processes" => &mut main,
            "upstream" | "match" | "map" | "geo" | "resolver" | "server" | "proxy_cache_path"
            | "limit_req_zone" | "limit_conn_zone" => &mut http,
            _ => &mut server,
        };
        level.push_str(&statement);
        level.push('\n');
    }
    if !main.contains("events {") {
        main.push_str("events { }\n");
    }
    if !main.contains("http {") {
        main.push_str(&format!(
            "http {{ access_log off; {http} server {{ listen 127.0.0.1:{{port}}; {server} }} }}"
        ));
    }
    format!("pid {{dir}}/server.pid; {main}")
}

#[test]
fn configurations_load() {
    let setup = Setup::new()
        .file("fastcgi.conf", include_str!("../../conf/fastcgi.conf"))
        .file("fastcgi_params", include_str!("../../conf/fastcgi_params"))
        .identity_of("localhost")
        .with_any_engine();
    let shown = include_str!("../../README.md");
    assert!(
        shown.contains(include_str!("../../conf/https.conf")),
        "the file is the one that is shown"
    );
    let snippets = snippets("nginx");
    assert!(snippets.len() >= 5, "{}", snippets.len());
    for (document, snippet) in snippets {
        // Names of hosts are looked up; ports below 1024 are root's.
        let text = configuration(snippet)
            .replace("app.example.com:8080 resolve", "127.0.0.1:8080")
            .replace("/tmp/cert.pem", "{dir}/localhost.crt")
            .replace("/tmp/key.pem", "{dir}/localhost.key")
            .replace("/run/php/php-fpm.sock", "/nowhere/php-fpm.sock");
        let output = setup.run(&text, &["-t"]);
        assert_eq!(output.code, Some(0), "{document}:\n{snippet}\n{}", output.stderr);
    }
}

#[test]
fn commands_are_there() {
    let programs: Vec<String> = std::fs::read_dir("../bench/src/bin")
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let xtask = include_str!("../../xtask/src/main.rs");
    let mut words = 0;
    let table =
        DOCUMENTS.iter().flat_map(|(name, text)| text.split('`').map(move |part| (*name, part)));
    let lines = snippets("sh")
        .into_iter()
        .flat_map(|(name, text)| text.lines().map(move |line| (name, line)));
    for (document, line) in lines.chain(table) {
        let line = line.split(" #").next().unwrap_or(line).trim();
        if let Some(name) = line.split("--bin ").nth(1) {
            let name = name.split_whitespace().next().unwrap();
            assert!(programs.iter().any(|program| program == name), "{document}: {line}");
            words += 1;
        }
        if let Some(name) = line.strip_prefix("cargo xtask ") {
            let name = name.split_whitespace().next().unwrap();
            assert!(xtask.contains(&format!("\"{name}\"")), "{document}: {line}");
            words += 1;
        }
    }
    assert!(words > 10, "{words}");
}

/// The options that the documents show are known, and `daemun mpm` has its words.
#[test]
fn options_are_known() {
    let setup = Setup::new();
    for (document, snippet) in snippets("sh") {
        for line in snippet.lines() {
            let line = line.split(" #").next().unwrap_or(line);
            let Some(rest) = line.trim().strip_prefix("daemun ") else { continue };
            let mut words = rest.split_whitespace().filter(|word| word.starts_with('-'));
            let known = words.all(|word| {
                let plain = word.split('=').next().unwrap();
                matches!(plain, "-t" | "-q" | "-H" | "-V" | "--lint" | "--explain" | "--apply")
            });
            assert!(known, "{document}: {line}");
        }
    }
    let text = "events { } http { access_log off; server { listen 127.0.0.1:{port}; } }";
    let story = "GET http://example.com/a/b?c";
    let options = ["-t", "-q", "--explain", story, "-H", "Authorization: Basic YTpi"];
    assert_eq!(setup.run(text, &options).code, Some(0));
    for format in ["--lint", "--lint=json", "--lint=sarif"] {
        assert_eq!(setup.run(text, &["-t", format]).code, Some(0), "{format}");
    }
}

/// What README shows of a mistake is what is said.
#[test]
fn the_console_says_what_is_shown() {
    let [(document, shown)] = snippets("console")[..] else { panic!("one conversation") };
    let (command, told) = shown.split_once('\n').unwrap();
    let text = command.split('\'').nth(1).unwrap().replace("\\n", "\n");
    let setup = Setup::new().file("typo.conf", text);
    let program = setup.command(&[]).get_program().to_owned();
    let path = setup.folder.path("typo.conf");
    let output = Output::of(std::process::Command::new(program).arg("-t").arg("-c").arg(&path));
    let told = told.replace("/tmp/typo.conf", path.to_str().unwrap());
    assert!(output.stderr.ends_with(&told), "{document}: {}", output.stderr);
}
