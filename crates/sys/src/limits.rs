//! What a process may use: descriptors, core size, processors, priority.

use std::io;
use std::os::fd::AsRawFd;

use crate::descriptor::check;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// RLIMIT_NOFILE: open descriptors.
    Descriptors,
    /// RLIMIT_CORE: the size of a core file, in bytes.
    Core,
    /// RLIMIT_MEMLOCK: memory that is never paged out, in bytes.
    LockedMemory,
}

/// The soft and the hard limit.
pub fn limit(resource: Resource) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the record is valid for the call.
    check(unsafe { libc::getrlimit(resource.number(), &mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets both limits to `value`.
pub fn set_limit(resource: Resource, value: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the record is valid for the call.
    check(unsafe { libc::setrlimit(resource.number(), &limit) })?;
    Ok(())
}

/// The C libraries differ in the type.
#[cfg(target_env = "musl")]
type Number = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Number = libc::__rlimit_resource_t;

impl Resource {
    fn number(self) -> Number {
        match self {
            Resource::Descriptors => libc::RLIMIT_NOFILE,
            Resource::Core => libc::RLIMIT_CORE,
            Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
        }
    }
}

/// Raises a limit as far as this process may: to none, or from the soft one to the hard one.
pub fn lift(resource: Resource) -> io::Result<()> {
    let none = libc::RLIM_INFINITY;
    if set_limit(resource, none).is_ok() {
        return Ok(());
    }
    let (_, hard) = limit(resource)?;
    set_limit(resource, hard)
}

/// How many descriptors this process may still open. The system gives the lowest number that is free,
/// so where some in between are free, there are a few more.
pub fn descriptors_left() -> io::Result<u64> {
    // SAFETY: takes numbers only.
    let lowest = crate::descriptor::fresh(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })?;
    let (soft, _) = limit(Resource::Descriptors)?;
    Ok(soft.saturating_sub(u64::try_from(lowest.as_raw_fd()).unwrap_or(0)))
}

/// This process's nice value, -20 (first served) to 19.
pub fn set_priority(nice: i32) -> io::Result<()> {
    // SAFETY: takes numbers only; 0 is the calling process.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })?;
    Ok(())
}

/// Processors beyond this number cannot be named.
pub const CPU_LIMIT: usize = libc::CPU_SETSIZE as usize;

/// Binds the calling thread to `cpus`; numbers from [`CPU_LIMIT`] on are left out.
pub fn set_affinity(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: a CPU set is an array of bits, for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus.iter().filter(|cpu| **cpu < CPU_LIMIT) {
        // SAFETY: the number is below the set's size.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    // SAFETY: the set is valid for its size; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) })?;
    Ok(())
}

/// Processors in the machine that are on line (`worker_processes auto`); at least 1.
pub fn processors() -> usize {
    // SAFETY: takes a number only.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_lifted_as_far_as_it_may_be() {
        let (_, hard) = limit(Resource::LockedMemory).unwrap();
        let low = libc::rlimit { rlim_cur: hard.min(65_536), rlim_max: hard };
        // SAFETY: the record is valid for the call.
        check(unsafe { libc::setrlimit(Resource::LockedMemory.number(), &low) }).unwrap();
        lift(Resource::LockedMemory).unwrap();
        let (soft, _) = limit(Resource::LockedMemory).unwrap();
        assert!(soft >= hard, "{soft} of {hard}");
    }

    #[test]
    fn descriptors_that_are_opened_are_not_left() {
        let before = descriptors_left().unwrap();
        let files: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        assert!(descriptors_left().unwrap() <= before - 100);
        drop(files);
    }
}
