//! Registered descriptors: who is told when one becomes ready.

/// Something may be received.
pub(crate) const READ: u8 = 1;
/// There may be room to send.
pub(crate) const WRITE: u8 = 2;
/// The peer closed its side, or the connection failed. Never cleared.
pub(crate) const HUP: u8 = 4;
/// With `WRITE`: it is not reported again until it is asked for again.
pub(crate) const ONCE: u8 = 8;

/// Something was received ahead and waits in the backend. Excludes `READ`: it is read first.
pub(crate) const HELD: u8 = 16;
/// A receive has something to yield.
pub(crate) const RECEIVABLE: u8 = READ | HELD;

/// The backend takes what is to be sent. With `WRITE` the connection has failed, as a send will tell.
pub(crate) const QUEUES: u8 = 32;
/// A send may take something.
pub(crate) const SENDABLE: u8 = WRITE | QUEUES;

/// The backend is not known to receive ahead: it has to be asked to once somebody waits.
pub(crate) const UNASKED: u8 = 64;

/// No source, timer, waiter or list member.
pub(crate) const NONE: u32 = u32::MAX;

/// Names a source to the backend. The generation tells apart the users of one slot, so that an
/// event which was under way when the slot changed hands reaches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    fn new(slot: u32, generation: u32) -> Key {
        Key(u64::from(generation) << 32 | u64::from(slot))
    }

    /// For the kernel to carry.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    pub fn from_bits(bits: u64) -> Key {
        Key(bits)
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Whom a wake-up goes to: a task of this reactor, or a waker that is kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter(pub(crate) u32);

impl Waiter {
    pub(crate) const NONE: Waiter = Waiter(NONE);
}

/// Who is told about a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Free,
    /// The waiters, each of its direction.
    Tasks,
    /// The handler; `read` is the token.
    Parked,
    /// The handler; `read` is the token.
    Listener,
    /// A callback; `read` is its index.
    Watch,
    /// The reactor: its queue from other threads has something.
    Notifier,
}

#[derive(Clone, Copy)]
pub(crate) struct Source {
    generation: u32,
    pub(crate) read: u32,
    pub(crate) write: u32,
    /// The timer that guards this source's wait, or `NONE`.
    pub(crate) timer: u32,
    pub(crate) ready: u8,
    /// The backend watches for room to send as well.
    pub(crate) sends: bool,
    pub(crate) owner: Owner,
}

/// A slab of sources. Free slots are a list linked through `read`.
pub(crate) struct Sources {
    slots: Vec<Source>,
    free: u32,
}

impl Sources {
    pub(crate) fn new() -> Sources {
        Sources { slots: Vec::new(), free: NONE }
    }

    pub(crate) fn reserve(&mut self, count: usize) {
        self.slots.reserve_exact(count.saturating_sub(self.slots.len()));
    }

    pub(crate) fn insert(&mut self, owner: Owner, token: u32) -> Key {
        let slot = self.vacant();
        let source = &mut self.slots[slot as usize];
        *source = Source {
            generation: source.generation,
            read: token,
            write: NONE,
            timer: NONE,
            ready: 0,
            sends: false,
            owner,
        };
        Key::new(slot, source.generation)
    }

    /// Frees a slot; its timer is the caller's to cancel.
    pub(crate) fn remove(&mut self, slot: u32) -> Source {
        let source = &mut self.slots[slot as usize];
        let removed = *source;
        source.generation = source.generation.wrapping_add(1);
        source.owner = Owner::Free;
        source.read = self.free;
        self.free = slot;
        removed
    }

    pub(crate) fn at(&mut self, slot: u32) -> &mut Source {
        &mut self.slots[slot as usize]
    }

    pub(crate) fn key(&self, slot: u32) -> Key {
        Key::new(slot, self.slots[slot as usize].generation)
    }

    /// The source that `key` was made for, if it still is the slot's user.
    pub(crate) fn find(&mut self, key: Key) -> Option<&mut Source> {
        let source = self.slots.get_mut(key.slot() as usize)?;
        let current = source.generation == key.generation() && source.owner != Owner::Free;
        current.then_some(source)
    }

    fn vacant(&mut self) -> u32 {
        if self.free != NONE {
            let slot = self.free;
            self.free = self.slots[slot as usize].read;
            return slot;
        }
        self.slots.push(Source {
            generation: 0,
            read: NONE,
            write: NONE,
            timer: NONE,
            ready: 0,
            sends: false,
            owner: Owner::Free,
        });
        self.slots.len() as u32 - 1
    }
}

impl Source {
    /// Takes the waiters that `ready` concerns.
    pub(crate) fn take_waiters(&mut self, ready: u8) -> [Waiter; 2] {
        let mut waiters = [Waiter::NONE; 2];
        if ready & (RECEIVABLE | HUP) != 0 {
            waiters[0] = Waiter(std::mem::replace(&mut self.read, NONE));
        }
        if ready & (SENDABLE | HUP) != 0 {
            waiters[1] = Waiter(std::mem::replace(&mut self.write, NONE));
        }
        waiters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_small() {
        assert_eq!(size_of::<Source>(), 20);
    }

    #[test]
    fn a_key_dies_with_its_source() {
        let mut sources = Sources::new();
        let old = sources.insert(Owner::Parked, 7);
        sources.remove(old.slot());
        assert!(sources.find(old).is_none());

        let new = sources.insert(Owner::Parked, 8);
        assert_eq!(new.slot(), old.slot());
        assert!(sources.find(old).is_none());
        assert_eq!(sources.find(new).unwrap().read, 8);
        assert_eq!(Key::from_bits(new.to_bits()), new);
    }
}
