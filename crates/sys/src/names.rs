//! Names of hosts, asked for at the system: this blocks.

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// Every address of a host in the system's order; none where it is unknown. IPv6 is left out where the machine has
/// no such address (AI_ADDRCONFIG).
pub fn addresses(host: &str) -> Vec<IpAddr> {
    let Ok(host) = CString::new(host) else {
        return Vec::new();
    };
    // SAFETY: a record of numbers and pointers, for which all zeroes is the empty hint.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = libc::AF_UNSPEC;
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_flags = libc::AI_ADDRCONFIG;
    let mut list = ptr::null_mut();
    // SAFETY: the name ends in a zero, the hints are valid, and `list` is only read after success.
    let result = unsafe { libc::getaddrinfo(host.as_ptr(), ptr::null(), &hints, &mut list) };
    if result != 0 {
        return Vec::new();
    }
    let mut addresses = Vec::new();
    let mut next = list;
    // SAFETY: a list of getaddrinfo(3) ends in null, and stands until it is freed below.
    while let Some(entry) = unsafe { next.as_ref() } {
        addresses.extend(address(entry));
        next = entry.ai_next;
    }
    // SAFETY: the list is getaddrinfo's, and nothing refers to it any more.
    unsafe { libc::freeaddrinfo(list) };
    addresses
}

fn address(entry: &libc::addrinfo) -> Option<IpAddr> {
    match entry.ai_family {
        libc::AF_INET => {
            // SAFETY: the family says what the address points to; it may be unaligned.
            let raw = unsafe { ptr::read_unaligned(entry.ai_addr.cast::<libc::sockaddr_in>()) };
            Some(Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let raw = unsafe { ptr::read_unaligned(entry.ai_addr.cast::<libc::sockaddr_in6>()) };
            Some(Ipv6Addr::from(raw.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_addresses_and_strangers_none() {
        // Looked up as names are, and nobody is asked: what names mean is the machine's affair.
        assert_eq!(addresses("127.1"), [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(addresses("127.0.0.1"), [IpAddr::from([127, 0, 0, 1])]);
        assert!(addresses(&"x".repeat(64)).is_empty(), "a part of a name has 63 bytes at most");
        assert!(addresses("a\0b").is_empty());
    }
}
