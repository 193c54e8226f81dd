//! Who is at the other end of an accepted connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A peer's address in the 20 bytes that a parked connection can afford.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    V4(Ipv4Addr, u16),
    V6(Ipv6Addr, u16),
    Unix,
}

impl Peer {
    /// The address, unless the connection came over a UNIX socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match *self {
            Peer::V4(ip, _) => Some(ip.into()),
            Peer::V6(ip, _) => Some(ip.into()),
            Peer::Unix => None,
        }
    }

    /// The port, unless the connection came over a UNIX socket.
    pub fn port(&self) -> Option<u16> {
        match *self {
            Peer::V4(_, port) | Peer::V6(_, port) => Some(port),
            Peer::Unix => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        match address {
            SocketAddr::V4(v4) => Peer::V4(*v4.ip(), v4.port()),
            SocketAddr::V6(v6) => Peer::V6(*v6.ip(), v6.port()),
        }
    }
}

impl fmt::Display for Peer {
    /// nginx's spelling: the address without the port, `unix:` for a UNIX socket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::V4(ip, _) => write!(f, "{ip}"),
            Peer::V6(ip, _) => write!(f, "{ip}"),
            Peer::Unix => f.write_str("unix:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_small_enough_to_park() {
        assert_eq!(size_of::<Peer>(), 20);
    }

    #[test]
    fn peers_are_spelt_as_nginx_logs_them() {
        let v6: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
        assert_eq!(Peer::from(v6).to_string(), "2001:db8::1");
        assert_eq!(Peer::Unix.to_string(), "unix:");
    }
}
