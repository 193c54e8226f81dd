//! The unsafe address of the processes: what the kernel offers, behind signatures that cannot be misused.

pub mod clock;
pub mod descriptor;
pub mod identity;
