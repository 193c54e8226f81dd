//! Closing a connection without cutting off the response: what the client still sends is read away first, since the
//! kernel answers unread data with a reset, which can overtake the response.

use std::io::ErrorKind;

use daemun_event::{Deadline, Turn};

use crate::core::connection::LingeringClose;
use crate::request::Request;

/// Whether `lingering_close` wants the connection read empty, and the client may still be sending.
pub fn lingers(request: &Request) -> bool {
    match *request.core().connection.lingering_close {
        LingeringClose::Off => false,
        LingeringClose::Always => true,
        LingeringClose::On => may_still_send(request),
    }
}

fn may_still_send(request: &Request) -> bool {
    request.lingers
        || request.connection().pipelines
        || !request.body.is_complete()
        || request.consumed < request.head.bytes.len()
        || (request.connection().may_be_readable() && request.is_http11())
}

/// Reads the connection empty, for as long as the settings allow.
pub async fn linger(request: &mut Request) {
    let settings = &request.location.core.connection;
    let mut transport = request.connection_mut().transport();
    if transport.shutdown_send().is_err() {
        return;
    }
    let until = Deadline::after(*settings.lingering_time);
    let mut buffer = [0; 4096];
    let mut turn = Turn::default();
    while !until.has_passed() {
        match transport.try_recv(&mut buffer) {
            Ok(0) => return,
            // Time stands still until others have had their turn.
            Ok(received) => turn.spend(received).await,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let deadline = Deadline::after(*settings.lingering_timeout).min(until);
                if transport.stream.readable(deadline).await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
