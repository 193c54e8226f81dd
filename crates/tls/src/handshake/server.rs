//! A server's side of a handshake.
//!
//! ```text
//!   hear ── a whole Hello ── the caller chooses ── accept: rustls, a record at a time ── Session
//!    │                              │                 │
//!    └─ no hello                    └─ reject         └─ no terms       an alert, and the end
//! ```

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;

use daemun_event::{Deadline, Stream};
use daemun_proto::http1::Parsed;
use daemun_proto::tls::client_hello::{self, ClientHello, Invalid};
use daemun_proto::tls::record;
use rustls::HandshakeKind;
use rustls::server::ServerConnection;

use super::secrets::{self, Logged};
use super::{Blame, Failure, directions, suite_of};
use crate::context::Context;
use crate::facts::Facts;
use crate::session::{Session, Side};

/// A whole hello, and what has come so far, which begins with it.
pub struct Hello {
    message: Vec<u8>,
    received: Vec<u8>,
}

impl Hello {
    pub fn parsed(&self) -> ClientHello<'_> {
        client_hello::parse(&self.message).unwrap_or_default()
    }
}

const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;

/// How long the peer may take to make room for what is sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Receives until a hello is whole. `received` is what has come before.
pub async fn hear(
    stream: &Stream,
    mut received: Vec<u8>,
    deadline: Deadline,
) -> Result<Hello, Failure> {
    let mut message = Vec::new();
    loop {
        match client_hello::gather(&received, &mut message) {
            Ok(Parsed::Done(..)) => break,
            Ok(Parsed::Incomplete) => receive(stream, &mut received, deadline).await?,
            Err(invalid) => return Err(refuse_hello(stream, invalid)),
        }
    }
    match client_hello::parse(&message) {
        Ok(_) => Ok(Hello { message, received }),
        Err(invalid) => Err(refuse_hello(stream, invalid)),
    }
}

/// `ssl_reject_handshake`: nobody answers to that name.
pub fn reject(stream: &Stream) -> Failure {
    send_alert(stream, UNRECOGNIZED_NAME);
    Failure::Refused { words: "(SSL: callback failed)".to_owned(), blame: Blame::Peer }
}

/// There is no certificate to show.
pub fn give_up(stream: &Stream) -> Failure {
    send_alert(stream, INTERNAL_ERROR);
    Failure::Refused { words: "(SSL: cert cb error)".to_owned(), blame: Blame::Peer }
}

/// Makes the connection one that is protected, until `deadline`. `server` is kept for whoever chose `context`.
pub async fn accept(
    stream: &Stream,
    hello: Hello,
    context: &Context,
    server: usize,
    deadline: Deadline,
) -> Result<Session, Failure> {
    let mut tls = ServerConnection::new(Arc::clone(&context.config))?;
    // What a later handshake that goes on with the session will be known by.
    let mut id = [0; 32];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| io::Error::other("no random bytes"))?;
    tls.set_resumption_data(&id);
    let mut handshake =
        Handshake { tls, logged: Logged::default(), out: Vec::new(), early: Vec::new() };
    let Hello { message, mut received } = hello;
    let end = handshake.run(stream, &mut received, deadline).await?;
    let hello = client_hello::parse(&message).unwrap_or_default();
    handshake.finish(&hello, context, server, &received[end..])
}

struct Handshake {
    tls: ServerConnection,
    logged: Logged,
    out: Vec<u8>,
    /// What came of a request before the handshake was over.
    early: Vec<u8>,
}

impl Handshake {
    /// Leads the handshake to its end; where in `received` that is.
    async fn run(
        &mut self,
        stream: &Stream,
        received: &mut Vec<u8>,
        deadline: Deadline,
    ) -> Result<usize, Failure> {
        let mut at = 0;
        loop {
            let fed = self.feed(received, &mut at);
            self.collect();
            if let Err(error) = fed {
                // The alert, which a peer that is gone does without.
                let _ = stream.try_send(&self.out, false);
                return Err(error.into());
            }
            if !self.tls.is_handshaking() {
                return Ok(at);
            }
            stream.send_all(&self.out, SEND_TIMEOUT).await?;
            self.out.clear();
            received.drain(..at);
            at = 0;
            receive(stream, received, deadline).await?;
        }
    }

    /// Gives rustls one record after the other: what follows the last one of the handshake is not its to read.
    fn feed(&mut self, received: &[u8], at: &mut usize) -> Result<(), rustls::Error> {
        let Handshake { tls, logged, early, .. } = self;
        while tls.is_handshaking() {
            let length = match record::parse(&received[*at..]) {
                Ok(Parsed::Done(_, length)) => length,
                Ok(Parsed::Incomplete) => return Ok(()),
                // It finds the words, and the alert.
                Err(_) => received.len() - *at,
            };
            let mut rest = &received[*at..*at + length];
            *at += length;
            while !rest.is_empty() {
                let read = tls.read_tls(&mut rest);
                secrets::during(logged, || tls.process_new_packets())?;
                if let Some(mut data) = tls.early_data() {
                    // It says "would block" where there is nothing more.
                    let _ = data.read_to_end(early);
                }
                if read.is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn collect(&mut self) {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut self.out).is_err() {
                return;
            }
        }
    }

    fn finish(
        self,
        hello: &ClientHello<'_>,
        context: &Context,
        server: usize,
        behind: &[u8],
    ) -> Result<Session, Failure> {
        let Handshake { tls, logged, out, early } = self;
        let broken = || Failure::Io(io::Error::other("the handshake left no keys"));
        let suite = suite_of(tls.negotiated_cipher_suite()).ok_or_else(broken)?;
        let group = tls.negotiated_key_exchange_group();
        let facts = Facts {
            suite,
            group: group.map_or(0, |group| group.name().into()),
            server_name: hello.server_name.map(Into::into),
            protocol: tls.alpn_protocol().map(Into::into),
            reused: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            early_data: !early.is_empty(),
            offered_suites: hello.cipher_suites.into(),
            offered_groups: hello.groups.into(),
            signature: logged.own_signature,
            client_signature: logged.peers_signature,
            session_id: tls.received_resumption_data().unwrap_or_default().into(),
            client: match (&context.client, tls.peer_certificates()) {
                (Some(client), Some(chain)) => Some(client.judge(chain)),
                _ => None,
            },
            server,
        };
        let secrets = tls.dangerous_extract_secrets()?;
        let (opens, seals) = directions(secrets, suite, logged, true).ok_or_else(broken)?;
        let mut session = Session::new(Side::Server, opens, seals, facts.share());
        session.keep_plain(early);
        session.keep_received(behind);
        session.keep_unsent(out);
        Ok(session)
    }
}

async fn receive(
    stream: &Stream,
    received: &mut Vec<u8>,
    deadline: Deadline,
) -> Result<(), Failure> {
    let buffer = stream.recv_pooled(deadline).await?;
    if buffer.is_empty() {
        return Err(Failure::Closed);
    }
    received.extend_from_slice(&buffer);
    Ok(())
}

fn refuse_hello(stream: &Stream, invalid: Invalid) -> Failure {
    let (words, alert) = match invalid {
        Invalid::Unexpected => ("(SSL: wrong version number)", 70),
        Invalid::Malformed => ("(SSL: length mismatch)", 50),
        Invalid::TooLong => ("(SSL: excessive message size)", 47),
    };
    send_alert(stream, alert);
    Failure::Refused { words: words.to_owned(), blame: Blame::Peer }
}

/// A fatal alert where there are no keys yet.
fn send_alert(stream: &Stream, alert: u8) {
    match stream.try_send(&[21, 3, 3, 0, 2, 2, alert], false) {
        // A peer without room, or that is gone, does without.
        Ok(_) => {}
        Err(error) => debug_assert_ne!(error.kind(), ErrorKind::InvalidInput),
    }
}

/// A handshake without a socket: `answer` is what the client says to what it got.
#[cfg(test)]
pub(crate) fn accept_in_memory(
    context: &Context,
    answer: &mut dyn FnMut(&[u8]) -> Vec<u8>,
) -> Session {
    let tls = ServerConnection::new(Arc::clone(&context.config)).unwrap();
    let mut handshake =
        Handshake { tls, logged: Logged::default(), out: Vec::new(), early: Vec::new() };
    let (mut received, mut at) = (Vec::new(), 0);
    while handshake.tls.is_handshaking() {
        received.extend(answer(&std::mem::take(&mut handshake.out)));
        handshake.feed(&received, &mut at).unwrap();
        handshake.collect();
    }
    handshake.finish(&ClientHello::default(), context, 0, &received[at..]).unwrap()
}
