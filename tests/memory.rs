//! How much memory processes take.

use std::fs;

use crate::children;

/// Kilobytes of a process, with its share of what it has in common with others (PSS); 0 where it
/// is gone.
pub fn memory(pid: i32) -> usize {
    figure(pid, "Pss:")
}

fn figure(pid: i32, name: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The same for a master and all its workers.
pub fn memory_of_all(master: i32) -> usize {
    let workers = children(master).into_iter().map(memory);
    memory(master) + workers.sum::<usize>()
}

/// Kilobytes that the one has allocated, of a master and its workers, that has most. Unlike [`memory_of_all`] this
/// changes neither with who else runs the same program nor with how many spare processes there are.
pub fn most_allocated(master: i32) -> usize {
    let processes = children(master).into_iter().chain([master]);
    processes.map(|pid| figure(pid, "Anonymous:")).max().unwrap_or(0)
}
