//! The secrets of the handshake in hand. rustls tells them to a configuration's key log, which knows no connection:
//! a thread works on one handshake at a time, so the log leaves them where that finds them.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use rustls::KeyLog;

use crate::record::Secret;

/// Traffic secrets of TLS 1.3.
#[derive(Default)]
pub struct Logged {
    pub client: Option<Secret>,
    pub server: Option<Secret>,
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
