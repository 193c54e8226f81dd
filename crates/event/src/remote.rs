//! The one way in from other threads: a queue and a notifier.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::waker::TaskName;

/// A handle to a reactor that any thread may hold.
#[derive(Clone)]
pub struct Remote(pub(crate) Arc<Shared>);

impl Remote {
    /// Runs `work` on the reactor's thread, in its next turn. False where the reactor is gone.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) -> bool {
        self.0.send(Message::Run(Box::new(work)))
    }

    /// Ends the reactor's present wait, or its next one. False where the reactor is gone.
    pub fn nudge(&self) -> bool {
        self.0.send(Message::Nudge)
    }
}

pub(crate) enum Message {
    Wake(TaskName),
    Run(Box<dyn FnOnce() + Send>),
    Nudge,
}

/// The part of a reactor that all threads may touch.
pub(crate) struct Shared {
    pub(crate) id: u16,
    queue: Mutex<Queue>,
    notifier: OwnedFd,
}

struct Queue {
    messages: Vec<Message>,
    open: bool,
}

impl Shared {
    /// Makes one and lists it under a number that no living reactor has.
    pub(crate) fn register() -> io::Result<Arc<Shared>> {
        let notifier = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let mut reactors = reactors();
        let id = (0..=u16::MAX)
            .find(|id| !reactors.contains_key(id))
            .ok_or_else(|| io::Error::other("too many reactors"))?;
        let queue = Mutex::new(Queue { messages: Vec::new(), open: true });
        let shared = Arc::new(Shared { id, queue, notifier });
        reactors.insert(id, shared.clone());
        Ok(shared)
    }

    /// Takes it off the list; what is queued is dropped.
    pub(crate) fn unregister(&self) {
        reactors().remove(&self.id);
        let undelivered = {
            let mut queue = self.lock();
            queue.open = false;
            std::mem::take(&mut queue.messages)
        };
        drop(undelivered);
    }

    /// False where the reactor is gone.
    pub(crate) fn send(&self, message: Message) -> bool {
        let mut queue = self.lock();
        if !queue.open {
            return false;
        }
        queue.messages.push(message);
        // whoever finds messages there was preceded by one who notified
        if queue.messages.len() == 1 {
            // it can only fail where the counter is full, and then the notifier is readable
            let _ = rustix::io::write(&self.notifier, &1u64.to_ne_bytes());
        }
        true
    }

    /// Takes what was sent. `is_level` says that the notifier is reported until it is read.
    pub(crate) fn receive(&self, is_level: bool) -> Vec<Message> {
        if is_level {
            let _ = rustix::io::read(&self.notifier, &mut [0; 8]);
        }
        std::mem::take(&mut self.lock().messages)
    }

    pub(crate) fn notifier(&self) -> BorrowedFd<'_> {
        self.notifier.as_fd()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn find(id: u16) -> Option<Arc<Shared>> {
    reactors().get(&id).cloned()
}

/// All living reactors of the process. Only wakes from other threads look here.
fn reactors() -> MutexGuard<'static, BTreeMap<u16, Arc<Shared>>> {
    static REACTORS: Mutex<BTreeMap<u16, Arc<Shared>>> = Mutex::new(BTreeMap::new());
    REACTORS.lock().unwrap_or_else(PoisonError::into_inner)
}
