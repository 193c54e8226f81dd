//! Commands beside nginx's options: `daemun COMMAND …`. A program that is called `nginx` has none.

pub mod cache;
pub mod mpm;
