//! Names whose addresses change with every answer, under load: nobody notices.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use daemun_tests::{Load, Setup};

use crate::daemon::nothing_lost;

#[test]
fn no_client_sees_an_address_change() {
    change(500);
}

#[test]
#[ignore = "a minute"]
fn soak_no_client_sees_an_address_change() {
    change(10_000);
}

/// Names in the group, each looked up once a second.
const NAMES: usize = 50;

fn change(times: usize) {
    let changes = Arc::new(AtomicUsize::new(0));
    let setup = Setup::new();
    let port = setup.filled("{port3}").parse().unwrap();
    serve_names(port, Arc::clone(&changes));
    let servers: String =
        (0..NAMES).map(|name| format!("server n{name}.test:{{port2}} resolve;\n")).collect();
    let configuration = "upstream changing { zone changing 512k; %SERVERS% }
        resolver 127.0.0.1:{port3} ipv6=off;
        keepalive_requests 1000000;
        map $request_id $target { default changing; ~^[0-7] alone.test:{port2}; }
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://$target; } }
        server {
            listen 127.0.0.1:{port2};
            listen 127.0.0.2:{port2};
            listen 127.0.0.3:{port2};
            add_header X-Worker $pid;
            return 200 x;
        }"
    .replace("%SERVERS%", &servers);
    let server = setup.http(&configuration);
    let load = Load::start(server.port(), 20);
    // Connecting may have taken a while: changes count from when the load is there to notice them.
    let end = changes.load(Ordering::Relaxed) + times;
    while changes.load(Ordering::Relaxed) < end {
        load.goes_round();
    }
    nothing_lost(load.finish());
    let log = server.error_log();
    for complaint in ["no live upstreams", "could not be resolved", "connect() failed"] {
        assert!(!log.contains(complaint), "{complaint}");
    }
}

/// Answers with another address than the time before, for no time at all.
fn serve_names(port: u16, changes: Arc<AtomicUsize>) {
    let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        let mut asked: HashMap<Vec<u8>, u8> = HashMap::new();
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let mut response = query[..length].to_vec();
            let times = asked.entry(response[12..].to_vec()).or_default();
            *times = (*times + 1) % 3;
            response[2..4].copy_from_slice(b"\x81\x80");
            response[7] = 1;
            // the name, A, IN, no second to live, four bytes
            response.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0");
            response.push(*times + 1);
            changes.fetch_add(1, Ordering::Relaxed);
            // The server may have gone.
            let _ = socket.send_to(&response, from);
        }
    });
}
