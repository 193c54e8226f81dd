//! The command line, and what it says about configurations.

use daemun_tests::Setup;

#[test]
fn every_mistake_is_told_at_once() {
    let setup = Setup::new();
    let output = setup.run(
        "events { }
http {
    server {
        listn 80;
        listen 127.0.0.1:99999;
        grpc_pass grpc://a;
        root;
        nonsense_of_mine on;
    }
}
",
        &["-t"],
    );
    assert_eq!(output.code, Some(1));
    for part in [
        "unknown directive \"listn\" in ",
        "server.conf:4\n 4 |         listn 80;\n   |         ^^^^^",
        "did you mean \"listen\"?",
        "invalid port in \"127.0.0.1:99999\" of the \"listen\" directive in ",
        "nginx has it, in http_grpc_module; daemun does not support it yet",
        "invalid number of arguments in \"root\" directive in ",
        "unknown directive \"nonsense_of_mine\"",
        "server.conf test failed",
    ] {
        assert!(output.stderr.contains(part), "{part:?} in:\n{}", output.stderr);
    }
}

#[test]
fn a_good_configuration_passes_and_nothing_is_made() {
    let setup = Setup::new();
    let configuration = "
        pid {dir}/made.pid;
        error_log {dir}/made.log;
        events { }
        http { access_log {dir}/made-access.log; server { listen 127.0.0.1:{port}; } }";
    let output = setup.run(configuration, &["-t"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stderr.contains("syntax is ok\n"), "{}", output.stderr);
    assert!(output.stderr.contains("test is successful\n"));
    for file in ["made.pid", "made.log", "made-access.log"] {
        assert!(!setup.folder.path(file).exists(), "{file}");
    }
    let quiet = setup.run(configuration, &["-t", "-q"]);
    assert_eq!((quiet.code, &*quiet.stderr), (Some(0), ""));
}

#[test]
fn included_files_are_read_and_dumped() {
    let setup = Setup::new();
    for site in ["one", "two"] {
        let text = format!("server {{ listen 127.0.0.1:{{port}}; server_name {site}; }}");
        setup.folder.write(&format!("sites/{site}.conf"), setup.filled(&text));
    }
    setup.folder.write("events.conf", "events { }");
    let output =
        setup.run("include events.conf; http { access_log off; include sites/*.conf; }", &["-T"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    for part in [
        "# configuration file ",
        "/server.conf:\n",
        "include events.conf; http {",
        "/sites/one.conf:\nserver { listen 127.0.0.1:",
        "/sites/two.conf:\n",
    ] {
        assert!(output.stdout.contains(part), "{part:?} in:\n{}", output.stdout);
    }
}

#[test]
fn directives_can_come_from_the_command_line() {
    let setup = Setup::new();
    let good = setup.run("events { } ", &["-t", "-g", "worker_processes 3;"]);
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    let bad = setup.run("events { } ", &["-t", "-g", "worker_processes many;"]);
    assert_eq!(bad.code, Some(1));
    assert!(bad.stderr.contains("invalid value in command line"), "{}", bad.stderr);
}

#[test]
fn what_the_system_has_not_is_ignored_with_a_warning() {
    let conf = "events { } http { access_log off; proxy_send_lowat 100; }";
    let output = Setup::new().run(conf, &["-t"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let warning = "[warn] \"proxy_send_lowat\" is not supported, ignored in ";
    assert!(output.stderr.contains(warning), "{}", output.stderr);
}

#[test]
fn an_address_of_another_machine_is_found() {
    let output = Setup::new()
        .run("events { } http { access_log off; server { listen 192.0.2.1:8080; } }", &["-t"]);
    assert_eq!(output.code, Some(1));
    let sentence = "bind() to 192.0.2.1:8080 failed (99: Cannot assign requested address)";
    assert!(output.stderr.contains(sentence), "{}", output.stderr);
}

#[test]
fn versions_speak_nginx_to_those_who_ask_nginx() {
    let setup = Setup::new().called("nginx");
    let short = setup.run("", &["-v"]);
    let line = concat!("nginx version: nginx/1.31.5 (daemun/", env!("CARGO_PKG_VERSION"), ")\n");
    assert_eq!((short.code, &*short.stderr), (Some(0), line));
    let long = setup.run("", &["-V"]);
    let arguments = long.stderr.lines().find(|line| line.starts_with("configure arguments: "));
    let arguments = arguments.expect("a line that suites parse");
    assert!(arguments.contains(" --with-debug"), "{arguments}");
    assert!(arguments.contains(" --with-http_stub_status_module"), "{arguments}");
    assert!(arguments.contains(" --without-http_grpc_module"), "{arguments}");
    assert!(!arguments.contains("--without-http_autoindex_module"), "{arguments}");
    assert!(!arguments.contains("--without-http_rewrite_module"), "{arguments}");
    let wrong = setup.run("", &["-x"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("invalid option: \"x\""), "{}", wrong.stderr);
}

#[test]
fn tls_without_a_tls_listener_is_noted() {
    let output = Setup::new().run(
        "events { } http { access_log off; ssl_protocols TLSv1.3; server { listen 127.0.0.1:{port}; } }",
        &["-t"],
    );
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stderr.contains("ssl_protocols"), "{}", output.stderr);
}

#[test]
fn what_a_missing_semicolon_brings_about_is_not_told() {
    let configuration = "events { }
http {
    server {
        root a
        index b
    }
}
";
    let output = Setup::new().run(configuration, &["-t"]);
    assert_eq!(output.code, Some(1));
    let (first, rest) = output.stderr.split_once('\n').unwrap();
    assert!(first.contains("[emerg] unexpected \"}\" in ") && first.ends_with(":6"), "{first}");
    assert!(!rest.contains("[emerg]"), "{rest}");
}

#[test]
fn alias_has_no_place_in_a_named_location() {
    let configuration = "events { }
http { server { location @a { alias /a/; } } }";
    let output = Setup::new().run(configuration, &["-t"]);
    let sentence = "[emerg] the \"alias\" directive cannot be used inside the named location in ";
    assert!(output.stderr.contains(sentence), "{}", output.stderr);
}
