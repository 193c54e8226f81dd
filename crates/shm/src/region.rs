//! Anonymous shared mappings.

use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// What may live in shared memory.
///
/// # Safety
/// All bytes zero is a valid value; every field that changes after the start is an atomic or is
/// guarded by a lock in the same memory; nothing in it points into one process's memory or needs
/// to be dropped.
pub unsafe trait Shareable: Sync {}

// SAFETY: zero is a number, and the type is an atomic.
unsafe impl Shareable for AtomicU8 {}
// SAFETY: as above.
unsafe impl Shareable for AtomicU16 {}
// SAFETY: as above.
unsafe impl Shareable for AtomicU32 {}
// SAFETY: as above.
unsafe impl Shareable for AtomicU64 {}
// SAFETY: as above.
unsafe impl Shareable for AtomicI64 {}

/// What may be looked at in shared memory wherever it is said to stand, even where something else was written before.
///
/// # Safety
/// Any bytes are a valid value, and all of it is atomics.
pub unsafe trait Plain: Shareable {}

// SAFETY: any bytes are a number, and the type is an atomic.
unsafe impl Plain for AtomicU8 {}
// SAFETY: as above.
unsafe impl Plain for AtomicU16 {}
// SAFETY: as above.
unsafe impl Plain for AtomicU32 {}
// SAFETY: as above.
unsafe impl Plain for AtomicU64 {}
// SAFETY: as above.
unsafe impl Plain for AtomicI64 {}

// SAFETY: an array is its elements.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {}
// SAFETY: as above.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Declares a record of [`Plain`] fields that is `Plain` itself.
#[macro_export]
macro_rules! plain {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident {
        $($(#[$doc:meta])* $field_visibility:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$attribute])*
        #[repr(C)]
        $visibility struct $name {
            $($(#[$doc])* $field_visibility $field: $type,)*
        }

        const _: () = {
            const fn is_plain<T: $crate::Plain>() {}
            $(is_plain::<$type>();)*
        };

        // SAFETY: each field is `Plain`, which the compiler has just been asked, so that any bytes are a value of
        // all of them and each is made of atomics.
        unsafe impl $crate::Shareable for $name {}
        // SAFETY: as above.
        unsafe impl $crate::Plain for $name {}
    };
}

/// `count` values of `T`, zero at the start, in one mapping that forked children share. A page
/// takes memory once it is touched.
pub struct Region<T: Shareable> {
    start: NonNull<T>,
    count: usize,
    owns: PhantomData<T>,
}

// SAFETY: a region is a pointer to `Sync` values that it alone unmaps.
unsafe impl<T: Shareable> Send for Region<T> {}
// SAFETY: as above.
unsafe impl<T: Shareable> Sync for Region<T> {}

impl<T: Shareable> Region<T> {
    /// Errors are mmap(2)'s.
    pub fn new(count: usize) -> io::Result<Region<T>> {
        const { assert!(align_of::<T>() <= 4096, "mappings are aligned to pages") };
        const { assert!(!std::mem::needs_drop::<T>(), "shared values are never dropped") };
        let bytes = Self::bytes(count)?;
        // SAFETY: the kernel chooses the address, so no mapping is replaced.
        let start = unsafe {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::SHARED)?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Region { start, count, owns: PhantomData })
    }

    fn bytes(count: usize) -> io::Result<usize> {
        let bytes = count.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize);
        bytes.map(|bytes| bytes.max(1)).ok_or(io::ErrorKind::InvalidInput.into())
    }
}

impl<T: Shareable> Deref for Region<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping holds `count` values of T, aligned to a page, zeroed by the kernel,
        // which `Shareable` allows; it lives as long as `self`; and what other processes change
        // in it are atomics, again by `Shareable`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl<T: Shareable> Drop for Region<T> {
    fn drop(&mut self) {
        let bytes = (self.count * size_of::<T>()).max(1);
        // SAFETY: exactly what `new` mapped; no reference outlives `self`. It unmaps in this
        // process only.
        let _ = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn a_region_starts_with_zeros_and_keeps_what_is_written() {
        let region: Region<AtomicU64> = Region::new(10_000).unwrap();
        assert!(region.iter().all(|value| value.load(Ordering::Relaxed) == 0));
        region[9_999].store(7, Ordering::Relaxed);
        assert_eq!(region[9_999].load(Ordering::Relaxed), 7);
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        assert!(Region::<AtomicU64>::new(usize::MAX / 2).is_err());
        assert!(Region::<AtomicU64>::new(1 << 59).is_err());
    }
}
