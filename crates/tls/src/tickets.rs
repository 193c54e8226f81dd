//! Sessions that clients keep for the server, as tickets (RFC 5077, RFC 8446 section 4.6.1).
//!
//! ```text
//!   16 bytes    12 bytes   8 bytes             16 bytes
//! ┌───────────┬────────┬──────────┬─────────┬────────┐
//! │ key name  │ nonce  │ made at  │ session │  tag   │
//! └───────────┴────────┴──────────┴─────────┴────────┘
//!                      └── sealed ────────────────────┘
//! ```
//!
//! All workers make the same keys without asking each other: the master draws a secret, and each period has the
//! one that a hash makes of the period's before. The way back is closed, so that whoever learns a secret reads
//! no ticket of a period that is over. A new binary gets the secrets of the one before.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;
use rustls::server::ProducesTickets;
use zeroize::{Zeroize, Zeroizing};

use crate::client_auth::now;
use crate::x509::time::Time;

/// Keys for tickets.
pub enum Tickets {
    /// The first protects new tickets.
    Files(Vec<Key>),
    Rotated(Mutex<Ratchet>),
}

pub struct Key {
    name: [u8; NAME],
    key: LessSafeKey,
}

/// Keys that follow one from the other.
pub struct Ratchet {
    /// Seconds that each is used for.
    period: u64,
    /// Since 1970.
    number: u64,
    secret: Zeroizing<[u8; 32]>,
    current: Arc<Key>,
    previous: Option<(Zeroizing<[u8; 32]>, Arc<Key>)>,
}

/// All rotated keys of the process, by their period.
static ALL: Mutex<Option<HashMap<u64, Arc<Tickets>>>> = Mutex::new(None);

fn all() -> MutexGuard<'static, Option<HashMap<u64, Arc<Tickets>>>> {
    // A table of keys is whole between any two of its functions.
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

const NAME: usize = 16;
const NONCE: usize = 12;

impl Tickets {
    /// Keys that change with every period, in this process and those it forks, now and after a reload.
    pub fn rotated(period: Duration) -> Arc<Tickets> {
        let period = period.as_secs().max(1);
        let mut all = all();
        let tickets = all.get_or_insert_default().entry(period);
        let tickets =
            tickets.or_insert_with(|| Arc::new(Tickets::Rotated(Mutex::new(Ratchet::new(period)))));
        if let Tickets::Rotated(ratchet) = &**tickets {
            // Workers that are forked now need to know nothing older.
            lock(ratchet).advance(now());
        }
        Arc::clone(tickets)
    }

    /// `ssl_session_ticket_key`: what its files hold, 48 or 80 bytes each, as nginx takes them.
    pub fn of_files(files: &[Arc<[u8]>]) -> Option<Tickets> {
        let key = |file: &Arc<[u8]>| {
            let (name, secret) = file.split_first_chunk()?;
            let secret: &[u8; 32] = match file.len() {
                // A key for HMAC and one for AES-128: together they are one for AES-256.
                48 => secret.try_into().ok()?,
                80 => secret[32..].try_into().ok()?,
                _ => return None,
            };
            Some(Key::new(*name, secret))
        };
        files.iter().map(key).collect::<Option<_>>().map(Tickets::Files)
    }

    /// Has `work` done with each key until one does, the newest first.
    fn find<R>(&self, mut work: impl FnMut(&Key) -> Option<R>) -> Option<R> {
        match self {
            Tickets::Files(keys) => keys.iter().find_map(work),
            Tickets::Rotated(ratchet) => {
                let (current, previous) = {
                    let mut ratchet = lock(ratchet);
                    ratchet.advance(now());
                    (Arc::clone(&ratchet.current), ratchet.previous_key())
                };
                work(&current).or_else(|| work(previous.as_deref()?))
            }
        }
    }

    fn seal(&self, plain: &[u8], context: &[u8; 32]) -> Option<Vec<u8>> {
        self.find(|key| key.seal(plain, context))
    }

    fn open(&self, ticket: &[u8], context: &[u8; 32]) -> Option<(Time, Vec<u8>)> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        self.find(|key| (key.name == name).then(|| key.open(rest, context))?)
    }
}

fn lock(ratchet: &Mutex<Ratchet>) -> MutexGuard<'_, Ratchet> {
    // A turn that panicked is made once more from the secret that stands there.
    ratchet.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ratchet {
    fn new(period: u64) -> Ratchet {
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *secret).expect("the system has random bytes");
        let current = Arc::new(Key::of_secret(&secret));
        let number = now().0.unsigned_abs() / period;
        Ratchet { period, number, secret, current, previous: None }
    }

    fn advance(&mut self, now: Time) {
        let number = now.0.unsigned_abs() / self.period;
        while self.number < number {
            let next = Zeroizing::new(hash(b"next", &self.secret));
            let key = Arc::new(Key::of_secret(&next));
            let secret = std::mem::replace(&mut self.secret, next);
            self.previous = Some((secret, std::mem::replace(&mut self.current, key)));
            self.number += 1;
        }
    }

    fn previous_key(&self) -> Option<Arc<Key>> {
        self.previous.as_ref().map(|(_, key)| Arc::clone(key))
    }

    /// Its period, the secret's number, whether there is one of before, and both secrets.
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.period.to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.push(self.previous.is_some().into());
        out.extend_from_slice(&*self.secret);
        let previous = self.previous.as_ref().map(|(secret, _)| **secret);
        out.extend_from_slice(&previous.unwrap_or_default());
    }

    fn decode(encoded: &[u8; HEIRLOOM]) -> Option<Ratchet> {
        let (period, rest) = encoded.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (&has_previous, rest) = rest.split_first()?;
        let (secret, rest) = rest.split_first_chunk()?;
        let before = Zeroizing::new(*rest.first_chunk()?);
        let secret = Zeroizing::new(*secret);
        let (period, number) = (u64::from_be_bytes(*period), u64::from_be_bytes(*number));
        let current = Arc::new(Key::of_secret(&secret));
        let key = Arc::new(Key::of_secret(&before));
        let previous = (has_previous == 1).then_some((before, key));
        let is_possible = period > 0 && number <= now().0.unsigned_abs() / period;
        is_possible.then_some(Ratchet { period, number, secret, current, previous })
    }
}

const HEIRLOOM: usize = 8 + 8 + 1 + 32 + 32;

/// What a new binary has to know so that tickets go on to be good.
pub fn bequeath() -> Vec<u8> {
    let all = all();
    let mut out = Vec::new();
    for tickets in all.iter().flat_map(HashMap::values) {
        if let Tickets::Rotated(ratchet) = &**tickets {
            let mut ratchet = lock(ratchet);
            ratchet.advance(now());
            ratchet.encode(&mut out);
        }
    }
    out
}

/// Takes over what the binary before [has left](bequeath); what cannot be right is left out.
pub fn inherit(mut heirlooms: Vec<u8>) {
    let mut all = all();
    for ratchet in heirlooms.as_chunks().0.iter().filter_map(Ratchet::decode) {
        let tickets = Arc::new(Tickets::Rotated(Mutex::new(ratchet)));
        let Tickets::Rotated(ratchet) = &*tickets else { continue };
        let period = lock(ratchet).period;
        all.get_or_insert_default().insert(period, tickets);
    }
    heirlooms.zeroize();
}

fn hash(label: &[u8], secret: &[u8; 32]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(label);
    context.update(secret);
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl Key {
    fn of_secret(secret: &[u8; 32]) -> Key {
        let name = hash(b"name", secret);
        let (name, _) = name.split_first_chunk().expect("a hash is longer than a name");
        Key::new(*name, &Zeroizing::new(hash(b"key", secret)))
    }

    fn new(name: [u8; NAME], key: &[u8; 32]) -> Key {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the algorithm's length");
        Key { name, key: LessSafeKey::new(key) }
    }

    fn seal(&self, plain: &[u8], context: &[u8; 32]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE + 8 + plain.len() + 16);
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&now().0.to_be_bytes());
        ticket.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = &mut ticket[NAME + NONCE..];
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(context), sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    /// Opens what stands behind the name.
    fn open(&self, ticket: &[u8], context: &[u8; 32]) -> Option<(Time, Vec<u8>)> {
        let (nonce, sealed) = ticket.split_at_checked(NONCE)?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::from(context), &mut plain).ok()?;
        let (made, session) = plain.split_first_chunk()?;
        Some((Time(i64::from_be_bytes(*made)), session.to_vec()))
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
        write!(f, "tickets for {:?}", self.lifetime)
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
        let tickets = Tickets::rotated(Duration::from_secs(300));
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
        let others = Tickets::rotated(Duration::from_secs(301));
        assert_eq!(Bound::new(others, [1; 32], Duration::MAX).decrypt(&ticket), None);
    }

    /// Two processes that started from one secret go on alike, and forget what is over.
    #[test]
    fn keys_follow_one_from_the_other() {
        let mut one = Ratchet::new(10);
        let mut other = Ratchet {
            secret: one.secret.clone(),
            current: Arc::new(Key::of_secret(&one.secret)),
            previous: None,
            ..one
        };
        let start = i64::try_from(one.number * 10).unwrap();
        let first = one.current.name;
        one.advance(Time(start + 9));
        assert_eq!(one.current.name, first);
        one.advance(Time(start + 10));
        assert_eq!(one.previous.as_ref().map(|(_, key)| key.name), Some(first));
        one.advance(Time(start + 25));
        other.advance(Time(start + 25));
        assert_eq!(one.current.name, other.current.name);
        assert_ne!(one.previous.as_ref().map(|(_, key)| key.name), Some(first));
    }

    /// Tickets of the period that is over are good for the new binary as well.
    #[test]
    fn a_new_binary_goes_on_with_the_keys() {
        let mut old = Ratchet::new(10);
        old.number -= 1;
        old.advance(now());
        let mut encoded = Vec::new();
        old.encode(&mut encoded);
        let new = Ratchet::decode(encoded.as_chunks().0.first().unwrap()).unwrap();
        assert_eq!(new.current.name, old.current.name);
        let name = |ratchet: &Ratchet| ratchet.previous.as_ref().map(|(_, key)| key.name);
        assert!(name(&new).is_some() && name(&new) == name(&old));
        encoded[0] = 0xff;
        encoded[8] = 0xff;
        assert!(Ratchet::decode(encoded.as_chunks().0.first().unwrap()).is_none());
        assert!(Ratchet::decode(&[0; HEIRLOOM]).is_none());
    }
}
