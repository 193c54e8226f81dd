//! A worker's handle to its own slot.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed, Ordering::Release};

use super::slot::Slot;
use super::{Mpm, NUMBERS, Scoreboard, Stage, WorkerState};

/// A worker's own slot. Only that worker adds to it.
#[derive(Clone)]
pub struct WorkerSlot {
    board: Arc<Scoreboard>,
    index: usize,
    /// Of a thread's slot: ends with the last handle. A process's slot ends with the process.
    _lease: Option<Arc<Lease>>,
}

/// The counters; gauges go down as well.
impl WorkerSlot {
    #[inline]
    pub fn accepted(&self) {
        add(&self.slot().accepted, 1);
    }

    #[inline]
    pub fn handled(&self) {
        add(&self.slot().handled, 1);
    }

    #[inline]
    pub fn requests(&self) {
        add(&self.slot().requests, 1);
    }

    /// Bytes that the kernel took.
    #[inline]
    pub fn sent(&self, bytes: u64) {
        add(&self.slot().sent, bytes);
    }

    /// Milliseconds that a request took.
    #[inline]
    pub fn busy(&self, milliseconds: u64) {
        add(&self.slot().busy, milliseconds);
    }

    #[inline]
    pub fn active(&self, change: i64) {
        shift(&self.slot().active, change);
    }

    #[inline]
    pub fn reading(&self, change: i64) {
        shift(&self.slot().reading, change);
    }

    #[inline]
    pub fn writing(&self, change: i64) {
        shift(&self.slot().writing, change);
    }

    #[inline]
    pub fn waiting(&self, change: i64) {
        shift(&self.slot().waiting, change);
    }

    /// Connections that are only being sent to, without a worker.
    #[inline]
    pub fn draining(&self, change: i64) {
        shift(&self.slot().draining, change);
    }

    /// Connections that linger before they are closed, without a worker.
    #[inline]
    pub fn closing(&self, change: i64) {
        shift(&self.slot().closing, change);
    }

    /// What it does now. Under `native` the gauges tell that, and this is not looked at.
    #[inline]
    pub fn set_stage(&self, stage: Stage) {
        self.slot().stage.store(stage as u8, Relaxed);
    }

    /// The request that it begins, for the status page: the client, the virtual host and the
    /// request line, cut where they are long, and when that was, in milliseconds since 1970.
    pub fn begin_request(&self, client: impl Display, host: &[u8], line: &[u8], started: u64) {
        self.board.current[self.index].write(client, host, line, started);
    }
}

impl WorkerSlot {
    pub(super) fn of_process(board: Arc<Scoreboard>, index: usize) -> WorkerSlot {
        WorkerSlot { board, index, _lease: None }
    }

    /// A slot for a thread of this process, given back when the last of its handles is dropped;
    /// `None` where all are taken. Call it on the process's own slot, or on a thread's: it is the
    /// process that counts. From then on the process's stage is that of its threads.
    pub fn for_thread(&self) -> Option<WorkerSlot> {
        let process = self.slot().owner.load(Relaxed) as usize;
        let index = self.board.claim_for_thread(process)?;
        let lease = Lease { board: self.board.clone(), index };
        Some(WorkerSlot { board: self.board.clone(), index, _lease: Some(Arc::new(lease)) })
    }

    /// The fewest connections that another serving process of this one's generation has open; `None`
    /// where there is no other.
    pub fn least_of_siblings(&self) -> Option<usize> {
        let own = self.slot().owner.load(Relaxed) as usize;
        let generation = self.generation();
        let siblings = self.board.processes().filter(|process| {
            process.generation == generation
                && process.state == WorkerState::Running
                && process.index != own
        });
        siblings.map(|process| usize::try_from(process.active).unwrap_or(0)).min()
    }

    /// For [`Scoreboard::retire`].
    pub fn index(&self) -> usize {
        self.index
    }

    /// A number that no other connection of the instance has (`$connection`); from 1 on.
    pub fn next_connection(&self) -> u64 {
        self.board.shared[NUMBERS].fetch_add(1, Relaxed) + 1
    }

    pub fn generation(&self) -> u64 {
        self.slot().generation.load(Relaxed)
    }

    pub fn pid(&self) -> u32 {
        self.slot().pid.load(Relaxed)
    }

    pub fn set_pid(&self, pid: u32) {
        self.slot().pid.store(pid, Relaxed);
    }

    pub fn state(&self) -> WorkerState {
        self.slot().state()
    }

    pub fn set_state(&self, state: WorkerState) {
        self.slot().state.store(state as u8, Relaxed);
    }

    /// Set by the master before the fork; `native` where it is not.
    pub fn set_mpm(&self, mpm: Mpm) {
        self.slot().mpm.store(mpm as u8, Relaxed);
    }

    /// Tells what it waits for events with: a number below 255, whose meaning is its readers' affair.
    pub fn set_method(&self, method: u8) {
        self.slot().method.store(method, Relaxed);
    }

    pub fn scoreboard(&self) -> &Arc<Scoreboard> {
        &self.board
    }

    #[inline]
    fn slot(&self) -> &Slot {
        &self.board.slots[self.index]
    }
}

/// A thread's right to its slot.
struct Lease {
    board: Arc<Scoreboard>,
    index: usize,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.board.slots[self.index].state.store(WorkerState::Empty as u8, Release);
    }
}

/// One writer, so a load and a store do: no locked instruction.
#[inline]
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
}

#[inline]
fn shift(gauge: &AtomicI64, change: i64) {
    gauge.store(gauge.load(Relaxed).wrapping_add(change), Relaxed);
}
