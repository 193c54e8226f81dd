//! Work whose memory lies apart from what was there before.
//!
//! A reload makes the new configuration while the former one is still in force. In one heap the new one's pieces fill the
//! former one's gaps, and once that is freed they hold its pages: the master grows with each reload. GNU's C library gives
//! threads heaps of their own, which outlive them and go to whoever needs one next, the last one freed first. So two heaps
//! take turns: one thread holds that of the configuration in force, while the other gets the one that is empty by now. With
//! other C libraries this is a detour without effect.

use std::panic;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Does the work on a thread of its own; both threads have ended when it is done, so that the process may fork.
pub fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let (held, is_held) = channel();
        let (release_holder, holder_leaves) = channel::<()>();
        let (release_worker, worker_leaves) = channel::<()>();
        let holder = scope.spawn(move || hold(&held, &holder_leaves));
        // It ends early only by a panic, which is told where it is joined.
        let _ = is_held.recv();
        let (finished, result) = channel();
        let worker = scope.spawn(move || {
            let result = work();
            let _ = finished.send(result);
            let _ = worker_leaves.recv();
        });
        let result = result.recv();
        // The last one to end leaves the heap that is taken first the next time.
        drop(release_holder);
        let _ = holder.join();
        drop(release_worker);
        match (worker.join(), result) {
            (Ok(()), Ok(result)) => result,
            (Err(cause), _) => panic::resume_unwind(cause),
            (Ok(()), Err(_)) => unreachable!("work that ended well has a result"),
        }
    })
}

fn hold(held: &Sender<Box<u8>>, leaves: &Receiver<()>) {
    // The first allocation is what chooses the heap.
    let _ = held.send(Box::new(0));
    let _ = leaves.recv();
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_and_panics_come_back() {
        assert_eq!(super::run(|| vec![1; 3]), [1; 3]);
        let caught = std::panic::catch_unwind(|| super::run(|| panic!("of the work's own")));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"of the work's own"));
    }
}
