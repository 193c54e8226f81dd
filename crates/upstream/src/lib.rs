//! Groups of servers behind this one: who is in them, and who is asked next. Knows no protocol.

mod balance;
mod definition;
mod former;
#[doc(hidden)]
pub mod fuzz;
mod group;
mod health;
mod lease;
mod members;
mod queue;
mod registry;
mod resolve;
mod selection;
mod sessions;
mod shared;
mod state;
mod sticky;
mod url;

pub use definition::{
    Availability, Better, Definition, Keepalive, KeepaliveSpec, LeastTime, Method, Queue, Resolve,
    ServerSpec, Until,
};
pub use group::{Group, GroupId, Groups};
pub use health::{CheckStart, Checked, MOST_CHECKS};
pub use lease::Caretaker;
pub use registry::{LookUp, define_group, describe_group, request_group, settle};
pub use selection::{Attempt, NoPeer, Peer, Selection};
pub use sticky::{Learn, Sticky, Tell};
pub use url::Url;
