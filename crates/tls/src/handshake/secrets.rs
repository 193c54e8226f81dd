//! The secrets of the handshake in hand. rustls tells them to a configuration's key log, which knows no connection:
//! a thread works on one handshake at a time, so the log leaves them where that finds them.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use rustls::{KeyLog, SignatureScheme};

use crate::record::Secret;

/// Traffic secrets of TLS 1.3, and by which algorithms the two sides have signed.
#[derive(Default)]
pub struct Logged {
    pub client: Option<Secret>,
    pub server: Option<Secret>,
    /// By number; 0 where nobody did.
    pub own_signature: u16,
    pub peers_signature: u16,
}

thread_local! {
    static IN_HAND: RefCell<Option<Logged>> = const { RefCell::new(None) };
}

/// Does a step of a handshake; the secrets that it comes to are kept in `logged`.
pub fn during<R>(logged: &mut Logged, step: impl FnOnce() -> R) -> R {
    IN_HAND.set(Some(std::mem::take(logged)));
    let result = step();
    *logged = IN_HAND.take().unwrap_or_default();
    result
}

/// Notes what this side signs with.
pub fn note_own(scheme: SignatureScheme) {
    note(|logged| logged.own_signature = scheme.into());
}

/// Notes what the peer signed with.
pub fn note_peers(scheme: SignatureScheme) {
    note(|logged| logged.peers_signature = scheme.into());
}

fn note(change: impl FnOnce(&mut Logged)) {
    IN_HAND.with_borrow_mut(|logged| {
        if let Some(logged) = logged {
            change(logged);
        }
    });
}

/// `ssl_key_log`: the same, and every secret goes to a file in the form that Wireshark reads.
pub fn key_log_to(file: File) -> Arc<dyn KeyLog> {
    Arc::new(ToFile(file))
}

#[derive(Debug)]
struct ToFile(File);

impl KeyLog for ToFile {
    fn log(&self, label: &str, random: &[u8], secret: &[u8]) {
        InHand.log(label, random, secret);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(random), hex(secret));
        // Whoever looks for a secret in vain sees that; the connection goes on.
        let _ = (&self.0).write_all(line.as_bytes());
    }
}

/// For the configurations of all handshakes.
pub fn key_log() -> Arc<dyn KeyLog> {
    static LOG: OnceLock<Arc<InHand>> = OnceLock::new();
    Arc::clone(LOG.get_or_init(|| Arc::new(InHand))) as Arc<dyn KeyLog>
}

#[derive(Debug)]
struct InHand;

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

impl KeyLog for InHand {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        IN_HAND.with_borrow_mut(|logged| {
            let Some(logged) = logged else { return };
            let place = match label {
                CLIENT => &mut logged.client,
                SERVER => &mut logged.server,
                _ => return,
            };
            let mut copy = Secret::new([0; 48]);
            if let Some(room) = copy.get_mut(..secret.len()) {
                room.copy_from_slice(secret);
                *place = Some(copy);
            }
        });
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, CLIENT | SERVER)
    }
}
