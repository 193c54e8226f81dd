//! Waiting for a response that somebody else fetches.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use daemun_event::sleep;

use super::key::Hash;

thread_local! {
    /// Who waits on this thread: what happens here is told at once.
    static WAITERS: RefCell<HashMap<Hash, Vec<Waker>>> = RefCell::new(HashMap::new());
}

/// What other processes do is looked for in such intervals, the shortest first.
const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(50);

/// The waits of one request.
pub struct Waits {
    next: Duration,
}

impl Waits {
    pub fn new() -> Waits {
        Waits { next: FIRST }
    }

    /// Waits until the key is let go of on this thread, but not longer than until it is time to look.
    pub async fn wait(&mut self, key: &Hash, most: Duration) {
        let mut pause = sleep(self.next.min(most));
        self.next = (self.next * 2).min(LONGEST);
        let mut place = None;
        poll_fn(|cx| {
            let place = place.get_or_insert_with(|| Waiting::begin(*key, cx.waker()));
            match place.waits() {
                true => Pin::new(&mut pause).poll(cx),
                false => Poll::Ready(()),
            }
        })
        .await;
    }
}

/// A place among those who wait, until it is dropped.
struct Waiting {
    key: Hash,
    waker: Waker,
}

impl Waiting {
    fn begin(key: Hash, waker: &Waker) -> Waiting {
        let waker = waker.clone();
        WAITERS.with_borrow_mut(|waiters| waiters.entry(key).or_default().push(waker.clone()));
        Waiting { key, waker }
    }

    /// Nobody has let go of the key since.
    fn waits(&self) -> bool {
        WAITERS.with_borrow(|waiters| {
            let waiting = waiters.get(&self.key);
            waiting.is_some_and(|waiting| waiting.iter().any(|one| one.will_wake(&self.waker)))
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITERS.with_borrow_mut(|waiters| {
            let Some(waiting) = waiters.get_mut(&self.key) else { return };
            waiting.retain(|one| !one.will_wake(&self.waker));
            if waiting.is_empty() {
                waiters.remove(&self.key);
            }
        });
    }
}

/// The key was let go of: whoever waits for it looks again.
pub fn wake(key: &Hash) {
    let woken = WAITERS.with_borrow_mut(|waiters| waiters.remove(key));
    woken.into_iter().flatten().for_each(Waker::wake);
}
