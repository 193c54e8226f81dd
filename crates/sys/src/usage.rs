//! What processes and the machine have used.

use std::time::Duration;

/// Processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessorTime {
    pub user: Duration,
    pub system: Duration,
}

/// The time of a living process, all its threads together; `None` where it is gone or hidden.
pub fn processor_time(pid: u32) -> Option<ProcessorTime> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    from_stat(&stat, ticks_per_second()?)
}

/// The load of the machine over one, five and fifteen minutes.
pub fn load_average() -> Option<[f64; 3]> {
    let mut loads = [0.0; 3];
    // SAFETY: the call writes at most as many numbers as it is told there is room for.
    let written = unsafe { libc::getloadavg(loads.as_mut_ptr(), loads.len() as libc::c_int) };
    (written == loads.len() as libc::c_int).then_some(loads)
}

fn ticks_per_second() -> Option<u64> {
    // SAFETY: `sysconf` touches no memory of ours.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0)
}

/// proc_pid_stat(5): the times are fields 14 and 15, and the second one, a name in parentheses, may
/// hold anything.
fn from_stat(stat: &str, ticks: u64) -> Option<ProcessorTime> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut time = || {
        let count: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_millis(count * 1000 / ticks))
    };
    Some(ProcessorTime { user: time()?, system: time()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 6 7 20 0 1 0 99";
        let expected =
            ProcessorTime { user: Duration::from_millis(1500), system: Duration::from_millis(250) };
        assert_eq!(from_stat(stat, 100), Some(expected));
        assert_eq!(from_stat("7 (cut) S 1", 100), None);
    }

    #[test]
    fn this_process_and_this_machine_have_numbers() {
        assert!(processor_time(std::process::id()).is_some());
        assert!(load_average().is_some());
    }
}
