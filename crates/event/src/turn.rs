//! Giving others their turn.

use std::future::poll_fn;
use std::task::Poll;

/// How much one connection may receive or send before others have their turn.
pub const IN_A_TURN: usize = 256 << 10;

/// What a connection has done of that.
#[derive(Default)]
pub struct Turn {
    used: usize,
}

impl Turn {
    /// Counts bytes; whether others are to go first, who then have been.
    pub fn spends(&mut self, bytes: usize) -> bool {
        self.used += bytes;
        let is_over = self.used >= IN_A_TURN;
        if is_over {
            self.used = 0;
        }
        is_over
    }

    /// Counts bytes, and lets others go first once it has had its share.
    pub async fn spend(&mut self, bytes: usize) {
        if self.spends(bytes) {
            next_turn().await;
        }
    }
}

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
