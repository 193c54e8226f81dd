//! Ports that nobody else uses.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{TcpListener, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel gives to clients, so that no connection takes one between here and the server.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that is free now and that no other test of this program gets.
pub fn free_port() -> u16 {
    // Programs that run side by side begin at different places, in whatever namespaces they are.
    static START: OnceLock<u16> = OnceLock::new();
    let start = *START.get_or_init(|| RandomState::new().build_hasher().finish() as u16);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        // Of all addresses, and for datagrams too: tests listen on others than 127.0.0.1, and name servers.
        let everywhere = ("0.0.0.0", port);
        if TcpListener::bind(everywhere).is_ok() && UdpSocket::bind(everywhere).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// Listens on a port of its own. The ones that the kernel would choose from may all be taken by connections that have
/// just been closed.
pub fn listener() -> TcpListener {
    loop {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", free_port())) {
            return listener;
        }
    }
}
