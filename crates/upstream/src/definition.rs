//! A group as its `upstream` block describes it.

use std::fmt;
use std::time::Duration;

use daemun_conf::Span;
use daemun_core::listen::Address;
use daemun_core::script::Script;
use daemun_core::zones::ZoneRef;
use daemun_resolver::Resolver;

use crate::sticky::Sticky;

/// What an `upstream` block says.
#[derive(Clone, Default)]
pub struct Definition {
    pub servers: Vec<ServerSpec>,
    /// `None`: weighted round robin.
    pub method: Option<Method>,
    pub keepalive: KeepaliveSpec,
    /// `zone`: the peers' numbers are shared by all workers.
    pub zone: Option<ZoneRef>,
    pub sticky: Option<Sticky>,
    pub queue: Option<Queue>,
    /// Who looks up the servers that have `resolve`, and how long that may take.
    pub resolver: Option<(Resolver, Duration)>,
}

/// `queue`: requests wait for a peer where none can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The most that wait, in each thread.
    pub length: usize,
    pub timeout: Duration,
}

/// A line `server` of a group.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// As it is written: `backend.example.com:8080`.
    pub name: String,
    /// Empty for one that is looked up while the server runs.
    pub addresses: Vec<Address>,
    pub weight: u32,
    /// 0: any number.
    pub max_conns: u32,
    /// 0: failures are not counted.
    pub max_fails: u32,
    /// Seconds.
    pub fail_timeout: u64,
    pub slow_start: Duration,
    pub backup: bool,
    pub availability: Availability,
    /// `route=`.
    pub route: Option<String>,
    /// `resolve`: its addresses are looked up while the server runs.
    pub resolve: Option<Resolve>,
    pub span: Option<Span>,
}

/// What is looked up for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    pub host: String,
    /// `service=`: the addresses have ports of their own, and priorities.
    pub service: Option<String>,
    pub port: u16,
}

/// What the configuration says about a server's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    #[default]
    Up,
    /// `down`.
    Down,
    /// `drain`: takes only requests that are bound to it.
    Draining,
}

/// How the next peer is chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    LeastConn,
    LeastTime(LeastTime),
    IpHash,
    Hash { key: Script, consistent: bool },
    Random { two: Option<Better> },
}

/// `least_time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeastTime {
    pub until: Until,
    /// Requests that are not answered yet count, too.
    pub inflight: bool,
}

/// Up to where a response is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Header,
    LastByte,
}

/// Which of two random peers is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    LeastConn,
    LeastTime(Until),
}

/// `keepalive` and its like, as far as they are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepaliveSpec {
    /// How many, and whether `local` stands beside it.
    pub connections: Option<(usize, bool)>,
    pub requests: Option<u64>,
    pub time: Option<Duration>,
    pub timeout: Option<Duration>,
}

/// The connections to a group's peers that are kept, in each thread of each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// `keepalive`: the most that wait.
    pub connections: usize,
    /// `keepalive_requests`: so many on one connection.
    pub requests: u64,
    /// `keepalive_time`: since the connection was made.
    pub time: Duration,
    /// `keepalive_timeout`: how long one waits.
    pub timeout: Duration,
    /// Not shared between locations.
    pub local: bool,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Definition");
        shown.field("servers", &self.servers).field("method", &self.method).finish_non_exhaustive()
    }
}

impl Definition {
    pub(crate) fn resolves(&self) -> bool {
        self.servers.iter().any(|server| server.resolve.is_some())
    }

    /// What a weight of 1 counts: more where weights grow bit by bit.
    pub(crate) fn unit(&self) -> i64 {
        let grows = self.servers.iter().any(|server| !server.slow_start.is_zero());
        if grows { 100 } else { 1 }
    }
}

impl KeepaliveSpec {
    /// nginx 1.29.7 and later keep 32 connections, each location its own, unless told otherwise. `None`: none.
    pub fn settled(self) -> Option<Keepalive> {
        let (connections, local) = self.connections.unwrap_or((32, true));
        (connections > 0).then(|| Keepalive {
            connections,
            requests: self.requests.unwrap_or(1000),
            time: self.time.unwrap_or(Duration::from_secs(3600)),
            timeout: self.timeout.unwrap_or(Duration::from_secs(60)),
            local,
        })
    }
}

impl ServerSpec {
    /// A server with nginx's defaults.
    pub fn new(name: impl Into<String>, addresses: Vec<Address>) -> ServerSpec {
        ServerSpec {
            name: name.into(),
            addresses,
            weight: 1,
            max_conns: 0,
            max_fails: 1,
            fail_timeout: 10,
            slow_start: Duration::ZERO,
            backup: false,
            availability: Availability::Up,
            route: None,
            resolve: None,
            span: None,
        }
    }
}

impl Method {
    /// Whether the directive allows `backup` in the lines after it.
    pub fn has_backups(&self) -> bool {
        matches!(self, Method::LeastConn | Method::LeastTime(_))
    }
}
