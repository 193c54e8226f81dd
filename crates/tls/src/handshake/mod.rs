//! Handshakes: rustls makes them, and gives out what protects the connection from then on.

pub mod client;
mod secrets;
pub mod server;
mod words;

use std::io;

pub(crate) use secrets::{key_log, key_log_to, note_own, note_peers};
use zeroize::Zeroizing;

use crate::record::Direction;
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
    let (client, server) = match suite.version {
        Version::Tls13 => (logged.client?, logged.server?),
        Version::Tls12 => {
            let (received, sent) = (of_key(&secrets.rx.1)?, of_key(&secrets.tx.1)?);
            let (opens, seals) = (secrets.rx.0, secrets.tx.0);
            return Some((Direction::new(received, opens), Direction::new(sent, seals)));
        }
    };
    let (received, sent) = if is_server { (client, server) } else { (server, client) };
    Some((Direction::new(received, secrets.rx.0), Direction::new(sent, secrets.tx.0)))
}

fn of_key(secrets: &rustls::ConnectionTrafficSecrets) -> Option<Zeroizing<[u8; 48]>> {
    use rustls::ConnectionTrafficSecrets as Traffic;
    let (Traffic::Aes128Gcm { key, iv }
    | Traffic::Aes256Gcm { key, iv }
    | Traffic::Chacha20Poly1305 { key, iv }) = secrets
    else {
        return None;
    };
    Some(Direction::secret_of_key(key.as_ref(), iv.as_ref()))
}

/// The suite that was settled on, as we know it.
fn suite_of(suite: Option<rustls::SupportedCipherSuite>) -> Option<&'static Suite> {
    Suite::by_id(suite?.suite().into())
}
