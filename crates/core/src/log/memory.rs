//! `error_log memory:SIZE`: the last lines in a ring, for whoever looks with a debugger.

use std::sync::{Mutex, MutexGuard};

use super::line::Line;

#[derive(Debug)]
pub struct Memory {
    ring: Mutex<Ring>,
}

#[derive(Debug)]
struct Ring {
    bytes: Box<[u8]>,
    /// How much was ever written; the next byte goes to this number modulo the size.
    written: usize,
}

impl Memory {
    /// A ring of `size` bytes, at least 1.
    pub fn new(size: usize) -> Memory {
        let bytes = vec![0; size.max(1)].into_boxed_slice();
        Memory { ring: Mutex::new(Ring { bytes, written: 0 }) }
    }

    /// Reads a size (`64k`, `1m`) that holds at least one line. The error is nginx's sentence.
    pub fn parse(text: &str) -> Result<Memory, String> {
        let unit = match text.bytes().last() {
            Some(b'k' | b'K') => 1 << 10,
            Some(b'm' | b'M') => 1 << 20,
            _ => 1,
        };
        let digits = if unit == 1 { text } else { &text[..text.len() - 1] };
        let size = digits.parse().ok().and_then(|number: usize| number.checked_mul(unit));
        let size = size.filter(|size| *size >= Line::LIMIT);
        size.map(Memory::new).ok_or_else(|| format!("invalid buffer size \"{text}\""))
    }

    pub fn append(&self, line: &[u8]) {
        let mut ring = self.lock();
        let size = ring.bytes.len();
        let line = &line[line.len().saturating_sub(size)..];
        let start = ring.written % size;
        let first = line.len().min(size - start);
        ring.bytes[start..start + first].copy_from_slice(&line[..first]);
        ring.bytes[..line.len() - first].copy_from_slice(&line[first..]);
        ring.written += line.len();
    }

    /// What is held, oldest first.
    pub fn text(&self) -> String {
        let ring = self.lock();
        let size = ring.bytes.len();
        let held = match ring.written.checked_sub(size) {
            None => ring.bytes[..ring.written].to_vec(),
            Some(_) => {
                let start = ring.written % size;
                [&ring.bytes[start..], &ring.bytes[..start]].concat()
            }
        };
        String::from_utf8_lossy(&held).into_owned()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_bytes_in_order() {
        let memory = Memory::new(8);
        memory.append(b"abcde");
        assert_eq!(memory.text(), "abcde");
        memory.append(b"fghij");
        assert_eq!(memory.text(), "cdefghij");
        memory.append(b"0123456789");
        assert_eq!(memory.text(), "23456789");
    }

    #[test]
    fn sizes_below_a_line_are_refused() {
        for size in ["", "k", "0", "2047", "1k", "1x", "99999999999999999999m"] {
            let sentence = Memory::parse(size).unwrap_err();
            assert_eq!(sentence, format!("invalid buffer size \"{size}\""));
        }
        assert!(Memory::parse("2k").is_ok());
    }
}
