//! A backend is killed and comes back, again and again, under load: nobody notices while another lives.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use daemun_tests::{Load, Setup};

use crate::daemon::nothing_lost;

#[test]
fn no_client_sees_a_backend_die() {
    die(4, 40);
}

#[test]
#[ignore = "a minute"]
fn soak_no_client_sees_a_backend_die() {
    die(60, 400);
}

fn die(times: usize, kept: usize) {
    let steady = Mortal::start(0);
    let mut mortal = Mortal::start(0);
    let setup = Setup::new();
    let configuration = "upstream behind {
            zone behind 64k;
            server 127.0.0.1:STEADY max_fails=0; server 127.0.0.1:MORTAL fail_timeout=1s;
        }
        keepalive_requests 1000000;
        add_header X-Worker $pid;
        proxy_connect_timeout 5s;
        server { listen 127.0.0.1:{port}; location / { proxy_pass http://behind; } }"
        .replace("STEADY", &steady.port.to_string())
        .replace("MORTAL", &mortal.port.to_string());
    let mut server = setup.http(&configuration);
    server.expect("upstream");
    let load = Load::start(server.port(), kept);
    load.goes_round();
    for _ in 0..times {
        let port = mortal.kill();
        load.goes_round();
        mortal = Mortal::start(port);
        load.goes_round();
    }
    nothing_lost(load.finish());
    mortal.kill();
}

/// A backend that ends as a killed process does: whatever is open closes at once.
struct Mortal {
    port: u16,
    dead: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Mortal {
    /// On this port, or on any for 0.
    fn start(port: u16) -> Mortal {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let dead = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let acceptor = {
            let (dead, connections) = (Arc::clone(&dead), Arc::clone(&connections));
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(stream) = stream else { continue };
                    let mut open = connections.lock().unwrap();
                    if dead.load(Ordering::SeqCst) {
                        return;
                    }
                    open.push(stream.try_clone().unwrap());
                    thread::spawn(move || answer_all(stream));
                }
            })
        };
        Mortal { port, dead, connections, acceptor: Some(acceptor) }
    }

    /// Returns the port once nobody listens there any more.
    fn kill(&mut self) -> u16 {
        self.dead.store(true, Ordering::SeqCst);
        let connections = std::mem::take(&mut *self.connections.lock().unwrap());
        for connection in connections {
            // One that the server has closed is as good as closed.
            let _ = connection.shutdown(Shutdown::Both);
        }
        // The acceptor looks at its next connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
        self.port
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if self.acceptor.is_some() {
            self.kill();
        }
    }
}

fn answer_all(mut stream: TcpStream) {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count) = stream.read(&mut buffer)
        && count > 0
    {
        received.extend_from_slice(&buffer[..count]);
        while let Some(end) = received.windows(4).position(|part| part == b"\r\n\r\n") {
            received.drain(..end + 4);
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").is_err() {
                return;
            }
        }
    }
}
