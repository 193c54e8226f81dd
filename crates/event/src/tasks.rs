//! Tasks and the queue of those that want to be polled.

use std::collections::VecDeque;
use std::pin::Pin;

use crate::sources::NONE;
use crate::waker::TaskName;

pub(crate) type Spawned = Pin<Box<dyn Future<Output = ()>>>;

/// What a task runs.
pub(crate) enum Body {
    Free {
        next: u32,
    },
    /// A slot of the handler's [`Sessions`](crate::Sessions); the task lives as long as it.
    Session {
        slot: u32,
    },
    Spawned(Spawned),
    /// A spawned future while it is polled.
    Taken,
    /// The future of `block_on`, which its caller polls.
    Outer,
}

struct Task {
    body: Body,
    generation: u16,
    queued: bool,
}

pub(crate) struct Tasks {
    slots: Vec<Task>,
    free: u32,
    ready: VecDeque<u32>,
}

impl Tasks {
    pub(crate) fn new() -> Tasks {
        Tasks { slots: Vec::new(), free: NONE, ready: VecDeque::new() }
    }

    /// The slot and generation of a new task, not queued.
    pub(crate) fn insert(&mut self, body: Body) -> (u32, u16) {
        if self.free == NONE {
            self.slots.push(Task { body, generation: 0, queued: false });
            return (self.slots.len() as u32 - 1, 0);
        }
        let slot = self.free;
        let task = &mut self.slots[slot as usize];
        if let Body::Free { next } = std::mem::replace(&mut task.body, body) {
            self.free = next;
        }
        (slot, task.generation)
    }

    /// Frees a slot; the caller drops what it ran, outside of any borrow.
    pub(crate) fn remove(&mut self, slot: u32) -> Body {
        let next = std::mem::replace(&mut self.free, slot);
        let task = &mut self.slots[slot as usize];
        task.generation = task.generation.wrapping_add(1);
        std::mem::replace(&mut task.body, Body::Free { next })
    }

    pub(crate) fn schedule(&mut self, name: TaskName) {
        let Some(task) = self.slots.get(name.slot() as usize) else {
            return;
        };
        if task.generation == name.generation() {
            self.schedule_slot(name.slot());
        }
    }

    pub(crate) fn schedule_slot(&mut self, slot: u32) {
        let Some(task) = self.slots.get_mut(slot as usize) else {
            return;
        };
        if !task.queued && !matches!(task.body, Body::Free { .. }) {
            task.queued = true;
            self.ready.push_back(slot);
        }
    }

    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The next queued task; a spawned future comes out and must be [put back](Self::put_back)
    /// or its slot removed.
    pub(crate) fn pop(&mut self) -> Option<(u32, u16, Body)> {
        let slot = self.ready.pop_front()?;
        let task = &mut self.slots[slot as usize];
        task.queued = false;
        let body = match &mut task.body {
            Body::Free { .. } => Body::Taken,
            Body::Session { slot } => Body::Session { slot: *slot },
            Body::Spawned(_) => std::mem::replace(&mut task.body, Body::Taken),
            Body::Taken => Body::Taken,
            Body::Outer => Body::Outer,
        };
        Some((slot, task.generation, body))
    }

    pub(crate) fn put_back(&mut self, slot: u32, future: Spawned) {
        self.slots[slot as usize].body = Body::Spawned(future);
    }

    /// Takes every spawned future, for the reactor's end.
    pub(crate) fn drain(&mut self) -> Vec<Body> {
        self.ready.clear();
        self.free = NONE;
        self.slots.drain(..).map(|task| task.body).collect()
    }
}
