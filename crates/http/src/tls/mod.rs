//! Connections that speak TLS: `ssl_*`, from a block's settings to a handshake.

mod accept;
mod client_variables;
pub(crate) mod commands;
pub mod computed;
pub mod files;
mod groups;
mod objection;
pub mod ocsp;
pub mod settings;
mod shared_sessions;
pub mod stapling;
mod terms;
mod variables;

pub use accept::{accept, is_due, rehearse, settle};
pub use objection::{objection, verifies_clients};
pub use settings::{CLIENT, MODULE};
pub use terms::{ServerTls, Terms, Tls, check};
