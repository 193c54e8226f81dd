//! Groups of servers: who is asked, and who is asked next.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use daemun_tests::{Client, Server, Setup, children, eventually, is_running, signals};

/// Three servers on UNIX sockets that say who they are, and a group of them with these lines.
fn group(lines: &str) -> String {
    with_front(lines, "location / { proxy_pass http://u; }")
}

fn with_front(lines: &str, front: &str) -> String {
    let behind = |name: &str| {
        format!("server {{ listen unix:{{dir}}/{name}; location / {{ return 200 {name}; }} }}\n")
    };
    format!(
        "upstream u {{ {lines} }}
         {}{}{}
         server {{ listen 127.0.0.1:{{port}}; {front} }}",
        behind("a"),
        behind("b"),
        behind("c")
    )
}

const THREE: &str = "server unix:{dir}/a; server unix:{dir}/b; server unix:{dir}/c;";

fn text(server: &Server, uri: &str) -> String {
    server.get(uri).text().to_owned()
}

fn answers(server: &Server, uri: &str, number: usize) -> String {
    (0..number).map(|_| text(server, uri)).collect()
}

#[test]
fn servers_take_turns_by_their_weight() {
    let lines = "server unix:{dir}/a weight=3; server unix:{dir}/b weight=2; server unix:{dir}/c;";
    let server = Server::http(&group(&format!("zone z 64k; {lines}")));
    assert_eq!(answers(&server, "/", 12), "abacbaabacba");
}

#[test]
fn a_zone_is_one_place_for_all_workers() {
    let main =
        "daemon off; worker_processes 4; pid {dir}/server.pid; error_log {dir}/error.log info;
        events { {events} }
        http { access_log off; client_body_temp_path {dir}/body; %% }";
    let lines = format!("zone z 64k; {THREE}");
    let server = Server::start(&main.replace("%%", &group(&lines)));
    // a connection each, so that any worker may be the one that asks
    assert_eq!(answers(&server, "/", 30), "abc".repeat(10));
}

#[test]
fn workers_that_are_killed_leave_a_zone_that_works() {
    let main =
        "daemon off; worker_processes 2; pid {dir}/server.pid; error_log {dir}/error.log info;
        events { {events} }
        http { access_log off; client_body_temp_path {dir}/body; %% }";
    // the servers are these workers too: one that dies with a request of another has not failed
    let lines = THREE.replace(';', " max_fails=0;");
    let lines = format!("zone z 64k; least_conn; {lines}");
    let mut server = Server::start(&main.replace("%%", &group(&lines)));
    server.expect("exited on signal 9");
    for _ in 0..5 {
        let workers = children(server.pid());
        for worker in &workers {
            // it may have ended, and been replaced
            let _ = signals::send(*worker, signals::SIGKILL);
        }
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let _ = client.rest();
        // until then they may take connections with them
        eventually("they are dead", || !workers.iter().any(|worker| is_running(*worker)));
    }
    let seen: HashSet<_> = (0..12).map(|_| text(&server, "/")).collect();
    assert_eq!(seen.len(), 3);
}

#[test]
fn servers_that_fail_are_left_alone_for_a_while() {
    let lines = "server unix:{dir}/none max_fails=2 fail_timeout=1h; server unix:{dir}/b;
                 server unix:{dir}/c backup;";
    let server = Server::http(&group(&format!("zone z 64k; {lines}")));
    assert_eq!(answers(&server, "/", 6), "bbbbbb");
    server.logs("upstream server temporarily disabled while connecting to upstream");
    assert_eq!(server.error_log().matches("connect() to unix:").count(), 2);
}

#[test]
fn without_a_live_server_the_answer_is_502() {
    let lines = "server unix:{dir}/none; server unix:{dir}/nobody; server unix:{dir}/c down;";
    let server = Server::http(&group(&format!("zone z 64k; {lines}")));
    assert_eq!(server.get("/").status, 502);
    assert_eq!(server.get("/").status, 502);
    server.logs("no live upstreams while connecting to upstream");
}

#[test]
fn backups_are_asked_last() {
    let lines = "server unix:{dir}/none; server unix:{dir}/c backup; server unix:{dir}/b down;";
    let server = Server::http(&group(lines));
    assert_eq!(answers(&server, "/", 3), "ccc");
}

#[test]
fn keys_and_clients_keep_their_server() {
    for method in
        ["hash $arg_k;", "hash $arg_k consistent;", "ip_hash;", "sticky route $arg_k $cookie_k;"]
    {
        let lines = format!(
            "{method} server unix:{{dir}}/a route=a; server unix:{{dir}}/b route=b; server unix:{{dir}}/c;"
        );
        let server = Server::http(&group(&lines));
        let first = text(&server, "/?k=b");
        assert_eq!(answers(&server, "/?k=b", 5), first.repeat(5), "{method}");
        if method.starts_with("sticky") {
            assert_eq!(first, "b");
        }
    }
}

#[test]
fn every_method_reaches_every_server() {
    for method in [
        "least_conn;",
        "least_time header;",
        "least_time last_byte inflight;",
        "random;",
        "random two;",
        "random two least_conn;",
        "keepalive 4 local; keepalive_requests 3; keepalive_time 1m; keepalive_timeout 1m;",
    ] {
        let server = Server::http(&group(&format!("zone z 64k; {method} {THREE}")));
        let seen: HashSet<_> = (0..60).map(|_| text(&server, "/")).collect();
        assert_eq!(seen.len(), 3, "{method}");
    }
}

#[test]
fn a_cookie_binds_a_client_to_its_server() {
    let lines = "zone z 64k;
        server unix:{dir}/a route=a; server unix:{dir}/b; server unix:{dir}/c drain route=c;
        sticky cookie srv expires=1h domain=$host path=/p httponly secure samesite=lax;";
    let server = Server::http(&group(lines));
    let cookie = |uri: &str, fields: &[&str]| {
        let answer = server.get_with(uri, fields);
        (answer.text().to_owned(), answer.header("Set-Cookie").unwrap().to_owned())
    };
    let (first, told) = cookie("/", &[]);
    assert_eq!(first, "a");
    assert!(told.starts_with("srv=a; expires="), "{told}");
    assert!(
        told.ends_with("; max-age=3600; domain=localhost; httponly; secure; samesite=lax; path=/p"),
        "{told}"
    );
    let (second, told) = cookie("/", &[]);
    assert_eq!(second, "b");
    let value = told.split(';').next().unwrap();
    assert_eq!(value.len(), "srv=".len() + 32, "the hash of the address: {value}");
    for _ in 0..4 {
        assert_eq!(cookie("/", &[&format!("Cookie: {value}")]).0, "b");
    }
    assert_eq!(cookie("/", &["Cookie: srv=c"]).0, "c", "it drains, and takes what is its own");
}

#[test]
fn sessions_are_learned_and_survive_a_reload() {
    let behind = |name: &str| {
        format!(
            "server {{ listen unix:{{dir}}/{name}; location / {{
                add_header Set-Cookie session=$arg_s; return 200 {name}; }} }}\n"
        )
    };
    let configuration = format!(
        "upstream u {{ zone z 64k; server unix:{{dir}}/a; server unix:{{dir}}/b;
            sticky learn create=$upstream_cookie_session lookup=$cookie_session zone=s:64k timeout=1h header; }}
         {}{}
         server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://u; }} }}",
        behind("a"),
        behind("b")
    );
    let server = Server::http(&configuration);
    let first = text(&server, "/?s=one");
    let with_cookie = || server.get_with("/?s=", &["Cookie: session=one"]).text().to_owned();
    for _ in 0..4 {
        assert_eq!(with_cookie(), first);
    }
    assert_eq!(server.run(&["-s", "reload"]).code, Some(0));
    for _ in 0..4 {
        assert_eq!(with_cookie(), first);
    }
}

#[test]
fn requests_wait_in_the_queue_for_a_server() {
    let server = Setup::new().mpm("").http(
        "upstream u { zone z 64k; server 127.0.0.1:{port2} max_conns=1; queue 1 timeout=30s; }
         server {
             listen 127.0.0.1:{port};
             location / { proxy_pass http://u; }
             location /status { stub_status; }
         }",
    );
    let behind = TcpListener::bind(("127.0.0.1", server.port2())).unwrap();
    let ask = || {
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client
    };
    let mut first = ask();
    let mut asked_first = Client::over(behind.accept().unwrap().0);
    let mut waits = ask();
    eventually("two requests are under way", || {
        server.get("/status").text().contains("Writing: 3")
    });
    assert_eq!(ask().answer().status, 502, "one waits, and there is no room for another");

    let answer = |client: &mut Client, text: &str| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n";
        client.send(format!("{head}{text}"));
    };
    answer(&mut asked_first, "1");
    assert_eq!(first.answer().text(), "1");
    answer(&mut Client::over(behind.accept().unwrap().0), "2");
    assert_eq!(waits.answer().text(), "2");
}

/// Two servers that are sick as long as a file of their name with `.sick` stands.
fn checked(check: &str, blocks: &str) -> String {
    let behind = |name: &str| {
        format!(
            "server {{
                listen unix:{{dir}}/{name};
                access_log {{dir}}/{name}.log;
                default_type text/plain;
                location / {{ access_log off; return 200 {name}; }}
                location /health {{
                    if (-f {{dir}}/{name}.sick) {{ return 500 sick; }}
                    return 204;
                }}
                location /words {{
                    if (-f {{dir}}/{name}.sick) {{ return 200 sick; }}
                    return 200 well;
                }}
            }}\n"
        )
    };
    format!(
        "upstream u {{ zone z 64k; server unix:{{dir}}/a slow_start=1ms; server unix:{{dir}}/b; }}
         {blocks} {}{}
         server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://u; {check} }} }}",
        behind("a"),
        behind("b")
    )
}

fn seen(server: &Server) -> HashSet<String> {
    (0..8).map(|_| text(server, "/")).collect()
}

fn set_of(names: &[&str]) -> HashSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn servers_that_are_unwell_get_no_requests() {
    for (check, blocks) in [
        ("health_check interval=20ms jitter=1ms uri=/health;", ""),
        (
            "health_check interval=20ms uri=/health keepalive_time=1m match=good;",
            "match good { status 204; }",
        ),
        (
            "health_check interval=20ms uri=/words match=good;",
            "match good { status 200-299; header Content-Type = text/plain; body ~ well; }",
        ),
        (
            "health_check interval=20ms uri=/health match=good;",
            "map $upstream_status $good { 204 1; } match good { require $good; }",
        ),
    ] {
        let server = Server::http(&checked(check, blocks));
        assert_eq!(seen(&server), set_of(&["a", "b"]), "{check}");
        server.folder().write("a.sick", "");
        eventually("a is found out", || seen(&server) == set_of(&["b"]));
        server.logs("peer is unhealthy while checking ");
        std::fs::remove_file(server.folder().path("a.sick")).unwrap();
        eventually("a is well again", || seen(&server) == set_of(&["a", "b"]));
        server.logs("peer is healthy, health check ");
    }
}

#[test]
fn a_mandatory_check_comes_before_all_requests() {
    let check = "health_check interval=20ms uri=/health mandatory fails=3 passes=2;";
    let setup = Setup::new().file("a.sick", "").file("b.sick", "");
    let server = setup.http(&checked(check, ""));
    assert_eq!(server.get("/").status, 502);
    std::fs::remove_file(server.folder().path("b.sick")).unwrap();
    eventually("b is well", || text(&server, "/") == "b");
    assert_eq!(seen(&server), set_of(&["b"]));
}

#[test]
fn a_server_without_a_listener_fails_every_kind_of_check() {
    for check in ["type=tcp", "mandatory persistent"] {
        let configuration = format!(
            "upstream u {{ zone z 64k; server unix:{{dir}}/none; server unix:{{dir}}/b; }}
             server {{ listen unix:{{dir}}/b; location / {{ return 200 b; }} }}
             server {{
                 listen 127.0.0.1:{{port}};
                 location / {{ proxy_pass http://u; health_check interval=20ms {check}; }}
             }}"
        );
        let server = Server::http(&configuration);
        server.logs(
            "peer is unhealthy while connecting to upstream, health check \"\" of peer unix:",
        );
        let first = server.error_log().matches("upstream server temporarily disabled").count();
        eventually("b answers", || server.get("/").status == 200);
        assert_eq!(answers(&server, "/", 4), "bbbb");
        assert!(first <= 1);
    }
}

#[test]
fn one_process_checks_for_all() {
    let main =
        "daemon off; worker_processes 4; pid {dir}/server.pid; error_log {dir}/error.log info;
        events { {events} }
        http { access_log off; client_body_temp_path {dir}/body; %% }";
    let check = "health_check interval=1h uri=/health mandatory;";
    let server = Server::start(&main.replace("%%", &checked(check, "")));
    eventually("both are well", || seen(&server) == set_of(&["a", "b"]));
    assert_eq!(server.folder().read("a.log").lines().count(), 1);
    assert_eq!(server.folder().read("b.log").lines().count(), 1);
}

#[test]
fn another_process_checks_once_the_one_that_did_is_dead() {
    let main =
        "daemon off; worker_processes 2; pid {dir}/server.pid; error_log {dir}/error.log info;
        events { {events} }
        http { access_log off; client_body_temp_path {dir}/body; %% }";
    let check = "health_check interval=20ms uri=/health mandatory;";
    let mut server = Server::start(&main.replace("%%", &checked(check, "")));
    server.expect("exited on signal 9");
    eventually("both are well", || seen(&server) == set_of(&["a", "b"]));
    let workers = children(server.pid());
    for worker in &workers {
        // it may have ended, and been replaced
        let _ = signals::send(*worker, signals::SIGKILL);
    }
    // until then they may take connections with them
    eventually("they are dead", || !workers.iter().any(|worker| is_running(*worker)));
    server.folder().write("a.sick", "");
    eventually("a is found out", || seen(&server) == set_of(&["b"]));
}

#[test]
fn checks_need_a_group_in_shared_memory() {
    let output = Setup::new().run(
        "events { }
http {
    upstream u { server 127.0.0.1; }
    match m { status 200; }
    server { location / { proxy_pass http://u; health_check match=n; } }
    server { location / { health_check; } }
    upstream v { zone v 64k; server 127.0.0.1; }
    server { location / { fastcgi_pass v; health_check; } location /tcp { fastcgi_pass v; health_check type=tcp; } }
}
",
        &["-t"],
    );
    for part in [
        "\"health_check\" requires upstream \"u\" to be in shared memory in ",
        "unknown match \"n\" in ",
        "\"health_check\" has no group of servers in this location in ",
        "\"health_check\" works with \"type=tcp\" alone in this location in ",
    ] {
        assert!(output.stderr.contains(part), "{part:?} in:\n{}", output.stderr);
    }
}

#[test]
fn servers_may_stand_in_a_file_of_their_own() {
    let setup = Setup::new().file("broken.conf", "server 127.0.0.1 weight=0;");
    let mut server = setup.http(&group("zone z 64k; state {dir}/servers.conf;"));
    server.expect("in state file");
    assert_eq!(server.get("/").status, 502, "there is no file yet");
    let lines = "server unix:{dir}/a weight=2;\nserver unix:{dir}/b;\n";
    server.folder().write("servers.conf", server.filled(lines));
    let old = children(server.pid());
    assert_eq!(server.run(&["-s", "reload"]).code, Some(0));
    eventually("nobody else serves", || !old.iter().any(|worker| is_running(*worker)));
    eventually("the new configuration serves", || server.get("/").status == 200);
    let six = answers(&server, "/", 6);
    assert_eq!((six.matches('a').count(), six.matches('b').count()), (4, 2), "{six}");

    server.configure_http(&group("zone z 64k; state {dir}/broken.conf;"));
    let output = server.run(&["-t"]);
    let sentence = "invalid server \"127.0.0.1\" in state file ";
    assert!(output.stderr.contains(sentence), "{}", output.stderr);
}

/// A name server that knows one name's addresses, which may change.
struct NameServer {
    port: u16,
    addresses: Arc<Mutex<Vec<Ipv4Addr>>>,
}

impl NameServer {
    fn start(addresses: &[[u8; 4]]) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let known: Vec<Ipv4Addr> = addresses.iter().map(|address| (*address).into()).collect();
        let known = Arc::new(Mutex::new(known));
        let addresses = Arc::clone(&known);
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                let answer = answer(&query[..length], &known.lock().unwrap());
                let _ = socket.send_to(&answer, client);
            }
        });
        NameServer { port, addresses }
    }

    fn change(&self, addresses: &[[u8; 4]]) {
        *self.addresses.lock().unwrap() =
            addresses.iter().map(|address| (*address).into()).collect();
    }
}

/// The answer to a query of one question, with addresses that hold for no time at all.
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap();
    let question = &query[12..12 + name + 5];
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

/// Requests until all of these have answered, and no other.
fn answered_by(server: &Server, expected: &[&str]) {
    eventually("the servers of the name answer", || {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for _ in 0..8 {
            *seen.entry(text(server, "/")).or_default() += 1;
        }
        let seen: HashSet<&str> = seen.keys().map(String::as_str).collect();
        assert!(seen.iter().all(|text| ["one", "two", "three"].contains(text)), "{seen:?}");
        seen == expected.iter().copied().collect()
    });
}

#[test]
fn names_are_looked_up_while_the_server_runs() {
    let names = NameServer::start(&[[127, 0, 0, 1]]);
    let configuration = "
        upstream u {
            zone z 64k;
            resolver 127.0.0.1:%% ipv6=off;
            resolver_timeout 1m;
            server backend.example:{port2} resolve;
        }
        server { listen 127.0.0.1:{port2}; return 200 one; }
        server { listen 127.0.0.2:{port2}; return 200 two; }
        server { listen 127.0.0.3:{port2}; return 200 three; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://u; } }"
        .replace("%%", &names.port.to_string());
    let server = Server::http(&configuration);
    assert_eq!(server.get("/").text(), "one", "the first request waits for the first answer");
    names.change(&[[127, 0, 0, 2], [127, 0, 0, 3]]);
    answered_by(&server, &["two", "three"]);
    assert_eq!(server.run(&["-s", "reload"]).code, Some(0));
    assert_ne!(server.get("/").text(), "one", "a reload forgets nothing");
    names.change(&[[127, 0, 0, 3]]);
    answered_by(&server, &["three"]);
    assert!(!server.error_log().contains("no live upstreams"));
}

#[test]
fn what_is_wrong_with_groups_is_told_at_the_test() {
    let output = Setup::new().run(
        "events { }
http {
    upstream u { server 127.0.0.1 slow_start=x; }
    upstream v { zone nosize; server 127.0.0.1; }
    upstream w { queue 0; server 127.0.0.1; }
    server { location / { proxy_pass http://no..name; } }
    server { location / { proxy_pass http://v:8080; } }
}
",
        &["-t"],
    );
    assert_eq!(output.code, Some(1));
    for part in [
        "invalid parameter \"slow_start=x\" in ",
        "zero size shared memory zone \"nosize\" in ",
        "host not found in upstream \"no..name\" in ",
        "upstream \"v\" may not have port 8080 in ",
    ] {
        assert!(output.stderr.contains(part), "{part:?} in:\n{}", output.stderr);
    }
}
