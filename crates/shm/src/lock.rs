//! A lock between processes that survives the death of whoever holds it.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;

use crate::region::{Region, Shareable};

/// A robust mutex in shared memory. Each holder may die at any instruction: the kernel then
/// tells the next one, which repairs what the lock guards.
pub struct SharedMutex {
    place: Region<Place>,
}

#[repr(transparent)]
struct Place(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a pthread mutex is made to be used from several threads at once.
unsafe impl Sync for Place {}
// SAFETY: it is initialised as process-shared before `SharedMutex::new` returns, until which
// nobody uses it; and dropping it does nothing.
unsafe impl Shareable for Place {}

/// How the lock was found.
pub enum Acquired<'a> {
    Clean(Guard<'a>),
    /// Its holder died. Repair what it guards, then call [`Guard::mark_consistent`]; a guard
    /// that is dropped without makes the lock useless for all.
    Abandoned(Guard<'a>),
}

/// The lock, until it is dropped.
#[must_use = "dropping the guard unlocks"]
pub struct Guard<'a> {
    place: &'a Place,
    // the thread that locks is the one that unlocks
    not_send: std::marker::PhantomData<*const ()>,
}

impl SharedMutex {
    /// Errors are mmap(2)'s and pthread_mutex_init(3)'s.
    pub fn new() -> io::Result<SharedMutex> {
        let place: Region<Place> = Region::new(1)?;
        initialise(place[0].0.get())?;
        Ok(SharedMutex { place })
    }

    /// Waits for the lock. Fails with EDEADLK where this thread has it, and with
    /// ENOTRECOVERABLE where it was abandoned and nobody repaired.
    pub fn lock(&self) -> io::Result<Acquired<'_>> {
        let place = &self.place[0];
        // SAFETY: `new` initialised the mutex, and the region keeps it where it is.
        let result = unsafe { libc::pthread_mutex_lock(place.0.get()) };
        Self::acquired(place, result)
    }

    /// Takes the lock if it is free: EBUSY otherwise.
    pub fn try_lock(&self) -> io::Result<Acquired<'_>> {
        let place = &self.place[0];
        // SAFETY: as in `lock`.
        let result = unsafe { libc::pthread_mutex_trylock(place.0.get()) };
        Self::acquired(place, result)
    }

    fn acquired(place: &Place, result: i32) -> io::Result<Acquired<'_>> {
        let guard = || Guard { place, not_send: std::marker::PhantomData };
        match result {
            0 => Ok(Acquired::Clean(guard())),
            libc::EOWNERDEAD => Ok(Acquired::Abandoned(guard())),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

impl Guard<'_> {
    /// What the lock guards is whole again.
    pub fn mark_consistent(&self) {
        // SAFETY: the mutex is initialised, and a guard exists only while it is held.
        let result = unsafe { libc::pthread_mutex_consistent(self.place.0.get()) };
        // EINVAL: it was not abandoned, so there is nothing to mark
        debug_assert!(result == 0 || result == libc::EINVAL);
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // SAFETY: the mutex is initialised, and held by this thread, as a guard is not `Send`.
        let result = unsafe { libc::pthread_mutex_unlock(self.place.0.get()) };
        debug_assert_eq!(result, 0);
    }
}

fn initialise(mutex: *mut libc::pthread_mutex_t) -> io::Result<()> {
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: init writes the attributes before the others read them; `mutex` points to memory
    // of its size, shared, that nobody uses yet; destroy ends the attributes' life only.
    unsafe {
        check(libc::pthread_mutexattr_init(attributes))?;
        let result =
            check(libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED))
                .and_then(|()| {
                    let robust = libc::PTHREAD_MUTEX_ROBUST;
                    check(libc::pthread_mutexattr_setrobust(attributes, robust))
                })
                .and_then(|()| {
                    let kind = libc::PTHREAD_MUTEX_ERRORCHECK;
                    check(libc::pthread_mutexattr_settype(attributes, kind))
                })
                .and_then(|()| check(libc::pthread_mutex_init(mutex, attributes)));
        libc::pthread_mutexattr_destroy(attributes);
        result
    }
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_and_is_released() {
        let mutex = SharedMutex::new().unwrap();
        let guard = mutex.lock().unwrap();
        assert!(matches!(guard, Acquired::Clean(_)));
        let busy = std::thread::scope(|scope| {
            scope.spawn(|| mutex.try_lock().err().unwrap().raw_os_error()).join().unwrap()
        });
        assert_eq!(busy, Some(libc::EBUSY));
        assert_eq!(mutex.lock().err().unwrap().raw_os_error(), Some(libc::EDEADLK));
        drop(guard);
        assert!(matches!(mutex.try_lock().unwrap(), Acquired::Clean(_)));
    }
}
