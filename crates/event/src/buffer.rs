//! Buffers for what is received and sent, pooled per reactor.

use std::ops::Deref;

/// A growing window of initialised bytes; its storage goes back to the reactor's pool on drop.
/// It dereferences to the bytes filled and not yet consumed.
pub struct Buffer {
    storage: Box<[u8]>,
    start: u32,
    end: u32,
}

impl Buffer {
    /// The size that most reads use.
    pub const SIZE: usize = 16 * 1024;

    /// An empty buffer of [`Buffer::SIZE`] bytes.
    pub fn new() -> Buffer {
        Buffer::with_capacity(Buffer::SIZE)
    }

    /// An empty buffer of at least `capacity` bytes.
    pub fn with_capacity(_capacity: usize) -> Buffer {
        todo!()
    }

    pub fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// The room behind the filled bytes.
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.storage[self.end as usize..]
    }

    /// Counts the first `count` bytes of [`spare`](Self::spare) as filled.
    pub fn advance(&mut self, _count: usize) {
        todo!()
    }

    /// Drops the first `count` filled bytes.
    pub fn consume(&mut self, _count: usize) {
        todo!()
    }

    /// Copies as much of `bytes` as there is room for; the number of bytes taken.
    pub fn append(&mut self, _bytes: &[u8]) -> usize {
        todo!()
    }

    /// Moves the filled bytes to the front, so that all room is behind them.
    pub fn compact(&mut self) {
        todo!()
    }

    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start as usize..self.end as usize]
    }
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::new()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start as usize..self.end as usize]
    }
}
