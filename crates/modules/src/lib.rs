//! THE list of modules. One file a module, one line a module; where the order matters the reason stands beside it.

pub mod http;
pub mod shared;
