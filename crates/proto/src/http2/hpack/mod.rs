//! HPACK (RFC 7541): header fields as HTTP/2 sends them.
//!
//! The decoder keeps the dynamic table that the peer fills. The encoder keeps nothing: it refers to
//! the static table alone, so that a response costs no search and an idle connection no memory.

mod decode;
pub mod encode;
pub mod huffman;
mod integer;
mod nature;
pub mod static_table;
mod table;

pub use decode::{Decoder, Field, Flaw};
pub use nature::{Meaning, Nature};
