//! The C library's allocator, which Rust's default one is.

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

/// Gives memory that is free back to the system, wherever it lies: after much was used at once, and freed.
///
/// Nothing happens where the C library is not GNU's.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number, and may be called at any time; the allocator's own lock keeps others out.
    unsafe {
        libc::malloc_trim(0);
    }
}
