//! Sessions that clients keep for the server, as tickets (RFC 5077, RFC 8446 section 4.6.1).
//!
//! ```text
//!   16 bytes    12 bytes          16 bytes
//! ┌───────────┬────────┬────────┬────────┐
//! │ key name  │ nonce  │ session│  tag   │
//! └───────────┴────────┴────────┴────────┘
//! ```

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

/// The keys of one process and those it forks.
pub struct Tickets {
    keys: Vec<Key>,
    /// Seconds.
    lifetime: u32,
}

struct Key {
    name: [u8; NAME],
    key: LessSafeKey,
}

const NAME: usize = 16;
const NONCE: usize = 12;

impl Tickets {
    /// With a key that nobody else has.
    pub fn new() -> Tickets {
        let mut secret = Zeroizing::new([0; NAME + 32]);
        aws_lc_rs::rand::fill(&mut *secret).expect("the system has random bytes");
        Tickets { keys: vec![Key::new(&secret)], lifetime: 300 }
    }
}

impl Default for Tickets {
    fn default() -> Tickets {
        Tickets::new()
    }
}

impl Key {
    fn new(secret: &[u8; NAME + 32]) -> Key {
        let (name, key) = secret.split_at(NAME);
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the algorithm's length");
        Key { name: name.try_into().expect("sixteen bytes"), key: LessSafeKey::new(key) }
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys of tickets", self.keys.len())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut nonce = [0; NONCE];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE + plain.len() + 16);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        let mut sealed = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.key.seal_in_place_append_tag(nonce, Aad::from(key.name), &mut sealed).ok()?;
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE)?;
        let key = self.keys.iter().find(|key| key.name == name)?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = key.key.open_in_place(nonce, Aad::from(key.name), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}
