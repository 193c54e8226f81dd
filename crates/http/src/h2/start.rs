//! How a connection comes to speak HTTP/2: by what TLS agreed on, or by a client that knows it.

use daemun_proto::http2::PREFACE;

use crate::core::http2;
use crate::request::Request;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Of another protocol.
    No,
    /// As much as there is of the preface.
    Begun,
    Yes,
}

/// What the bytes begin that have come before any request.
#[inline]
pub fn of_bytes(request: &Request) -> Start {
    let bytes = &request.head.bytes;
    if bytes.first() != Some(&b'P') || request.is_pipelined {
        return Start::No;
    }
    of_preface(request)
}

fn of_preface(request: &Request) -> Start {
    let bytes = &request.head.bytes;
    let length = bytes.len().min(PREFACE.len());
    if bytes[..length] != PREFACE[..length] || !is_spoken(request) {
        return Start::No;
    }
    match length == PREFACE.len() {
        true => Start::Yes,
        false => Start::Begun,
    }
}

fn is_spoken(request: &Request) -> bool {
    let servers = request.virtual_servers();
    !servers.ssl && (servers.http2 || http2::is_spoken(request.server.settings()))
}

/// Whether the handshake agreed on HTTP/2.
#[inline]
pub fn is_agreed(request: &Request) -> bool {
    request.tls().is_some_and(|facts| facts.protocol.as_deref() == Some(b"h2"))
}
