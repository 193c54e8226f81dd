//! Handshakes: rustls makes them, and gives out what protects the connection from then on.

pub mod client;
pub mod rehearsal;
mod secrets;
pub mod server;
mod words;

use std::io;

pub(crate) use secrets::{key_log, key_log_to, note_own, note_peers};

use crate::record::{Direction, Secret};
use crate::suite::{Suite, Version};

/// Why there is no connection.
#[derive(Debug)]
pub enum Failure {
    /// The peer closed it.
    Closed,
    TimedOut,
    Io(io::Error),
    /// The two sides came to no terms: why, in OpenSSL's words, and whose fault it is.
    Refused {
        words: String,
        blame: Blame,
    },
}

/// Who is to be told of a failed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Clients try all sorts of things.
    Peer,
    /// Something that the operator should know.
    Ourselves,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::TimedOut => Failure::TimedOut,
            _ => Failure::Io(error),
        }
    }
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Failure {
        let (words, blame) = words::of(&error);
        Failure::Refused { words, blame }
    }
}

/// The two directions as rustls gives them out: received, and sent.
fn directions(
    secrets: rustls::ExtractedSecrets,
    suite: &'static Suite,
    logged: secrets::Logged,
    is_server: bool,
) -> Option<(Direction, Direction)> {
    let (received, sent) = match (suite.version, is_server) {
        (Version::Tls12, _) => (None, None),
        (Version::Tls13, true) => (Some(logged.client?), Some(logged.server?)),
        (Version::Tls13, false) => (Some(logged.server?), Some(logged.client?)),
    };
    let opens = direction(suite, received, secrets.rx)?;
    Some((opens, direction(suite, sent, secrets.tx)?))
}

/// `secret` is what the key was made of, where it can be changed later.
fn direction(
    suite: &Suite,
    secret: Option<Secret>,
    (sequence, traffic): (u64, rustls::ConnectionTrafficSecrets),
) -> Option<Direction> {
    use rustls::ConnectionTrafficSecrets as Traffic;
    let (Traffic::Aes128Gcm { key, iv }
    | Traffic::Aes256Gcm { key, iv }
    | Traffic::Chacha20Poly1305 { key, iv }) = &traffic
    else {
        return None;
    };
    let (key, iv) = (key.as_ref(), iv.as_ref());
    let secret = secret.unwrap_or_else(|| Direction::secret_of_key(key, iv));
    Some(Direction::with_key(suite, secret, sequence, key, iv.try_into().ok()?))
}

/// The suite that was settled on, as we know it.
fn suite_of(suite: Option<rustls::SupportedCipherSuite>) -> Option<&'static Suite> {
    Suite::by_id(suite?.suite().into())
}
