//! TLS as far as it can be read without keys: the framing of records, and what a client asks for.

pub mod client_hello;
pub mod record;

pub use client_hello::ClientHello;
