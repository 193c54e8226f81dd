//! Waiting for time: sleeps, time limits on futures, and the engine's raw timers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::Deadline;

/// Waits for `delay`.
pub fn sleep(delay: Duration) -> Sleep {
    sleep_until(Deadline::after(delay))
}

/// Waits for a moment.
pub fn sleep_until(_deadline: Deadline) -> Sleep {
    todo!()
}

/// Waits for `future` until `deadline`; `None` if that came first. A timer is armed only when
/// the future has to wait.
pub async fn timeout<F: Future>(_deadline: Deadline, _future: F) -> Option<F::Output> {
    todo!()
}

/// The future of [`sleep`].
pub struct Sleep {}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        todo!()
    }
}

/// A timer that reports to [`Handler::timer`](crate::Handler) under its token, once; dropping it
/// cancels it.
pub struct Timer {}

impl Timer {
    /// `token` is below 2^30.
    pub fn new(_token: u32, _deadline: Deadline) -> Timer {
        todo!()
    }
}
