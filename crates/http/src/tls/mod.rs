//! Connections that speak TLS: `ssl_*`, from a block's settings to a handshake.

mod accept;
pub mod settings;
mod terms;
mod variables;

pub use accept::{accept, is_due, is_missing};
pub use settings::MODULE;
pub use terms::{Terms, Tls, check};
