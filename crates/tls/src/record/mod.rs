//! The protection of records (RFC 8446 section 5.2, RFC 5246 section 6.2.3): a direction of a connection
//! with its key, and how many records that key has protected.

mod direction;

pub use direction::{Direction, EXPORTED, Secret, tend};
