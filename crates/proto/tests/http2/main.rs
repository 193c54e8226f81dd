//! Conversations with the HTTP/2 machine: bytes of frames in, events and bytes out.

mod attacks;
mod client;
mod fields;
mod flow;
mod framing;
mod hpack;
mod priorities;
mod properties;
mod server;
mod size;
mod talk;
