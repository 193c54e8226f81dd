//! What a `listen` directive asks for: an address and the options of its socket.

use std::fmt;
use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where a listening socket is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    Ip(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// `None` for a UNIX socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Ip(address) => Some(address.port()),
            Address::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    /// nginx's spelling: `127.0.0.1:80`, `[::1]:80`, `unix:/run/a.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What [`Display`](fmt::Display) writes: an address and a port, or the path of a socket.
impl FromStr for Address {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Address, AddrParseError> {
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Address::Unix(path.into())),
            None => text.parse().map(Address::Ip),
        }
    }
}

/// `so_keepalive` of `listen`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpKeepalive {
    /// The system decides.
    #[default]
    Unset,
    Off,
    /// `on`, or `idle:interval:count` where each part may be left to the system.
    On {
        idle: Option<Duration>,
        interval: Option<Duration>,
        count: Option<u32>,
    },
}

/// A socket to listen on. Equal addresses across generations are one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    pub address: Address,
    pub backlog: i32,
    pub rcvbuf: Option<usize>,
    pub sndbuf: Option<usize>,
    pub reuseport: bool,
    /// `deferred`: TCP_DEFER_ACCEPT.
    pub deferred: bool,
    /// `fastopen=N`: the queue's length.
    pub fastopen: Option<u32>,
    pub keepalive: TcpKeepalive,
    pub ipv6only: bool,
}

impl ListenSpec {
    /// nginx's default backlog on Linux.
    pub const BACKLOG: i32 = 511;

    pub fn new(address: Address) -> ListenSpec {
        ListenSpec {
            address,
            backlog: Self::BACKLOG,
            rcvbuf: None,
            sndbuf: None,
            reuseport: false,
            deferred: false,
            fastopen: None,
            keepalive: TcpKeepalive::Unset,
            ipv6only: true,
        }
    }
}
