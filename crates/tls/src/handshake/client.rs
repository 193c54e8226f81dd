//! A client's side of a handshake: connections to servers behind.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use daemun_event::{Deadline, Stream};
use daemun_proto::http1::Parsed;
use daemun_proto::tls::record;
use rustls::HandshakeKind;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError};

use super::secrets::{self, Logged};
use super::{Failure, directions, suite_of};
use crate::client_context::{self, ClientContext};
use crate::facts::{ClientCertificate, Facts};
use crate::session::{Session, Side};

/// How long the peer may take to make room for what is sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Takes the tickets that a server sends at any time after the handshake.
pub struct TicketTaker {
    kernel: KernelConnection<ClientConnectionData>,
    peer: Arc<str>,
}

impl TicketTaker {
    /// What is no ticket is no harm: the next handshake is a whole one.
    pub(crate) fn take(&mut self, payload: &[u8]) {
        let TicketTaker { kernel, peer } = self;
        let _ = client_context::with_peer(peer, || kernel.handle_new_session_ticket(payload));
    }
}

/// Makes the connection one that is protected, until `deadline`. `name` is the server's, and `peer` whose sessions may
/// be gone on with.
pub async fn connect(
    stream: &Stream,
    context: &ClientContext,
    name: &str,
    peer: &Arc<str>,
    deadline: Deadline,
) -> Result<Session, Failure> {
    let server_name = server_name(name);
    let sends_name = context.sends_name && matches!(server_name, ServerName::DnsName(_));
    let config = if sends_name { &context.with_name } else { &context.without_name };
    let tls = client_context::with_peer(peer, || {
        UnbufferedClientConnection::new(Arc::clone(config), server_name)
    })?;
    let mut handshake =
        Handshake { tls, logged: Logged::default(), out: Vec::new(), received: Vec::new(), at: 0 };
    loop {
        match client_context::with_peer(peer, || handshake.step()) {
            Ok(Step::Goes) => continue,
            Ok(Step::Done) => break,
            Ok(Step::Waits) => {}
            Err(error) => {
                handshake.collect_alert();
                // A peer that is gone does without.
                let _ = stream.try_send(&handshake.out, false);
                return Err(error.into());
            }
        }
        handshake.flush(stream).await?;
        handshake.received.drain(..handshake.at);
        handshake.at = 0;
        let buffer = stream.recv_pooled(deadline).await?;
        if buffer.is_empty() {
            return Err(Failure::Closed);
        }
        handshake.received.extend_from_slice(&buffer);
    }
    handshake.finish(context, name, peer)
}

/// A name that can't be one is not told to the server.
fn server_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned())
        .unwrap_or(ServerName::IpAddress(std::net::IpAddr::from([0; 4]).into()))
}

struct Handshake {
    tls: UnbufferedClientConnection,
    logged: Logged,
    out: Vec<u8>,
    received: Vec<u8>,
    at: usize,
}

enum Step {
    Goes,
    /// For more from the server.
    Waits,
    Done,
}

impl Handshake {
    /// Gives rustls at most one record. Behind the last one of the handshake it gets none: they are not its to read.
    fn step(&mut self) -> Result<Step, rustls::Error> {
        let Handshake { tls, logged, out, received, at } = self;
        let length = match tls.is_handshaking() {
            true => match record::parse(&received[*at..]) {
                Ok(Parsed::Done(_, length)) => length,
                Ok(Parsed::Incomplete) => 0,
                // It finds the words, and the alert.
                Err(_) => received.len() - *at,
            },
            false => 0,
        };
        let status =
            secrets::during(logged, || tls.process_tls_records(&mut received[*at..*at + length]));
        let step = match status.state? {
            ConnectionState::EncodeTlsData(mut data) => {
                let start = out.len();
                let mut room = 4096;
                let written = loop {
                    out.resize(start + room, 0);
                    match data.encode(&mut out[start..]) {
                        Ok(written) => break written,
                        Err(EncodeError::InsufficientSize(short)) => room = short.required_size,
                        Err(EncodeError::AlreadyEncoded) => break 0,
                    }
                };
                out.truncate(start + written);
                Step::Goes
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                Step::Goes
            }
            ConnectionState::BlockedHandshake if status.discard == 0 => Step::Waits,
            ConnectionState::WriteTraffic(_) => Step::Done,
            ConnectionState::PeerClosed | ConnectionState::Closed => {
                return Err(rustls::Error::HandshakeNotComplete);
            }
            _ => Step::Goes,
        };
        *at += status.discard;
        Ok(step)
    }

    /// What rustls has to say of an error.
    fn collect_alert(&mut self) {
        for _ in 0..2 {
            self.received.clear();
            self.at = 0;
            if self.step().is_err() {
                return;
            }
        }
    }

    async fn flush(&mut self, stream: &Stream) -> io::Result<()> {
        stream.send_all(&self.out, SEND_TIMEOUT).await?;
        self.out.clear();
        Ok(())
    }

    fn finish(
        self,
        context: &ClientContext,
        name: &str,
        peer: &Arc<str>,
    ) -> Result<Session, Failure> {
        let Handshake { tls, logged, out, received, at } = self;
        let broken = || Failure::Io(io::Error::other("the handshake left no keys"));
        let suite = suite_of(tls.negotiated_cipher_suite()).ok_or_else(broken)?;
        let group = tls.negotiated_key_exchange_group();
        let chain = tls.peer_certificates().unwrap_or_default();
        let chain: Vec<Box<[u8]>> =
            chain.iter().map(|certificate| certificate.as_ref().into()).collect();
        let refused = context.judge(&chain);
        let facts = Facts {
            suite,
            group: group.map_or(0, |group| group.name().into()),
            server_name: Some(name.as_bytes().into()),
            protocol: tls.alpn_protocol().map(Into::into),
            reused: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            early_data: false,
            offered_suites: Box::default(),
            offered_groups: Box::default(),
            signature: 0,
            client_signature: 0,
            session_id: Box::default(),
            client: Some(Arc::new(ClientCertificate { chain, refused, status: None })),
            server: 0,
        };
        let (secrets, kernel) = tls.dangerous_into_kernel_connection()?;
        let (opens, seals) = directions(secrets, suite, logged, false).ok_or_else(broken)?;
        let mut session = Session::new(Side::Client, opens, seals, facts.share());
        session.keep_received(&received[at..]);
        session.keep_unsent(out);
        if context.keeps_sessions {
            session.take_tickets(TicketTaker { kernel, peer: Arc::clone(peer) });
        }
        Ok(session)
    }
}

/// A handshake without a socket: `answer` is what the server says to what it got.
#[cfg(test)]
pub(crate) fn connect_in_memory(
    context: &ClientContext,
    answer: &mut dyn FnMut(&[u8]) -> Vec<u8>,
) -> Session {
    let name = server_name("one.example");
    let tls = UnbufferedClientConnection::new(Arc::clone(&context.with_name), name).unwrap();
    let mut handshake =
        Handshake { tls, logged: Logged::default(), out: Vec::new(), received: Vec::new(), at: 0 };
    loop {
        match handshake.step().unwrap() {
            Step::Goes => {}
            Step::Done => break,
            Step::Waits => {
                let received = answer(&std::mem::take(&mut handshake.out));
                handshake.received.extend(received);
            }
        }
    }
    handshake.finish(context, "one.example", &"peer".into()).unwrap()
}
