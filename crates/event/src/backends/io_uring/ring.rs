//! The two queues: requests go in, completions come out, both when this thread enters the kernel and at no other time.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, Submitter, cqueue, opcode, squeue};

use crate::backends::OpenError;

/// Requests that one entry into the kernel takes, and completions that it may leave.
const REQUESTS: u32 = 1024;
const COMPLETIONS: u32 = 4096;
/// Entries into the kernel until it counts as stuck.
const TRIES: usize = 8;

pub(super) struct Ring {
    ring: IoUring,
    /// Requests that the queue had no room for, in order.
    backlog: VecDeque<squeue::Entry>,
    /// Goes on once the kernel has seen all requests.
    round: Round,
}

/// When a request was made: the kernel has seen it once the ring is in another round. They wrap, so what compares them has
/// to do no harm where it finds an old one equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Round(u32);

impl Round {
    /// Before any of a new ring.
    pub(super) const NEVER: Round = Round(0);
}

impl Ring {
    /// Belongs to this thread from now on, so it is made after fork and after privileges were dropped.
    pub(super) fn open() -> Result<Ring, OpenError> {
        let ring = IoUring::builder()
            .dontfork()
            .setup_cqsize(COMPLETIONS)
            .setup_submit_all()
            .setup_single_issuer()
            // completions only come about while this thread is in io_uring_enter(2)
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(REQUESTS)
            .map_err(why_not)?;
        let mut ring = Ring { ring, backlog: VecDeque::new(), round: Round(1) };
        ring.try_out().map_err(why_not)?;
        Ok(ring)
    }

    /// Has the kernel do nothing once: a filter of system calls may allow to make a ring and refuse to
    /// enter it.
    fn try_out(&mut self) -> io::Result<()> {
        // SAFETY: this request points to nothing.
        unsafe { self.push(opcode::Nop::new().build()) };
        self.ring.submit_and_wait(1)?;
        self.ring.completion().for_each(drop);
        self.note_seen();
        Ok(())
    }

    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    pub(super) fn round(&self) -> Round {
        self.round
    }

    /// Has a request submitted with the next wait, in this round.
    ///
    /// # Safety
    /// What the request points to lives until it has completed.
    pub(super) unsafe fn push(&mut self, request: squeue::Entry) {
        // SAFETY: the caller's promise.
        if !self.backlog.is_empty() || unsafe { self.ring.submission().push(&request) }.is_err() {
            self.backlog.push_back(request);
        }
    }

    /// Submits what was pushed, and waits for a completion within `timeout` where there is none.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.submit_backlog()?;
        let (submitter, requests, completions) = self.ring.split();
        let wants = completions.is_empty() && timeout != Some(Duration::ZERO);
        if !wants && requests.is_empty() && !requests.taskrun() && !requests.cq_overflow() {
            return Ok(());
        }
        drop((requests, completions));
        let entered = match (wants, timeout) {
            (false, _) => submitter.submit(),
            (true, None) => submitter.submit_and_wait(1),
            (true, Some(timeout)) => {
                let timeout = Timespec::from(timeout);
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        };
        self.note_seen();
        forgive(entered)
    }

    /// The next completion, also of those that the queue had no room for.
    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        let next = self.ring.completion().next();
        if next.is_none() && self.ring.submission().cq_overflow() {
            // it may fail for what it submits on the way, which goes on to wait
            let _ = self.ring.submit();
            return self.ring.completion().next();
        }
        next
    }

    /// Ends the request called `name`: all its completions can be taken after this.
    pub(super) fn cancel_now(&mut self, name: u64) -> io::Result<()> {
        self.submit()?;
        // it may have ended by itself
        let _ = self.ring.submitter().register_sync_cancel(None, CancelBuilder::user_data(name));
        forgive(self.ring.submit())
    }

    /// Submits all that was pushed.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        for _ in 0..TRIES {
            self.submit_backlog()?;
            forgive(self.ring.submit())?;
            if self.note_seen() {
                return Ok(());
            }
        }
        Err(io::Error::other("io_uring takes no requests"))
    }

    fn submit_backlog(&mut self) -> io::Result<()> {
        while !self.backlog.is_empty() {
            forgive(self.ring.submit())?;
            let mut requests = self.ring.submission();
            if requests.is_full() {
                // completions have to be taken first
                return Ok(());
            }
            while let Some(request) = self.backlog.front()
                // SAFETY: the promise of who pushed it.
                && unsafe { requests.push(request) }.is_ok()
            {
                self.backlog.pop_front();
            }
        }
        Ok(())
    }

    /// Whether the kernel has seen all requests.
    fn note_seen(&mut self) -> bool {
        let seen = self.backlog.is_empty() && self.ring.submission().is_empty();
        if seen {
            self.round = Round(self.round.0.wrapping_add(1));
        }
        seen
    }
}

/// A wait that ended early, by a signal, its time or completions that have to be taken first, is none that failed.
fn forgive(entered: io::Result<usize>) -> io::Result<()> {
    let harmless = [libc::EINTR, libc::ETIME, libc::EBUSY, libc::EAGAIN];
    match entered {
        Err(error) if !error.raw_os_error().is_some_and(|code| harmless.contains(&code)) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Tells what the system forbids or lacks from what failed this time.
pub(super) fn why_not(error: io::Error) -> OpenError {
    let reason = match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has no io_uring",
        Some(libc::EPERM | libc::EACCES) => "this system forbids io_uring",
        Some(libc::EINVAL) => "this kernel is older than 6.1",
        Some(libc::ENOMEM) => "the limit of locked memory is too low",
        _ => return OpenError::Io(error),
    };
    OpenError::Unsupported { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_forbids_is_told_from_what_went_wrong() {
        let told = |code| why_not(io::Error::from_raw_os_error(code)).to_string();
        assert_eq!(told(libc::EPERM), "this system forbids io_uring");
        assert_eq!(told(libc::ENOSYS), "this kernel has no io_uring");
        let failed = why_not(io::Error::from_raw_os_error(libc::EMFILE));
        assert!(matches!(failed, OpenError::Io(_)));
    }
}
