//! Measurements that say what a design decision costs, and what they share.

pub mod cpu;
pub mod running;
pub mod wrk;
