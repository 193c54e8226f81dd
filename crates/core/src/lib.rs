//! The vocabulary of the house: modules and directives, settings, variables and scripts, connections, the log.

pub mod connection;
pub mod listen;
pub mod log;
pub mod settings;
