//! Spelling a response's head, its fields in nginx's order.

use crate::core::sending::ServerTokens;
use crate::core::server_name;
use crate::date;
use crate::one_line;
use crate::request::Request;
use crate::response::{Header, ResponseHead};
use crate::status::Status;
use bytes::Bytes;

/// What the connection adds to the response's own fields.
#[derive(Clone, Copy)]
pub struct Framing {
    pub is_chunked: bool,
}

/// Appends the response's head to `out`.
pub fn write(request: &mut Request, framing: Framing, out: &mut Vec<u8>) {
    write_status_line(&request.response, out);
    write_server(request, out);
    let response = &request.response;
    if !response.leaves_date {
        date::with_http_date_field(|field| out.extend_from_slice(field));
    }
    if response.content_type.as_ref().is_some_and(|kind| !kind.is_empty()) {
        out.extend_from_slice(b"Content-Type: ");
        let start = out.len();
        response.append_type(out);
        one_line::settle(out, start);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(length) = response.content_length {
        field(out, b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
    }
    if let Some(modified) = &response.last_modified
        && matches!(response.status.0, 200 | 206 | 304)
        && !response.has_stand_in(b"Last-Modified")
    {
        field(out, b"Last-Modified", &modified.text);
    }
    let has_location = write_absolute_location(request, out);
    if framing.is_chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    write_connection(request, out);
    let response = &request.response;
    if response.varies_by_encoding {
        field(out, b"Vary", b"Accept-Encoding");
    }
    let location = response.location.as_ref().filter(|_| !has_location);
    if let Some(location) = location.filter(|_| !response.has_stand_in(b"Location")) {
        field(out, b"Location", location);
    }
    if let Some(etag) = response.etag.as_ref().filter(|_| !response.has_stand_in(b"ETag")) {
        field(out, b"ETag", etag);
    }
    for header in &response.headers {
        let value = match StandIn::of(header) {
            None => Some(&header.value),
            Some(StandIn::Etag) => response.etag.as_ref(),
            Some(StandIn::LastModified) => response.last_modified.as_ref().map(|time| &time.text),
            // an upstream may send one without a value
            Some(StandIn::Location) if response.location.is_none() => Some(&header.value),
            Some(StandIn::Location) => location,
        };
        if let Some(value) = value {
            field(out, &header.name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// A field whose value is in the response's field of that name ([`Header::stand_in`]).
enum StandIn {
    Etag,
    LastModified,
    Location,
}

impl StandIn {
    fn of(header: &Header) -> Option<StandIn> {
        if !header.value.is_empty() {
            return None;
        }
        let kinds = [
            (&b"ETag"[..], StandIn::Etag),
            (b"Last-Modified", StandIn::LastModified),
            (b"Location", StandIn::Location),
        ];
        kinds.into_iter().find(|(name, _)| header.stands_in_for(name)).map(|(_, kind)| kind)
    }
}

/// Appends one field.
#[inline]
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    one_line::append(value, out);
    out.extend_from_slice(b"\r\n");
}

/// A 103 response with these fields; `None` where there are none.
pub fn early_hints<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> Option<Vec<u8>> {
    let mut out = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
    let start = out.len();
    fields.for_each(|(name, value)| field(&mut out, name, value));
    if out.len() == start {
        return None;
    }
    out.extend_from_slice(b"\r\n");
    Some(out)
}

fn write_status_line(response: &ResponseHead, out: &mut Vec<u8>) {
    // A filter may have given the response another status since.
    if let Some(text) = &response.status_text
        && text.starts_with(itoa::Buffer::new().format(response.status.0).as_bytes())
    {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
        return;
    }
    match response.status.known_line() {
        Some(line) => out.extend_from_slice(line),
        None => out.extend_from_slice(format!("HTTP/1.1 {:03} \r\n", response.status.0).as_bytes()),
    }
}

fn write_server(request: &Request, out: &mut Vec<u8>) {
    if request.response.leaves_server {
        return;
    }
    let server = &request.config.surroundings.server_header;
    let name = match *request.core().sending.server_tokens {
        ServerTokens::Off => server.name,
        ServerTokens::On => &server.version,
        ServerTokens::Build => &server.build,
    };
    field(out, b"Server", name.as_bytes());
}

fn write_connection(request: &Request, out: &mut Vec<u8>) {
    if request.response.status == Status::SWITCHING_PROTOCOLS {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        return;
    }
    if !request.keepalive {
        out.extend_from_slice(b"Connection: close\r\n");
        return;
    }
    out.extend_from_slice(b"Connection: keep-alive\r\n");
    if let Some(timeout) = *request.core().connection.keepalive_header {
        out.extend_from_slice(format!("Keep-Alive: timeout={}\r\n", timeout.as_secs()).as_bytes());
    }
}

/// A path becomes an absolute URL, unless `absolute_redirect` is off; `false` where there is none or it stays as it is.
fn write_absolute_location(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let settings = &request.core().redirects;
    let location = request.response.location.clone();
    let Some(location) = location.filter(|location| location.starts_with(b"/")) else {
        return false;
    };
    if !*settings.absolute_redirect {
        return false;
    }
    out.extend_from_slice(b"Location: ");
    let start = out.len();
    let scheme = request.scheme();
    out.extend_from_slice(scheme.as_bytes());
    out.extend_from_slice(b"://");
    let local = request.local_address();
    if *settings.server_name_in_redirect {
        let first = &request.server.settings().of(&server_name::SETTINGS).first.0;
        out.extend_from_slice(first.as_deref().unwrap_or_default());
    } else if !request.host.is_empty() {
        out.extend_from_slice(&request.host);
    } else if let Some(local) = local {
        out.extend_from_slice(local.ip().to_string().as_bytes());
    }
    let port = local.map_or(0, |local| local.port());
    let usual = if scheme == "https" { 443 } else { 80 };
    if *settings.port_in_redirect && port != 0 && port != usual {
        out.push(b':');
        out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
    }
    one_line::append(&location, out);
    // `$sent_http_location` is what was sent.
    request.response.location = Some(Bytes::copy_from_slice(&out[start..]));
    out.extend_from_slice(b"\r\n");
    true
}
