//! Groups of servers behind this one: who is in them, and who is asked next. Knows no protocol.

mod group;
mod selection;

pub use group::{Group, GroupId, Groups, Server};
pub use selection::{Attempt, NoPeer, Peer, Selection};
