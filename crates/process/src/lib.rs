//! Processes and the engines they run.

pub mod engines;
