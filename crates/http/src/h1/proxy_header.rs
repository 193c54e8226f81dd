//! The PROXY protocol's header at the front of a connection whose `listen` asks for it.

use std::io;

use daemun_core::{debug, log};
use daemun_proto::http1::Parsed;
use daemun_proto::proxy_protocol::{self, Invalid};

use crate::request::{Request, Text};

/// Whether the first bytes are still to be a header.
pub fn is_due(request: &Request) -> bool {
    request.config.has_proxy_protocol
        && request.connection().proxy_header().is_none()
        && request.virtual_servers().proxy_protocol
}

/// Takes the header away and keeps it with the connection; `false` where more of it has to come. An error ends the
/// connection.
pub fn take(request: &mut Request) -> io::Result<bool> {
    let end = match proxy_protocol::parse(&request.head.bytes) {
        Ok(Parsed::Done(_, end)) => end,
        Ok(Parsed::Incomplete) => return Ok(false),
        Err(invalid) => {
            request.doing = "reading PROXY protocol";
            log_invalid(request, invalid);
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    let header: Box<[u8]> = request.head.bytes.drain(..end).collect();
    debug!(request.log(), Core, *request, "PROXY protocol header of {} bytes", header.len());
    request.connection_mut().keep_proxy_header(header);
    Ok(true)
}

fn log_invalid(request: &Request, invalid: Invalid) {
    match invalid {
        Invalid::Broken => {
            let mut lines = request.head.bytes.split(|byte| matches!(byte, b'\r' | b'\n'));
            let line = Text(lines.next().unwrap_or_default());
            log!(request.log(), Error, *request, "broken header: \"{}\"", line);
        }
        Invalid::Version(version) => {
            log!(request.log(), Error, *request, "unknown PROXY protocol version: {}", version);
        }
    }
}
