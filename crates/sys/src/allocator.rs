//! The C library's allocator, which Rust's default one is, and what to do where it has nothing left.
//!
//! Rust ends the process where an allocation fails. What one client can make large is asked for by
//! [`has_room`] first, and fails that client's request alone; for all else, which is small, there is a
//! [ballast](arm) that is dropped when memory runs out, and time to close connections until it is
//! there again.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// The allocator of a program that has a ballast.
pub struct Ballasted;

// SAFETY: every call goes to the system's allocator as it came, once more where that had nothing; what
// is freed was allocated there.
unsafe impl GlobalAlloc for Ballasted {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { System.alloc(layout) };
        match block.is_null() && drop_ballast() {
            // SAFETY: as above.
            true => unsafe { System.alloc(layout) },
            false => block,
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { System.alloc_zeroed(layout) };
        match block.is_null() && drop_ballast() {
            // SAFETY: as above.
            true => unsafe { System.alloc_zeroed(layout) },
            false => block,
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let moved = unsafe { System.realloc(block, layout, size) };
        match moved.is_null() && drop_ballast() {
            // SAFETY: as above; a block that could not grow is still there.
            true => unsafe { System.realloc(block, layout, size) },
            false => moved,
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Address space that is never touched, so that it takes no memory while there is some.
static BALLAST: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());
/// It was dropped, and not taken again.
static LOW: AtomicBool = AtomicBool::new(false);
const WEIGHT: usize = 16 << 20;

/// Takes ballast, where there is none and the system allows it. False where it does not.
pub fn arm() -> bool {
    if !BALLAST.load(Ordering::Relaxed).is_null() {
        return true;
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping of the kernel's choice touches nothing that is there.
    let ballast = unsafe { libc::mmap(std::ptr::null_mut(), WEIGHT, protection, flags, -1, 0) };
    if ballast == libc::MAP_FAILED {
        return false;
    }
    let none = std::ptr::null_mut();
    let taken = BALLAST.compare_exchange(none, ballast, Ordering::AcqRel, Ordering::Relaxed);
    if taken.is_err() {
        unmap(ballast);
    }
    LOW.store(false, Ordering::Relaxed);
    true
}

/// Whether memory ran out since the ballast was [taken](arm), and it was dropped for that.
#[inline]
pub fn is_low() -> bool {
    LOW.load(Ordering::Relaxed)
}

/// What the C library says where memory has run out.
pub fn shortage() -> std::io::Error {
    std::io::Error::from_raw_os_error(libc::ENOMEM)
}

/// Whether so many bytes can be had, and some more for what goes with them. Whoever asks has them
/// next.
pub fn has_room(bytes: usize) -> bool {
    let Some(layout) = bytes.checked_add(WEIGHT / 2).and_then(|all| Layout::array::<u8>(all).ok())
    else {
        return false;
    };
    // SAFETY: the layout is not empty; the block is freed as it was allocated, and only its address
    // is looked at.
    unsafe {
        let block = std::hint::black_box(System.alloc(layout));
        if block.is_null() {
            return false;
        }
        System.dealloc(block, layout);
    }
    true
}

#[cold]
fn drop_ballast() -> bool {
    let ballast = BALLAST.swap(std::ptr::null_mut(), Ordering::AcqRel);
    if ballast.is_null() {
        return false;
    }
    LOW.store(true, Ordering::Relaxed);
    unmap(ballast);
    true
}

fn unmap(ballast: *mut libc::c_void) {
    // SAFETY: the mapping is `arm`'s own, nothing points into it, and whoever swapped it out is the
    // only one who has it.
    unsafe { libc::munmap(ballast, WEIGHT) };
}

/// Has all threads of the process share one arena. By default each thread gets its own, several pages
/// that it hardly uses; threads that rarely allocate do not miss it.
///
/// Nothing happens where the C library is not GNU's.
pub fn share_arena() {
    #[cfg(target_env = "gnu")]
    {
        const ARENAS: libc::c_int = 1;
        // SAFETY: takes two numbers, and may be called at any time; what it refuses it leaves as it was.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    }
}

/// Gives free memory back to the system: what a burst of work needed, and nothing needs now. It takes
/// milliseconds where there is much.
///
/// Nothing happens where the C library is not GNU's.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes a number, and may be called at any time.
        unsafe { libc::malloc_trim(0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_be_had_is_told() {
        assert!(has_room(1 << 20));
        assert!(!has_room(usize::MAX) && !has_room(isize::MAX as usize));
    }

    #[test]
    fn the_ballast_is_dropped_once_and_taken_again() {
        assert!(arm() && arm() && !is_low());
        assert!(drop_ballast() && is_low());
        assert!(!drop_ballast());
        assert!(arm() && !is_low());
    }
}
