//! What is known of a parked connection, as plain bytes. Layout, little-endian, lengths before
//! texts:
//!
//! ```text
//! sequence u32 │ reason u8 │ number u64 │ requests u32 │ age ms u64 │ remaining ms u64 │ shutdown ms u64
//! │ listener u16 + text │ peer u16 + text │ PROXY header u16 + bytes │ keys u32 + bytes
//! │ keys of the other side u32 + bytes │ rest u32 + bytes
//! ```
//!
//! Times are spans, not moments: each reactor has a clock of its own.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use daemun_core::connection::Reason;
use daemun_core::listen::Address;

/// Changes with the layout. Generations of different versions hand nothing over.
pub(super) const VERSION: u16 = 4;

/// A parked connection without its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it was accepted on: the receiver finds its own listener for that address.
    pub listener: Address,
    /// The other end as this server sees it; `None` for a UNIX socket.
    pub peer: Option<SocketAddr>,
    /// `$connection`.
    pub number: u64,
    /// Requests answered so far.
    pub requests: u32,
    /// Since it was accepted.
    pub age: Duration,
    /// What it waits for.
    pub reason: Reason,
    /// Until its timeout; [`Duration::MAX`] where there is none.
    pub remaining: Duration,
    /// Until `worker_shutdown_timeout` of its first owner closes it, unless a request comes first.
    pub shutdown: Option<Duration>,
    /// What the connection began with, as it came.
    pub proxy_header: Option<Box<[u8]>>,
    /// Keys and counters of the connection, and of a relay's other side, in their own form; empty where it has none. Who has
    /// them goes on with them alone.
    pub tls: Vec<u8>,
    pub upstream_tls: Vec<u8>,
    /// The bytes of a request head that is not complete yet; what its protocol knows of a relay.
    pub rest: Vec<u8>,
}

impl Record {
    pub(crate) fn encode(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128 + self.rest.len());
        bytes.extend(sequence.to_le_bytes());
        bytes.push(match self.reason {
            Reason::FirstByte => 0,
            Reason::Head => 1,
            Reason::KeepAlive => 2,
            Reason::Held => 3,
            Reason::Relay => 4,
        });
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.requests.to_le_bytes());
        bytes.extend(millis(self.age).to_le_bytes());
        bytes.extend(millis(self.remaining).to_le_bytes());
        bytes.extend(self.shutdown.map_or(NEVER, millis).to_le_bytes());
        put(&mut bytes, &text_of(&self.listener));
        put(&mut bytes, self.peer.map(|peer| peer.to_string()).unwrap_or_default().as_bytes());
        // An empty one is none: it is never shorter than its first word.
        put(&mut bytes, self.proxy_header.as_deref().unwrap_or_default());
        for long in [&self.tls, &self.upstream_tls, &self.rest] {
            bytes.extend((long.len() as u32).to_le_bytes());
            bytes.extend(long);
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<(u32, Record)> {
        let mut reader = Reader(bytes);
        let sequence = u32::from_le_bytes(reader.array()?);
        let reason = match reader.array::<1>()? {
            [0] => Reason::FirstByte,
            [1] => Reason::Head,
            [2] => Reason::KeepAlive,
            [3] => Reason::Held,
            [4] => Reason::Relay,
            _ => return None,
        };
        let number = u64::from_le_bytes(reader.array()?);
        let requests = u32::from_le_bytes(reader.array()?);
        let age = span(u64::from_le_bytes(reader.array()?));
        let remaining = span(u64::from_le_bytes(reader.array()?));
        let shutdown =
            Some(u64::from_le_bytes(reader.array()?)).filter(|millis| *millis != NEVER).map(span);
        let listener = address_of(reader.text()?)?;
        let peer = match reader.text()? {
            b"" => None,
            text => Some(std::str::from_utf8(text).ok()?.parse().ok()?),
        };
        let proxy_header = Some(reader.text()?).filter(|header| !header.is_empty()).map(Box::from);
        let (tls, upstream_tls, rest) = (reader.long()?, reader.long()?, reader.long()?);
        let record = Record {
            listener,
            peer,
            number,
            requests,
            age,
            reason,
            remaining,
            shutdown,
            proxy_header,
            tls,
            upstream_tls,
            rest,
        };
        reader.0.is_empty().then_some((sequence, record))
    }
}

const NEVER: u64 = u64::MAX;

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(NEVER)
}

fn span(millis: u64) -> Duration {
    match millis {
        NEVER => Duration::MAX,
        millis => Duration::from_millis(millis),
    }
}

fn text_of(address: &Address) -> Vec<u8> {
    match address {
        Address::Ip(address) => address.to_string().into_bytes(),
        Address::Unix(path) => [UNIX, path.as_os_str().as_bytes()].concat(),
    }
}

fn address_of(text: &[u8]) -> Option<Address> {
    match text.strip_prefix(UNIX) {
        Some(path) => Some(Address::Unix(PathBuf::from(std::ffi::OsStr::from_bytes(path)))),
        None => Some(Address::Ip(std::str::from_utf8(text).ok()?.parse().ok()?)),
    }
}

const UNIX: &[u8] = b"unix:";

fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text);
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn long(&mut self) -> Option<Vec<u8>> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(length as usize).map(<[u8]>::to_vec)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_le_bytes(self.array()?);
        self.take(usize::from(length))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn record(number: u64) -> Record {
        Record {
            listener: Address::Ip("127.0.0.1:80".parse().unwrap()),
            peer: Some("[::1]:5000".parse().unwrap()),
            number,
            requests: 3,
            age: Duration::from_secs(9),
            reason: Reason::KeepAlive,
            remaining: Duration::from_secs(65),
            shutdown: None,
            proxy_header: None,
            tls: Vec::new(),
            upstream_tls: Vec::new(),
            rest: Vec::new(),
        }
    }

    fn head() -> Record {
        Record {
            listener: Address::Unix("/run/a.sock".into()),
            peer: None,
            number: u64::MAX,
            requests: 7,
            age: Duration::from_millis(1),
            reason: Reason::Head,
            remaining: Duration::MAX,
            shutdown: Some(Duration::from_secs(30)),
            proxy_header: Some((*b"PROXY UNKNOWN\r\n").into()),
            tls: vec![1, 2, 3],
            upstream_tls: vec![4],
            rest: b"GET / HT".to_vec(),
        }
    }

    #[test]
    fn every_kind_of_wait_and_address_comes_back() {
        use Reason::{FirstByte, Head, Held, KeepAlive, Relay};
        for reason in [FirstByte, Head, Held, KeepAlive, Relay] {
            let unix = Record { reason, ..head() };
            assert_eq!(Record::decode(&unix.encode(3)), Some((3, unix)));
            let listener = Address::Ip("[::]:443".parse().unwrap());
            let ip = Record {
                reason,
                listener,
                peer: "10.0.0.1:9".parse().ok(),
                shutdown: None,
                ..head()
            };
            assert_eq!(Record::decode(&ip.encode(u32::MAX)), Some((u32::MAX, ip)));
        }
    }

    #[test]
    fn no_shorter_or_longer_message_is_understood() {
        let mut bytes = head().encode(1);
        for length in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..length]), None, "{length} bytes");
        }
        bytes.push(0);
        assert_eq!(Record::decode(&bytes), None);
    }
}
