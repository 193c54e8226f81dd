//! Where daemun answers otherwise than Debian's nginx, and why.

/// A case whose answers differ.
pub struct Difference {
    pub configuration: &'static str,
    pub case: &'static str,
    #[allow(dead_code, reason = "read by people")]
    pub reason: &'static str,
}

pub const DIFFERENCES: &[Difference] = &[];
