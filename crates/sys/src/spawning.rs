//! The ways to start a process, for the measurement that shows what each costs the one that starts it. The server itself
//! forks workers ([`process::spawn`](crate::process::spawn)) and executes programs by
//! [`process::execute`](crate::process::execute).

use std::ffi::{CStr, c_void};
use std::io;

use crate::descriptor::check;

/// Forks a process that ends at once; its number.
pub fn fork_and_end() -> io::Result<i32> {
    // SAFETY: the child makes one call, which is safe after a fork whatever other threads held.
    match check(unsafe { libc::fork() })? {
        // SAFETY: `_exit` runs nothing of this process.
        0 => unsafe { libc::_exit(0) },
        pid => Ok(pid),
    }
}

/// Forks a process that executes the program, without arguments.
pub fn fork_and_execute(program: &CStr) -> io::Result<i32> {
    let arguments = [program.as_ptr(), std::ptr::null()];
    // SAFETY: the child makes only calls that are safe after a fork, with pointers made before it.
    match check(unsafe { libc::fork() })? {
        // SAFETY: the list ends with a null pointer, and its strings outlive the call.
        0 => unsafe { execute(arguments.as_ptr()) },
        pid => Ok(pid),
    }
}

/// The same with the memory shared until the program is executed, and the caller held so long.
pub fn vfork_and_execute(program: &CStr) -> io::Result<i32> {
    extern "C" fn child(arguments: *mut c_void) -> libc::c_int {
        // SAFETY: the parent passes a list that ends with a null pointer, and waits meanwhile.
        unsafe { execute(arguments.cast_const().cast()) }
    }

    let mut arguments = [program.as_ptr(), std::ptr::null()];
    let mut stack = vec![0u128; STACK / size_of::<u128>()];
    let top = stack.as_mut_ptr_range().end.cast::<c_void>();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the child has a stack of its own, aligned as the machine wants it; with CLONE_VFORK this
    // call returns once the child no longer uses that stack or the arguments; and all that the child
    // does is to execute or to end.
    let pid = check(unsafe { libc::clone(child, top, flags, arguments.as_mut_ptr().cast()) });
    drop(stack);
    pid
}

const STACK: usize = 64 << 10;

/// Becomes the program that the first argument names, or ends.
///
/// # Safety
/// `arguments` is a list of C strings that ends with a null pointer.
unsafe fn execute(arguments: *const *const libc::c_char) -> ! {
    // SAFETY: the caller vouches for the list; neither call returns where it succeeds, and `_exit`
    // always does.
    unsafe {
        libc::execv(*arguments, arguments);
        libc::_exit(127)
    }
}

/// Keeps the kernel from backing this process's memory with huge pages: few servers have many.
pub fn without_huge_pages() -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Exit, wait_for};

    #[test]
    fn each_way_starts_a_process_that_ends_well() {
        let program = c"/bin/true";
        let nowhere = c"/nowhere/program";
        let started = [
            (fork_and_end(), 0),
            (fork_and_execute(program), 0),
            (vfork_and_execute(program), 0),
            (fork_and_execute(nowhere), 127),
            (vfork_and_execute(nowhere), 127),
        ];
        for (pid, code) in started {
            assert_eq!(wait_for(pid.unwrap()).unwrap(), Exit::Code(code));
        }
    }
}
