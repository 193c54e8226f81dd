//! Waiting for time: sleeps, time limits on futures, and the engine's raw timers.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::sources::Waiter;
use crate::wheel::{Target, TimerKey};
use crate::{Deadline, reactor};

/// Waits for `delay`.
pub fn sleep(delay: Duration) -> Sleep {
    sleep_until(Deadline::after(delay))
}

/// Waits for a moment.
pub fn sleep_until(deadline: Deadline) -> Sleep {
    Sleep { deadline, timer: None }
}

/// Waits for `future` until `deadline`; `None` if that came first. A timer is armed only when
/// the future has to wait.
pub async fn timeout<F: Future>(deadline: Deadline, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut sleep = pin!(sleep_until(deadline));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// The future of [`sleep`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep {
    deadline: Deadline,
    timer: Option<TimerKey>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline.has_passed() {
            return Poll::Ready(());
        }
        if self.deadline == Deadline::NEVER {
            return Poll::Pending;
        }
        reactor::with(|inner| {
            let target = Target::Waiter(inner.waiter(cx).0);
            let armed = self.timer.and_then(|key| inner.wheel().target(key));
            match (self.timer, armed) {
                (Some(key), Some(former)) => {
                    inner.wheel().retarget(key, target);
                    discard(inner, former);
                }
                _ => self.timer = Some(inner.wheel().insert(self.deadline.0, target)),
            }
        });
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(key) = self.timer else { return };
        reactor::try_with(|inner| {
            let armed = inner.wheel().target(key);
            if let Some(target) = armed {
                inner.wheel().cancel(key);
                discard(inner, target);
            }
        });
    }
}

fn discard(inner: &reactor::Inner, target: Target) {
    if let Target::Waiter(waiter) = target {
        inner.discard(Waiter(waiter));
    }
}

/// A timer that reports to [`Handler::timer`](crate::Handler) under its token, once; dropping it
/// cancels it.
#[must_use = "dropping a timer cancels it"]
pub struct Timer {
    key: TimerKey,
}

impl Timer {
    /// `token` is below 2^30.
    pub fn new(token: u32, deadline: Deadline) -> Timer {
        assert!(token < 1 << 30, "a timer's token has 30 bits");
        let target = Target::Token(token);
        Timer { key: reactor::with(|inner| inner.wheel().insert(deadline.0, target)) }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        reactor::try_with(|inner| inner.wheel().cancel(self.key));
    }
}
