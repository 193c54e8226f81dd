//! The unsafe address of the processes: what the kernel offers, behind signatures that cannot be
//! misused.

pub mod allocator;
pub mod clock;
pub mod credentials;
pub mod descriptor;
pub mod environment;
pub mod identity;
pub mod limits;
pub mod names;
pub mod packet;
pub mod poll;
pub mod process;
pub mod signals;
pub mod socket;
pub mod spawning;
pub mod title;
pub mod trusted;
pub mod usage;
