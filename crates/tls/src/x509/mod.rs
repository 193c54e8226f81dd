//! Certificates as OpenSSL takes them: also those of version 1, without extensions, and with names in CN alone.

mod certificate;
pub mod der;

pub use certificate::Certificate;
