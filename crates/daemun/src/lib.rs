//! The program: command line, identity, and what `-V` says.

pub mod cli;
pub mod configure;
pub mod identity;
pub mod startup;
