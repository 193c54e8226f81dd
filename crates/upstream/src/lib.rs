//! Groups of servers behind this one: who is in them, and who is asked next. Knows no protocol.

#![allow(dead_code)]

mod balance;
mod definition;
mod group;
mod members;
mod registry;
mod selection;
mod state;
mod url;

pub use definition::{
    Availability, Better, Definition, Keepalive, KeepaliveSpec, LeastTime, Method, ServerSpec,
    Until,
};
pub use group::{Group, GroupId, Groups};
pub use registry::{define_group, describe_group, request_group, settle};
pub use selection::{Attempt, NoPeer, Peer, Selection};
pub use url::Url;
