//! `proxy_limit_rate` and its like: how much of a response may be read by now.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use daemun_event::{Deadline, Millis, Sleep, sleep_until};

/// The pace of one response.
pub struct Pace {
    /// Bytes a second.
    rate: u64,
    started: Millis,
    read: u64,
    pause: Option<Sleep>,
}

impl Pace {
    /// `None` where there is no limit.
    pub fn new(rate: u64) -> Option<Pace> {
        (rate > 0).then(|| Pace { rate, started: daemun_event::now(), read: 0, pause: None })
    }

    /// Counts what was read. What it should have taken is waited for next.
    pub fn count(&mut self, bytes: u64) {
        self.read += bytes;
        self.pause_for(bytes.saturating_mul(1000) / self.rate);
    }

    /// How many bytes may be read now.
    pub fn poll_allowance(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(Pin::new(pause).poll(cx));
                self.pause = None;
            }
            let seconds = daemun_event::now().saturating_sub(self.started) / 1000 + 1;
            let due = self.rate.saturating_mul(seconds);
            if due > self.read {
                return Poll::Ready(usize::try_from(due - self.read).unwrap_or(usize::MAX));
            }
            self.pause_for((self.read - due).saturating_mul(1000) / self.rate + 1);
        }
    }

    fn pause_for(&mut self, milliseconds: Millis) {
        if milliseconds > 0 {
            self.pause = Some(sleep_until(Deadline::after(Duration::from_millis(milliseconds))));
        }
    }
}
