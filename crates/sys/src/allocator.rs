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
