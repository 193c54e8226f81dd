//! Memory that a master and its workers share: mapped once, inherited over fork.

mod allocator;
mod lock;
mod number;
mod region;
mod scoreboard;
mod table;
mod zone;

pub use lock::{Acquired, Guard, SharedMutex};
pub use number::Number;
pub use region::{Plain, Region, Shareable};
pub use scoreboard::{
    CurrentRequest, Mpm, Owner, ProcessView, Rare, RareTotals, Scoreboard, Stage, Totals,
    WorkerSlot, WorkerState, WorkerView,
};
pub use table::{Entry, LockedTable, New, Record, Table, Version};
pub use zone::{Handle, Locked, Text, Zone};
