//! A handshake of a server with itself, in memory.
//!
//! A worker makes one before it serves: it reads in the pages of the library that the first client would
//! wait for, and a key that cannot sign is known before a client sees it.

use std::sync::Arc;

use rustls::ServerConnection;
use rustls::client::ClientConnection;
use rustls::pki_types::ServerName;

use crate::client_context::ClientTerms;
use crate::context::{Context, GROUPS};
use crate::suite::{SUITES, Version};

/// More turns than a handshake takes.
const TURNS: usize = 8;

/// Makes a handshake with what `context` offers; the error says why there can't be one.
pub fn rehearse(context: &Context) -> Result<(), rustls::Error> {
    let terms = ClientTerms {
        certificate: None,
        versions: vec![Version::Tls12, Version::Tls13],
        suites: SUITES.iter().collect(),
        groups: GROUPS.to_vec(),
        protocols: Vec::new(),
        sends_name: false,
        keeps_sessions: false,
        verify: None,
    };
    let Some(client) = terms.settle() else { return Ok(()) };
    let nobody = ServerName::IpAddress(std::net::IpAddr::from([127, 0, 0, 1]).into());
    let mut client = ClientConnection::new(Arc::clone(&client.without_name), nobody)?;
    let mut server = ServerConnection::new(Arc::clone(&context.config))?;
    for _ in 0..TURNS {
        let mut sent = Vec::new();
        while client.wants_write() && client.write_tls(&mut sent).is_ok() {}
        let mut rest = &sent[..];
        while !rest.is_empty() && server.read_tls(&mut rest).is_ok() {
            server.process_new_packets()?;
        }
        let mut answered = Vec::new();
        while server.wants_write() && server.write_tls(&mut answered).is_ok() {}
        let mut rest = &answered[..];
        while !rest.is_empty() && client.read_tls(&mut rest).is_ok() {
            client.process_new_packets()?;
        }
        if !server.is_handshaking() && !client.is_handshaking() {
            return Ok(());
        }
    }
    Err(rustls::Error::HandshakeNotComplete)
}
