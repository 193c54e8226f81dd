//! Sessions that clients keep for the server, as tickets (RFC 5077, RFC 8446 section 4.6.1).
//!
//! ```text
//!   16 bytes    12 bytes   8 bytes             16 bytes
//! ┌───────────┬────────┬──────────┬─────────┬────────┐
//! │ key name  │ nonce  │ made at  │ session │  tag   │
//! └───────────┴────────┴──────────┴─────────┴────────┘
//!                      └── sealed ────────────────────┘
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use crate::client_auth::now;
use crate::x509::time::Time;

/// The keys of several servers.
pub struct Tickets {
    /// The first protects new tickets.
    keys: Vec<Key>,
}

struct Key {
    name: [u8; NAME],
    key: LessSafeKey,
}

const NAME: usize = 16;
const NONCE: usize = 12;

/// A name and a key.
pub const SECRET: usize = NAME + 32;

impl Tickets {
    /// With a key that nobody else has.
    pub fn new() -> Tickets {
        let mut secret = Zeroizing::new([0; SECRET]);
        aws_lc_rs::rand::fill(&mut *secret).expect("the system has random bytes");
        Tickets { keys: vec![Key::new(&secret)] }
    }

    /// `ssl_session_ticket_key`: what its files hold, 48 or 80 bytes each, as nginx takes them.
    pub fn of_files(files: &[Arc<[u8]>]) -> Option<Tickets> {
        let key = |file: &Arc<[u8]>| match file.len() {
            48 => {
                // Name, a key for HMAC, a key for AES-128: all of it goes into one key.
                let mut secret = Zeroizing::new([0; SECRET]);
                secret.copy_from_slice(file);
                Some(Key::new(&secret))
            }
            80 => {
                let mut secret = Zeroizing::new([0; SECRET]);
                secret[..NAME].copy_from_slice(&file[..NAME]);
                secret[NAME..].copy_from_slice(&file[48..]);
                Some(Key::new(&secret))
            }
            _ => None,
        };
        Some(Tickets { keys: files.iter().map(key).collect::<Option<_>>()? })
    }

    fn seal(&self, plain: &[u8], context: &[u8; 32]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut nonce = [0; NONCE];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE + 8 + plain.len() + 16);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&now().0.to_be_bytes());
        ticket.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = &mut ticket[NAME + NONCE..];
        let tag = key.key.seal_in_place_separate_tag(nonce, Aad::from(context), sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, ticket: &[u8], context: &[u8; 32]) -> Option<(Time, Vec<u8>)> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE)?;
        let key = self.keys.iter().find(|key| key.name == name)?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = key.key.open_in_place(nonce, Aad::from(context), &mut plain).ok()?;
        let (made, session) = plain.split_first_chunk()?;
        Some((Time(i64::from_be_bytes(*made)), session.to_vec()))
    }
}

impl Default for Tickets {
    fn default() -> Tickets {
        Tickets::new()
    }
}

impl Key {
    fn new(secret: &[u8; SECRET]) -> Key {
        let (name, key) = secret.split_at(NAME);
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the algorithm's length");
        Key { name: name.try_into().expect("sixteen bytes"), key: LessSafeKey::new(key) }
    }
}

/// Tickets that are good under the same terms alone: one that was made where no certificate was asked for does not
/// lead past a server that asks.
pub struct Bound {
    tickets: Arc<Tickets>,
    context: [u8; 32],
    lifetime: Duration,
}

impl Bound {
    pub fn new(tickets: Arc<Tickets>, context: [u8; 32], lifetime: Duration) -> Bound {
        Bound { tickets, context, lifetime }
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys of tickets", self.tickets.keys.len())
    }
}

impl ProducesTickets for Bound {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime.as_secs().try_into().unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.seal(plain, &self.context)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (made, session) = self.tickets.open(ticket, &self.context)?;
        let age = now().0 - made.0;
        (0..=self.lifetime.as_secs().cast_signed()).contains(&age).then_some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_under_its_terms_and_for_its_time() {
        let tickets = Arc::new(Tickets::new());
        let bound = |context, seconds| {
            Bound::new(Arc::clone(&tickets), [context; 32], Duration::from_secs(seconds))
        };
        let ticket = bound(1, 300).encrypt(b"session").unwrap();
        assert_eq!(bound(1, 300).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(bound(2, 300).decrypt(&ticket), None);
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(bound(1, 300).decrypt(&changed), None, "byte {place}");
        }
        assert_eq!(
            Bound::new(Arc::new(Tickets::new()), [1; 32], Duration::MAX).decrypt(&ticket),
            None
        );
    }
}
