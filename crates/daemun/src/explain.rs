//! `daemun -t --explain 'GET http://host/path'`: how the configuration would answer a request.
//!
//! The request goes through the phases and filters that would serve it, in this process, with a trace that tells of
//! every station. It is not logged and nothing is sent: the lines that the error log would have are part of the story.

mod asked;
mod places;
mod story;

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use daemun_core::connection::{Connection, Reason};
use daemun_core::listen::Address;
use daemun_core::log::{self, Level, Log, Memory, Target, Threshold};
use daemun_event::{Handler, Peer, Reactor, Stream};
use daemun_http::config::HttpConfig;
use daemun_http::h1;
use daemun_http::phases::Answer;
use daemun_http::request::Request;
use daemun_process::Cycle;
use daemun_shm::Scoreboard;
use daemun_tls::facts::Facts;

use crate::program::Configuration;
use asked::Asked;
use places::Places;

/// Tells the story of a request; the error says why there is none.
pub fn explain(
    cycle: Cycle<Configuration>,
    request: &str,
    fields: &[String],
) -> Result<String, String> {
    let asked = Asked::read(request, fields)?;
    let Configuration { http, files, directives, .. } = cycle.configuration;
    let places = Places::new(&files, &directives);
    let memory = Arc::new(Memory::new(ERROR_LINES));
    let mut http = Arc::into_inner(http).ok_or("the configuration is in use")?;
    let target = Target::Memory(Arc::clone(&memory));
    http.redirect_logs(&Log::new(vec![(target, Threshold::of(Level::Info))]));
    Log::silent().make_current();
    log::echo_to_stderr(false);
    // The process ends once it has told its story.
    let http: &'static HttpConfig = Box::leak(Box::new(http));
    let listener = listener(http, &asked)?;
    let (request, answer) = run(http, listener, &asked)?;
    let story = story::Story { asked: &asked, http, request: &request, answer: &answer, places };
    Ok(story.tell(&memory.text()))
}

/// Bytes of what the error log would say.
const ERROR_LINES: usize = 64 * 1024;

/// The socket that a client comes to: at the URL's port, or the scheme's. Where only a path is asked for, the first one does
/// if 80 is not served.
fn listener(http: &HttpConfig, asked: &Asked) -> Result<u16, String> {
    let ports: Vec<Option<u16>> =
        http.sockets.iter().map(|socket| socket.spec.address.port()).collect();
    let at = |port: u16| ports.iter().position(|known| *known == Some(port));
    let speaks_tls = |place: &usize| http.sockets[*place].addresses.iter().any(|(_, own)| own.ssl);
    let found = match (asked.port, asked.over_tls) {
        _ if ports.is_empty() => return Err("the configuration serves nothing".to_owned()),
        (Some(port), _) => at(port).ok_or_else(|| format!("nothing listens on port {port}"))?,
        (None, Some(true)) => at(443)
            .or_else(|| (0..ports.len()).find(speaks_tls))
            .ok_or("no \"listen\" has the \"ssl\" parameter")?,
        (None, _) => at(80).unwrap_or(0),
    };
    u16::try_from(found).map_err(|error| error.to_string())
}

/// What a client and the server would have agreed on, where the connection speaks TLS.
fn handshake(
    http: &'static HttpConfig,
    connection: &Connection,
    asked: &Asked,
    request: &mut Request,
) -> Result<Option<Arc<Facts>>, String> {
    let shared = http.virtual_of(connection);
    let address = &http.sockets[usize::from(connection.listener)].spec.address;
    match asked.over_tls {
        Some(true) if !shared.ssl => return Err(format!("{address} speaks no TLS: try http://")),
        Some(false) if shared.ssl => return Err(format!("{address} speaks TLS: try https://")),
        _ if !shared.ssl => return Ok(None),
        _ => {}
    }
    let name = asked.server_name().map(str::to_ascii_lowercase);
    let found = name
        .as_ref()
        .and_then(|name| shared.names.find_index(http, request, name.as_bytes()).ok().flatten());
    let server = found.unwrap_or(shared.default);
    Ok(Some(Arc::new(Facts::expected(name.as_deref(), server))))
}

fn run(
    http: &'static HttpConfig,
    listener: u16,
    asked: &Asked,
) -> Result<(Request, Answer), String> {
    let failed =
        |error: std::io::Error| format!("the request could not be run{}", log::Errno(&error));
    let mut reactor = Reactor::open_leaping(None).map_err(|error| error.to_string())?;
    // Whoever writes to the connection writes to this process.
    let (own, _client) = UnixStream::pair().map_err(failed)?;
    own.set_nonblocking(true).map_err(failed)?;
    let peer = match &http.sockets[usize::from(listener)].spec.address {
        Address::Ip(_) => Peer::V4(Ipv4Addr::LOCALHOST, CLIENT_PORT),
        Address::Unix(_) => Peer::Unix,
    };
    let mut connection = Connection {
        stream: Stream::new(OwnedFd::from(own)),
        peer,
        listener,
        waited: Reason::FirstByte,
        pipelines: false,
        requests: 1,
        number: 1,
        started: daemun_event::now(),
        rare: None,
    };
    let mut request = Request::new(http, Scoreboard::new().map_err(failed)?, None);
    if let Some(facts) = handshake(http, &connection, asked, &mut request)? {
        connection.set_facts(Some(facts));
    }
    let text = asked.text();
    let answered = h1::rehearse(&mut request, connection, &text);
    let answer = reactor.block_on(&mut Nobody, answered).map_err(failed)?;
    let answer = answer.ok_or("the request is not whole")?;
    Ok((request, answer))
}

/// Any port above the reserved ones.
const CLIENT_PORT: u16 = 40_000;

/// No connection is parked and nobody is accepted.
struct Nobody;

impl Handler for Nobody {
    fn parked_ready(&mut self, _: u32) {}

    fn parked_expired(&mut self, _: u32) {}

    fn acceptable(&mut self, _: u32) {}

    fn session(&mut self, _: u32) {}
}
