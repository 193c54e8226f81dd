//! The program: command line, identity, and what `-V` says.

pub mod cli;
pub mod commands;
pub mod configure;
pub mod embedded;
pub mod folders;
pub mod identity;
pub mod notices;
pub mod program;
pub mod startup;
pub mod worker;
