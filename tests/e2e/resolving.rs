//! Names that are resolved while the server runs.

use std::net::UdpSocket;
use std::thread;

use daemun_tests::Setup;

#[test]
fn a_resolver_has_name_servers_and_says_what_it_does_not_understand() {
    let setup = Setup::new();
    let output = setup.run(
        "events { }
http {
    server { resolver 127.0.0.1:99999; }
    server { resolver valid=30s; }
    server { resolver 127.0.0.1 valid=soon; }
    server { resolver 127.0.0.1 ipv4=off ipv6=off; }
    server { resolver 127.0.0.1; resolver [::1]:5353 ipv6=off valid=30s; }
    server { resolver_timeout never; }
    upstream backend { server 127.0.0.1; resolver :53; resolver_timeout 1m; }
}
",
        &["-t"],
    );
    assert_eq!(output.code, Some(1));
    for part in [
        "invalid port in resolver \"127.0.0.1:99999\" in ",
        "no name servers defined in ",
        "invalid parameter: valid=soon in ",
        "\"ipv4\" and \"ipv6\" cannot both be \"off\" in ",
        "\"resolver\" directive is duplicate in ",
        "\"resolver_timeout\" directive invalid value in ",
    ] {
        assert!(output.stderr.contains(part), "{part:?} in:\n{}", output.stderr);
    }
}

/// A name server for one name, whose address is the nth of 127.0.0.x at the nth question.
fn name_server(port: u16) {
    let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        let mut asked = 0;
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let mut response = query[..length].to_vec();
            let is_v4 = response[length - 3] == 1;
            let is_known = response.windows(4).any(|label| label == b"\x03app");
            response[2..4].copy_from_slice(if is_known { b"\x81\x80" } else { b"\x81\x83" });
            if is_known && is_v4 {
                asked += 1;
                response[7] = 1;
                // the name, A, IN, no second to live, four bytes
                response.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0");
                response.push(asked);
            }
            socket.send_to(&response, from).unwrap();
        }
    });
}

#[test]
fn a_host_that_a_request_names_is_looked_up_for_it() {
    // what one worker remembers, another does not know
    let setup = Setup::new().mpm("mpm native;");
    name_server(setup.filled("{port2}").parse().unwrap());
    let server = setup.http(
        "server {
            listen 127.0.0.1:{port};
            resolver 127.0.0.1:{port2} ipv6=off status_zone=names;
            resolver_timeout 1m;
            location / { proxy_pass http://$arg_host:{port3}; }
            location /kept/ {
                resolver 127.0.0.1:{port2} valid=1h;
                proxy_pass http://$arg_host:{port3}/;
            }
            location /silent/ {
                resolver 127.0.0.1:{port3};
                resolver_timeout 100ms;
                proxy_pass http://$arg_host:{port3}/;
            }
        }
        server { listen {port3}; return 200 $server_addr; }",
    );
    assert_eq!(server.get("/?host=app.test").text(), "127.0.0.1");
    assert_eq!(server.get("/?host=APP.test").text(), "127.0.0.2");
    for _ in 0..3 {
        assert_eq!(server.get("/kept/?host=app.test").text(), "127.0.0.3");
    }
    assert_eq!(server.get("/?host=app.test").text(), "127.0.0.4");

    assert_eq!(server.get("/?host=nobody.test").status, 502);
    server.logs("nobody.test could not be resolved (3: Host not found), client: ");
    assert_eq!(server.get("/silent/?host=app.test").status, 502);
    server.logs("app.test could not be resolved (110: Operation timed out), client: ");
}

#[test]
fn questions_are_counted_for_all_processes() {
    let setup = Setup::new();
    name_server(setup.filled("{port2}").parse().unwrap());
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let server = setup.http(&format!(
        "resolver_timeout 1m;
        server {{
            listen 127.0.0.1:{{port}};
            resolver 127.0.0.1:{{port2}} ipv6=off status_zone=names;
            location / {{ proxy_pass http://$arg_host:{{port3}}; }}
            location /silent/ {{
                resolver {silent} ipv6=off status_zone=silent;
                resolver_timeout 100ms;
                proxy_pass http://$arg_host:{{port3}};
            }}
            location = /status {{ server_status; }}
        }}
        server {{ listen {{port3}}; return 200 $server_addr; }}"
    ));
    assert_eq!(server.get("/?host=app.test").status, 200);
    assert_eq!(server.get("/?host=nobody.test").status, 502);
    assert_eq!(server.get("/silent/?host=app.test").status, 502);
    let status = server.get("/status?json");
    for counts in [
        r#""names":{"requests":{"name":2,"srv":0,"addr":0},"responses":{"noerror":1,"formerr":0,"servfail":0,"nxdomain":1,"notimp":0,"refused":0,"timedout":0,"unknown":0}}"#,
        r#""silent":{"requests":{"name":1,"srv":0,"addr":0},"responses":{"noerror":0,"formerr":0,"servfail":0,"nxdomain":0,"notimp":0,"refused":0,"timedout":1,"unknown":0}}"#,
    ] {
        assert!(status.text().contains(counts), "{counts} in:\n{}", status.text());
    }
}
