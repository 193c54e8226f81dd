//! Waiting for a response that somebody else fetches.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use daemun_event::sleep;

use super::key::Hash;

/// Who waits for a key on this thread.
#[derive(Default)]
struct Waiters {
    wakers: Vec<Waker>,
    /// One of them looks for what other processes do. The others rely on it.
    has_scout: bool,
}

thread_local! {
    /// What happens on this thread is told at once.
    static WAITERS: RefCell<HashMap<Hash, Waiters>> = RefCell::new(HashMap::new());
}

/// What other processes do is looked for in such intervals: 1,000 who wait cost 100 looks a second.
const INTERVAL: Duration = Duration::from_millis(10);

/// Waits until the key is let go of on this thread, but not longer than until it is time to look.
pub async fn wait(key: &Hash, most: Duration) {
    let scout = Scout::of(*key);
    let mut pause = sleep(if scout.is_one { INTERVAL.min(most) } else { most });
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

/// The part of the one who looks, until it is dropped: then another takes it over.
struct Scout {
    key: Hash,
    is_one: bool,
}

impl Scout {
    fn of(key: Hash) -> Scout {
        WAITERS.with_borrow_mut(|waiters| {
            let waiting = waiters.entry(key).or_default();
            Scout { key, is_one: !std::mem::replace(&mut waiting.has_scout, true) }
        })
    }
}

impl Drop for Scout {
    fn drop(&mut self) {
        if !self.is_one {
            return;
        }
        let next = WAITERS.with_borrow_mut(|waiters| {
            let waiting = waiters.get_mut(&self.key)?;
            waiting.has_scout = false;
            let next = waiting.wakers.pop();
            if waiting.wakers.is_empty() {
                waiters.remove(&self.key);
            }
            next
        });
        next.into_iter().for_each(Waker::wake);
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
        WAITERS.with_borrow_mut(|waiters| {
            waiters.entry(key).or_default().wakers.push(waker.clone());
        });
        Waiting { key, waker }
    }

    /// Nobody has let go of the key since.
    fn waits(&self) -> bool {
        WAITERS.with_borrow(|waiters| {
            let mut wakers = waiters.get(&self.key).into_iter().flat_map(|waiting| &waiting.wakers);
            wakers.any(|one| one.will_wake(&self.waker))
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITERS.with_borrow_mut(|waiters| {
            let Some(waiting) = waiters.get_mut(&self.key) else { return };
            waiting.wakers.retain(|one| !one.will_wake(&self.waker));
            if waiting.wakers.is_empty() && !waiting.has_scout {
                waiters.remove(&self.key);
            }
        });
    }
}

/// The key was let go of: whoever waits for it looks again.
pub fn wake(key: &Hash) {
    let woken = WAITERS.with_borrow_mut(|waiters| waiters.remove(key));
    woken.into_iter().flat_map(|waiting| waiting.wakers).for_each(Waker::wake);
}
