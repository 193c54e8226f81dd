//! Processes: fork, wait, execute, detach.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::descriptor::check;

/// Which side of a fork this is.
pub enum Fork {
    Child,
    /// The child's number.
    Parent(i32),
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal { number: i32, core_dumped: bool },
}

/// The code of a child that panicked.
pub const PANICKED: i32 = 101;

/// Forks. Refused where there are other threads: the child would inherit their locks, and nobody to
/// open them.
pub fn fork() -> io::Result<Fork> {
    require_one_thread()?;
    // SAFETY: this is the only thread, so every lock and allocation is in a state that the child
    // can go on from.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Runs `child` in a process of its own, which ends with the code that it returns.
pub fn spawn(child: impl FnOnce() -> i32) -> io::Result<i32> {
    match fork()? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => {
            let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(PANICKED);
            std::process::exit(code)
        }
    }
}

/// The next child that ended, `None` while all others live or where there is none.
pub fn reap() -> io::Result<Option<(i32, Exit)>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid for the call.
        match check(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) }) {
            Ok(0) => return Ok(None),
            Ok(pid) => return Ok(Some((pid, exit_of(status)))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Waits for the end of one child.
pub fn wait_for(pid: i32) -> io::Result<Exit> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid for the call.
        match check(unsafe { libc::waitpid(pid, &mut status, 0) }) {
            Ok(_) => return Ok(exit_of(status)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Leaves the terminal: a session of its own, no mask on new files, nothing on standard input and
/// output.
pub fn detach() -> io::Result<()> {
    // SAFETY: `setsid` takes nothing; it fails for a group leader only.
    check(unsafe { libc::setsid() })?;
    set_umask(0);
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for standard in [libc::STDIN_FILENO, libc::STDOUT_FILENO] {
        // SAFETY: `null` is open; descriptors 0 and 1 belong to the whole process.
        check(unsafe { libc::dup2(null.as_raw_fd(), standard) })?;
    }
    Ok(())
}

/// What new files do not get, whoever asks for it.
pub fn set_umask(mask: u16) {
    // SAFETY: `umask` cannot fail and touches nothing but the process's mask.
    unsafe { libc::umask(libc::mode_t::from(mask)) };
}

/// Executes `path` (looked up in PATH where it has no slash) as a new process, whatever this one's
/// size.
///
/// It inherits the standard descriptors and those of `inherit` under their numbers, no blocked
/// signal, and exactly `environment`. The result is the process's number; the error says why it did
/// not start.
pub fn execute(
    path: &OsStr,
    arguments: &[OsString],
    environment: &[OsString],
    inherit: &[BorrowedFd<'_>],
) -> io::Result<i32> {
    let path = CString::new(path.as_bytes())?;
    let arguments = Strings::new(arguments)?;
    let environment = Strings::new(environment)?;
    let actions = FileActions::inheriting(inherit)?;
    let attributes = Attributes::with_default_signals()?;
    let mut pid = 0;
    // SAFETY: every pointer comes from a value that lives through the call; the string lists end
    // with a null pointer; actions and attributes were initialised by their constructors.
    let error = unsafe {
        libc::posix_spawnp(
            &mut pid,
            path.as_ptr(),
            actions.0.as_ptr(),
            attributes.0.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    refuse(error)?;
    Ok(pid)
}

/// C strings, and the null-terminated list of pointers to them.
struct Strings {
    pointers: Vec<*mut libc::c_char>,
    /// What the pointers point to.
    _strings: Vec<CString>,
}

impl Strings {
    fn new(strings: &[OsString]) -> io::Result<Strings> {
        let strings: Vec<CString> = strings
            .iter()
            .map(|string| CString::new(string.clone().into_vec()))
            .collect::<Result<_, _>>()?;
        let pointers =
            strings.iter().map(|string| string.as_ptr().cast_mut()).chain([std::ptr::null_mut()]);
        Ok(Strings { pointers: pointers.collect(), _strings: strings })
    }
}

struct FileActions(MaybeUninit<libc::posix_spawn_file_actions_t>);

impl FileActions {
    fn inheriting(descriptors: &[BorrowedFd<'_>]) -> io::Result<FileActions> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: the call initialises the value that it is given.
        refuse(unsafe { libc::posix_spawn_file_actions_init(raw.as_mut_ptr()) })?;
        let mut actions = FileActions(raw);
        for descriptor in descriptors {
            let number = descriptor.as_raw_fd();
            // Duplicating a descriptor to itself clears close-on-exec in the child, and only there.
            // SAFETY: the actions are initialised, and the descriptor is open.
            refuse(unsafe {
                libc::posix_spawn_file_actions_adddup2(actions.0.as_mut_ptr(), number, number)
            })?;
        }
        Ok(actions)
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: `inheriting` makes no value that is not initialised.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0.as_mut_ptr()) };
    }
}

struct Attributes(MaybeUninit<libc::posix_spawnattr_t>);

impl Attributes {
    fn with_default_signals() -> io::Result<Attributes> {
        let mut attributes = Attributes(MaybeUninit::uninit());
        let (none, pipe) = (crate::signals::set_of(&[]), crate::signals::set_of(&[libc::SIGPIPE]));
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        // SAFETY: the first call initialises the value; the others get it initialised, and sets
        // that live.
        unsafe {
            refuse(libc::posix_spawnattr_init(attributes.0.as_mut_ptr()))?;
            refuse(libc::posix_spawnattr_setsigmask(attributes.0.as_mut_ptr(), &none))?;
            refuse(libc::posix_spawnattr_setsigdefault(attributes.0.as_mut_ptr(), &pipe))?;
            refuse(libc::posix_spawnattr_setflags(
                attributes.0.as_mut_ptr(),
                flags as libc::c_short,
            ))?;
        }
        Ok(attributes)
    }
}

/// The spawn functions return the error's number instead of setting it.
fn refuse(error: libc::c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn exit_of(status: libc::c_int) -> Exit {
    if libc::WIFSIGNALED(status) {
        return Exit::Signal {
            number: libc::WTERMSIG(status),
            core_dumped: libc::WCOREDUMP(status),
        };
    }
    Exit::Code(libc::WEXITSTATUS(status))
}

pub(crate) fn require_one_thread() -> io::Result<()> {
    match std::fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(1) => Ok(()),
        Ok(count) => Err(io::Error::other(format!("the process has {count} threads"))),
        Err(_) => require_nothing_shared(),
    }
}

/// Without /proc: unshare(2) of what threads share does nothing, and is refused where there are any.
fn require_nothing_shared() -> io::Result<()> {
    // SAFETY: takes a number only, and these flags change nothing where the call succeeds.
    match check(unsafe { libc::unshare(libc::CLONE_VM | libc::CLONE_SIGHAND) }) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Err(io::Error::other("the process has several threads"))
        }
        // Elsewhere that is forbidden or unknown: the caller, who forks, has started none.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harness_with_threads_is_not_forked() {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        assert!(fork().is_err());
        assert!(require_nothing_shared().is_err());
        drop(stop);
        let _ = thread.join();
    }

    #[test]
    fn what_cannot_be_executed_says_why() {
        let error =
            execute(OsStr::new("/nowhere/daemun"), &["daemun".into()], &[], &[]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
