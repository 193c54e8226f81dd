//! The board as its readers see it: processes, and the workers in them.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::slot::{FREE, Slot, UNTOLD};
use super::{CurrentRequest, Mpm, Scoreboard, Stage, WorkerState};

/// A process at one moment.
#[derive(Clone, Debug)]
pub struct ProcessView {
    /// Its slot, for [`Scoreboard::retire`].
    pub index: usize,
    /// 0 until it has told.
    pub pid: u32,
    pub generation: u64,
    pub state: WorkerState,
    pub mpm: Mpm,
    /// What it waits for events with, once it has told.
    pub method: Option<u8>,
    /// Threads that serve; 0 where the process itself does.
    pub threads: usize,
    /// How many of its workers (the threads, or the process itself) are in each stage.
    stages: [usize; Stage::ALL.len()],
    /// Connections: open, with a part of a request head, being answered, being only sent to,
    /// waiting for a request, lingering.
    pub active: i64,
    pub reading: i64,
    pub writing: i64,
    pub draining: i64,
    pub waiting: i64,
    pub closing: i64,
}

impl ProcessView {
    /// Workers in that stage.
    pub fn in_stage(&self, stage: Stage) -> usize {
        self.stages[stage as usize]
    }

    /// Workers that could take a connection at once.
    pub fn idle(&self) -> usize {
        self.sum(Stage::is_idle)
    }

    /// Workers that have something in hand.
    pub fn busy(&self) -> usize {
        self.sum(Stage::is_busy)
    }

    fn sum(&self, of: fn(Stage) -> bool) -> usize {
        Stage::ALL.into_iter().filter(|stage| of(*stage)).map(|stage| self.in_stage(stage)).sum()
    }

    fn of_process(index: usize, slot: &Slot, state: WorkerState) -> ProcessView {
        let mut view = ProcessView {
            index,
            pid: slot.pid.load(Relaxed),
            generation: slot.generation.load(Relaxed),
            state,
            mpm: slot.mpm(),
            method: Some(slot.method.load(Relaxed)).filter(|method| *method != UNTOLD),
            threads: 0,
            stages: Default::default(),
            active: 0,
            reading: 0,
            writing: 0,
            draining: 0,
            waiting: 0,
            closing: 0,
        };
        view.add_gauges(slot);
        view
    }

    /// A slot of the process counts even where no thread is in it: its connections may be in the
    /// hands of others.
    fn add_gauges(&mut self, slot: &Slot) {
        self.active += slot.active.load(Relaxed);
        self.reading += slot.reading.load(Relaxed);
        self.writing += slot.writing.load(Relaxed);
        self.draining += slot.draining.load(Relaxed);
        self.waiting += slot.waiting.load(Relaxed);
        self.closing += slot.closing.load(Relaxed);
    }
}

/// A worker at one moment: a thread, or a process that serves by itself.
#[derive(Clone, Debug)]
pub struct WorkerView {
    /// Its slot, and the slot of its process.
    pub index: usize,
    pub process: usize,
    pub pid: u32,
    pub generation: u64,
    pub stage: Stage,
    /// Requests that it has served.
    pub requests: u64,
}

impl Scoreboard {
    /// The processes there are, by slot. One pass over the slots, and no lock: each number is right,
    /// all of them together are as good as things that change can be.
    pub fn processes(&self) -> impl Iterator<Item = ProcessView> {
        let mut processes: Vec<ProcessView> = self
            .numbered()
            .filter(|(index, slot)| slot.owner.load(Relaxed) as usize == *index)
            .filter_map(|(index, slot)| {
                let state = state_of(slot)?;
                Some(ProcessView::of_process(index, slot, state))
            })
            .collect();
        for (index, slot) in self.numbered() {
            let owner = slot.owner.load(Relaxed) as usize;
            if owner == index || owner == FREE as usize {
                continue;
            }
            let Ok(place) = processes.binary_search_by_key(&owner, |process| process.index) else {
                continue;
            };
            let process = &mut processes[place];
            process.add_gauges(slot);
            if state_of(slot).is_some() {
                process.threads += 1;
                process.stages[slot.stage() as usize] += 1;
            }
        }
        for process in processes.iter_mut().filter(|process| process.threads == 0) {
            let stage = self.slots[process.index].stage();
            process.stages[stage as usize] += 1;
        }
        processes.into_iter()
    }

    /// Those who serve, by process: its threads, or itself where it has none. A process that finishes
    /// shows that, whatever its workers do.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> {
        let processes: Vec<ProcessView> = self.processes().collect();
        let mut workers: Vec<WorkerView> = Vec::new();
        for (index, slot) in self.numbered() {
            let owner = slot.owner.load(Relaxed) as usize;
            let place = processes.binary_search_by_key(&owner, |process| process.index);
            let (Ok(place), Some(_)) = (place, state_of(slot)) else {
                continue;
            };
            let process = &processes[place];
            if owner == index && process.threads > 0 {
                continue;
            }
            let before = slot.requests_before.load(Relaxed);
            workers.push(WorkerView {
                index,
                process: owner,
                pid: process.pid,
                generation: process.generation,
                stage: match process.state {
                    WorkerState::Leaving => Stage::Finishing,
                    _ => slot.stage(),
                },
                requests: slot.requests.load(Relaxed).saturating_sub(before),
            });
        }
        workers.sort_by_key(|worker| worker.process);
        workers.into_iter()
    }

    /// The request that the worker in a slot serves, or served last; where requests are told.
    pub fn current_request(&self, index: usize) -> Option<CurrentRequest> {
        self.current[index].read()
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &Slot)> {
        (1..).zip(self.used())
    }
}

/// `None` where nobody is in the slot, or not yet.
fn state_of(slot: &Slot) -> Option<WorkerState> {
    match WorkerState::from_bits(slot.state.load(Acquire)) {
        WorkerState::Empty | WorkerState::Filling => None,
        state => Some(state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_listed_with_what_their_threads_do() {
        let board = Scoreboard::with_capacity(20).unwrap();
        let (prefork, event) = (board.claim(3).unwrap(), board.claim(4).unwrap());
        prefork.set_mpm(Mpm::Prefork);
        prefork.set_pid(4711);
        prefork.set_state(WorkerState::Leaving);
        prefork.set_stage(Stage::KeepAlive);
        event.set_mpm(Mpm::Event);
        event.set_method(1);
        event.set_pid(4712);
        event.set_state(WorkerState::Running);
        event.waiting(5);
        let threads: Vec<_> = (0..4).map(|_| event.for_thread().unwrap()).collect();
        threads[0].set_stage(Stage::Waiting);
        threads[1].set_stage(Stage::Writing);
        threads[2].set_stage(Stage::Logging);
        threads[1].waiting(-1);

        let seen: Vec<_> = board.processes().collect();
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[0].pid, seen[0].generation, seen[0].threads), (4711, 3, 0));
        assert_eq!((seen[0].state, seen[0].mpm), (WorkerState::Leaving, Mpm::Prefork));
        assert_eq!((seen[0].idle(), seen[0].busy()), (0, 1));
        assert_eq!((seen[1].pid, seen[1].threads, seen[1].waiting), (4712, 4, 4));
        assert_eq!((seen[0].method, seen[1].method), (None, Some(1)));
        assert_eq!((seen[1].idle(), seen[1].busy()), (1, 2));
        assert_eq!(seen[1].in_stage(Stage::Starting), 1);

        let letters: String = board.workers().map(|worker| worker.stage.letter()).collect();
        assert_eq!(letters, "G_WLS");
    }

    #[test]
    fn a_native_process_does_what_its_connections_do() {
        let board = Scoreboard::with_capacity(1).unwrap();
        let slot = board.claim(1).unwrap();
        let letter = || board.workers().map(|worker| worker.stage.letter()).collect::<String>();
        assert_eq!(letter(), "S");
        slot.set_state(WorkerState::Running);
        assert_eq!(letter(), "_");
        slot.waiting(7);
        slot.writing(1);
        assert_eq!(letter(), "W");
        slot.writing(-1);
        slot.reading(1);
        assert_eq!(letter(), "R");
    }

    #[test]
    fn a_worker_is_told_by_its_own_requests() {
        let board = Scoreboard::with_capacity(1).unwrap();
        let first = board.claim(1).unwrap();
        first.requests();
        board.retire(first.index());
        let second = board.claim(1).unwrap();
        second.requests();
        second.requests();
        second.begin_request("::1", b"a", b"GET / HTTP/1.0", 3);
        let worker = board.workers().next().unwrap();
        assert_eq!((worker.requests, board.totals().requests), (2, 3));
        assert_eq!(board.current_request(worker.index).unwrap().line, b"GET / HTTP/1.0");
    }
}
