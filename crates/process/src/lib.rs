//! Masters, workers and what passes between generations of them.
//!
//! The program crate implements [`Program`]: how to load a configuration, and what a worker does
//! with it. This crate starts the processes, watches and replaces them, reloads, upgrades the
//! binary and hands parked connections on:
//!
//! ```text
//! start ─ load, bind, detach, pid file ─┬─ master ─┬─ worker (generation 1, on its way out)
//!                                       │          ├─ worker (generation 2)
//!                                       │          └─ new binary, with the same sockets
//!                                       └─ single: one process, a generation is a thread
//! ```
//!
//! The master has one thread, never serves and never waits for anything but its poll(2), so that
//! `fork` is safe and signals are heard at once. This crate knows no protocol and no engine.

pub mod control;
pub mod engines;
#[doc(hidden)]
pub mod fuzz;
pub mod handover;
pub mod listening;
pub mod serve;
pub mod signaller;

mod affinity;
mod environment;
mod generation;
mod helpers;
mod master;
mod model;
mod orders;
mod pid_file;
mod program;
mod single;
mod start;
mod table;
mod upgrade;
mod upkeep;
mod worker;

pub use helpers::{Errand, Helper};
pub use listening::Listening;
pub use orders::{Order, Orders};
pub use program::{Cycle, Program};
pub use start::{Missing, check, run, test};
pub use worker::{Ready, WorkerContext};

/// The exit code that says: starting this worker again would fail the same way. nginx's number.
pub const FATAL: i32 = 2;
