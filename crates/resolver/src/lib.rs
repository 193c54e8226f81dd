//! Names to addresses while the server runs: `resolver` and `resolver_timeout`.
//!
//! A [`Resolver`] is part of the immutable configuration. What it has learnt is kept by each thread for itself, so a name
//! is asked for once a thread and as long as its answer holds; requests that want the same name share one
//! [`Exchange`](exchange) with the name servers. Each exchange has sockets of its own, at ports of the system's choice:
//! who wants to forge an answer has to guess the port as well as the query's number.

mod cache;
mod directive;
mod exchange;
mod lookup;
mod random;
mod service;
mod status;
#[cfg(test)]
mod tests;

pub use directive::parse;
pub use lookup::{Addresses, LookupError, Resolver};
pub use service::{ServiceAddress, Services, Unresolved};
pub use status::{Counts, StatusZone, status_zones};
