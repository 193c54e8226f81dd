//! TLS for every protocol above: handshakes by rustls, records by ourselves.
//!
//! rustls makes a handshake and gives its secrets out; what follows is protected by [`record`]. So a
//! connection that waits is a few secrets and numbers, which rest without buffers and pass to another process.

pub mod ciphers;
pub mod context;
pub mod facts;
pub mod fault;
pub mod handshake;
pub mod identity;
pub mod pem;
pub mod record;
pub mod session;
pub mod suite;
pub mod tickets;
mod transport;
pub mod x509;

pub use session::Session;
pub use transport::Transport;

pub use rustls::ServerConfig;
pub use rustls::sign::CertifiedKey;
