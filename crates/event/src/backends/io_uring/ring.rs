//! The two queues: requests go in, completions come out, both when this thread enters the kernel and at no other time.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, Submitter, cqueue, squeue};

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
    /// Requests pushed, and the first of them that the kernel may not have seen.
    pushed: u64,
    unseen: u64,
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
        Ok(Ring { ring, backlog: VecDeque::new(), pushed: 0, unseen: 0 })
    }

    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    /// Has a request submitted with the next wait; its number.
    ///
    /// # Safety
    /// What the request points to lives until it has completed.
    pub(super) unsafe fn push(&mut self, request: squeue::Entry) -> u64 {
        // SAFETY: the caller's promise.
        if !self.backlog.is_empty() || unsafe { self.ring.submission().push(&request) }.is_err() {
            self.backlog.push_back(request);
        }
        self.pushed += 1;
        self.pushed - 1
    }

    /// Makes sure that the kernel has seen a request, which names a descriptor by its number, before
    /// that descriptor is closed.
    pub(super) fn ensure_seen(&mut self, number: u64) -> io::Result<()> {
        if number >= self.unseen { self.submit() } else { Ok(()) }
    }

    /// Submits what was pushed, and waits for a completion within `timeout` where there is none.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.submit_backlog()?;
        let (submitter, mut requests, completions) = self.ring.split();
        let wants = completions.is_empty() && timeout != Some(Duration::ZERO);
        if !wants && requests.is_empty() && !requests.taskrun() && !requests.cq_overflow() {
            return Ok(());
        }
        requests.sync();
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

    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// Ends the request called `name`: all its completions can be [taken](Self::next) after this.
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
            self.note_seen();
            if self.unseen == self.pushed {
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

    fn note_seen(&mut self) {
        if self.backlog.is_empty() && self.ring.submission().is_empty() {
            self.unseen = self.pushed;
        }
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
