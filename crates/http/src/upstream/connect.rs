//! Connections to upstream servers, and waiting on them while the client is watched.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::Poll;

use daemun_core::listen::Address;
use daemun_core::log;
use daemun_event::{Deadline, Millis, Stream};
use daemun_sys::socket::{self, Name, Setting};
use daemun_tls::{Session, Transport};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, sockopt};

use super::directives::parse_local;
use super::http2::Link;
use super::settings::{Bind, BindAddress, Settings};
use super::tls;
use crate::request::{Request, Text};

/// A connection to an upstream server, in use.
pub struct Upstream {
    pub stream: Stream,
    /// Requests that it was used for, this one included.
    pub requests: u32,
    /// When it was made.
    pub started: Millis,
    /// It has served another request before.
    pub is_kept: bool,
    /// Bytes sent for this request.
    pub sent: u64,
    /// What protects it, where it speaks TLS.
    pub tls: Option<Box<Session>>,
    /// What it has been told, between two requests over HTTP/2.
    pub http2: Option<Box<Link>>,
}

impl Upstream {
    /// What bytes are received from and sent to.
    #[inline]
    pub fn transport(&mut self) -> Transport<'_> {
        Transport::new(&self.stream, self.tls.as_deref_mut())
    }
}

/// Why a wait ended early.
pub enum Interruption {
    TimedOut,
    ClientLeft,
    Failed(io::Error),
}

/// What kept a connection from being made; it has been logged unless it is a matter of time or of the client.
pub enum NotConnected {
    /// Another peer may be asked.
    Failed,
    TimedOut,
    ClientLeft,
    /// Something is wrong on this side.
    Broken,
}

/// Connects to a peer of that name, within `connect_timeout`.
pub async fn connect(
    request: &mut Request,
    settings: &Settings,
    address: &Address,
    name: &str,
    watches_client: bool,
    tls_name: Option<String>,
) -> Result<Upstream, NotConnected> {
    let target = match address {
        Address::Ip(address) => Name::Ip(*address),
        Address::Unix(path) => Name::Unix(path.clone()),
    };
    let fd = socket::stream_for(&target).map_err(|error| {
        log!(request.log(), Alert, *request, "socket() failed"; error);
        NotConnected::Broken
    })?;
    prepare(request, settings, &fd);
    if let Some(bind) = &*settings.bind
        && let Address::Ip(_) = address
    {
        bind_to(request, bind, &fd)?;
    }
    let stream = Stream::new(fd);
    let begun = match address {
        Address::Ip(address) => rustix::net::connect(&stream, address),
        Address::Unix(path) => {
            SocketAddrUnix::new(path).and_then(|path| rustix::net::connect(&stream, &path))
        }
    };
    match begun {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            let deadline = Deadline::after(*settings.connect_timeout);
            wait(request, stream.writable(deadline), watches_client).await.map_err(
                |why| match why {
                    Interruption::TimedOut => NotConnected::TimedOut,
                    Interruption::ClientLeft => NotConnected::ClientLeft,
                    Interruption::Failed(error) => {
                        tell(request, "connect() failed", error);
                        NotConnected::Failed
                    }
                },
            )?;
            if let Err(error) = sockopt::socket_error(&stream).and_then(|result| result) {
                tell(request, "connect() failed", error.into());
                return Err(NotConnected::Failed);
            }
        }
        Err(error) => {
            tell_refused(request, name, error);
            return Err(NotConnected::Failed);
        }
    }
    // Without that it is only slower.
    let _ = stream.receive_when_told();
    let started = daemun_event::now();
    let mut upstream =
        Upstream { stream, requests: 1, started, is_kept: false, sent: 0, tls: None, http2: None };
    if let Some(server) = tls_name {
        let peer = name.into();
        let stream = &upstream.stream;
        let session = tls::handshake(request, settings, stream, &server, &peer, watches_client);
        upstream.tls = Some(session.await?);
    }
    Ok(upstream)
}

/// Tells the socket what the configuration says. What the system refuses is told and does without.
fn prepare(request: &Request, settings: &Settings, fd: &impl AsFd) {
    let set = |setting: Setting, value: usize| {
        let value = i32::try_from(value).unwrap_or(i32::MAX);
        if let Err(error) = socket::set(fd.as_fd(), setting, value) {
            let name = setting.name();
            log!(request.log(), Alert, *request, "setsockopt({}, {}) failed, ignored", name, value; error);
        }
    };
    if *settings.socket_rcvbuf > 0 {
        set(Setting::ReceiveBuffer, *settings.socket_rcvbuf);
    }
    if *settings.socket_sndbuf > 0 {
        set(Setting::SendBuffer, *settings.socket_sndbuf);
    }
    if *settings.socket_keepalive {
        set(Setting::Keepalive, 1);
    }
}

fn bind_to(request: &mut Request, bind: &Bind, fd: &impl AsFd) -> Result<(), NotConnected> {
    let Some(local) = local_address(request, &bind.address) else { return Ok(()) };
    let transparent = if local.is_ipv4() { Setting::Transparent } else { Setting::TransparentV6 };
    if bind.is_transparent
        && let Err(error) = socket::set(fd.as_fd(), transparent, 1)
    {
        let name = transparent.name();
        log!(request.log(), Alert, *request, "setsockopt({}) failed", name; error);
        return Err(NotConnected::Broken);
    }
    if local.port() == 0 {
        // An old system chooses the port now, and may run out of ports sooner.
        let _ = socket::set(fd.as_fd(), Setting::BindAddressNoPort, 1);
    }
    if let Err(error) = socket::bind(fd.as_fd(), &Name::Ip(local)) {
        log!(request.log(), Crit, *request, "bind({}) failed", local; error);
        return Err(NotConnected::Broken);
    }
    Ok(())
}

fn local_address(request: &mut Request, address: &BindAddress) -> Option<SocketAddr> {
    let script = match address {
        BindAddress::Fixed(address) => return Some(*address),
        BindAddress::Computed(script) => script,
    };
    let text = script.value(request);
    if text.is_empty() {
        return None;
    }
    let address = parse_local(&text);
    if address.is_none() {
        log!(request.log(), Error, *request, "invalid local address \"{}\"", Text(&text));
    }
    address
}

/// Waits for an upstream's stream, and gives up where the client goes away meanwhile.
pub async fn wait(
    request: &Request,
    mut ready: impl Future<Output = io::Result<()>> + Unpin,
    watches_client: bool,
) -> Result<(), Interruption> {
    poll_fn(|cx| {
        match Pin::new(&mut ready).poll(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                return Poll::Ready(Err(Interruption::TimedOut));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Interruption::Failed(error))),
            Poll::Pending => {}
        }
        match watches_client {
            true => request.poll_gone(cx).map(|()| Err(Interruption::ClientLeft)),
            false => Poll::Pending,
        }
    })
    .await
}

/// Logs an error of the network, which is no alarm unless it is a strange one.
pub fn tell(request: &Request, what: &str, error: io::Error) {
    let is_usual = matches!(
        Errno::from_io_error(&error),
        Some(
            Errno::CONNRESET
                | Errno::PIPE
                | Errno::NOTCONN
                | Errno::TIMEDOUT
                | Errno::CONNREFUSED
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
        )
    );
    match is_usual {
        true => log!(request.log(), Error, *request, "{}", what; error),
        false => log!(request.log(), Alert, *request, "{}", what; error),
    }
}

/// connect(2) itself has failed.
fn tell_refused(request: &Request, name: &str, error: Errno) {
    let is_usual = matches!(
        error,
        Errno::CONNREFUSED
            | Errno::AGAIN
            | Errno::CONNRESET
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
    );
    let error = io::Error::from(error);
    match is_usual {
        true => log!(request.log(), Error, *request, "connect() to {} failed", name; error),
        false => log!(request.log(), Crit, *request, "connect() to {} failed", name; error),
    }
}

/// Tells that the client has gone, and the upstream's connection with it.
pub fn tell_client_left(request: &Request) {
    let reported =
        if daemun_event::method() == "epoll" { "epoll_wait() reported that " } else { "" };
    log!(
        request.log(),
        Info,
        *request,
        "{}client prematurely closed connection, so upstream connection is closed too",
        reported
    );
}
