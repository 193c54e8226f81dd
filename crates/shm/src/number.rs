//! A number in memory that several look at, one at a time.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::region::{Plain, Shareable};

/// A number that is read and written plainly: whoever changes it holds a lock, or is the only one. Reading it
/// without is allowed and may be out of date.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Number(AtomicI64);

impl Number {
    pub const fn new(value: i64) -> Number {
        Number(AtomicI64::new(value))
    }

    #[inline]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds to what is counted by several at once without a lock.
    #[inline]
    pub fn tally(&self, change: i64) {
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    #[inline]
    pub fn add(&self, change: i64) {
        self.set(self.get().wrapping_add(change));
    }
}

// SAFETY: an atomic of which any bytes are a value.
unsafe impl Shareable for Number {}
// SAFETY: as above.
unsafe impl Plain for Number {}
