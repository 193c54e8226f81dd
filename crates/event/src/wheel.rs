//! A hierarchical timer wheel: insertion and cancellation cost the same however many timers wait.
//!
//! Level 0 has a slot a millisecond, each further level slots 64 times as wide. A timer stands in
//! the level of the highest digit (base 64) in which its time differs from the present, and moves
//! down when time reaches its slot. Lists are linked by index through one slab of nodes.

use crate::Millis;
use crate::sources::NONE;

const LEVELS: usize = 6;
const SLOTS: usize = 64;
const DIGIT: u32 = SLOTS.trailing_zeros();
const RANGE: Millis = 1 << (DIGIT * LEVELS as u32);

/// The longest delay: just under the wheel's range, so that no timer meets the slot that is
/// current at the top level. Some two years; what waits longer is told early.
const LONGEST: Millis = RANGE - (RANGE >> DIGIT);

/// Marks `Node::prev` as the number of the list that the node is first in.
const HEAD: u32 = 1 << 31;

/// Names a timer; the generation tells apart the users of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    pub(crate) index: u32,
    generation: u32,
}

/// What is told when a timer fires, 30 bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The handler.
    Token(u32),
    /// A source, whose wait it limits.
    Source(u32),
    /// A waiter in the encoding of [`Waiter`](crate::sources::Waiter).
    Waiter(u32),
}

/// 28 bytes, because every parked connection has one; that is why times are split in two.
#[derive(Clone, Copy)]
struct Node {
    when: [u32; 2],
    /// Milliseconds after `when` that the deadline was moved to; applied when `when` comes.
    later: u32,
    prev: u32,
    next: u32,
    target: u32,
    generation: u32,
}

impl Node {
    fn when(&self) -> Millis {
        Millis::from(self.when[0]) | Millis::from(self.when[1]) << 32
    }

    fn set_when(&mut self, when: Millis) {
        self.when = [when as u32, (when >> 32) as u32];
    }

    fn deadline(&self) -> Millis {
        self.when() + Millis::from(self.later)
    }
}

pub(crate) struct Wheel {
    nodes: Vec<Node>,
    free: u32,
    /// All that was due before this has fired; lists are sorted relative to it.
    elapsed: Millis,
    /// The present as of the last [`pop`](Wheel::pop). New timers lie after it, so that firing
    /// timers ends even where each fired timer sets a new one.
    present: Millis,
    heads: Box<[[u32; SLOTS]; LEVELS]>,
    /// A bit for each list that is not empty.
    occupied: [u64; LEVELS],
}

impl Wheel {
    pub(crate) fn new() -> Wheel {
        Wheel {
            nodes: Vec::new(),
            free: NONE,
            elapsed: 0,
            present: 0,
            heads: Box::new([[NONE; SLOTS]; LEVELS]),
            occupied: [0; LEVELS],
        }
    }

    pub(crate) fn reserve(&mut self, count: usize) {
        self.nodes.reserve_exact(count.saturating_sub(self.nodes.len()));
    }

    /// Adds a timer that fires at `deadline`, not before the next millisecond.
    pub(crate) fn insert(&mut self, deadline: Millis, target: Target) -> TimerKey {
        let index = self.vacant();
        self.nodes[index as usize].target = target.encode();
        self.link_at(index, deadline);
        TimerKey { index, generation: self.nodes[index as usize].generation }
    }

    /// Removes a timer, unless it fired.
    pub(crate) fn cancel(&mut self, key: TimerKey) {
        if self.is_armed(key) {
            self.cancel_at(key.index);
        }
    }

    /// Removes the armed timer at `index`.
    pub(crate) fn cancel_at(&mut self, index: u32) {
        self.unlink(index);
        self.release(index);
    }

    pub(crate) fn is_armed(&self, key: TimerKey) -> bool {
        self.nodes[key.index as usize].generation == key.generation
    }

    /// Changes whom an armed timer tells.
    pub(crate) fn retarget(&mut self, key: TimerKey, target: Target) {
        self.nodes[key.index as usize].target = target.encode();
    }

    pub(crate) fn target(&self, key: TimerKey) -> Option<Target> {
        self.is_armed(key).then(|| Target::decode(self.nodes[key.index as usize].target))
    }

    /// When the armed timer at `index` fires.
    pub(crate) fn deadline(&self, index: u32) -> Millis {
        self.nodes[index as usize].deadline()
    }

    /// Moves the armed timer at `index` to `deadline`. Later is only a note on the timer.
    pub(crate) fn set(&mut self, index: u32, deadline: Millis) {
        let node = &mut self.nodes[index as usize];
        let later = deadline.checked_sub(node.when()).map(u32::try_from);
        if let Some(Ok(later)) = later {
            node.later = later;
            return;
        }
        self.unlink(index);
        self.link_at(index, deadline);
    }

    /// Makes the armed timer at `index` fire at `deadline` or before.
    pub(crate) fn limit(&mut self, index: u32, deadline: Millis) {
        if self.nodes[index as usize].deadline() > deadline {
            self.set(index, deadline);
        }
    }

    /// When to look again: not later than the first timer, perhaps earlier.
    pub(crate) fn next(&self) -> Option<Millis> {
        self.first().map(|(_, _, time)| time)
    }

    /// Takes one timer that is due at `now`.
    pub(crate) fn pop(&mut self, now: Millis) -> Option<Target> {
        self.present = now;
        while let Some((level, slot, time)) = self.first() {
            if time > now {
                break;
            }
            self.elapsed = time;
            if level > 0 {
                self.cascade(level, slot);
                continue;
            }
            let index = self.heads[0][slot];
            self.unlink(index);
            if self.nodes[index as usize].later > 0 {
                self.relink(index);
                continue;
            }
            let target = Target::decode(self.nodes[index as usize].target);
            self.release(index);
            return Some(target);
        }
        self.elapsed = now;
        None
    }

    /// The first list that is not empty, and when its slot begins.
    fn first(&self) -> Option<(usize, usize, Millis)> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        let shift = DIGIT * level as u32;
        let current = (self.elapsed >> shift) as u32 % SLOTS as u32;
        let ahead = self.occupied[level].rotate_right(current).trailing_zeros();
        let slot = (current + ahead) as usize % SLOTS;
        let start = self.elapsed >> shift << shift;
        Some((level, slot, start + (Millis::from(ahead) << shift)))
    }

    /// Moves a whole list, whose slot begins now, to the levels below.
    fn cascade(&mut self, level: usize, slot: usize) {
        let mut index = std::mem::replace(&mut self.heads[level][slot], NONE);
        self.occupied[level] &= !(1 << slot);
        while index != NONE {
            let next = self.nodes[index as usize].next;
            self.relink(index);
            index = next;
        }
    }

    /// Links a timer where its deadline belongs, as it was moved since.
    fn relink(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        node.set_when(node.deadline());
        node.later = 0;
        self.link(index);
    }

    fn link_at(&mut self, index: u32, deadline: Millis) {
        let latest = self.elapsed + LONGEST;
        let node = &mut self.nodes[index as usize];
        node.set_when(deadline.max(self.present + 1).min(latest));
        node.later = 0;
        self.link(index);
    }

    fn link(&mut self, index: u32) {
        let (level, slot) = self.place(self.nodes[index as usize].when());
        let next = std::mem::replace(&mut self.heads[level][slot], index);
        if next != NONE {
            self.nodes[next as usize].prev = index;
        }
        let node = &mut self.nodes[index as usize];
        node.next = next;
        node.prev = HEAD | (level * SLOTS + slot) as u32;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Node { prev, next, .. } = self.nodes[index as usize];
        if next != NONE {
            self.nodes[next as usize].prev = prev;
        }
        if prev & HEAD == 0 {
            self.nodes[prev as usize].next = next;
            return;
        }
        let list = (prev & !HEAD) as usize;
        let (level, slot) = (list / SLOTS, list % SLOTS);
        self.heads[level][slot] = next;
        if next == NONE {
            self.occupied[level] &= !(1 << slot);
        }
    }

    /// The list for a time: level and slot.
    fn place(&self, when: Millis) -> (usize, usize) {
        let differing = (self.elapsed ^ when).max(1);
        let level = (differing.ilog2() / DIGIT).min(LEVELS as u32 - 1);
        let slot = (when >> (DIGIT * level)) as usize % SLOTS;
        (level as usize, slot)
    }

    fn vacant(&mut self) -> u32 {
        if self.free != NONE {
            let index = self.free;
            self.free = self.nodes[index as usize].next;
            return index;
        }
        self.nodes.push(Node {
            when: [0; 2],
            later: 0,
            prev: NONE,
            next: NONE,
            target: 0,
            generation: 0,
        });
        self.nodes.len() as u32 - 1
    }

    fn release(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        node.next = self.free;
        self.free = index;
    }
}

impl Target {
    fn encode(self) -> u32 {
        match self {
            Target::Token(token) => token,
            Target::Source(slot) => 1 << 30 | slot,
            // a waiter's own encoding has the top bit set
            Target::Waiter(waiter) => waiter,
        }
    }

    fn decode(bits: u32) -> Target {
        match bits >> 30 {
            0 => Target::Token(bits),
            1 => Target::Source(bits & !(1 << 30)),
            _ => Target::Waiter(bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(Millis),
        Cancel(usize),
        Set(usize, Millis),
        Limit(usize, Millis),
        Advance(Millis),
    }

    /// Delays of every magnitude, so that each level is met.
    fn delay() -> impl Strategy<Value = Millis> {
        (0u32..34, any::<u64>()).prop_map(|(bits, random)| random % (1 << bits))
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => delay().prop_map(Step::Insert),
            1 => any::<usize>().prop_map(Step::Cancel),
            1 => (any::<usize>(), delay()).prop_map(|(i, d)| Step::Set(i, d)),
            1 => (any::<usize>(), delay()).prop_map(|(i, d)| Step::Limit(i, d)),
            3 => delay().prop_map(Step::Advance),
        ]
    }

    /// The wheel beside a sorted map: each timer fires in the turn in which it is due.
    #[derive(Default)]
    struct Model {
        now: Millis,
        deadlines: BTreeMap<u32, (TimerKey, Millis)>,
        names: u32,
    }

    impl Model {
        fn pick(&mut self, choice: usize) -> Option<&mut (TimerKey, Millis)> {
            let count = self.deadlines.len();
            self.deadlines.values_mut().nth(choice.checked_rem(count)?)
        }

        fn apply(&mut self, wheel: &mut Wheel, step: Step) {
            let now = self.now;
            match step {
                Step::Insert(delay) => {
                    let deadline = now + delay;
                    let key = wheel.insert(deadline, Target::Token(self.names));
                    self.deadlines.insert(self.names, (key, deadline.max(now + 1)));
                    self.names += 1;
                }
                Step::Cancel(choice) => {
                    let Some((key, _)) = self.pick(choice) else {
                        return;
                    };
                    let key = *key;
                    wheel.cancel(key);
                    wheel.cancel(key);
                    self.deadlines.retain(|_, (other, _)| *other != key);
                }
                Step::Set(choice, delay) => {
                    let Some((key, deadline)) = self.pick(choice) else {
                        return;
                    };
                    wheel.set(key.index, now + delay);
                    *deadline = (now + delay).max(now + 1);
                }
                Step::Limit(choice, delay) => {
                    let Some((key, deadline)) = self.pick(choice) else {
                        return;
                    };
                    wheel.limit(key.index, now + delay);
                    *deadline = (*deadline).min(now + delay).max(now + 1);
                }
                Step::Advance(delay) => self.advance(wheel, now + delay),
            }
        }

        fn advance(&mut self, wheel: &mut Wheel, now: Millis) {
            self.now = now;
            if let Some((_, first)) = self.deadlines.values().min_by_key(|(_, d)| *d) {
                assert!(wheel.next().unwrap() <= *first, "the wheel would sleep too long");
            }
            while let Some(target) = wheel.pop(now) {
                let Target::Token(name) = target else { panic!("{target:?}") };
                let (_, deadline) = self.deadlines.remove(&name).expect("fires once");
                assert!(deadline <= now, "fired {} ms early", deadline - now);
            }
            let late = self.deadlines.values().find(|(_, deadline)| *deadline <= now);
            assert_eq!(late, None, "did not fire at {now}");
        }
    }

    proptest! {
        #[test]
        fn timers_fire_when_they_are_due(steps in prop::collection::vec(step(), 1..200)) {
            let mut wheel = Wheel::new();
            let mut model = Model::default();
            for step in steps {
                model.apply(&mut wheel, step);
            }
            model.advance(&mut wheel, model.now + (1 << 35));
            prop_assert!(model.deadlines.is_empty());
            prop_assert_eq!(wheel.next(), None);
        }
    }

    #[test]
    fn a_timer_is_small_and_reused() {
        assert_eq!(size_of::<Node>(), 28);
        let mut wheel = Wheel::new();
        for _ in 0..1000 {
            let key = wheel.insert(75_000, Target::Token(0));
            wheel.cancel(key);
        }
        assert_eq!(wheel.nodes.len(), 1);
    }

    #[test]
    fn a_deadline_moves_by_months_as_well() {
        const DAY: Millis = 86_400_000;
        let mut wheel = Wheel::new();
        let key = wheel.insert(DAY, Target::Token(1));
        wheel.set(key.index, 100 * DAY);
        assert_eq!(wheel.pop(100 * DAY - 1), None);
        assert_eq!(wheel.pop(100 * DAY), Some(Target::Token(1)));
    }

    #[test]
    fn a_deadline_beyond_the_range_fires_at_its_end() {
        let mut wheel = Wheel::new();
        wheel.insert(Millis::MAX, Target::Token(1));
        assert_eq!(wheel.pop(LONGEST - 1), None);
        assert_eq!(wheel.pop(LONGEST), Some(Target::Token(1)));
    }
}
