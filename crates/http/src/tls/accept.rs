//! A handshake on a connection to an address that speaks TLS.

use std::fmt;
use std::io;
use std::sync::Arc;

use daemun_core::{debug, log};
use daemun_event::Deadline;
use daemun_shm::Rare;
use daemun_tls::export::UNKNOWN_SERVER;
use daemun_tls::facts::Facts;
use daemun_tls::handshake::{Blame, Failure};
use daemun_tls::handshake::{rehearsal, server};
use rustix::io::Errno;

use super::settings::SETTINGS;
use super::terms::Tls;
use crate::config::{HttpConfig, Server};
use crate::core::resolving;
use crate::request::Request;

/// Whether what has come is the beginning of a handshake. A client that speaks HTTP here is
/// [told so](crate::status::Status::TO_HTTPS).
#[inline]
pub fn is_due(request: &Request) -> bool {
    request.config.has_tls && speaks_tls(request)
}

fn speaks_tls(request: &Request) -> bool {
    let is_hello = request.head.bytes.first().is_some_and(|byte| *byte == 22 || *byte >= 0x80);
    is_hello && request.tls().is_none() && request.virtual_servers().ssl
}

/// Makes the connection one that speaks TLS; an error ends it.
pub async fn accept(request: &mut Request) -> io::Result<()> {
    request.doing = "SSL handshaking";
    let received = std::mem::take(&mut request.head.bytes);
    let deadline = Deadline::after(*request.core().client.header_timeout);
    let config = request.config;
    let virtual_ = request.virtual_servers();
    let default = virtual_.default;
    let hello = server::hear(&request.connection().stream, received, deadline).await;
    let hello = hello.map_err(|failure| tell(request, failure))?;
    let name = hello.parsed().server_name.and_then(normal);
    let chosen = match name {
        Some(name) => {
            let found = virtual_.names.find_index(config, request, &name);
            found.ok().flatten().unwrap_or(default)
        }
        None => default,
    };
    // A server without a certificate of its own is served by the default server's.
    let terms = match &config.servers[chosen].tls.mode {
        Tls::None => &config.servers[default].tls.mode,
        own => own,
    };
    let computed;
    let context = match terms {
        Tls::Serves(context) => context,
        Tls::Computes(context, certificates) => {
            let known = Facts::of_hello(&hello.parsed(), chosen);
            request.connection_mut().set_facts(Some(Arc::new(known)));
            let identities = certificates.identities(request);
            request.connection_mut().set_facts(None);
            match identities {
                Ok(identities) => computed = Arc::new(context.showing(identities)),
                Err(why) => {
                    log!(request.log(), Error, Handshaking(request), "{}", why);
                    let failure = server::give_up(&request.connection().stream);
                    return Err(tell(request, failure));
                }
            }
            &computed
        }
        Tls::None | Tls::Rejects => {
            let failure = server::reject(&request.connection().stream);
            return Err(tell(request, failure));
        }
    };
    let stream = &request.connection().stream;
    let session = server::accept(stream, hello, context, chosen, deadline).await;
    let mut session = session.map_err(|failure| tell(request, failure))?;
    let server = &config.servers[chosen];
    let resolving = server.settings().of(&resolving::SETTINGS);
    if let Some(stapling) = &server.tls.stapling {
        stapling.refresh(context, resolving, server.log());
    }
    if let Some(check) = &server.tls.ocsp
        && session.facts().client.as_ref().is_some_and(|client| client.refused.is_none())
    {
        let path = context.client_path(session.facts());
        let status = check.run(&path, resolving, server.log(), &Handshaking(request)).await;
        session.settle(|facts| {
            if let Some(client) = &mut facts.client {
                Arc::make_mut(client).status = status;
            }
        });
    }
    let chosen = &config.servers[chosen];
    request.doing = "";
    let mut session = Box::new(session);
    session.set_record_size(*chosen.settings().of(&SETTINGS).buffer_size, true);
    let facts = Arc::clone(session.facts());
    let (version, suite) = (facts.version().name(), facts.suite.name);
    debug!(request.log(), Event, *request, "SSL: {}, cipher: \"{}\"", version, suite);
    let connection = request.connection_mut();
    connection.begin_tls(session);
    // Unless a request has come with it, the client may wait for what the handshake has still to send.
    if !connection.may_be_readable() {
        let _ = connection.transport().flush();
    }
    Ok(())
}

/// Finds the server of a connection that came from another process, whose configuration may have been another: by the
/// name that the handshake was for. What is thought of the client is asked anew.
#[inline]
pub fn settle(request: &mut Request) {
    let facts = request.tls();
    if facts.is_some_and(|facts| facts.server == UNKNOWN_SERVER) {
        settle_unknown(request);
    }
}

#[cold]
fn settle_unknown(request: &mut Request) {
    let config = request.config;
    let virtual_ = request.virtual_servers();
    let name = request.tls().and_then(|facts| normal(facts.server_name.as_deref()?));
    let found = match name {
        Some(name) => virtual_.names.find_index(config, request, &name).ok().flatten(),
        None => None,
    };
    let place = found.unwrap_or(virtual_.default);
    let server = &config.servers[place];
    if let Some(session) = request.connection_mut().session_mut() {
        session.settle(|facts| {
            facts.server = place;
            if let Tls::Serves(context) | Tls::Computes(context, _) = &server.tls.mode {
                context.judge_again(facts);
            }
        });
    }
    request.begin_again(server);
}

/// In lower case, without the dot at the end.
fn normal(name: &[u8]) -> Option<Vec<u8>> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

/// Makes a handshake with itself before clients come, under the first server's terms: what the library has to read and
/// set up is there then, and a key that cannot sign is told of.
pub fn rehearse(config: &HttpConfig) {
    let mut served = config.servers.iter().filter_map(|server| match &server.tls.mode {
        Tls::Serves(context) => Some((server, context)),
        _ => None,
    });
    if config.has_tls
        && let Some((server, context)) = served.next()
        && let Err(error) = rehearsal::rehearse(context)
    {
        log!(server.log(), Crit, (), "no handshake can be made with this configuration: {}", error);
    }
}

/// A connection in its handshake, as the error log tells of it.
struct Handshaking<'r>(&'r Request);

impl log::Origin for Handshaking<'_> {
    fn connection(&self) -> u64 {
        self.0.connection_number()
    }

    fn context(&self, line: &mut dyn fmt::Write) -> fmt::Result {
        let request = self.0;
        let address = &request.config.sockets[request.listener()].spec.address;
        let peer = request.connection_peer();
        write!(line, " while SSL handshaking, client: {peer}, server: {address}")
    }
}

#[cold]
fn tell(request: &Request, failure: Failure) -> io::Error {
    let log = Server::log(request.server);
    let origin = Handshaking(request);
    request.scoreboard().count(Rare::FailedHandshakes);
    match failure {
        Failure::Closed => {
            log!(log, Info, origin, "peer closed connection in SSL handshake");
            io::ErrorKind::UnexpectedEof.into()
        }
        Failure::TimedOut => {
            let error = io::Error::from(Errno::TIMEDOUT);
            log!(log, Info, origin, "client timed out"; error);
            error
        }
        Failure::Io(error) if error.raw_os_error().is_some() => {
            log!(log, Info, origin, "peer closed connection in SSL handshake"; error);
            error
        }
        Failure::Io(error) => {
            log!(log, Crit, origin, "SSL_do_handshake() failed ({})", error);
            error
        }
        Failure::Refused { words, blame } => {
            match blame {
                Blame::Peer => log!(log, Info, origin, "SSL_do_handshake() failed {}", words),
                Blame::Ourselves => log!(log, Crit, origin, "SSL_do_handshake() failed {}", words),
            }
            io::ErrorKind::InvalidData.into()
        }
    }
}
