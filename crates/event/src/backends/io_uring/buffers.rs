//! Provided buffers: the kernel takes one when there is something to receive, so a connection that waits has none.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The one group of them.
pub(super) const GROUP: u16 = 0;

const COUNT: usize = 1024;
/// How many of them are in use at first. They are used in turn: more than needed would only push each other, and all else,
/// out of the processor's caches.
const FIRST: u16 = 64;
/// Bytes of one: a usual request head fits. Not a power of two, or else all of them would begin in the same few sets of
/// the processor's caches.
const SIZE: usize = 1024 + 64;

/// No buffer.
const NONE: u16 = u16::MAX;

/// What was received and not yet read of one connection, in order.
#[derive(Clone, Copy)]
pub(super) struct Held {
    first: u16,
    last: u16,
    count: u16,
}

impl Held {
    pub(super) const NOTHING: Held = Held { first: NONE, last: NONE, count: 0 };

    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// In buffers.
    pub(super) fn count(&self) -> u16 {
        self.count
    }
}

pub(super) struct Buffers {
    entries: NonNull<Entries>,
    storage: NonNull<[u8]>,
    filled: Box<[Filled; COUNT]>,
    /// How many times a buffer was given to the kernel, as it counts them.
    given: u16,
    /// Buffers that are in use: these first ones.
    used: u16,
}

/// The kernel wants it to begin a page.
#[repr(C, align(4096))]
struct Entries([[u64; 2]; COUNT]);

/// The part of a buffer that was received and not yet read.
#[derive(Clone, Copy)]
struct Filled {
    start: u16,
    end: u16,
    next: u16,
}

impl Buffers {
    /// Gives the first buffers to the kernel. The ring must go before they do.
    pub(super) fn register(submitter: &Submitter<'_>) -> io::Result<Buffers> {
        let storage = Box::into_raw(vec![0; COUNT * SIZE].into_boxed_slice());
        let entries = Box::into_raw(Box::new(Entries([[0; 2]; COUNT])));
        let mut buffers = Buffers {
            // SAFETY: pointers of boxes are never null.
            entries: unsafe { NonNull::new_unchecked(entries) },
            // SAFETY: as above.
            storage: unsafe { NonNull::new_unchecked(storage) },
            filled: Box::new([Filled { start: 0, end: 0, next: NONE }; COUNT]),
            given: 0,
            used: 0,
        };
        let address = entries.addr() as u64;
        // SAFETY: the entries are `COUNT` long, begin a page and outlive the ring, as this
        // function's caller promises; the pointer was exposed for the kernel by its address.
        unsafe { submitter.register_buf_ring_with_flags(address, COUNT as u16, GROUP, 0) }?;
        buffers.use_more();
        Ok(buffers)
    }

    /// Gives the kernel as many buffers again as are in use, since it found none.
    pub(super) fn use_more(&mut self) {
        let used = (self.used * 2).clamp(FIRST, COUNT as u16);
        (self.used..used).for_each(|id| self.give(id));
        self.used = used;
    }

    /// Appends to `held` what the kernel filled a buffer with.
    pub(super) fn append(&mut self, held: &mut Held, id: u16, length: u16) {
        self.filled[usize::from(id)] = Filled { start: 0, end: length, next: NONE };
        match held.last {
            NONE => held.first = id,
            last => self.filled[usize::from(last)].next = id,
        }
        held.last = id;
        held.count += 1;
    }

    /// Moves at most so many bytes from `held` to `sink`; how many that are.
    pub(super) fn take(
        &mut self,
        held: &mut Held,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> usize {
        let mut taken = 0;
        while taken < most && !held.is_empty() {
            let id = held.first;
            let Filled { start, end, .. } = self.filled[usize::from(id)];
            let count = usize::from(end - start).min(most - taken);
            sink(self.part(id, start, count));
            taken += count;
            if count < usize::from(end - start) {
                self.filled[usize::from(id)].start += count as u16;
                break;
            }
            self.drop_first(held);
        }
        taken
    }

    /// Drops all that is held.
    pub(super) fn clear(&mut self, held: &mut Held) {
        while !held.is_empty() {
            self.drop_first(held);
        }
    }

    /// Gives a buffer to the kernel.
    pub(super) fn give(&mut self, id: u16) {
        // SAFETY: in bounds, since every id is below COUNT; within the one allocation.
        let address = unsafe { self.storage.cast::<u8>().add(usize::from(id) * SIZE) };
        let base = self.entries.cast::<BufRingEntry>();
        let place = usize::from(self.given) % COUNT;
        // SAFETY: `Entries` has the layout of `COUNT` entries, of which the kernel does not read
        // this one before the tail below says so; no reference to them is held elsewhere.
        let entry = unsafe { base.add(place).as_mut() };
        entry.set_addr(address.as_ptr().expose_provenance() as u64);
        entry.set_len(SIZE as u32);
        entry.set_bid(id);
        self.given = self.given.wrapping_add(1);
        // SAFETY: the tail is a field of the first entry that setting entries leaves alone; the
        // kernel reads it concurrently, and atomically.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base.as_ptr()).cast_mut()) };
        tail.store(self.given, Ordering::Release);
    }

    fn drop_first(&mut self, held: &mut Held) {
        let id = held.first;
        held.first = self.filled[usize::from(id)].next;
        held.count -= 1;
        if held.first == NONE {
            held.last = NONE;
        }
        self.give(id);
    }

    fn part(&self, id: u16, start: u16, length: usize) -> &[u8] {
        debug_assert!(usize::from(start) + length <= SIZE);
        let at = usize::from(id) * SIZE + usize::from(start);
        // SAFETY: in bounds as the line above says; the kernel has let go of this buffer and does
        // not get it back before the slice is gone, since `give` wants `&mut self`.
        unsafe { std::slice::from_raw_parts(self.storage.cast::<u8>().add(at).as_ptr(), length) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both came from boxes, and the kernel has no use for them without the ring.
        unsafe {
            drop(Box::from_raw(self.entries.as_ptr()));
            drop(Box::from_raw(self.storage.as_ptr()));
        }
    }
}
