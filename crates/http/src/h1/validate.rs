//! What a request's head means: target, host and server, framing, and whether the connection stays.

use daemun_core::log;
use daemun_proto::decimal::decimal;
use daemun_proto::http1::host::{Host, parse_host};
use daemun_proto::http1::{HeaderLine, Method, Version, uri};

use crate::core::connection::KeepaliveDisable;
use crate::head::Known;
use crate::request::{Request, Text};
use crate::request_body::RequestBody;
use crate::status::Status;
use crate::tls;
use crate::user_agent;

/// Normalises the target's path, and takes the authority of an absolute one as the host.
pub fn target(request: &mut Request) -> Result<(), Status> {
    let line = request.head.line;
    if let Some(authority) = line.authority {
        let text = authority.of(&request.head.bytes).to_vec();
        match parse_host(&text) {
            Ok(host) => {
                set_host(request, &host);
                let chosen = choose_server(request);
                tell_misdirected(request, chosen)?;
            }
            Err(_) => {
                log!(request.log(), Info, *request, "client sent invalid host in request line");
                return Err(Status::BAD_REQUEST);
            }
        }
    }
    let bytes = std::mem::take(&mut request.head.bytes);
    let result = split_target(request, line.target.of(&bytes));
    request.head.bytes = bytes;
    result.map_err(|_| {
        request.uri.clear();
        log!(request.log(), Info, *request, "client sent invalid request");
        Status::BAD_REQUEST
    })
}

fn split_target(request: &mut Request, target: &[u8]) -> Result<(), uri::Invalid> {
    let line = &request.head.line;
    request.args.clear();
    if !line.is_complex && target.first() == Some(&b'/') {
        let mark = line.query.map(|query| (query - line.target.start) as usize);
        let path = mark.map_or(target, |mark| &target[..mark - 1]);
        request.uri.clear();
        request.uri.extend_from_slice(path);
        request.args.extend_from_slice(mark.map_or(&b""[..], |mark| &target[mark..]));
        return Ok(());
    }
    let merge_slashes = *request.core().routing.merge_slashes;
    let found = uri::normalise(target, merge_slashes, &mut request.uri)?;
    if let Some(query) = found.query {
        request.args.extend_from_slice(&target[query..found.end]);
    }
    Ok(())
}

/// Looks at a field that has just been added.
pub fn field(request: &mut Request, field: HeaderLine) -> Result<(), Status> {
    let is_host =
        field.name.len() == 4 && field.name.of(&request.head.bytes).eq_ignore_ascii_case(b"host");
    if !is_host {
        return Ok(());
    }
    let bytes = std::mem::take(&mut request.head.bytes);
    let result = host(request, field.value.of(&bytes));
    request.head.bytes = bytes;
    if result == Err(Status::BAD_REQUEST) {
        log!(request.log(), Info, *request, "client sent invalid host header");
    }
    tell_misdirected(request, result)
}

fn tell_misdirected(request: &Request, result: Result<(), Status>) -> Result<(), Status> {
    if result == Err(Status::MISDIRECTED_REQUEST) {
        log!(
            request.log(),
            Info,
            *request,
            "client attempted to request the server name different from the one that was negotiated"
        );
    }
    result
}

/// What the Host field says, unless the target names the host.
fn host(request: &mut Request, text: &[u8]) -> Result<(), Status> {
    let is_named_by_target = !request.host.is_empty();
    match request.recent_host.recall(text) {
        Some(_) if is_named_by_target => return Ok(()),
        Some((name, port)) => {
            request.host.extend_from_slice(name);
            request.host_port = port;
        }
        None => {
            let host = parse_host(text).map_err(|_| Status::BAD_REQUEST)?;
            if is_named_by_target {
                return Ok(());
            }
            set_host(request, &host);
            request.recent_host.remember(text, &request.host, host.port);
        }
    }
    choose_server(request)
}

fn set_host(request: &mut Request, host: &Host<'_>) {
    request.host.clear();
    request.host.extend_from_slice(host.name);
    if host.needs_lowering {
        request.host.make_ascii_lowercase();
    }
    request.host_port = host.port;
}

pub fn log_duplicate(request: &Request, field: HeaderLine, previous: HeaderLine) {
    let bytes = &request.head.bytes;
    let is_host = field.name.of(bytes).eq_ignore_ascii_case(b"host");
    let what = if is_host { "host header" } else { "header line" };
    log!(
        request.log(),
        Info,
        *request,
        "client sent duplicate {}: \"{}: {}\", previous value: \"{}: {}\"",
        what,
        Text(field.name.of(bytes)),
        Text(field.value.of(bytes)),
        Text(previous.name.of(bytes)),
        Text(previous.value.of(bytes))
    );
}

/// The server of the request's host; the address's default server where no name fits.
fn choose_server(request: &mut Request) -> Result<(), Status> {
    let name = std::mem::take(&mut request.host);
    let found = find_server(request, &name);
    request.host = name;
    found
}

fn find_server(request: &mut Request, host: &[u8]) -> Result<(), Status> {
    let config = request.config;
    let servers = request.virtual_servers();
    if servers.is_alone {
        return Ok(());
    }
    let negotiated = request.tls().and_then(|facts| facts.server_name.as_deref());
    let is_negotiated = negotiated.is_some_and(|name| name.eq_ignore_ascii_case(host));
    if is_negotiated {
        return Ok(());
    }
    let was_named = negotiated.is_some();
    let found = servers.names.find(config, request, host);
    let mut found = found.map_err(|_| Status::INTERNAL_SERVER_ERROR)?;
    if was_named {
        // Another name than that of the handshake.
        let server = *found.get_or_insert(&config.servers[servers.default]);
        if tls::verifies_clients(server) {
            return Err(Status::MISDIRECTED_REQUEST);
        }
    }
    if let Some(server) = found {
        request.server = server;
        request.location = &server.location;
    }
    Ok(())
}

/// Checks the head as a whole.
pub fn head(request: &mut Request) -> Result<(), Status> {
    if request.host.is_empty() {
        find_server(request, b"")?;
    }
    let version = request.head.version();
    if request.header(Known::Host).is_none() && version > Version::HTTP_10 {
        return refuse(
            request,
            "client sent HTTP/1.1 request without \"Host\" header",
            Status::BAD_REQUEST,
        );
    }
    request.body = framing(request)?;
    match request.head.method() {
        Method::Connect => check_connect(request),
        Method::Trace => refuse(request, "client sent TRACE method", Status::NOT_ALLOWED),
        _ => {
            request.keepalive = wants_keepalive(request);
            Ok(())
        }
    }
}

/// Asks for a tunnel, which some servers make.
fn check_connect(request: &Request) -> Result<(), Status> {
    if request.head.version() != Version::HTTP_11 || !request.server.takes_connect() {
        return refuse(request, "client sent CONNECT method", Status::NOT_ALLOWED);
    }
    if !request.body.is_complete() {
        return refuse(request, "client sent CONNECT request with body", Status::BAD_REQUEST);
    }
    Ok(())
}

fn refuse<T>(request: &Request, reason: &str, status: Status) -> Result<T, Status> {
    log!(request.log(), Info, *request, "{}", reason);
    Err(status)
}

fn framing(request: &Request) -> Result<RequestBody, Status> {
    let length = match request.header(Known::ContentLength) {
        None => None,
        Some(text) => match decimal(text) {
            Some(length) => Some(length),
            None => {
                return refuse(
                    request,
                    "client sent invalid \"Content-Length\" header",
                    Status::BAD_REQUEST,
                );
            }
        },
    };
    let Some(coding) = request.header(Known::TransferEncoding) else {
        return Ok(length.map_or_else(RequestBody::default, RequestBody::of_length));
    };
    if request.head.version() < Version::HTTP_11 {
        let reason = "client sent HTTP/1.0 request with \"Transfer-Encoding\" header";
        return refuse(request, reason, Status::BAD_REQUEST);
    }
    if !coding.eq_ignore_ascii_case(b"chunked") {
        log!(
            request.log(),
            Info,
            *request,
            "client sent unknown \"Transfer-Encoding\": \"{}\"",
            Text(coding)
        );
        return Err(Status::NOT_IMPLEMENTED);
    }
    if length.is_some() {
        let reason =
            "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time";
        return refuse(request, reason, Status::BAD_REQUEST);
    }
    Ok(RequestBody::chunked())
}

fn wants_keepalive(request: &Request) -> bool {
    let by_default = request.head.version() >= Version::HTTP_11;
    if request.header(Known::Connection).is_none() {
        return by_default;
    }
    // Of several fields the last one that says either counts.
    let fields = request.head.fields();
    let fields = fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
    fields.fold(by_default, |keeps, (_, value)| {
        if has_ignoring_case(value, b"close") {
            false
        } else {
            keeps || has_ignoring_case(value, b"keep-alive")
        }
    })
}

fn has_ignoring_case(value: &[u8], token: &[u8]) -> bool {
    let mut windows = value.windows(token.len());
    windows.any(|window| window.eq_ignore_ascii_case(token))
}

/// Old browsers that can't have a request after a POST on one connection.
pub fn is_disabled_for_browser(request: &Request, disable: KeepaliveDisable) -> bool {
    if !disable.msie6 && !disable.safari {
        return false;
    }
    let Some(agent) = request.header(Known::UserAgent) else {
        return false;
    };
    let has = |text: &[u8]| memchr::memmem::find(agent, text).is_some();
    // The method that the client sent: error pages are fetched by another.
    if disable.msie6 && request.head.method_name() == b"POST" && user_agent::is_msie6(agent) {
        return true;
    }
    disable.safari && has(b"Safari/") && has(b"Mac OS X") && !has(b"Chrome/")
}
