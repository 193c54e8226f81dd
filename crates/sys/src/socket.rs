//! Sockets to listen on: made, named, set up, and recognised when they were inherited.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::descriptor::{check, fresh};

/// A name that a socket has or gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    Ip(SocketAddr),
    Unix(PathBuf),
}

/// A number that a socket can be told, named as nginx's log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    ReuseAddress,
    ReusePort,
    Ipv6Only,
    /// Bytes.
    ReceiveBuffer,
    /// Bytes.
    SendBuffer,
    Keepalive,
    /// Seconds.
    KeepaliveIdle,
    /// Seconds.
    KeepaliveInterval,
    KeepaliveCount,
    /// Length of the queue.
    FastOpen,
    /// Seconds.
    DeferAccept,
    NoDelay,
    /// The port is chosen when the socket connects, and not when it is bound.
    BindAddressNoPort,
    /// The address may be another machine's.
    Transparent,
    TransparentV6,
}

impl Setting {
    pub fn name(self) -> &'static str {
        self.spelling().2
    }

    fn spelling(self) -> (libc::c_int, libc::c_int, &'static str) {
        match self {
            Setting::ReuseAddress => (libc::SOL_SOCKET, libc::SO_REUSEADDR, "SO_REUSEADDR"),
            Setting::ReusePort => (libc::SOL_SOCKET, libc::SO_REUSEPORT, "SO_REUSEPORT"),
            Setting::Ipv6Only => (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, "IPV6_V6ONLY"),
            Setting::ReceiveBuffer => (libc::SOL_SOCKET, libc::SO_RCVBUF, "SO_RCVBUF"),
            Setting::SendBuffer => (libc::SOL_SOCKET, libc::SO_SNDBUF, "SO_SNDBUF"),
            Setting::Keepalive => (libc::SOL_SOCKET, libc::SO_KEEPALIVE, "SO_KEEPALIVE"),
            Setting::KeepaliveIdle => (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, "TCP_KEEPIDLE"),
            Setting::KeepaliveInterval => (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, "TCP_KEEPINTVL"),
            Setting::KeepaliveCount => (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, "TCP_KEEPCNT"),
            Setting::FastOpen => (libc::IPPROTO_TCP, libc::TCP_FASTOPEN, "TCP_FASTOPEN"),
            Setting::DeferAccept => (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, "TCP_DEFER_ACCEPT"),
            Setting::NoDelay => (libc::IPPROTO_TCP, libc::TCP_NODELAY, "TCP_NODELAY"),
            Setting::BindAddressNoPort => {
                (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT")
            }
            Setting::Transparent => (libc::IPPROTO_IP, libc::IP_TRANSPARENT, "IP_TRANSPARENT"),
            Setting::TransparentV6 => {
                (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, "IPV6_TRANSPARENT")
            }
        }
    }
}

/// A stream socket of the name's family, not blocking, close-on-exec.
pub fn stream_for(name: &Name) -> io::Result<OwnedFd> {
    let family = match name {
        Name::Ip(SocketAddr::V4(_)) => libc::AF_INET,
        Name::Ip(SocketAddr::V6(_)) => libc::AF_INET6,
        Name::Unix(_) => libc::AF_UNIX,
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes numbers only.
    fresh(unsafe { libc::socket(family, kind, 0) })
}

pub fn set(socket: BorrowedFd<'_>, setting: Setting, value: i32) -> io::Result<()> {
    let (level, option, _) = setting.spelling();
    let size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the value is valid for its size.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size)
    })?;
    Ok(())
}

pub fn value(socket: BorrowedFd<'_>, setting: Setting) -> io::Result<i32> {
    let (level, option, _) = setting.spelling();
    let mut value = 0i32;
    let mut size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the value is valid for its size.
    check(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &mut size)
    })?;
    Ok(value)
}

pub fn bind(socket: BorrowedFd<'_>, name: &Name) -> io::Result<()> {
    let (storage, length) = encode(name)?;
    // SAFETY: the storage holds an address of that length.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const storage).cast(), length) })?;
    Ok(())
}

/// Starts to listen, or changes the backlog.
pub fn listen(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) })?;
    Ok(())
}

/// The name that the socket is bound to. `Unsupported` for families other than these.
pub fn local_name(socket: BorrowedFd<'_>) -> io::Result<Name> {
    // SAFETY: an address is plain data, for which all zeroes is valid.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&storage) as libc::socklen_t;
    // SAFETY: the storage is valid for the length that is passed.
    check(unsafe {
        libc::getsockname(socket.as_raw_fd(), (&raw mut storage).cast(), &mut length)
    })?;
    decode(&storage, length as usize)
}

/// Takes a descriptor that the process was started with, and marks it close-on-exec. `None` where
/// nothing is open.
pub fn adopt(number: i32) -> Option<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return None;
    }
    // SAFETY: takes numbers only, and fails where the descriptor is not open.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }).ok()?;
    // SAFETY: the descriptor is open, and whoever names it in the environment gives it to this
    // process; the caller takes each number once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Another descriptor for the same socket.
pub fn duplicate(socket: &impl AsFd) -> io::Result<OwnedFd> {
    socket.as_fd().try_clone_to_owned()
}

fn encode(name: &Name) -> io::Result<(libc::sockaddr_storage, libc::socklen_t)> {
    // SAFETY: an address is plain data, for which all zeroes is valid.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let pointer = &raw mut storage;
    let length = match name {
        Name::Ip(SocketAddr::V4(address)) => {
            // SAFETY: storage is large enough and aligned for every family's address, and nothing
            // else refers to it.
            let v4 = unsafe { &mut *pointer.cast::<libc::sockaddr_in>() };
            v4.sin_family = libc::AF_INET as libc::sa_family_t;
            v4.sin_port = address.port().to_be();
            v4.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        Name::Ip(SocketAddr::V6(address)) => {
            // SAFETY: as above.
            let v6 = unsafe { &mut *pointer.cast::<libc::sockaddr_in6>() };
            v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            v6.sin6_port = address.port().to_be();
            v6.sin6_addr.s6_addr = address.ip().octets();
            v6.sin6_flowinfo = address.flowinfo();
            v6.sin6_scope_id = address.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
        Name::Unix(path) => {
            // SAFETY: as above.
            let unix = unsafe { &mut *pointer.cast::<libc::sockaddr_un>() };
            unix.sun_family = libc::AF_UNIX as libc::sa_family_t;
            fill_path(&mut unix.sun_path, path)?;
            size_of::<libc::sockaddr_un>()
        }
    };
    Ok((storage, length as libc::socklen_t))
}

fn fill_path(field: &mut [libc::c_char], path: &Path) -> io::Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.len() >= field.len() || bytes.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in field.iter_mut().zip(bytes) {
        *place = *byte as libc::c_char;
    }
    Ok(())
}

fn decode(storage: &libc::sockaddr_storage, length: usize) -> io::Result<Name> {
    let pointer = &raw const *storage;
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which record the kernel wrote; storage is aligned for it.
            let v4 = unsafe { &*pointer.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Ok(Name::Ip(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into()))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*pointer.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Ok(Name::Ip(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into()))
        }
        libc::AF_UNIX => {
            // SAFETY: as above.
            let unix = unsafe { &*pointer.cast::<libc::sockaddr_un>() };
            let held = length.saturating_sub(std::mem::offset_of!(libc::sockaddr_un, sun_path));
            let path =
                unix.sun_path[..held.min(unix.sun_path.len())].iter().map(|byte| *byte as u8);
            let path: Vec<u8> = path.take_while(|byte| *byte != 0).collect();
            Ok(Name::Unix(std::ffi::OsString::from_vec(path).into()))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// What TCP knows of a connection: `tcpinfo_` variables.
#[derive(Clone, Copy, Debug)]
pub struct TcpInfo {
    /// Microseconds.
    pub rtt: u32,
    pub rttvar: u32,
    pub snd_cwnd: u32,
    pub rcv_space: u32,
}

pub fn tcp_info(socket: impl AsFd) -> io::Result<TcpInfo> {
    // SAFETY: `tcp_info` is a plain C struct for which all zeroes is a valid value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `info`, which outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(TcpInfo {
        rtt: info.tcpi_rtt,
        rttvar: info.tcpi_rttvar,
        snd_cwnd: info.tcpi_snd_cwnd,
        rcv_space: info.tcpi_rcv_space,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(name: &Name) -> OwnedFd {
        let socket = stream_for(name).unwrap();
        bind(socket.as_fd(), name).unwrap();
        listen(socket.as_fd(), 5).unwrap();
        socket
    }

    #[test]
    fn names_survive_the_kernel() {
        for text in ["127.0.0.1:0", "[::1]:0"] {
            let asked: SocketAddr = text.parse().unwrap();
            if asked.is_ipv6() && std::net::UdpSocket::bind(asked).is_err() {
                // A machine may do without.
                continue;
            }
            let socket = bound(&Name::Ip(asked));
            let Name::Ip(given) = local_name(socket.as_fd()).unwrap() else { panic!("{text}") };
            assert_eq!(given.ip(), asked.ip());
            assert!(std::net::TcpStream::connect(given).is_ok());
        }
        let path = std::env::temp_dir().join(format!("daemun-socket-{}", std::process::id()));
        let name = Name::Unix(path.clone());
        assert_eq!(local_name(bound(&name).as_fd()).unwrap(), name);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn settings_are_taken() {
        let socket = stream_for(&Name::Ip("127.0.0.1:0".parse().unwrap())).unwrap();
        for (setting, value_) in
            [(Setting::ReusePort, 1), (Setting::KeepaliveCount, 7), (Setting::Keepalive, 1)]
        {
            set(socket.as_fd(), setting, value_).unwrap();
            assert_eq!(value(socket.as_fd(), setting).unwrap(), value_, "{}", setting.name());
        }
    }
}
