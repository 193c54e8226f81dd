//! What is sent with the next entry into the kernel. Such a send takes what there is room for and no time, so all bytes lie one
//! behind the other in one place, which is used again for the next entry.

use super::ring::Round;
use crate::sources::Key;

/// Bytes for one entry into the kernel.
const CAPACITY: usize = 256 * 1024;

pub(super) struct Batch {
    /// Never grows, so what is in it does not move.
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// When the pieces were added.
    round: Round,
}

struct Piece {
    of: Key,
    start: u32,
    length: u32,
}

impl Batch {
    pub(super) fn new() -> Batch {
        Batch { bytes: Vec::with_capacity(CAPACITY), pieces: Vec::new(), round: Round::NEVER }
    }

    /// Adds what a connection sends; where that is from now on. `None` where there is no room.
    pub(super) fn add(&mut self, of: Key, bytes: &[u8], round: Round) -> Option<&[u8]> {
        let start = self.bytes.len();
        if bytes.len() > CAPACITY - start {
            return None;
        }
        self.bytes.extend_from_slice(bytes);
        self.pieces.push(Piece { of, start: start as u32, length: bytes.len() as u32 });
        self.round = round;
        Some(&self.bytes[start..])
    }

    /// What is left of a connection's piece of which so many bytes were sent.
    pub(super) fn rest(&self, of: Key, sent: usize) -> Option<&[u8]> {
        let piece = self.pieces.iter().find(|piece| piece.of == of)?;
        let piece = &self.bytes[piece.start as usize..][..piece.length as usize];
        piece.get(sent..)
    }

    /// Drops what was added in another round than this one: the kernel has seen it.
    pub(super) fn begin(&mut self, round: Round) {
        if self.round != round {
            self.bytes.clear();
            self.pieces.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::io_uring::ring::Ring;

    #[test]
    fn pieces_stay_where_they_are_until_the_next_round() {
        let Ok(mut ring) = Ring::open() else { return };
        let (first, second) = (Key::from_bits(1), Key::from_bits(2));
        let mut batch = Batch::new();
        let at = batch.add(first, b"first", ring.round()).unwrap().as_ptr();
        batch.add(second, &[0; 100_000], ring.round()).unwrap();
        batch.begin(ring.round());
        assert_eq!(
            batch.rest(first, 2).map(|rest| (rest, rest.as_ptr())),
            Some((&b"rst"[..], at.wrapping_add(2)))
        );
        assert!(batch.add(first, &[0; CAPACITY], ring.round()).is_none());

        ring.submit().unwrap();
        batch.begin(ring.round());
        assert!(batch.rest(first, 0).is_none());
        assert!(batch.add(first, &[0; CAPACITY], ring.round()).is_some());
    }
}
