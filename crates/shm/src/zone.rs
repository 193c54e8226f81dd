//! Named zones: a piece of memory that the master makes, its workers inherit, and whoever holds the lock divides.
//!
//! What is kept in a zone is [`Plain`]: looked at wherever a handle leads, it is some value, so a stale handle reads
//! nonsense and never breaks memory. Changes of a structure are made so that one store brings them about: what a
//! process leaves behind that dies in the middle is then whole.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::allocator::{Allocator, PAGE, UNIT};
use crate::lock::{Acquired, Guard, SharedMutex};
use crate::number::Number;
use crate::region::{Plain, Region};

/// A named zone of shared memory.
pub struct Zone {
    name: String,
    /// As it was asked for, bytes.
    size: usize,
    lock: SharedMutex,
    memory: Region<Number>,
}

/// Where a `T` stands in a zone. As a number in the zone itself it is never 0, which stands for none.
pub struct Handle<T> {
    /// In units of [`UNIT`] bytes from the zone's beginning, where the allocator has its own.
    unit: NonZeroU32,
    kind: PhantomData<fn() -> T>,
}

/// The lock of a zone, until it is dropped.
#[must_use = "dropping it unlocks the zone"]
pub struct Locked<'z> {
    zone: &'z Zone,
    _guard: Guard<'z>,
}

/// Bytes of any length, in a zone.
pub struct Text;

impl Zone {
    /// The smallest size that most directives accept: eight pages.
    pub const LEAST: usize = 8 * PAGE;

    /// The smallest size that has room for anything: two pages.
    pub const MINIMUM: usize = 2 * PAGE;

    /// Errors are mmap(2)'s and pthread_mutex_init(3)'s; a size below [`MINIMUM`](Self::MINIMUM) is invalid.
    pub fn new(name: &str, size: usize) -> io::Result<Zone> {
        if size < Zone::MINIMUM {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let pages = size / PAGE;
        let memory = Region::new(pages * PAGE / size_of::<Number>())?;
        Ok(Zone { name: name.to_owned(), size, lock: SharedMutex::new()?, memory })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes, as asked for.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Waits for the lock. Where its holder died, the allocator is made whole first.
    ///
    /// # Panics
    /// Where this thread holds the lock.
    pub fn lock(&self) -> Locked<'_> {
        let guard = match self.lock.lock().expect("a zone's lock is not taken twice") {
            Acquired::Clean(guard) => guard,
            Acquired::Abandoned(guard) => {
                let allocator = self.allocator();
                allocator.repair();
                allocator.deaths().add(1);
                guard.mark_consistent();
                guard
            }
        };
        Locked { zone: self, _guard: guard }
    }

    /// How often a process has died with the lock held: who keeps a structure that one store cannot change looks
    /// whether this has become more, and then builds it anew.
    pub fn deaths(&self) -> i64 {
        self.allocator().deaths().get()
    }

    /// What the zone's user finds everything by: a handle as a number, 0 at first.
    pub fn root(&self) -> &Number {
        self.allocator().root()
    }

    /// What stands there. Without the lock, others may be changing it.
    ///
    /// # Panics
    /// Where the handle leads out of the zone: it is another's.
    pub fn at<T: Plain>(&self, handle: Handle<T>) -> &T {
        const { assert!(align_of::<T>() <= UNIT, "what stands in zones is aligned to units") };
        let offset = handle.offset();
        assert!(offset + size_of::<T>() <= self.bytes(), "a handle stays in its zone");
        // SAFETY: the bytes are inside the mapping, which lives as long as `self`, and aligned to a unit; any bytes
        // are a T, all of it atomics, by `Plain`.
        unsafe { &*self.memory.as_ptr().cast::<u8>().add(offset).cast::<T>() }
    }

    /// So many `T`s, one after the other.
    ///
    /// # Panics
    /// As [`at`](Self::at).
    pub fn slice<T: Plain>(&self, handle: Handle<T>, count: usize) -> &[T] {
        const { assert!(align_of::<T>() <= UNIT, "what stands in zones is aligned to units") };
        let offset = handle.offset();
        let fits =
            count.checked_mul(size_of::<T>()).is_some_and(|size| size <= self.bytes() - offset);
        assert!(offset <= self.bytes() && fits, "a handle stays in its zone");
        // SAFETY: as in `at`, for each of them.
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr().cast::<u8>().add(offset).cast(), count)
        }
    }

    /// A copy of a text.
    pub fn text(&self, handle: Handle<Text>) -> Vec<u8> {
        let length: &Number = self.at(handle.cast());
        let most = self.bytes() - handle.offset() - size_of::<Number>();
        let length = usize::try_from(length.get()).unwrap_or(0).min(most);
        let bytes: &[AtomicU8] = self.slice(handle.cast(), size_of::<Number>() + length);
        bytes[size_of::<Number>()..].iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.memory[..])
    }

    fn allocator(&self) -> Allocator<'_> {
        Allocator::new(&self.memory)
    }
}

impl Locked<'_> {
    /// Room for a `T`, all zeroes; `None` where the zone is full.
    pub fn allocate<T: Plain>(&self) -> Option<Handle<T>> {
        self.allocate_slice(1)
    }

    /// Room for so many, one after the other, all zeroes.
    pub fn allocate_slice<T: Plain>(&self, count: usize) -> Option<Handle<T>> {
        let size = count.checked_mul(size_of::<T>())?;
        self.zone.allocator().allocate(size).map(Handle::at_unit)
    }

    /// Room for a text, with the text.
    pub fn allocate_text(&self, text: &[u8]) -> Option<Handle<Text>> {
        let prefix = size_of::<Number>();
        let handle: Handle<AtomicU8> = self.allocate_slice(prefix + text.len())?;
        let bytes = &self.zone.slice(handle, prefix + text.len())[prefix..];
        bytes.iter().zip(text).for_each(|(place, byte)| place.store(*byte, Ordering::Relaxed));
        let length: &Number = self.zone.at(handle.cast());
        length.set(i64::try_from(text.len()).unwrap_or(i64::MAX));
        Some(handle.cast())
    }

    /// Gives back what one of the functions above returned; what stands there may be another's from now on.
    pub fn free<T>(&self, handle: Handle<T>) {
        self.zone.allocator().free(handle.unit);
    }

    /// As [`allocate_slice`](Self::allocate_slice), of all pages that are free in a row at the end but `spare` of
    /// them, and as they are: with zeroes where nobody has written yet. So a large zone takes no memory at once.
    /// Returns how many things fit.
    pub(crate) fn allocate_rest<T: Plain>(&self, spare: usize) -> Option<(Handle<T>, usize)> {
        let (unit, bytes) = self.zone.allocator().allocate_rest(spare)?;
        Some((Handle::at_unit(unit), bytes / size_of::<T>()))
    }

    /// Gives everything back, and forgets the root.
    pub fn clear(&self) {
        self.zone.root().set(0);
        self.zone.allocator().clear();
    }
}

impl<T> Handle<T> {
    fn at_unit(unit: NonZeroU32) -> Handle<T> {
        Handle { unit, kind: PhantomData }
    }

    fn offset(self) -> usize {
        self.unit.get() as usize * UNIT
    }

    pub(crate) fn cast<U>(self) -> Handle<U> {
        Handle::at_unit(self.unit)
    }

    /// To be kept in the zone.
    pub fn number(self) -> i64 {
        self.unit.get().into()
    }

    /// What [`number`](Self::number) gave; `None` for 0.
    pub fn of_number(number: i64) -> Option<Handle<T>> {
        let unit = NonZeroU32::new(u32::try_from(number).ok()?)?;
        Some(Handle::at_unit(unit))
    }

    /// The handle that stands in a number of the zone.
    pub fn of(number: &Number) -> Option<Handle<T>> {
        Handle::of_number(number.get())
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.unit == other.unit
    }
}

impl<T> Eq for Handle<T> {}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.unit)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zone")
            .field("name", &self.name)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::plain! {
        struct Pair {
            first: Number,
            second: Number,
        }
    }

    #[test]
    fn a_zone_keeps_values_and_texts() {
        let zone = Zone::new("test", Zone::LEAST).unwrap();
        let locked = zone.lock();
        let pair: Handle<Pair> = locked.allocate().unwrap();
        let text = locked.allocate_text("어서 오세요".as_bytes()).unwrap();
        zone.at(pair).first.set(7);
        zone.at(pair).second.set(text.number());
        zone.root().set(pair.number());
        drop(locked);

        let pair: Handle<Pair> = Handle::of(zone.root()).unwrap();
        assert_eq!(zone.at(pair).first.get(), 7);
        let text = Handle::of(&zone.at(pair).second).unwrap();
        assert_eq!(zone.text(text), "어서 오세요".as_bytes());
    }

    #[test]
    fn what_is_given_back_is_zero_when_it_comes_again() {
        let zone = Zone::new("test", Zone::LEAST).unwrap();
        let locked = zone.lock();
        let first: Handle<Pair> = locked.allocate().unwrap();
        zone.at(first).second.set(9);
        locked.free(first);
        let again: Handle<Pair> = locked.allocate().unwrap();
        assert_eq!(again, first);
        assert_eq!(zone.at(again).second.get(), 0);
    }

    #[test]
    fn a_zone_that_is_too_small_is_refused() {
        assert!(Zone::new("test", Zone::MINIMUM - 1).is_err());
    }

    #[test]
    #[should_panic(expected = "stays in its zone")]
    fn a_handle_of_another_zone_is_caught() {
        let zone = Zone::new("test", Zone::LEAST).unwrap();
        let far: Handle<Pair> = Handle::of_number(1 << 20).unwrap();
        zone.at(far);
    }
}
