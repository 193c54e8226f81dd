//! The program: command line, identity, and what `-V` says.

mod apart;
pub mod cli;
pub mod commands;
pub mod configure;
pub mod embedded;
pub mod explain;
pub mod folders;
pub mod identity;
pub mod lint;
pub mod missing;
pub mod notices;
pub mod program;
pub mod startup;
pub mod worker;
