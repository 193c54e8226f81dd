//! CPU time of processes.

use std::fs;
use std::time::Duration;

use daemun_tests::children;

/// User and system time of a process and its children.
pub fn time_of_all(pid: i32) -> Duration {
    let processes = std::iter::once(pid).chain(children(pid));
    let ticks: u64 = processes.map(ticks_of).sum();
    Duration::from_secs_f64(ticks as f64 / 100.0)
}

/// User and system time (proc(5), stat), in hundredths of a second; 0 for a process that has ended.
fn ticks_of(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
