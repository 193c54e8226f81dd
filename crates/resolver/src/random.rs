//! Numbers that nobody can guess.

use rustix::rand::{GetRandomFlags, getrandom};

/// A query's number.
pub(crate) fn id() -> u16 {
    u16::from_ne_bytes(bytes())
}

/// A number below `bound`, which is above 0.
pub(crate) fn below(bound: usize) -> usize {
    usize::from_ne_bytes(bytes()) % bound
}

fn bytes<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    // It can only fail before the system has gathered entropy, when it boots.
    let _ = getrandom(&mut bytes, GetRandomFlags::empty());
    bytes
}
