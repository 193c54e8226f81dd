//! What a request knows of its client, and what carries it.
//!
//! ```text
//!   Request ── Wire ─┬─ H1      a connection of its own
//!                    ├─ H2      a stream of a session's connection
//!                    └─ Within  the client of the request that it is asked for the sake of
//! ```
//!
//! Only `h1` and `h2` see sockets. All others ask a request for facts of its client, whether that has gone, and for
//! what arrives of the body.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use daemun_core::connection::Connection;
use daemun_event::{Deadline, Millis, Peer, sleep};
use daemun_sys::socket::{self, TcpInfo};
use daemun_tls::facts::Facts;

use crate::config::{HttpConfig, Virtual};
use crate::h2;
use crate::request::Request;

/// What the requests of a connection share, apart from the connection itself.
pub struct Client {
    pub peer: Peer,
    /// `$connection`.
    pub number: u64,
    /// Which of the configuration's listening sockets it came to.
    pub listener: u16,
    /// When the connection was accepted.
    pub started: Millis,
    /// The servers of the address that it came to.
    pub servers: &'static Virtual,
    pub local: Option<SocketAddr>,
    pub tls: Option<Arc<Facts>>,
    pub proxy_header: Option<Box<[u8]>>,
}

impl Client {
    pub fn of(connection: &Connection, config: &'static HttpConfig) -> Client {
        Client {
            peer: connection.peer,
            number: connection.number,
            listener: connection.listener,
            started: connection.started,
            servers: config.virtual_of(connection),
            local: config.local_address(connection),
            tls: connection.tls().cloned(),
            proxy_header: connection.proxy_header().map(Into::into),
        }
    }
}

/// What a request comes by, and its response goes.
#[derive(Default)]
pub enum Wire {
    /// A request that is not in use.
    #[default]
    None,
    H1(Connection),
    H2(h2::Handle),
    Within(Within),
}

/// The client of a subrequest, which waits for nothing of it.
#[derive(Clone)]
pub struct Within {
    client: Arc<Client>,
    /// `$connection_requests`.
    requests: u32,
    /// Where the configuration has a variable for it.
    tcp_info: Option<TcpInfo>,
}

impl Wire {
    /// The same client, for a subrequest.
    fn within(&self, request: &Request) -> Wire {
        let wants_tcp_info = request.config.shows_tcp_info;
        Wire::Within(match self {
            Wire::None => return Wire::None,
            Wire::H1(connection) => Within {
                client: Arc::new(Client::of(connection, request.config)),
                requests: connection.requests,
                tcp_info: wants_tcp_info.then(|| request.tcp_info()).flatten(),
            },
            Wire::H2(handle) => Within {
                client: Arc::clone(&handle.client),
                requests: handle.requests,
                tcp_info: wants_tcp_info.then(|| request.tcp_info()).flatten(),
            },
            Wire::Within(within) => within.clone(),
        })
    }

    fn client(&self) -> &Client {
        match self {
            Wire::H2(handle) => &handle.client,
            Wire::Within(within) => &within.client,
            Wire::None | Wire::H1(_) => unreachable!("its connection is asked instead"),
        }
    }
}

const UNUSED: &str = "a request in use has its connection";

/// What is known of the client, whatever it came by.
impl Request {
    /// The connection of a request of HTTP/1.
    pub fn connection(&self) -> &Connection {
        match &self.wire {
            Wire::H1(connection) => connection,
            _ => panic!("{UNUSED}"),
        }
    }

    pub fn connection_mut(&mut self) -> &mut Connection {
        match &mut self.wire {
            Wire::H1(connection) => connection,
            _ => panic!("{UNUSED}"),
        }
    }

    pub(crate) fn wire_for_subrequest(&self) -> Wire {
        self.wire.within(self)
    }

    /// The stream of a request of HTTP/2.
    pub(crate) fn stream(&self) -> Option<&h2::Handle> {
        match &self.wire {
            Wire::H2(handle) => Some(handle),
            _ => None,
        }
    }

    /// The other end of the connection, whoever it speaks for.
    #[inline]
    pub fn connection_peer(&self) -> Peer {
        match &self.wire {
            Wire::H1(connection) => connection.peer,
            wire => wire.client().peer,
        }
    }

    /// `$connection`; 0 where there is none.
    pub fn connection_number(&self) -> u64 {
        match &self.wire {
            Wire::None => 0,
            Wire::H1(connection) => connection.number,
            wire => wire.client().number,
        }
    }

    /// Which request of its connection it is.
    pub fn connection_requests(&self) -> u32 {
        match &self.wire {
            Wire::H2(handle) => handle.requests,
            Wire::Within(within) => within.requests,
            _ => self.connection().requests,
        }
    }

    /// When the connection was accepted.
    pub fn connection_started(&self) -> Millis {
        match &self.wire {
            Wire::H1(connection) => connection.started,
            wire => wire.client().started,
        }
    }

    /// Which of the configuration's listening sockets the client came to.
    pub fn listener(&self) -> usize {
        usize::from(match &self.wire {
            Wire::H1(connection) => connection.listener,
            wire => wire.client().listener,
        })
    }

    /// The servers of the address that the client came to.
    pub fn virtual_servers(&self) -> &'static Virtual {
        match &self.wire {
            Wire::H1(connection) => self.config.virtual_of(connection),
            wire => wire.client().servers,
        }
    }

    pub(crate) fn connection_local(&self) -> Option<SocketAddr> {
        match &self.wire {
            Wire::H1(connection) => self.config.local_address(connection),
            wire => wire.client().local,
        }
    }

    /// What the client's handshake came to, where there was one.
    #[inline]
    pub fn tls(&self) -> Option<&Arc<Facts>> {
        match &self.wire {
            Wire::H1(connection) => connection.tls(),
            wire => wire.client().tls.as_ref(),
        }
    }

    /// The PROXY protocol's header that the connection began with, as it came.
    pub(crate) fn proxy_header_bytes(&self) -> Option<&[u8]> {
        match &self.wire {
            Wire::H1(connection) => connection.proxy_header(),
            wire => wire.client().proxy_header.as_deref(),
        }
    }

    pub(crate) fn tcp_info(&self) -> Option<TcpInfo> {
        match &self.wire {
            Wire::None => None,
            Wire::H1(connection) => socket::tcp_info(&connection.stream).ok(),
            Wire::H2(handle) => handle.tcp_info(),
            Wire::Within(within) => within.tcp_info,
        }
    }

    /// Whether a connection was made, be it an imagined one.
    pub(crate) fn has_client(&self) -> bool {
        !matches!(self.wire, Wire::None)
    }
}

/// What waits for the client.
impl Request {
    /// Ready once the client has gone, or will take nothing more. That of a subrequest is watched by who asks it.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.wire {
            Wire::H1(connection) => {
                let mut closed = connection.stream.closed(Deadline::NEVER);
                // It is closed, or it is not to be had any more: both is an end.
                let _ = ready!(Pin::new(&mut closed).poll(cx));
                Poll::Ready(())
            }
            Wire::H2(handle) => handle.poll_gone(cx),
            Wire::Within(_) | Wire::None => Poll::Pending,
        }
    }

    /// What keeps a connection open that ends with this request: as in nginx, its end tells the client
    /// that what goes on behind is done, too.
    pub(crate) fn hold_open(&self) -> Option<OwnedFd> {
        match &self.wire {
            Wire::H1(connection) if !self.keepalive => {
                connection.stream.as_fd().try_clone_to_owned().ok()
            }
            _ => None,
        }
    }

    /// Waits for so long; whether the client went meanwhile.
    pub async fn goes_within(&self, delay: Duration) -> bool {
        let mut pause = sleep(delay);
        std::future::poll_fn(|cx| match self.poll_gone(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => Pin::new(&mut pause).poll(cx).map(|()| false),
        })
        .await
    }

    /// Has a connection of its own closed with a reset.
    pub(crate) fn reset_on_close(&self) {
        if let Wire::H1(connection) = &self.wire {
            // Without it the close is only slower.
            let _ = connection.stream.reset_on_close();
        }
    }

    /// Ready once more of the body may have come, or the client has gone.
    pub fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.wire {
            Wire::H1(connection) => {
                Pin::new(&mut connection.stream.readable(Deadline::NEVER)).poll(cx)
            }
            Wire::H2(handle) => handle.poll_arrival(cx).map(Ok),
            Wire::Within(_) | Wire::None => Poll::Pending,
        }
    }
}
