//! HTTP/1.x on a connection: requests in, responses out, and what becomes of the connection between them.

mod broken;
mod close;
pub(crate) mod panics;
mod proxy_header;
mod read_head;
mod rehearsal;
mod send;
mod serve;
pub(crate) mod validate;
pub(crate) mod write_head;

pub(crate) use read_head::parse as parse_head;
pub use rehearsal::rehearse;
pub use serve::Http;
