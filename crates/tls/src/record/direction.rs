//! One direction of a connection.

use std::cell::RefCell;
use std::time::Duration;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use daemun_proto::tls::record::{Content, HEADER, MAX_CONTENT};
use lru::LruCache;
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::suite::{Suite, Version};

const TAG: usize = 16;
const IV: usize = 12;

/// What a key is made of: in TLS 1.3 the traffic secret, in TLS 1.2 the key with its IV behind 32 bytes.
pub type Secret = Zeroizing<[u8; 48]>;

/// One direction: a secret, and the number of its next record.
///
/// A number is used once: it is taken before a record is protected, the type cannot be copied, and
/// whoever [exports](Self::export) a direction gives it up. So no nonce repeats under a key.
pub struct Direction {
    secret: Secret,
    sequence: u64,
    /// Ready for use; made again from the secret after a rest.
    key: Option<Box<Key>>,
}

struct Key {
    aead: LessSafeKey,
    iv: [u8; IV],
}

/// Keys of connections that rested a moment ago, by the beginnings of their secrets. Making one again costs some
/// microseconds, keeping one 600 bytes: whoever asks again within a second or two finds it.
struct Resting {
    /// Each with the round that it came in.
    keys: LruCache<[u8; 16], (Box<Key>, u32), foldhash::fast::RandomState>,
    round: u32,
    is_tended: bool,
}

thread_local! {
    static RESTING: RefCell<Resting> = RefCell::new(Resting {
        keys: LruCache::unbounded_with_hasher(foldhash::fast::RandomState::default()),
        round: 0,
        is_tended: false,
    });
}

/// How many keys a thread keeps at most.
const MOST_RESTING: usize = 4096;

const ROUND: Duration = Duration::from_secs(1);

impl Resting {
    fn put(&mut self, name: [u8; 16], key: Box<Key>) {
        if self.keys.len() == MOST_RESTING {
            self.keys.pop_lru();
        }
        self.keys.put(name, (key, self.round));
    }

    /// Begins a round, and lets go what came before the last one; whether something is left.
    fn turn(&mut self) -> bool {
        self.round = self.round.wrapping_add(1);
        while let Some((_, (_, came))) = self.keys.peek_lru()
            && self.round.wrapping_sub(*came) > 1
        {
            self.keys.pop_lru();
        }
        self.is_tended = !self.keys.is_empty();
        self.is_tended
    }
}

/// Has keys that rest on this thread be let go in time. There has to be a reactor.
pub fn tend() {
    let begins = RESTING.with_borrow_mut(|resting| {
        let begins = !resting.is_tended && !resting.keys.is_empty();
        resting.is_tended |= begins;
        begins
    });
    if begins {
        daemun_event::spawn(async {
            loop {
                daemun_event::sleep(ROUND).await;
                if !RESTING.with_borrow_mut(Resting::turn) {
                    return;
                }
            }
        });
    }
}

/// What [`Direction::export`] makes.
pub const EXPORTED: usize = 48 + 8;

impl Direction {
    pub fn new(secret: Secret, sequence: u64) -> Direction {
        Direction { secret, sequence, key: None }
    }

    /// The same, with the key that the secret leads to, where it is at hand.
    pub fn with_key(
        suite: &Suite,
        secret: Secret,
        sequence: u64,
        key: &[u8],
        iv: [u8; IV],
    ) -> Direction {
        let key = UnboundKey::new(suite.aead.algorithm(), key).ok();
        let key = key.map(|key| Box::new(Key { aead: LessSafeKey::new(key), iv }));
        Direction { key, ..Direction::new(secret, sequence) }
    }

    /// The secret for TLS 1.2.
    pub fn secret_of_key(key: &[u8], iv: &[u8]) -> Secret {
        let mut secret = Secret::new([0; 48]);
        secret[..key.len()].copy_from_slice(key);
        secret[32..32 + IV].copy_from_slice(iv);
        secret
    }

    /// Gives the direction up, as bytes for another process.
    pub fn export(self) -> Zeroizing<[u8; EXPORTED]> {
        let mut bytes = Zeroizing::new([0; EXPORTED]);
        bytes[..48].copy_from_slice(&*self.secret);
        bytes[48..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }

    pub fn import(bytes: &[u8; EXPORTED]) -> Direction {
        let mut secret = Secret::new([0; 48]);
        secret.copy_from_slice(&bytes[..48]);
        let sequence = u64::from_be_bytes(bytes[48..].try_into().expect("eight bytes"));
        Direction::new(secret, sequence)
    }

    /// The same, for one that is not expected back soon.
    pub fn forget_key(&mut self) {
        self.key = None;
    }

    /// Makes the connection small while it waits, and keeps its key at hand.
    pub fn rest(&mut self) {
        if let Some(key) = self.key.take() {
            let name = self.name();
            RESTING.with_borrow_mut(|resting| resting.put(name, key));
        }
    }

    fn name(&self) -> [u8; 16] {
        self.secret[..16].try_into().expect("sixteen bytes")
    }

    fn key(&mut self, suite: &Suite) -> &Key {
        if self.key.is_none() {
            let name = self.name();
            let resting = RESTING.with_borrow_mut(|resting| resting.keys.pop(&name));
            self.key = Some(resting.map_or_else(|| Box::new(self.make_key(suite)), |(key, _)| key));
        }
        self.key.as_ref().expect("it was just made")
    }

    fn make_key(&self, suite: &Suite) -> Key {
        let algorithm = suite.aead.algorithm();
        let mut key = Zeroizing::new([0; 32]);
        let key = &mut key[..algorithm.key_len()];
        let mut iv = [0; IV];
        match suite.version {
            Version::Tls13 => {
                self.expand(suite, b"key", key);
                self.expand(suite, b"iv", &mut iv);
            }
            Version::Tls12 => {
                key.copy_from_slice(&self.secret[..key.len()]);
                iv.copy_from_slice(&self.secret[32..32 + IV]);
            }
        }
        let key = UnboundKey::new(algorithm, key).expect("the key has the algorithm's length");
        Key { aead: LessSafeKey::new(key), iv }
    }

    /// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
    fn expand(&self, suite: &Suite, label: &[u8], out: &mut [u8]) {
        let secret = &self.secret[..suite.secret_length()];
        let prk = hkdf::Prk::new_less_safe(suite.hkdf(), secret);
        let length = (out.len() as u16).to_be_bytes();
        let label_length = [6 + label.len() as u8];
        let info = [&length[..], &label_length, b"tls13 ", label, &[0]];
        let expanded = prk.expand(&info, Length(out.len()));
        let filled = expanded.and_then(|expanded| expanded.fill(out));
        filled.expect("no output is longer than HKDF allows");
    }

    /// The next secret (RFC 8446 section 7.2), for both sides after a KeyUpdate.
    pub fn update(&mut self, suite: &Suite) {
        let mut next = Secret::new([0; 48]);
        self.expand(suite, b"traffic upd", &mut next[..suite.secret_length()]);
        *self = Direction::new(next, 0);
    }

    /// The key is near its limit: it should be [updated](Self::update).
    pub fn is_worn(&self, suite: &Suite) -> bool {
        self.sequence >= suite.aead.limit()
    }

    fn take_number(&mut self) -> Result<[u8; 8], Fault> {
        // TLS 1.2 cannot change its keys, and ends before a nonce could repeat.
        if self.sequence >= 1 << 48 {
            return Err(Fault::Exhausted);
        }
        let number = self.sequence.to_be_bytes();
        self.sequence += 1;
        Ok(number)
    }

    /// Protects `plain`, of at most [`MAX_CONTENT`] bytes, as one record behind `out`.
    pub fn seal(
        &mut self,
        suite: &Suite,
        content: Content,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        debug_assert!(plain.len() <= MAX_CONTENT);
        let number = self.take_number()?;
        let key = self.key(suite);
        let nonce = xor(&key.iv, number);
        let start = out.len();
        let explicit = suite.explicit_nonce();
        let kind: &[u8] = match suite.version {
            Version::Tls13 => &[content as u8],
            Version::Tls12 => &[],
        };
        let length = explicit + plain.len() + kind.len() + TAG;
        let outer = if kind.is_empty() { content } else { Content::ApplicationData };
        out.resize(start + HEADER + length, 0);
        let (header, rest) = out[start..].split_at_mut(HEADER);
        write_header(header, outer, length);
        let (sent_nonce, rest) = rest.split_at_mut(explicit);
        sent_nonce.copy_from_slice(&nonce[IV - explicit..]);
        let (cipher, tag) = rest.split_at_mut(plain.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = match suite.version {
            Version::Tls13 => {
                let header: [u8; HEADER] = (*header).try_into().expect("five bytes");
                key.aead.seal_out_of_place_scatter(
                    nonce,
                    Aad::from(header),
                    plain,
                    cipher,
                    kind,
                    tag,
                )
            }
            Version::Tls12 => {
                let data = Aad::from(additional_data(number, content, plain.len()));
                key.aead.seal_out_of_place_scatter(nonce, data, plain, cipher, kind, tag)
            }
        };
        sealed.expect("the lengths are those that the algorithm wants");
        Ok(())
    }

    /// Opens a whole record in place: what it carries, and where that stands in it.
    pub fn open<'r>(
        &mut self,
        suite: &Suite,
        record: &'r mut [u8],
    ) -> Result<(Content, &'r mut [u8]), Fault> {
        let number = self.take_number()?;
        let key = self.key(suite);
        let (header, body) = record.split_at_mut(HEADER);
        let outer = Content::of(header[0]).ok_or(Fault::WrongVersion)?;
        match suite.version {
            Version::Tls13 => {
                if body.len() > MAX_CONTENT + 256 {
                    return Err(Fault::TooLong);
                }
                let nonce = Nonce::assume_unique_for_key(xor(&key.iv, number));
                let header: [u8; HEADER] = (*header).try_into().expect("five bytes");
                let opened = key.aead.open_in_place(nonce, Aad::from(header), body);
                let plain = opened.map_err(|_| Fault::BadRecord)?;
                let end = plain.iter().rposition(|byte| *byte != 0).ok_or(Fault::Unexpected)?;
                let content = Content::of(plain[end]).ok_or(Fault::Unexpected)?;
                match end <= MAX_CONTENT {
                    true => Ok((content, &mut plain[..end])),
                    false => Err(Fault::TooLong),
                }
            }
            Version::Tls12 => {
                let explicit = suite.explicit_nonce();
                let length = body.len().checked_sub(explicit + TAG).ok_or(Fault::BadRecord)?;
                if length > MAX_CONTENT {
                    return Err(Fault::TooLong);
                }
                let mut nonce = xor(&key.iv, number);
                if explicit > 0 {
                    nonce[..IV - explicit].copy_from_slice(&key.iv[..IV - explicit]);
                    nonce[IV - explicit..].copy_from_slice(&body[..explicit]);
                }
                let nonce = Nonce::assume_unique_for_key(nonce);
                let data = Aad::from(additional_data(number, outer, length));
                let opened = key.aead.open_in_place(nonce, data, &mut body[explicit..]);
                Ok((outer, opened.map_err(|_| Fault::BadRecord)?))
            }
        }
    }
}

fn write_header(header: &mut [u8], content: Content, length: usize) {
    let [high, low] = (length as u16).to_be_bytes();
    header.copy_from_slice(&[content as u8, 3, 3, high, low]);
}

fn xor(iv: &[u8; IV], number: [u8; 8]) -> [u8; IV] {
    let mut nonce = *iv;
    for (byte, number) in nonce[IV - 8..].iter_mut().zip(number) {
        *byte ^= number;
    }
    nonce
}

fn additional_data(number: [u8; 8], content: Content, length: usize) -> [u8; 13] {
    let mut data = [0; 13];
    data[..8].copy_from_slice(&number);
    let [high, low] = (length as u16).to_be_bytes();
    data[8..].copy_from_slice(&[content as u8, 3, 3, high, low]);
    data
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::SUITES;

    fn pair() -> (Direction, Direction) {
        let secret = || Zeroizing::new([7; 48]);
        (Direction::new(secret(), 3), Direction::new(secret(), 3))
    }

    #[test]
    fn what_is_sealed_is_opened_by_the_other_side() {
        for suite in &SUITES {
            let (mut seals, mut opens) = pair();
            for length in [0, 1, 1000, MAX_CONTENT] {
                let plain = vec![length as u8; length];
                let mut record = Vec::new();
                seals.seal(suite, Content::ApplicationData, &plain, &mut record).unwrap();
                if length % 3 == 0 {
                    seals.rest();
                    opens.rest();
                }
                let opened = opens
                    .open(suite, &mut record)
                    .map(|(content, plain)| (content, plain.to_vec()));
                assert_eq!(opened, Ok((Content::ApplicationData, plain)), "{}", suite.name);
            }
        }
    }

    #[test]
    fn a_changed_or_repeated_record_is_refused() {
        for suite in &SUITES {
            let (mut seals, _) = pair();
            let mut record = Vec::new();
            seals.seal(suite, Content::ApplicationData, b"transfer 10", &mut record).unwrap();
            for place in (HEADER..record.len()).chain([0]) {
                let (_, mut opens) = pair();
                let mut changed = record.clone();
                changed[place] ^= 1;
                assert_eq!(
                    opens.open(suite, &mut changed),
                    Err(Fault::BadRecord),
                    "{} {place}",
                    suite.name
                );
            }
            let (_, mut opens) = pair();
            opens.open(suite, &mut record.clone()).unwrap();
            assert_eq!(
                opens.open(suite, &mut record),
                Err(Fault::BadRecord),
                "{} again",
                suite.name
            );
        }
    }

    #[test]
    fn both_sides_update_alike_and_exported_directions_go_on() {
        let suite = Suite::by_id(0x1301).unwrap();
        let (mut seals, mut opens) = pair();
        for _ in 0..3 {
            seals.update(suite);
            opens = Direction::import(&opens.export());
            opens.update(suite);
            let mut record = Vec::new();
            seals.seal(suite, Content::Handshake, b"x", &mut record).unwrap();
            seals = Direction::import(&seals.export());
            let (content, plain) = opens.open(suite, &mut record).unwrap();
            assert_eq!((content, &*plain), (Content::Handshake, &b"x"[..]));
        }
    }

    /// No two records are protected alike, whatever happens to the direction in between.
    #[test]
    fn no_nonce_repeats() {
        for suite in &SUITES {
            let (mut seals, _) = pair();
            let mut seen = std::collections::HashSet::new();
            for step in 0..200 {
                let mut record = Vec::new();
                seals.seal(suite, Content::ApplicationData, &[0; 32], &mut record).unwrap();
                assert!(seen.insert(record), "{}", suite.name);
                match step % 5 {
                    0 => seals.rest(),
                    1 => seals = Direction::import(&seals.export()),
                    2 if suite.version == Version::Tls13 => seals.update(suite),
                    _ => {}
                }
            }
        }
    }
}
