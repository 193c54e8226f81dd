//! Buffers for what is received and sent, pooled per reactor.

use std::fmt;
use std::io;
use std::ops::Deref;

use crate::reactor;

/// A window of bytes in a storage of fixed size, which goes back to the reactor's pool on drop.
/// It dereferences to the bytes that were filled and not yet consumed.
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

    /// An empty buffer of at least `capacity` bytes, which must be below 4 GiB.
    pub fn with_capacity(capacity: usize) -> Buffer {
        let buffer = Buffer::try_with_capacity(capacity);
        buffer.unwrap_or_else(|_| panic!("no memory for a buffer of {capacity} bytes"))
    }

    /// An empty buffer of at least `capacity` bytes, whose size the configuration chose: `ENOMEM` where
    /// there is no memory for it.
    pub fn try_with_capacity(capacity: usize) -> io::Result<Buffer> {
        assert!(capacity <= u32::MAX as usize / 2, "a buffer of {capacity} bytes");
        let storage = match reactor::try_with(|inner| inner.pool().take(capacity)).flatten() {
            Some(storage) => storage,
            None => {
                let size = Pool::rounded(capacity);
                if size > LARGE && !can_be_had(size) {
                    return Err(rustix::io::Errno::NOMEM.into());
                }
                vec![0; size].into()
            }
        };
        Ok(Buffer { storage, start: 0, end: 0 })
    }

    pub fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// The room behind the filled bytes.
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.storage[self.end as usize..]
    }

    /// Counts the first `count` bytes of [`spare`](Self::spare) as filled.
    pub fn advance(&mut self, count: usize) {
        let end = self.end as usize + count;
        assert!(end <= self.storage.len(), "advanced beyond the buffer");
        self.end = end as u32;
    }

    /// Drops the first `count` filled bytes.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed more than was filled");
        self.start += count as u32;
        if self.start == self.end {
            self.clear();
        }
    }

    /// Copies as much of `bytes` as there is room for; the number of bytes taken.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let spare = self.spare();
        let count = bytes.len().min(spare.len());
        spare[..count].copy_from_slice(&bytes[..count]);
        self.end += count as u32;
        count
    }

    /// Moves the filled bytes to the front, so that all room is behind them.
    pub fn compact(&mut self) {
        self.storage.copy_within(self.start as usize..self.end as usize, 0);
        self.end -= self.start;
        self.start = 0;
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

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.len(), self.capacity())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let storage = std::mem::take(&mut self.storage);
        reactor::try_with(move |inner| inner.pool().give(storage));
    }
}

/// Where there is no memory for more than this, whoever asked fails, and not the process.
const LARGE: usize = 1 << 20;

fn can_be_had(size: usize) -> bool {
    let mut probe = Vec::<u8>::new();
    let reserved = probe.try_reserve_exact(size);
    std::hint::black_box(&probe);
    reserved.is_ok()
}

/// The sizes that are kept: powers of two from 1 KB to 64 KB.
const SMALLEST: usize = 1024;
const CLASSES: usize = 7;
/// Bytes kept of one size.
const KEPT: usize = 1 << 20;

/// Free storages by size. The last one given is the first one taken: it is warm in the cache.
#[derive(Default)]
pub(crate) struct Pool {
    free: [Vec<Box<[u8]>>; CLASSES],
}

impl Pool {
    fn take(&mut self, capacity: usize) -> Option<Box<[u8]>> {
        self.free.get_mut(Pool::class(capacity))?.pop()
    }

    /// Keeps a storage, or frees it where its size is odd or there are enough.
    fn give(&mut self, storage: Box<[u8]>) {
        let size = storage.len();
        if size < SMALLEST || !size.is_power_of_two() {
            return;
        }
        if let Some(free) = self.free.get_mut(Pool::class(size))
            && free.len() * size < KEPT
        {
            free.push(storage);
        }
    }

    fn rounded(capacity: usize) -> usize {
        let class = Pool::class(capacity);
        if class < CLASSES { SMALLEST << class } else { capacity }
    }

    fn class(capacity: usize) -> usize {
        let size = capacity.max(SMALLEST).next_power_of_two();
        (size / SMALLEST).ilog2() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reactor;

    #[test]
    fn the_window_moves_as_bytes_come_and_go() {
        let mut buffer = Buffer::with_capacity(1024);
        assert_eq!(buffer.append(b"GET / HTTP/1.1"), 14);
        buffer.consume(4);
        assert_eq!(&buffer[..], b"/ HTTP/1.1");
        buffer.compact();
        assert_eq!(buffer.spare().len(), 1024 - 10);
        buffer.spare()[..2].copy_from_slice(b"\r\n");
        buffer.advance(2);
        assert_eq!(&buffer[..], b"/ HTTP/1.1\r\n");
        buffer.consume(12);
        assert_eq!(buffer.spare().len(), 1024);
    }

    #[test]
    fn append_takes_what_fits() {
        let mut buffer = Buffer::with_capacity(1024);
        assert_eq!(buffer.append(&[1; 1500]), 1024);
        assert_eq!(buffer.append(b"x"), 0);
    }

    #[test]
    fn storage_is_used_again() {
        let _reactor = Reactor::open(None).unwrap();
        let first = Buffer::new();
        let address = first.storage.as_ptr();
        drop(first);
        assert_eq!(Buffer::with_capacity(Buffer::SIZE - 100).storage.as_ptr(), address);
        assert_ne!(Buffer::with_capacity(1024).storage.as_ptr(), address);
    }

    #[test]
    fn who_asks_for_more_than_there_is_fails_alone() {
        assert!(can_be_had(2 * LARGE));
        assert!(!can_be_had(isize::MAX as usize));
    }

    #[test]
    fn the_pool_is_bounded() {
        let mut pool = Pool::default();
        for _ in 0..1000 {
            pool.give(vec![0; Buffer::SIZE].into());
            pool.give(vec![0; 3000].into());
            pool.give(vec![0; 1 << 20].into());
        }
        assert_eq!(pool.free.iter().map(Vec::len).sum::<usize>(), KEPT / Buffer::SIZE);
    }
}
