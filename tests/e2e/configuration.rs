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
        perl_require a;
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
        "nginx has it, in http_perl_module; daemun does not support it yet",
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
    assert!(!arguments.contains("--without-http_grpc_module"), "{arguments}");
    assert!(!arguments.contains("--without-http_autoindex_module"), "{arguments}");
    assert!(!arguments.contains("--without-http_rewrite_module"), "{arguments}");
    let wrong = setup.run("", &["-x"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("invalid option: \"x\""), "{}", wrong.stderr);
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

/// nginx's own: no configuration defines them, whatever way.
const FIXED: &str = "binary_remote_addr body_bytes_sent bytes_sent connection connection_requests connection_time \
    connections_active connections_reading connections_waiting connections_writing content_length content_type date_gmt \
    date_local document_root document_uri fastcgi_path_info fastcgi_script_name geoip_area_code geoip_city \
    geoip_city_continent_code geoip_city_country_code geoip_city_country_code3 geoip_city_country_name geoip_country_code \
    geoip_country_code3 geoip_country_name geoip_dma_code geoip_latitude geoip_longitude geoip_org geoip_postal_code \
    geoip_region geoip_region_name grpc_internal_trailers host hostname http2 http_cookie http_host http_referer \
    http_user_agent http_via http_x_forwarded_for https is_args is_request_port limit_conn_status limit_req_status msec \
    nginx_version pid pipe proxy_add_x_forwarded_for proxy_internal_body_length proxy_internal_chunked proxy_protocol_addr \
    proxy_protocol_port proxy_protocol_server_addr proxy_protocol_server_port query_string realip_remote_addr \
    realip_remote_port realpath_root remote_addr remote_port remote_user request request_body request_body_file \
    request_completion request_filename request_id request_length request_method request_port request_time request_uri \
    scheme secure_link sent_http_cache_control sent_http_connection sent_http_content_length sent_http_content_type \
    sent_http_keep_alive sent_http_last_modified sent_http_link sent_http_location sent_http_transfer_encoding server_addr \
    server_name server_port server_protocol status tcpinfo_rcv_space tcpinfo_rtt tcpinfo_rttvar tcpinfo_snd_cwnd \
    time_iso8601 time_local upstream_addr upstream_bytes_received upstream_bytes_sent upstream_cache_etag \
    upstream_cache_last_modified upstream_cache_status upstream_connect_time upstream_header_time \
    upstream_response_length upstream_response_time upstream_status uri URI Http_Host";

/// These may be anybody's.
const FREE: &str = "ancient_browser arg_ arg_a args cookie_ cookie_a http_ http_foo http_x is_args2 limit_rate memcached_key \
    mine modern_browser msie proxy_add_via proxy_host proxy_internal_x proxy_port proxy_protocol_tlv_ \
    proxy_protocol_tlv_a sent_http_ sent_http_foo sent_trailer_ sent_trailer_x ssl_cipher ssl_client_s_dn ssl_server_name \
    upstream_cookie_ upstream_cookie_a upstream_http_ upstream_http_location upstream_last_server_name \
    upstream_trailer_ upstream_trailer_x";

#[test]
fn variables_are_defined_where_nginx_lets_them() {
    // What stands in the http block, and in the server.
    type Form = fn(&str) -> [String; 2];
    let forms: [(&str, Form); 8] = [
        ("set", |name| ["".into(), format!("set ${name} 1;")]),
        ("auth_request_set", |name| ["".into(), format!("auth_request_set ${name} $uri;")]),
        ("location", |name| ["".into(), format!("location \"~^/{name}(?<{name}>a)$\" {{ }}")]),
        ("if", |name| ["".into(), format!("if ($uri ~ \"(?<{name}>a)\") {{ }}")]),
        ("server_name", |name| ["".into(), format!("server_name \"~^{name}(?<{name}>a)$\";")]),
        ("map", |name| [format!("map $uri ${name} {{ default 1; }}"), "".into()]),
        ("geo", |name| [format!("geo ${name} {{ default 1; }}"), "".into()]),
        ("split_clients", |name| [format!("split_clients $uri ${name} {{ * 1; }}"), "".into()]),
    ];
    let setup = Setup::new();
    for (form, directive) in forms {
        let all = FIXED.split_whitespace().chain(FREE.split_whitespace()).map(directive);
        let (http, server): (Vec<_>, Vec<_>) = all.map(|[http, server]| (http, server)).unzip();
        let output = setup.run(
            &format!(
                "events {{ }} http {{ {} server {{ listen 127.0.0.1:{{port}}; {} }} }}",
                http.join("\n"),
                server.join("\n")
            ),
            &["-t"],
        );
        let mut refused: Vec<&str> = output
            .stderr
            .lines()
            .filter(|line| line.contains("[emerg]"))
            .filter_map(|line| line.split("the duplicate \"").nth(1)?.split('"').next())
            .collect();
        refused.sort_unstable();
        // Only the first of two spellings is where the name is defined.
        let mut fixed: Vec<&str> = FIXED.split_whitespace().collect();
        fixed.retain(|name| !matches!(*name, "URI" | "Http_Host"));
        fixed.sort_unstable();
        assert_eq!(refused, fixed, "{form}");
    }
    let spelt = setup.run("events { } http { server { set $URI 1; } }", &["-t"]);
    assert!(spelt.stderr.contains("the duplicate \"URI\" variable in "), "{}", spelt.stderr);
}

#[test]
fn addresses_may_have_leading_zeros() {
    let server = Setup::new().http(
        "geo $arg_a $near { 010.000.000.000/8 yes; default no; }
         geo $arg_a $range { ranges; 011.000.0.0-011.0.000.255 yes; default no; }
         server {
             listen 127.000.000.001:{port};
             set_real_ip_from 127.000.000.001;
             real_ip_header X-Forwarded-For;
             location /allowed { allow 127.000.000.002; deny all; return 200 $near$range; }
             location / { return 200 $remote_addr; }
         }",
    );
    let from = |address: &str| {
        server.get_with("/", &[&format!("X-Forwarded-For: {address}")]).text().to_owned()
    };
    assert_eq!(from("192.000.002.010"), "192.0.2.10");
    assert_eq!(from("192.0.2.010:80"), "192.0.2.10");
    assert_eq!(from("256.0.0.1"), "127.0.0.1");
    assert_eq!(server.get("/?").status, 200);
    for (asked, told) in [("010.08.0.1", "yesno"), ("011.0.0.0255", "noyes"), ("12.0.0.1", "nono")]
    {
        let uri = format!("/allowed?a={asked}");
        let answer = server.get_with(&uri, &["X-Forwarded-For: 127.0.0.2"]);
        // return goes before allow and deny.
        assert_eq!((answer.status, answer.text()), (200, told), "{asked}");
    }
}

/// What newcomers write, and what helps them.
#[test]
fn slips_are_told_with_what_helps() {
    let setup = Setup::new();
    for (server, helps) in [
        ("root /srv\n index a;", "help: a \";\" is missing after \"/srv\"?"),
        ("root /srv\n location / { }", "help: a \";\" is missing after \"/srv\"?"),
        ("location ~ ^/a{2}$ { }", "help: a pattern with { } has to stand in quotes"),
        ("location ~ ^/a{2,3} { }", "help: a pattern with { } has to stand in quotes"),
        ("rewrite ^/a{2,}$ /b;", "help: a pattern with { } has to stand in quotes"),
        ("return 200 $remote_adr;", "help: did you mean \"$remote_addr\"?"),
        ("set $mine 1; return 200 $mune;", "help: did you mean \"$mine\"?"),
        ("ssl on;", "\"ssl\" is a parameter of \"listen\""),
        ("DocumentRoot /a;", "help: this is Apache's; here it is root"),
        ("<Directory /a> } {", "sections of Apache's are blocks here"),
        ("<Directory /a>;", "a section of Apache's"),
        ("content_by_lua_block { }", "ngx_http_lua_module"),
        ("more_set_headers a;", "ngx_headers_more"),
        ("add_header X \u{201c}a b\u{201d};", "typographic quotes are no quotes here"),
        ("\u{feff}root a;", "a byte order mark stands before \"root\""),
    ] {
        let text = format!("events {{ }} http {{ server {{\n{server}\n}} }}");
        let output = setup.run(&text, &["-t"]);
        assert_eq!(output.code, Some(1), "{server}");
        assert!(output.stderr.contains(helps), "{server}:\n{}", output.stderr);
    }
    // One error, not one for each brace and quote of the program.
    let lua =
        "location / { access_by_lua_block {\n if a then t = { '}', [[\"]] } end -- }\n} root /a; }";
    let output =
        setup.run(&format!("events {{ }} http {{ server {{\n{lua}\n}} }}"), &["-t"]).stderr;
    assert_eq!(output.matches("[emerg]").count(), 1, "{output}");
    let module = setup.run("load_module modules/ngx_http_perl_module.so; events { }", &["-t"]);
    assert!(module.stderr.contains("daemun has no module http_perl_module"), "{}", module.stderr);
    let missing = Setup::new().command(&["-t"]).output().unwrap();
    let missing = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(missing.contains("failed (2: No such file") && !missing.contains("syntax is ok"));
}

#[test]
fn all_that_the_system_lacks_is_told_with_its_line() {
    let setup = Setup::new();
    let text = "events { }
pid /nowhere/pid;
http {
    access_log /nowhere/a.log;
    server { listen 127.0.0.1:{port}; error_log /nowhere/b.log; return 301 https://other$uri; }
    server { listen 192.0.2.1:{port}; }
    server { listen unix:/nowhere/socket; }
}
";
    let output = setup.run(text, &["-t"]);
    assert_eq!(output.code, Some(1));
    for (sentence, line) in [
        ("open() \"/nowhere/a.log\" failed (2: No such file or directory)", " 4 |"),
        ("open() \"/nowhere/b.log\" failed (2: No such file or directory)", " 5 |"),
        ("open() \"/nowhere/pid\" failed (2: No such file or directory)", " 2 |"),
        ("bind() to 192.0.2.1:", " 6 |"),
        ("bind() to unix:/nowhere/socket failed", " 7 |"),
    ] {
        let mut lines = output.stderr.lines().skip_while(|told| !told.contains(sentence));
        assert!(lines.next().is_some(), "{sentence} in:\n{}", output.stderr);
        assert!(lines.next().unwrap_or_default().starts_with(line), "{}", output.stderr);
    }
    // Whoever has neither the server's folders nor its addresses looks at the configuration all the same.
    let lint = setup.run(text, &["-t", "--lint=json"]);
    assert_eq!(lint.code, Some(2), "{}", lint.stderr);
    assert!(lint.stdout.contains("\"decoded-in-header\""), "{}", lint.stdout);
    let story = setup.run(text, &["-t", "--explain", "/a"]);
    assert_eq!(story.code, Some(0), "{}", story.stderr);
    assert!(story.stdout.contains("redirect     https://other/a\n"), "{}", story.stdout);
    let broken = text.replace("return 301", "retrun 301");
    for (format, told) in
        [("--lint=json", "\"code\": \"error\""), ("--lint=sarif", "\"level\": \"error\"")]
    {
        let output = setup.run(&broken, &["-t", format]);
        assert_eq!(output.code, Some(1));
        assert!(output.stdout.contains(told), "{}", output.stdout);
        assert!(output.stdout.contains("unknown directive \\\"retrun\\\""), "{}", output.stdout);
    }
}

#[test]
fn each_command_says_what_it_can_do() {
    let setup = Setup::new();
    let plain = |words: &[&str]| {
        let program = setup.command(&[]).get_program().to_owned();
        daemun_tests::Output::of(std::process::Command::new(program).args(words))
    };
    for (words, told) in [
        (&["--help"][..], "Usage: daemun "),
        (&["--version"], "daemun version: daemun/"),
        (&["mpm", "--help"], "Usage: daemun mpm "),
        (&["mpm", "set", "--help"], "Usage: daemun mpm "),
        (&["mpm", "-h"], "Usage: daemun mpm "),
    ] {
        let output = plain(words);
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{words:?}");
        assert!(output.stdout.contains(told), "{words:?}: {}", output.stdout);
    }
    assert_eq!(plain(&["-h"]).code, Some(0));
    assert!(plain(&["--nonsense"]).stderr.contains("invalid option: \"--nonsense\""));
}

#[test]
fn explanations_tell_where_a_request_goes_and_keep_to_their_lines() {
    let setup = Setup::new();
    let text = "events { } http { access_log off; upstream many { server 127.0.0.1:1; }
        server {
            listen 127.0.0.1:{port};
            location /a/ { proxy_pass http://127.0.0.1:9000/b/; }
            location /m/ { proxy_pass http://many; }
            location /u/ { proxy_pass http://unix:/s.sock:/v/; }
            location /f { fastcgi_pass 127.0.0.1:9001; }
            location /s { rewrite ^ /t; }
            location /t { return 200; }
        } }";
    for (uri, told) in [
        ("/a/x?y", "passed to    http://127.0.0.1:9000/b/x?y, which"),
        ("/m/x", "passed to    http://many/m/x, which"),
        ("/u/x", "passed to    http://unix:/s.sock:/v/x, which"),
        ("/f", "passed to    fastcgi://127.0.0.1:9001, which"),
        ("/n%0D%0Astatus%20%20%20%20%20200", "/n\\x0D\\x0Astatus     200"),
    ] {
        let output = setup.run(text, &["-t", "--explain", uri]);
        assert!(output.stdout.contains(told), "{uri}:\n{}{}", output.stdout, output.stderr);
        assert!(!output.stdout.contains("\nstatus     200"), "{}", output.stdout);
    }
    for field in ["none", "A B: c", ": c", "A: b\r\nC: d"] {
        let output = setup.run(text, &["-t", "--explain", "/s", "-H", field]);
        assert_eq!((output.code, &*output.stdout), (Some(1), ""), "{field}");
    }
}

#[test]
fn a_stale_pid_file_names_nobody_s_process() {
    let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let setup = Setup::new().file("server.pid", format!("{}\n", stranger.id()));
    let text = "pid {dir}/server.pid; events { } http { access_log off; server { listen 127.0.0.1:{port}; } }";
    for signal in ["reload", "reopen", "quit", "stop"] {
        let output = setup.run(text, &["-s", signal]);
        assert_eq!(output.code, Some(1), "{signal}");
    }
    let is_alive = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(is_alive);
}

#[test]
fn a_model_that_cannot_be_applied_is_not_written() {
    let setup = Setup::new();
    let text = "pid {dir}/server.pid;\nevents { }\n";
    setup.configure(text);
    let options = setup.command(&[]);
    let mut command = std::process::Command::new(options.get_program());
    command.args(["mpm", "set", "event", "--apply"]).args(options.get_args());
    let output = daemun_tests::Output::of(&mut command);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("nothing was changed: no server is running"),
        "{}",
        output.stderr
    );
    assert_eq!(setup.folder.read("server.conf"), setup.filled(text));
}
