//! TLS for every protocol above: handshakes by rustls, records by ourselves.
//!
//! rustls makes a handshake and gives its secrets out; what follows is protected by [`record`]. So a
//! connection that waits is a few secrets and numbers, which rest without buffers and pass to another process.

#[cfg(test)]
mod against_rustls;
pub mod ciphers;
pub mod client_auth;
pub mod client_context;
pub mod context;
mod encrypted;
pub mod export;
pub mod facts;
pub mod fault;
pub mod fuzz;
pub mod handshake;
pub mod identity;
pub mod ocsp;
pub mod pem;
pub mod record;
pub mod session;
pub mod sessions;
pub mod suite;
pub mod tickets;
mod transport;
pub mod x509;

pub use session::Session;
pub use transport::Transport;

pub use rustls::ServerConfig;
pub use rustls::sign::CertifiedKey;

/// What `-V` tells: the libraries, and the OpenSSL whose words and rules configurations may count on.
pub const VERSION: &str = "TLS: rustls 0.23 on aws-lc-rs 1.19, configured as with OpenSSL 3.0.0";
