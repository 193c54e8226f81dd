//! The process model in words and numbers, for `daemun mpm`.

use std::fmt::Write;

use daemun_core::settings::{Mpm, ProcessSettings};
use daemun_event::backends;
use daemun_shm::{ProcessView, Scoreboard, WorkerState};

/// What the present generation runs, and what of former ones still does, a line each.
pub(crate) fn describe(board: &Scoreboard, generation: u64, settings: &ProcessSettings) -> String {
    let (present, former): (Vec<_>, Vec<_>) =
        board.processes().partition(|process| process.generation == generation);
    let mut text = format!("mpm {} (generation {generation})\n", settings.mpm.mpm.name());
    describe_processes(&mut text, &present, settings);
    for (mpm, count) in by_model(&former) {
        let _ = writeln!(text, "finishing: {count} of mpm {}", mpm.name());
    }
    text
}

fn describe_processes(text: &mut String, processes: &[ProcessView], settings: &ProcessSettings) {
    let serving = processes.iter().filter(|process| process.state == WorkerState::Running);
    let serving: Vec<&ProcessView> = serving.collect();
    let sum = |value: fn(&ProcessView) -> i64| -> i64 { processes.iter().map(value).sum() };
    let mpm = &settings.mpm;
    // Writing to a string does not fail.
    let _ = match mpm.mpm {
        Mpm::Native => {
            writeln!(text, "worker processes: {} of {}", serving.len(), settings.worker_processes)
        }
        _ => writeln!(text, "child processes: {}, at most {}", serving.len(), mpm.most_children),
    };
    let busy: usize = serving.iter().map(|process| process.busy()).sum();
    let idle: usize = serving.iter().map(|process| process.idle()).sum();
    let _ = match mpm.mpm {
        Mpm::Native => Ok(()),
        Mpm::Prefork => writeln!(text, "busy: {busy}, idle: {idle}"),
        Mpm::Worker | Mpm::Event => {
            writeln!(text, "threads: {} in each, busy: {busy}, idle: {idle}", mpm.threads_per_child)
        }
    };
    for (position, name) in backends::NAMES.iter().enumerate() {
        let has = |process: &&&ProcessView| process.method.map(usize::from) == Some(position);
        let count = serving.iter().filter(has).count();
        let _ = match count {
            0 => Ok(()),
            _ if count == serving.len() => writeln!(text, "event method: {name}"),
            _ => writeln!(text, "event method: {name} in {count} of {}", serving.len()),
        };
    }
    let open = sum(|process| process.active);
    let waiting = sum(|process| process.waiting);
    let _ = writeln!(text, "connections: {open}, of which {waiting} wait for a request");
}

fn by_model(processes: &[ProcessView]) -> impl Iterator<Item = (Mpm, usize)> {
    Mpm::ALL.into_iter().filter_map(|mpm| {
        let count = processes.iter().filter(|process| process.mpm == mpm).count();
        (count > 0).then_some((mpm, count))
    })
}
