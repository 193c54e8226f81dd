//! The vocabulary of the house: modules and directives, settings, variables and scripts, connections, the log.

pub mod address;
pub mod cidr;
pub mod connection;
pub mod error_log;
pub mod events;
pub mod known;
pub mod listen;
pub mod load;
pub mod log;
pub mod main_context;
pub mod module;
pub mod mpm;
pub mod named_pattern;
pub mod script;
pub mod setting;
pub mod settings;
pub mod tables;
pub mod thread_pool;
pub mod values;
pub mod zones;
