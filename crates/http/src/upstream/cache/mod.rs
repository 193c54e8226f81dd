//! The cache of responses, for all protocols to upstream servers: nginx's decisions, and its files.
//!
//! A request [looks](look) for its response by its key. What it finds is [served](serve); else the request goes on to an
//! upstream, and remembers what it has to do with the cache as its [`Caching`]. The response that comes is
//! [stored](filling) while it is passed on, and gets its place in the [`Index`](index::Index) with its name.

pub mod caching;
mod filling;
mod follow;
mod format;
mod freshness;
pub mod index;
pub mod inspect;
mod key;
mod look;
pub mod manager;
mod memory;
pub mod place;
pub mod purge;
mod saved;
mod serve;
pub mod settings;
pub mod status;
pub mod variables;
mod vary;
mod waiting;

pub use caching::Caching;
pub use filling::Filling;
pub use look::{Looked, look};
pub use place::Registry;
pub use serve::{answer_failed, answer_instead};

/// Seconds since 1970.
fn seconds() -> i64 {
    let now = daemun_event::wall_clock().duration_since(std::time::SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs().cast_signed())
}
