//! The configuration without a configuration file: the current folder, in the foreground, for this machine alone.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use daemun_conf::Root;
use daemun_core::listen::ListenSpec;
use daemun_core::settings::Identity;

const TEXT: &str = include_str!("embedded.conf");
const WELCOME: &str = include_str!("welcome.html");

/// Where the search for a free port begins, and how many are tried.
const FIRST_PORT: u16 = 8080;
const TRIES: u16 = 100;

/// The embedded configuration, on the first free port. A reload keeps the port.
pub fn root() -> Root {
    static PORT: OnceLock<u16> = OnceLock::new();
    let port = PORT.get_or_init(free_port).to_string();
    let text = TEXT
        .replace("$PORT", &port)
        .replace("$WELCOME", &WELCOME.replace('\'', "&#39;").replace('$', "&#36;"));
    Root::Embedded { name: "embedded.conf".into(), text: text.into_bytes() }
}

/// Who serves the folder where root has started the server: its owner; of a folder of root's own nobody serves but what
/// everybody may read, since every user of the machine can ask.
pub fn owner(folder: &Path) -> io::Result<Identity> {
    let info = fs::metadata(folder)?;
    Ok(match info.uid() {
        0 => Identity { name: "nobody".to_owned(), uid: NOBODY, gid: NOBODY },
        uid => Identity { name: uid.to_string(), uid, gid: info.gid() },
    })
}

const NOBODY: u32 = 65_534;

/// The folder on the way to what is served that `user`, who serves it, can't enter, as `/root` is to all others.
pub fn closed_to(user: &Identity, folder: &Path) -> Option<PathBuf> {
    let is_closed = |way: &&Path| {
        fs::metadata(way).is_ok_and(|info| {
            let mode = match () {
                () if info.uid() == user.uid => info.mode() >> 6,
                () if info.gid() == user.gid => info.mode() >> 3,
                () => info.mode(),
            };
            mode & 0o1 == 0
        })
    };
    folder.canonicalize().ok()?.ancestors().find(is_closed).map(Path::to_owned)
}

/// One line for whoever started it.
pub fn announce(listen: &[ListenSpec]) {
    if let Some(spec) = listen.first() {
        let address = &spec.address;
        let mut out = io::stdout();
        // Whoever closed the standard output does not want to know.
        let _ = writeln!(out, "daemun serves this folder at http://{address}/ (Ctrl-C stops it)");
    }
}

/// The first port that nobody listens on; the last one tried where all are taken, so that binding says why.
fn free_port() -> u16 {
    let mut ports = FIRST_PORT..FIRST_PORT + TRIES;
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap_or(FIRST_PORT)
}
