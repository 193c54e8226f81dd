//! Giving others their turn.

use std::future::poll_fn;
use std::task::Poll;

/// Lets everything else that is ready go first: for tasks that could go on for long without waiting.
pub async fn next_turn() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
