//! Signals as descriptors: blocked in every thread, read where the process waits anyway.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::descriptor::{check, fresh};

pub use libc::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGUSR1,
    SIGUSR2, SIGWINCH,
};

/// A signal that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub number: i32,
    /// The sender, 0 where the kernel is.
    pub sender: i32,
    /// What [`send_with`] gave along; `None` for a plain kill(2).
    pub value: Option<i32>,
}

/// Signals that wait to be read. They stay blocked when this is dropped.
#[derive(Debug)]
pub struct SignalQueue {
    descriptor: OwnedFd,
}

impl SignalQueue {
    /// Blocks `signals` in this thread (and those started from it) and queues them. Others are let
    /// through.
    pub fn of(signals: &[i32]) -> io::Result<SignalQueue> {
        let set = set_of(signals);
        // SAFETY: the set is initialised, and the call keeps no pointer.
        refuse(unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()) })?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is initialised; -1 asks for a new descriptor.
        let descriptor = fresh(unsafe { libc::signalfd(-1, &set, flags) })?;
        Ok(SignalQueue { descriptor })
    }

    /// The next signal, `None` where none waits.
    pub fn receive(&self) -> io::Result<Option<Received>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is valid for `size` bytes.
        let read =
            unsafe { libc::read(self.descriptor.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if read == -1 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            };
        }
        if read as usize != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: the kernel filled the whole record, and every pattern of bits is a valid one.
        let info = unsafe { info.assume_init() };
        Ok(Some(Received {
            number: info.ssi_signo as i32,
            sender: info.ssi_pid as i32,
            value: (info.ssi_code == libc::SI_QUEUE).then_some(info.ssi_int),
        }))
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// kill(2).
pub fn send(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: `kill` takes numbers only.
    check(unsafe { libc::kill(pid, signal) })?;
    Ok(())
}

/// A signal with a number that [`Received::value`] shows.
pub fn send_with(pid: i32, signal: i32, value: i32) -> io::Result<()> {
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(value as u32 as usize) };
    // SAFETY: `sigqueue` takes numbers only; the value is never followed as a pointer.
    check(unsafe { libc::sigqueue(pid, signal, value) })?;
    Ok(())
}

/// Lets signals pass that would end the process for nothing: SIGPIPE (writes report the error) and
/// SIGSYS.
pub fn ignore_harmless() {
    for signal in [libc::SIGPIPE, libc::SIGSYS] {
        // SAFETY: ignoring a signal runs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

pub(crate) fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set; adding a number that is no signal changes nothing.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

/// The thread functions return the error's number instead of setting it.
fn refuse(error: libc::c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sent_value_arrives_with_its_sender() {
        let queue = SignalQueue::of(&[SIGUSR2]).unwrap();
        assert_eq!(queue.receive().unwrap(), None);
        let own = crate::identity::pid();
        // To this thread only: the harness's other threads do not block it.
        let thread = crate::identity::thread_id();
        // SAFETY: the record is zeroed plain data, and the signal goes to this very thread, which
        // blocks it.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            info.si_signo = SIGUSR2;
            info.si_code = libc::SI_QUEUE;
            libc::syscall(libc::SYS_rt_tgsigqueueinfo, own, thread, SIGUSR2, &info);
        }
        let received = queue.receive().unwrap().unwrap();
        assert_eq!((received.number, received.value), (SIGUSR2, Some(0)));
    }
}
