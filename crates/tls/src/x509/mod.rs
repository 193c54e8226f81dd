//! Certificates as OpenSSL takes them: also those of version 1, without extensions, and with names in CN alone.

mod certificate;
pub mod crl;
pub mod der;
pub mod host;
pub mod name;
pub mod signature;
pub mod store;
pub mod time;
mod verdict;

pub use certificate::Certificate;
pub use store::{Purpose, Store};
pub use verdict::Verdict;
