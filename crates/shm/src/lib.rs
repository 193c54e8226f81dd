//! Memory that a master and its workers share: mapped once, inherited over fork.

mod lock;
mod number;
mod region;
mod scoreboard;

pub use lock::{Acquired, Guard, SharedMutex};
pub use number::Number;
pub use region::{Plain, Region, Shareable};
pub use scoreboard::{
    CurrentRequest, Mpm, ProcessView, Scoreboard, Stage, Totals, WorkerSlot, WorkerState,
    WorkerView,
};
