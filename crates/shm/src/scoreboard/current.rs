//! The request that a worker serves, readable while it changes.

use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence};

use crate::region::Shareable;

/// A request as the status page shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentRequest {
    pub client: Vec<u8>,
    pub host: Vec<u8>,
    /// The beginning of the request line.
    pub line: Vec<u8>,
    /// Milliseconds since 1970.
    pub started: u64,
}

/// One writer, any number of readers: the sequence is odd while the rest changes, and a reader that
/// finds it changed has read nothing.
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct Current {
    sequence: AtomicU32,
    lengths: [AtomicU8; 4],
    started: AtomicU64,
    client: Text<CLIENT>,
    host: Text<HOST>,
    line: Text<LINE>,
}

// SAFETY: all fields are atomics, of which zero is a value, and none needs dropping.
unsafe impl Shareable for Current {}

/// Lengths in words of eight bytes. An IPv6 address takes 39 bytes, a name may be cut.
const CLIENT: usize = 6;
const HOST: usize = 8;
const LINE: usize = 8;

impl Current {
    pub fn write(&self, client: impl Display, host: &[u8], line: &[u8], started: u64) {
        // A worker that died while it wrote left an odd number behind.
        let odd = self.sequence.load(Relaxed) | 1;
        self.sequence.store(odd, Relaxed);
        fence(Release);
        let mut shown = [0; CLIENT * 8];
        let mut room = &mut shown[..];
        // A client's name that is longer is cut.
        let _ = write!(room, "{client}");
        let left = room.len();
        let client = &shown[..CLIENT * 8 - left];
        let [of_client, of_host, of_line, _] = &self.lengths;
        of_client.store(self.client.store(client), Relaxed);
        of_host.store(self.host.store(host), Relaxed);
        of_line.store(self.line.store(line), Relaxed);
        self.started.store(started, Relaxed);
        self.sequence.store(odd.wrapping_add(1), Release);
    }

    /// `None` where there never was a request, or it changes faster than it can be read.
    pub fn read(&self) -> Option<CurrentRequest> {
        (0..8).find_map(|_| self.try_read())
    }

    fn try_read(&self) -> Option<CurrentRequest> {
        let before = self.sequence.load(Acquire);
        if before == 0 || before % 2 == 1 {
            return None;
        }
        let [of_client, of_host, of_line, _] = &self.lengths;
        let request = CurrentRequest {
            client: self.client.load(of_client.load(Relaxed)),
            host: self.host.load(of_host.load(Relaxed)),
            line: self.line.load(of_line.load(Relaxed)),
            started: self.started.load(Relaxed),
        };
        fence(Acquire);
        (self.sequence.load(Relaxed) == before).then_some(request)
    }
}

/// Bytes in atomic words: what a reader sees of a torn text is wrong, but never undefined.
struct Text<const WORDS: usize>([AtomicU64; WORDS]);

impl<const WORDS: usize> Default for Text<WORDS> {
    fn default() -> Self {
        Text([const { AtomicU64::new(0) }; WORDS])
    }
}

impl<const WORDS: usize> Text<WORDS> {
    /// Stores as much as there is room for; how much that is.
    fn store(&self, text: &[u8]) -> u8 {
        let text = &text[..text.len().min(WORDS * 8)];
        for (word, bytes) in self.0.iter().zip(text.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Relaxed);
        }
        text.len() as u8
    }

    fn load(&self, length: u8) -> Vec<u8> {
        let words = self.0.iter().flat_map(|word| word.load(Relaxed).to_le_bytes());
        words.take(usize::from(length)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written_and_cut_where_it_is_long() {
        let current = Current::default();
        assert_eq!(current.read(), None);
        current.write("127.0.0.1", b"example.org", b"GET /index.html HTTP/1.1", 7);
        let request = current.read().unwrap();
        assert_eq!(request.client, b"127.0.0.1");
        assert_eq!(request.host, b"example.org");
        assert_eq!(request.line, b"GET /index.html HTTP/1.1");
        assert_eq!(request.started, 7);

        let long = [b'x'; 1000];
        current.write(String::from_utf8_lossy(&long), &long, &long, 8);
        let request = current.read().unwrap();
        let lengths = (request.client.len(), request.host.len(), request.line.len());
        assert_eq!(lengths, (48, 64, 64));
    }

    #[test]
    fn what_a_dead_worker_left_half_written_is_not_shown_and_harms_nobody() {
        let current = Current::default();
        current.write("a", b"b", b"c", 1);
        current.sequence.fetch_add(1, Relaxed);
        assert_eq!(current.read(), None);
        current.write("d", b"e", b"f", 2);
        assert_eq!(current.read().unwrap().client, b"d");
    }

    #[test]
    fn no_reader_sees_a_mixture() {
        let (current, done) = (Current::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..20_000u64 {
                    let letter = b'a' + (round % 26) as u8;
                    let text = [letter; 60];
                    current.write(char::from(letter), &text, &text[..40], u64::from(letter));
                }
                done.store(true, Release);
            });
            while !done.load(Acquire) {
                let Some(request) = current.read() else { continue };
                let letter = request.started as u8;
                let whole = request.client.iter().chain(&request.host).chain(&request.line);
                assert!(whole.copied().all(|byte| byte == letter), "{request:?}");
            }
        });
        assert_eq!(current.read().unwrap().host.len(), 60);
    }
}
