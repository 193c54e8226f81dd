//! The configuration without a configuration file: the current folder, in the foreground, for this machine alone.

use std::net::TcpListener;
use std::sync::OnceLock;

use daemun_conf::Root;
use daemun_core::listen::ListenSpec;

const TEXT: &str = include_str!("embedded.conf");
const WELCOME: &str = include_str!("welcome.html");

/// Where the search for a free port begins, and how many are tried.
const FIRST_PORT: u16 = 8080;
const TRIES: u16 = 100;

/// The embedded configuration, on the first free port. A reload keeps the port.
pub fn root() -> Root {
    static PORT: OnceLock<u16> = OnceLock::new();
    let port = PORT.get_or_init(free_port).to_string();
    let temporary = std::env::temp_dir();
    // Whoever may read the folder serves it, root included: nobody else can reach this server.
    let user = match daemun_sys::identity::effective_uid() {
        0 => "user root root;",
        _ => "",
    };
    let text = TEXT
        .replace("$USER", user)
        .replace("$PORT", &port)
        .replace("$TEMPORARY", &temporary.to_string_lossy())
        .replace("$WELCOME", &WELCOME.replace('\'', "&#39;").replace('$', "&#36;"));
    Root::Embedded { name: "embedded.conf".into(), text: text.into_bytes() }
}

/// One line for whoever started it.
pub fn announce(listen: &[ListenSpec]) {
    if let Some(spec) = listen.first() {
        println!("daemun serves this folder at http://{}/ (Ctrl-C stops it)", spec.address);
    }
}

/// The first port that nobody listens on; the last one tried where all are taken, so that binding says why.
fn free_port() -> u16 {
    let mut ports = FIRST_PORT..FIRST_PORT + TRIES;
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap_or(FIRST_PORT)
}
