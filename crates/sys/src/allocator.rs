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
