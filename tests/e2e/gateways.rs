//! Applications behind FastCGI, SCGI and uwsgi, and values in memcached: with the real ones.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use daemun_tests::{Answer, Backend, Server, Setup};

/// PHP as README has it, at a socket of the test's own.
const PHP: &str = r"
    client_max_body_size 100m;
    fastcgi_temp_path {dir}/fastcgi;
    server {
        listen 127.0.0.1:{port};
        root {dir};
        location ~ \.php(/|$) {
            fastcgi_split_path_info ^(.+\.php)(/.*)$;
            fastcgi_param PATH_INFO $fastcgi_path_info;
            include conf/fastcgi.conf;
            fastcgi_pass unix:{dir}/php.sock;
            %%
        }
    }";

/// The server, and PHP behind it.
fn php(extra: &str) -> (Server, Backend) {
    let setup = with_conf(Setup::new());
    let backend = Backend::php(&setup.folder, 2);
    (setup.http(&PHP.replace("%%", extra)), backend)
}

/// The files that configurations include by custom.
fn with_conf(setup: Setup) -> Setup {
    setup
        .file(
            "conf/fastcgi.conf",
            include_str!("../../conf/fastcgi.conf")
                .replace("fastcgi_params;", "conf/fastcgi_params;"),
        )
        .file("conf/fastcgi_params", include_str!("../../conf/fastcgi_params"))
        .file("conf/scgi_params", include_str!("../../conf/scgi_params"))
        .file("conf/uwsgi_params", include_str!("../../conf/uwsgi_params"))
}

fn post(server: &Server, uri: &str, fields: &str, body: &[u8]) -> Answer {
    let mut client = server.client();
    let length = body.len();
    client.send(format!(
        "POST {uri} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{fields}\r\n"
    ));
    client.send(body);
    client.answer()
}

/// By the program of that name.
fn md5(bytes: &[u8]) -> String {
    let mut command = Command::new("md5sum");
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap();
    output.split(' ').next().unwrap().to_owned()
}

/// Bytes without a pattern that a mistake could hide behind.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn php_keeps_sessions_and_knows_its_request() {
    let (server, _php) = php("");
    let first = server.get("/app.php/session");
    assert_eq!((first.status, first.text()), (200, "1"));
    let cookie = first.header("Set-Cookie").expect("a session").split(';').next().unwrap();
    let cookie = format!("Cookie: {cookie}");
    for visit in 2..5 {
        assert_eq!(server.get_with("/app.php/session", &[&cookie]).text(), visit.to_string());
    }
    let told = server
        .get_with("/app.php/x/y?a=b", &["X-Several: 1", "Cookie: a", "x-several: 2", "Cookie: b"]);
    assert_eq!(
        told.text(),
        "SCRIPT_NAME=/app.php\nPATH_INFO=/x/y\nQUERY_STRING=a=b\nHTTP_HOST=localhost\n\
         HTTP_COOKIE=a; b\nHTTP_X_SEVERAL=1, 2\n"
    );
}

#[test]
fn the_quick_start_of_readme_works() {
    let configuration = include_str!("../../conf/php.conf");
    assert!(include_str!("../../README.md").contains(configuration));
    let setup = with_conf(Setup::new());
    let _php = Backend::php(&setup.folder, 1);
    setup.folder.write("index.php", "<?php echo 'from PHP';");
    let configuration = configuration
        .replace("8080", "{port}")
        .replace("/srv/www", "{dir}")
        .replace("/run/php/php-fpm.sock", "{dir}/php.sock")
        .replace("fastcgi.conf", "conf/fastcgi.conf");
    let server = setup.start(&format!(
        "daemon off; pid {{dir}}/server.pid; error_log {{dir}}/error.log;\n{configuration}"
    ));
    assert_eq!(server.get("/").text(), "from PHP");
    assert_eq!(server.get("/missing.php").status, 404);
}

#[test]
fn php_takes_and_gives_fifty_megabytes() {
    let (server, _php) = php("");
    let file = noise(50 << 20);
    let mut body =
        b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n".to_vec();
    body.extend_from_slice(&file);
    body.extend_from_slice(b"\r\n--x--\r\n");
    let kind = "Content-Type: multipart/form-data; boundary=x\r\n";
    let answer = post(&server, "/app.php/upload", kind, &body);
    assert_eq!(answer.text(), format!("{} {}", file.len(), md5(&file)));

    let download = server.get("/app.php/download");
    assert_eq!((download.status, download.body.len()), (200, 800 << 16));
    let expected = |part: usize| b'a' + (part % 26) as u8;
    let mut parts = download.body.chunks(1 << 16).enumerate();
    assert!(parts.all(|(part, chunk)| chunk.iter().all(|byte| *byte == expected(part))));
}

#[test]
fn what_php_complains_of_is_in_the_error_log() {
    let (server, _php) = php("fastcgi_catch_stderr \"getting late\"; fastcgi_intercept_errors on;");
    let failed = server.get("/app.php/fail");
    assert_eq!(failed.status, 500);
    server.logs("FastCGI sent in stderr: \"PHP message: PHP Fatal error:  Uncaught Exception: the till is empty");

    // a complaint that the configuration takes for a failure
    assert_eq!(server.get("/app.php/warn").status, 502);
    server.logs("FastCGI sent in stderr: \"PHP message: it is getting late\" while reading response header from upstream");
}

#[test]
fn a_slow_script_is_given_up() {
    let (server, _php) = php("fastcgi_read_timeout 300ms;");
    assert_eq!(server.get("/app.php/slow").status, 504);
    server.logs("upstream timed out (110: Connection timed out) while reading response header from upstream");
    server.logs(&server.filled("upstream: \"fastcgi://unix:{dir}/php.sock:\""));
}

#[test]
fn php_says_status_and_location() {
    let (server, _php) = php("");
    let away = server.get("/app.php/away");
    assert_eq!((away.status, away.header("Location")), (302, Some("/elsewhere")));
    assert_eq!(server.get("/app.php/teapot").line, "HTTP/1.1 418 I am a teapot");
    assert_eq!(server.request("HEAD", "/app.php/x", &[]).status, 200);
    let missing = server.get("/missing.php");
    assert_eq!((missing.status, missing.text()), (404, "File not found.\n"));
    assert_eq!(away.header("Status"), None);
}

#[test]
fn php_is_kept_connected() {
    // a connection that one worker keeps leaves this PHP deaf to others
    let setup = with_conf(Setup::new().mpm("mpm native;"));
    let _php = Backend::php(&setup.folder, 1);
    let server = setup.http(
        r"upstream php { server unix:{dir}/php.sock; keepalive 4; }
        server {
            listen 127.0.0.1:{port};
            root {dir};
            location / {
                include conf/fastcgi.conf;
                fastcgi_index app.php;
                fastcgi_split_path_info ^(.+[.]php)(/.*)$;
                fastcgi_param PATH_INFO $fastcgi_path_info;
                fastcgi_keep_conn on;
                fastcgi_pass php;
            }
        }",
    );
    for _ in 0..20 {
        let answer = server.get("/");
        assert!(answer.text().starts_with("SCRIPT_NAME=/app.php\n"), "{}", answer.text());
    }
    let answer = post(&server, "/app.php", "", &noise(100_000));
    assert_eq!(answer.status, 200);
    let sockets = || server.get("/app.php/sockets").text().to_owned();
    assert!(sockets().contains("socket:["), "{}", sockets());
    assert_eq!(sockets(), sockets());
}

#[test]
fn a_request_body_may_go_to_php_as_it_comes() {
    let (server, _php) = php("fastcgi_request_buffering off; fastcgi_buffering off;");
    let body = noise(3 << 20);
    assert_eq!(post(&server, "/app.php/body", "", &body).text(), md5(&body));
}

#[test]
fn python_answers_behind_uwsgi() {
    let setup = with_conf(Setup::new());
    let _python = Backend::uwsgi(&setup.folder);
    let server = setup.http(
        "server {
            listen 127.0.0.1:{port};
            client_max_body_size 10m;
            location / {
                include conf/uwsgi_params;
                uwsgi_modifier1 0;
                uwsgi_modifier2 0;
                uwsgi_pass uwsgi://unix:{dir}/uwsgi.sock;
                uwsgi_hide_header X-From;
            }
        }",
    );
    let told = server.get_with("/a%20b?c", &["X-Several: 1", "X-Several: 2"]);
    assert_eq!(
        told.text(),
        "REQUEST_METHOD=GET\nPATH_INFO=/a b\nQUERY_STRING=c\nHTTP_HOST=localhost\nHTTP_X_SEVERAL=1, 2\n"
    );
    assert_eq!((told.header("Content-Type"), told.header("X-From")), (Some("text/plain"), None));
    assert_eq!(server.get("/lost").line, "HTTP/1.1 404 Lost");
    let body = noise(2 << 20);
    assert_eq!(post(&server, "/body", "", &body).text(), md5(&body));
    // an application that fails before it says anything
    assert_eq!(server.get("/fail").status, 502);
    server
        .logs("upstream prematurely closed connection while reading response header from upstream");
}

#[test]
fn a_uwsgi_packet_has_a_largest_size() {
    let setup = Setup::new();
    let long = "x".repeat(4000);
    let mut server = setup.http(&format!(
        "large_client_header_buffers 20 8k;
        server {{
            listen 127.0.0.1:{{port}};
            location / {{
                uwsgi_param LONG {long};
                uwsgi_string \"abc\";
                uwsgi_pass unix:{{dir}}/nobody.sock;
            }}
        }}"
    ));
    server.expect("uwsgi request is too big");
    let field = format!("X: {}", "y".repeat(7000));
    let fields = vec![field.as_str(); 10];
    assert_eq!(server.get_with("/", &fields).status, 500);
    assert_eq!(server.get("/").status, 502);
}

#[test]
fn python_answers_behind_scgi() {
    let setup = with_conf(Setup::new());
    let _python = Backend::scgi(&setup.folder);
    let server = setup.http(
        "server {
            listen 127.0.0.1:{port};
            client_max_body_size 10m;
            set $socket scgi.sock;
            location / {
                include conf/scgi_params;
                scgi_param HTTP_X_HIDDEN \"\";
                scgi_pass unix:{dir}/$socket;
            }
            location /bare {
                scgi_param REQUEST_URI $uri;
                scgi_param EMPTY $arg_x if_not_empty;
                scgi_pass_request_headers off;
                scgi_pass_request_body off;
                scgi_pass unix:{dir}/scgi.sock;
            }
        }",
    );
    let told = server.get_with("/?q=1", &["X-Hidden: 1", "X-Shown: 2"]);
    assert!(told.text().contains("SCGI=1\n") && told.text().contains("QUERY_STRING=q=1\n"));
    assert!(told.text().contains("HTTP_X_SHOWN=2\n") && !told.text().contains("HIDDEN"));
    assert_eq!(
        server.get("/bare").text(),
        "CONTENT_LENGTH=0\nHTTP_HOST=localhost\nREQUEST_URI=/bare\n"
    );
    let away = server.get("/away");
    assert_eq!((away.status, away.header("Location")), (302, Some("/elsewhere")));
    let refused = server.get("/status");
    assert_eq!((&*refused.line, refused.text()), ("HTTP/1.1 403 Not for you", "no"));
    let made = server.get("/line");
    assert_eq!((&*made.line, made.text()), ("HTTP/1.1 201 Made", "made"));
    assert_eq!(server.get("/garbage").status, 502);
    server.logs("upstream sent invalid header: \"no\\x00...\"");
    let body = noise(2 << 20);
    assert_eq!(post(&server, "/body", "", &body).text(), md5(&body));
}

/// Talks to memcached as its clients do.
fn memcached(server: &Server, command: &[u8]) {
    let mut stream = UnixStream::connect(server.folder().path("memcached.sock")).unwrap();
    stream.write_all(command).unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"STORED\r\n");
}

#[test]
fn values_of_memcached_are_responses() {
    let setup = Setup::new();
    let _memcached = Backend::memcached(&setup.folder);
    let server = setup.http(
        "types { text/css css; }
        server {
            listen 127.0.0.1:{port};
            memcached_connect_timeout 1m;
            memcached_send_timeout 1m;
            memcached_read_timeout 1m;
            memcached_buffer_size 8k;
            memcached_socket_keepalive on;
            memcached_socket_rcvbuf 64k;
            memcached_socket_sndbuf 64k;
            memcached_bind 127.0.0.1;
            location / {
                set $memcached_key $uri;
                memcached_gzip_flag 2;
                memcached_next_upstream error timeout not_found;
                memcached_next_upstream_tries 2;
                memcached_next_upstream_timeout 1m;
                memcached_pass unix:{dir}/memcached.sock;
                error_page 404 502 = @made;
            }
            location /unset { memcached_pass unix:{dir}/memcached.sock; }
            location @made { return 200 \"made for $uri\"; }
        }",
    );
    memcached(&server, b"set /a.css 0 0 9\r\nbody{ }\r\n\r\n");
    memcached(&server, b"set /with%20space 0 0 5\r\nhello\r\n");
    memcached(&server, b"set /packed 2 0 3\r\ngz!\r\n");
    let big = [b"set /big 0 0 1000000\r\n", &noise(1_000_000)[..], b"\r\n"].concat();
    memcached(&server, &big);

    let css = server.get("/a.css");
    assert_eq!((css.header("Content-Type"), css.text()), (Some("text/css"), "body{ }\r\n"));
    assert_eq!(server.get("/with%20space").text(), "hello");
    assert_eq!(server.get("/packed").header("Content-Encoding"), Some("gzip"));
    assert_eq!(server.get("/big").body, noise(1_000_000));
    let range = server.get_with("/big", &["Range: bytes=999990-"]);
    assert_eq!((range.status, range.body), (206, noise(1_000_000)[999_990..].to_vec()));
    assert_eq!(server.get("/none").text(), "made for /none");
    server.logs("key: \"/none\" was not found by memcached");
    assert_eq!(server.request("POST", "/a.css", &[]).status, 405);
    assert_eq!(server.get("/unset").status, 500);
    server.logs("the \"$memcached_key\" variable is not set, client");
}

#[test]
fn a_folder_behind_an_application_has_a_slash_at_its_end() {
    let server = Server::http(
        "server {
            listen 127.0.0.1:{port};
            location /php/ { fastcgi_pass unix:{dir}/nobody.sock; }
            location /python/ { uwsgi_pass unix:{dir}/nobody.sock; }
            location /scgi/ { scgi_pass unix:{dir}/nobody.sock; }
            location /cache/ { set $memcached_key a; memcached_pass unix:{dir}/nobody.sock; }
        }",
    );
    for name in ["php", "python", "scgi", "cache"] {
        let answer = server.get(&format!("/{name}?a=b"));
        assert_eq!(answer.status, 301, "{name}");
        assert!(answer.header("Location").unwrap().ends_with(&format!("/{name}/?a=b")));
    }
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    let setup = Setup::new();
    let output = setup.run(
        "events { }
http {
    server {
        location /a { fastcgi_pass 127.0.0.1; }
        location /b { fastcgi_pass unix:/a; fastcgi_pass unix:/b; }
        location /c { scgi_pass 127.0.0.1:99999; scgi_param A b c; }
        location /d { fastcgi_split_path_info ^(.+)$; uwsgi_modifier1 256; }
        location /e { fastcgi_buffers 1 4k; uwsgi_next_upstream never; }
        location /f { memcached_pass unix:/a; }
        location /h { fastcgi_pass http://127.0.0.1:9000; }
        location /i { proxy_pass http://$host; proxy_redirect default; }
        location /j { proxy_redirect default; proxy_pass http://127.0.0.1; }
    }
}
",
        &["-t"],
    );
    assert_eq!(output.code, Some(1));
    for part in [
        "no port in upstream \"127.0.0.1\" in ",
        "\"fastcgi_pass\" directive is duplicate in ",
        "invalid port in upstream \"127.0.0.1:99999\" in ",
        "invalid parameter \"c\" in ",
        "pattern \"^(.+)$\" must have 2 captures in ",
        "value must be between 0 and 255 in ",
        "there must be at least 2 \"fastcgi_buffers\" in ",
        "invalid value \"never\" in ",
        "unknown \"memcached_key\" variable in ",
        "invalid host in upstream \"http://127.0.0.1:9000\" in ",
        "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables in ",
        "\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive in ",
    ] {
        assert!(output.stderr.contains(part), "{part:?} in:\n{}", output.stderr);
    }
}
