//! A request on its way through the phases.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use daemun_core::connection::{Connection, Scanned};
use daemun_core::listen::Address;
use daemun_core::log::{Log, Origin};
use daemun_core::module::SettingsKey;
use daemun_core::named_pattern::NamedPattern;
use daemun_core::script::{Session, VariableId};
use daemun_core::{debug, log};
use daemun_event::{Millis, Peer};
use daemun_pattern::StepLimit;
use daemun_proto::http1::{Method, Parsed};
use daemun_proto::proxy_protocol;
use daemun_shm::{Owner, Scoreboard};

use crate::client::Wire;
use crate::config::{HttpConfig, Location, Server};
use crate::core::Core;
use crate::h2;
use crate::head::{Known, RequestHead};
use crate::request_body::RequestBody;
use crate::response::ResponseHead;
use crate::status::Status;
use crate::trace::Trace;
use crate::upstream::record::Record;
use crate::variables;

/// The last match, for `$1` and the like.
#[derive(Clone, Default)]
pub struct Captures {
    subject: Vec<u8>,
    groups: Vec<Option<(usize, usize)>>,
    /// Filled by each attempt; a failed one leaves the last match in force.
    trial: Vec<Option<(usize, usize)>>,
}

/// A request, its response's head, and what the modules keep about both.
///
/// Requests are pooled: [`reset`](Self::reset) keeps the storage and nothing else.
pub struct Request {
    pub config: &'static HttpConfig,
    pub server: &'static Server,
    pub location: &'static Location,
    /// An `if` whose handler answers, though the request has moved on to another `if` since.
    answering: Option<&'static Location>,
    /// What it comes by.
    pub(crate) wire: Wire,
    /// `debug_connection` names the client.
    is_debugged: bool,
    scoreboard: Arc<Scoreboard>,
    /// In whose name this process holds what it counts in shared memory; nobody's where it does not serve.
    owner: Option<Owner>,
    /// The client behind the peer, where a trusted peer told.
    pub real_peer: Option<Peer>,
    /// The address that the client connected to, once somebody asked.
    local: Option<SocketAddr>,
    pub head: RequestHead,
    /// Where the head ends in its bytes, and how much of what follows belongs to this request and has been taken.
    pub head_end: usize,
    pub consumed: usize,
    /// What the server is doing for the request, as the error log tells it; empty once its handlers run.
    pub doing: &'static str,
    /// The normalised path, after rewriting.
    pub uri: Vec<u8>,
    /// Without the question mark.
    pub args: Vec<u8>,
    /// The host the client asked for, in lower case, without port: never empty once the head is read, unless the
    /// client sent none.
    pub host: Vec<u8>,
    /// The port that the client's Host header names.
    pub host_port: Option<u16>,
    /// What the storage's requests before asked for.
    pub recent_host: RecentHost,
    pub body: RequestBody,
    pub response: ResponseHead,
    pub keepalive: bool,
    /// It had come before the request before it was answered.
    pub is_pipelined: bool,
    /// `$args` is there though it is empty: something else than the client made it so.
    pub has_args: bool,
    /// How far its unfinished head was read.
    pub(crate) scanned: Option<Scanned>,
    /// The client may still be sending: its connection is read empty before it is closed.
    pub lingers: bool,
    /// An internal redirect, `error_page` or `try_files` led here.
    pub internal: bool,
    /// The URI is still the one that the client sent, so that its own spelling may be passed on.
    pub has_clients_uri: bool,
    /// The URI was rewritten within its location, whose name is no part of it any more.
    pub has_left_location: bool,
    /// The folder of the site is known to exist.
    pub root_tested: bool,
    /// `try_files` found a file below an alias that stands for the whole URI.
    pub adds_uri_to_alias: bool,
    /// The status to send whatever the handler says, 0 where there is none.
    pub error_status: u16,
    /// The response is out and `post_action` runs: nothing more is sent.
    pub is_post_action: bool,
    /// An error page is being made: it has no error page of its own.
    pub in_error_page: bool,
    /// How many more times the URI may change before it is a cycle.
    pub uri_changes_left: u8,
    pub started: Millis,
    pub started_at: SystemTime,
    /// Bytes of this response that the kernel took, and how many of them were its head.
    pub sent: u64,
    pub sent_head: u64,
    /// Head and body were sent whole.
    pub is_complete: bool,
    /// The response goes out in chunks.
    pub is_chunked: bool,
    /// `$request_id`, once somebody asked.
    pub id: Option<[u8; 16]>,
    /// `limit_rate` as set by `X-Accel-Limit-Rate` or `set $limit_rate`: bytes a second.
    pub limit_rate: Option<u64>,
    pub captures: Captures,
    variables: Vec<Option<Option<Bytes>>>,
    /// How many computed variables are being computed, each for the one before.
    pub variable_depth: u8,
    contexts: Contexts,
    /// In a subrequest: an error is an empty response, for which something else stands in.
    pub is_stubbed: bool,
    /// Nobody will answer it: it asks whether it would be let in ([`phases::admits`](crate::phases::admits)).
    pub(crate) is_probe: bool,
    /// In a subrequest: the character set of the main request's response.
    pub main_charset: Option<Bytes>,
    /// How many requests this one is a subrequest within.
    depth: u8,
    /// What modules keep for a request and all its subrequests; made for the first of these.
    shared: Option<Arc<Mutex<Contexts>>>,
    /// Of a subrequest and those within it: it goes on when its client leaves.
    pub(crate) persists: Arc<AtomicBool>,
    /// Only a request that is to be explained has one.
    pub trace: Option<Box<Trace>>,
    /// Where it was passed to, once it was.
    pub upstream: Option<Box<Record>>,
}

/// What modules keep, by the position of their settings.
type Contexts = Vec<(usize, Box<dyn Any + Send>)>;

/// How much is received at a time.
const RECEIVE: usize = 16 * 1024;

thread_local! {
    /// What is received passes through here, so that no connection holds more than what it was sent.
    static RECEIVED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(RECEIVE));
}

/// How often a URI may change.
const MAX_URI_CHANGES: u8 = 11;

impl Request {
    pub fn new(
        config: &'static HttpConfig,
        scoreboard: Arc<Scoreboard>,
        owner: Option<Owner>,
    ) -> Request {
        let server = config.any_server();
        Request {
            config,
            server,
            location: &server.location,
            answering: None,
            wire: Wire::None,
            is_debugged: false,
            scoreboard,
            owner,
            real_peer: None,
            local: None,
            head: RequestHead::default(),
            head_end: 0,
            consumed: 0,
            doing: "",
            uri: Vec::new(),
            args: Vec::new(),
            host: Vec::new(),
            host_port: None,
            recent_host: RecentHost::default(),
            body: RequestBody::default(),
            response: ResponseHead::default(),
            keepalive: false,
            is_pipelined: false,
            has_args: false,
            scanned: None,
            lingers: false,
            internal: false,
            has_clients_uri: true,
            has_left_location: false,
            root_tested: false,
            adds_uri_to_alias: false,
            error_status: 0,
            is_post_action: false,
            in_error_page: false,
            uri_changes_left: MAX_URI_CHANGES,
            started: 0,
            started_at: SystemTime::UNIX_EPOCH,
            sent: 0,
            sent_head: 0,
            is_complete: false,
            is_chunked: false,
            id: None,
            limit_rate: None,
            captures: Captures::default(),
            variables: Vec::new(),
            variable_depth: 0,
            contexts: Vec::new(),
            is_stubbed: false,
            is_probe: false,
            main_charset: None,
            depth: 0,
            shared: None,
            persists: Arc::default(),
            trace: None,
            upstream: None,
        }
    }

    /// Gives the request to a connection, whose default server speaks for it until its host is known.
    pub fn begin(&mut self, connection: Connection, server: &'static Server) {
        self.wire = Wire::H1(connection);
        self.is_debugged = self.config.debugs(self.peer());
        self.begin_again(server);
    }

    /// Begins a request that comes on a stream.
    pub(crate) fn begin_stream(&mut self, handle: h2::Handle, server: &'static Server) {
        self.wire = Wire::H2(handle);
        self.is_debugged = self.config.debugs(self.peer());
        self.begin_again(server);
    }

    pub(crate) fn end_stream(&mut self) {
        self.wire = Wire::None;
        self.reset();
    }

    /// Begins another request of the same connection.
    pub fn begin_again(&mut self, server: &'static Server) {
        self.server = server;
        self.location = &server.location;
        self.started = daemun_event::now();
        self.started_at = daemun_event::wall_clock();
    }

    /// Ends the request; its storage is ready for another.
    pub fn end(&mut self) -> Connection {
        let Wire::H1(connection) = std::mem::take(&mut self.wire) else {
            panic!("a request of HTTP/1 has its connection");
        };
        self.reset();
        connection
    }

    /// Makes ready for the next request of the same connection.
    pub fn reset(&mut self) {
        self.answering = None;
        self.real_peer = None;
        self.local = None;
        self.head.reset();
        self.head_end = 0;
        self.consumed = 0;
        self.doing = "";
        self.uri.clear();
        self.args.clear();
        self.host.clear();
        self.host_port = None;
        self.body = RequestBody::default();
        self.response.reset();
        self.keepalive = false;
        self.is_pipelined = false;
        self.has_args = false;
        self.scanned = None;
        self.lingers = false;
        self.internal = false;
        self.has_clients_uri = true;
        self.has_left_location = false;
        self.root_tested = false;
        self.adds_uri_to_alias = false;
        self.error_status = 0;
        self.is_post_action = false;
        self.in_error_page = false;
        self.uri_changes_left = MAX_URI_CHANGES;
        self.sent = 0;
        self.sent_head = 0;
        self.is_complete = false;
        self.is_chunked = false;
        self.id = None;
        self.limit_rate = None;
        self.captures.clear();
        self.variables.clear();
        self.variable_depth = 0;
        self.contexts.clear();
        self.clear_shared();
        if let Some(record) = self.upstream.take() {
            record.put_back();
        }
    }

    /// Moves to an `if` whose condition holds. A handler that only one has answers behind all of them, as in nginx.
    pub fn enter_if(&mut self, block: &'static Location) {
        if self.location.is_dedicated {
            self.answering = Some(self.location);
        }
        self.location = block;
    }

    /// The location whose handlers make the content.
    pub(crate) fn answering(&self) -> &'static Location {
        match self.answering {
            Some(block) if !self.location.is_dedicated => block,
            _ => self.location,
        }
    }

    /// A location was found anew.
    pub(crate) fn forget_answering(&mut self) {
        self.answering = None;
    }

    /// The client: the other end of the connection, or whom that speaks for.
    pub fn peer(&self) -> Peer {
        self.real_peer.unwrap_or_else(|| self.connection_peer())
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        match self.tls() {
            Some(_) => "https",
            None => "http",
        }
    }

    /// What the PROXY protocol told about the connection.
    pub fn proxy_header(&self) -> Option<proxy_protocol::Header<'_>> {
        match proxy_protocol::parse(self.proxy_header_bytes()?) {
            Ok(Parsed::Done(header, _)) => header,
            _ => None,
        }
    }

    /// The address and port that the client connected to; `None` on a UNIX socket.
    pub fn local_address(&mut self) -> Option<SocketAddr> {
        if self.local.is_none() {
            self.local = self.connection_local();
        }
        self.local
    }

    /// Has the client have connected to `address`, or to this machine where that is any address.
    pub(crate) fn pretend_local(&mut self, mut address: SocketAddr) {
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        self.local = Some(address);
    }

    /// A module's settings where the request is now.
    pub fn settings<T: 'static>(&self, key: &SettingsKey<T>) -> &'static T {
        self.location.settings.of(key)
    }

    /// The core's settings where the request is now.
    pub fn core(&self) -> &'static Core {
        &self.location.core
    }

    /// What a module keeps about this request, made on first use.
    pub fn context<T: Default + Send + 'static>(
        &mut self,
        key: &SettingsKey<impl Sized>,
    ) -> &mut T {
        context_of(&mut self.contexts, key.position())
    }

    /// What a module keeps about this request, if it does.
    pub fn known_context<T: 'static>(&self, key: &SettingsKey<impl Sized>) -> Option<&T> {
        let position = key.position();
        let (_, context) = self.contexts.iter().find(|(owner, _)| *owner == position)?;
        context.downcast_ref()
    }

    /// Works on what a module keeps for this request and all its subrequests.
    pub fn with_shared<T: Default + Send + 'static, R>(
        &mut self,
        key: &SettingsKey<impl Sized>,
        work: impl FnOnce(&mut T) -> R,
    ) -> R {
        let shared = self.shared.get_or_insert_default();
        // Whoever panicked left a context that is sound.
        let mut contexts = shared.lock().unwrap_or_else(PoisonError::into_inner);
        work(context_of(&mut contexts, key.position()))
    }

    /// Subrequests that are still there go on with what they share; else its storage is kept.
    fn clear_shared(&mut self) {
        match self.shared.as_mut().and_then(Arc::get_mut) {
            Some(shared) => shared.get_mut().unwrap_or_else(PoisonError::into_inner).clear(),
            None => self.shared = None,
        }
    }

    /// Forgets what modules keep, as an internal redirect does.
    pub fn clear_contexts(&mut self) {
        self.contexts.clear();
    }

    /// Whether the server asks this for the sake of another request.
    pub fn is_subrequest(&self) -> bool {
        self.depth > 0
    }

    pub(crate) fn depth(&self) -> u8 {
        self.depth
    }

    /// A request for `uri` within this one.
    pub(crate) fn subrequest(&mut self, uri: &[u8], args: &[u8]) -> Box<Request> {
        let scoreboard = Arc::clone(&self.scoreboard);
        let mut request = Box::new(Request::new(self.config, scoreboard, self.owner));
        request.wire = self.wire_for_subrequest();
        request.begin_again(self.server);
        request.is_debugged = self.is_debugged;
        request.real_peer = self.real_peer;
        request.local = self.local;
        request.head = self.head.copy(self.head_end);
        request.head.line.method = Method::Get;
        request.head_end = self.head_end;
        request.consumed = self.head_end;
        request.uri.extend_from_slice(uri);
        request.args.extend_from_slice(args);
        request.host.clone_from(&self.host);
        request.host_port = self.host_port;
        request.body = self.body.shared();
        request.is_pipelined = self.is_pipelined;
        request.internal = true;
        request.has_clients_uri = false;
        request.id = self.id;
        request.variables.clone_from(&self.variables);
        request.main_charset = match self.is_subrequest() {
            true => self.main_charset.clone(),
            false => self.response.charset.clone(),
        };
        request.depth = self.depth + 1;
        request.shared = Some(Arc::clone(self.shared.get_or_insert_default()));
        if self.is_subrequest() {
            request.persists = Arc::clone(&self.persists);
        }
        request
    }

    /// A request within this one that is the same as this one: at the same place, with the same URI.
    pub(crate) fn stand_in(&mut self) -> Box<Request> {
        let (uri, args) = (self.uri.clone(), self.args.clone());
        let mut request = self.subrequest(&uri, &args);
        request.location = self.location;
        request.answering = self.answering;
        request.head.line.method = self.head.line.method;
        request.has_args = self.has_args;
        request.internal = self.internal;
        request.has_clients_uri = self.has_clients_uri;
        request.has_left_location = self.has_left_location;
        request.captures = self.captures.clone();
        request.error_status = 0;
        request
    }

    pub(crate) fn variables(&self) -> &[Option<Option<Bytes>>] {
        &self.variables
    }

    /// Takes over the variables that a subrequest has set or computed since it began with `before`.
    pub(crate) fn take_variables(&mut self, from: &Request, before: &[Option<Option<Bytes>>]) {
        self.id = self.id.or(from.id);
        for (index, value) in from.variables.iter().enumerate() {
            if let Some(value) = value
                && before.get(index).and_then(Option::as_ref) != Some(value)
            {
                let id = VariableId(u16::try_from(index).expect("an index was an id"));
                self.store(id, value.clone());
            }
        }
    }

    /// The counters of all workers.
    pub fn scoreboard(&self) -> &Scoreboard {
        &self.scoreboard
    }

    /// In whose name this process holds what it counts in shared memory.
    pub fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// `unix:PATH` of the socket that the client connected to; empty elsewhere.
    pub fn unix_path(&self) -> String {
        match &self.config.sockets[self.listener()].spec.address {
            address @ Address::Unix(_) => address.to_string(),
            Address::Ip(_) => String::new(),
        }
    }

    /// The status that the client got, or would have.
    pub fn logged_status(&self) -> Status {
        match self.response.status {
            Status(0) => Status(self.error_status),
            _ if self.error_status != 0 => Status(self.error_status),
            status => status,
        }
    }

    /// Bytes of the request: line, head and what came of the body. None where the line was refused.
    pub fn length(&self) -> u64 {
        if self.is_subrequest() {
            return 0;
        }
        if let Some(handle) = self.stream() {
            return u64::from(handle.length) + self.body.taken();
        }
        let blank_lines = self.head.line.line.start;
        (self.head_end as u64).saturating_sub(u64::from(blank_lines)) + self.body.taken()
    }

    /// The first value of an argument, as it stands in the query.
    pub fn argument(&self, name: &[u8]) -> Option<&[u8]> {
        self.args.split(|byte| *byte == b'&').find_map(|pair| {
            let sign = memchr::memchr(b'=', pair)?;
            pair[..sign].eq_ignore_ascii_case(name).then_some(&pair[sign + 1..])
        })
    }

    pub fn log(&self) -> &'static Log {
        self.location.log(self.is_debugged)
    }

    pub fn header(&self, known: Known) -> Option<&[u8]> {
        self.head.known(known)
    }

    /// Matches and remembers the groups for `$1` to `$9` and for the pattern's named variables.
    ///
    /// A pattern that runs into its step limit is logged.
    pub fn matches(&mut self, pattern: &NamedPattern, subject: &[u8]) -> Result<bool, StepLimit> {
        let found = pattern.pattern.captures(subject, &mut self.captures.trial);
        if found.is_err() {
            let (subject, text) = (Text(subject), Text(&pattern.text));
            // PCRE2_ERROR_MATCHLIMIT
            log!(
                self.log(),
                Alert,
                *self,
                "pcre2_match() failed: -47 on \"{}\" using \"{}\"",
                subject,
                text
            );
        }
        if !found? {
            return Ok(false);
        }
        self.captures.keep_trial(subject);
        for (id, group) in &pattern.names {
            let value = self.captures.group(*group).map(Bytes::copy_from_slice);
            self.store(*id, value);
        }
        Ok(true)
    }

    /// Sets a stored or cached variable; `None` is "not found".
    pub fn store(&mut self, id: VariableId, value: Option<Bytes>) {
        let index = usize::from(id.0);
        if self.variables.len() <= index {
            self.variables.resize(index + 1, None);
        }
        self.variables[index] = Some(value);
    }

    /// A stored or cached variable; `None` where it was never set.
    pub fn stored(&self, id: VariableId) -> Option<&Option<Bytes>> {
        self.variables.get(usize::from(id.0))?.as_ref()
    }

    /// Receives what is there; an error of the kind `WouldBlock` where nothing is, 0 at the client's end.
    pub fn receive_available(&mut self) -> io::Result<usize> {
        if let Wire::H2(handle) = &self.wire {
            return handle.try_receive(&mut self.head.bytes);
        }
        RECEIVED.with_borrow_mut(|buffer| {
            buffer.clear();
            let received = self.connection_mut().transport().try_recv_append(buffer)?;
            debug!(self.log(), Event, *self, "recv: {} of {}", received, RECEIVE);
            self.head.bytes.extend_from_slice(buffer);
            Ok(received)
        })
    }

    /// Whether the request's own head says HTTP/1.1 or later.
    pub fn is_http11(&self) -> bool {
        self.head.version() >= daemun_proto::http1::Version::HTTP_11
    }
}

fn context_of<T: Default + Send + 'static>(contexts: &mut Contexts, position: usize) -> &mut T {
    let found = contexts.iter().position(|(owner, _)| *owner == position);
    let index = found.unwrap_or_else(|| {
        contexts.push((position, Box::new(T::default())));
        contexts.len() - 1
    });
    contexts[index].1.downcast_mut().expect("a module keeps one type of context")
}

impl Captures {
    /// Forgets the last match.
    pub fn clear(&mut self) {
        self.groups.clear();
    }

    fn keep_trial(&mut self, subject: &[u8]) {
        std::mem::swap(&mut self.groups, &mut self.trial);
        self.subject.clear();
        self.subject.extend_from_slice(subject);
    }

    pub fn group(&self, group: usize) -> Option<&[u8]> {
        let (start, end) = (*self.groups.get(group)?)?;
        Some(&self.subject[start..end])
    }
}

impl Session for Request {
    fn variable(&mut self, id: VariableId, out: &mut Vec<u8>) -> bool {
        variables::evaluate(self, id, out)
    }

    fn capture(&mut self, group: usize, out: &mut Vec<u8>) -> bool {
        match self.captures.group(group) {
            Some(text) => {
                out.extend_from_slice(text);
                true
            }
            None => false,
        }
    }

    fn matches(&mut self, pattern: &NamedPattern, subject: &[u8]) -> Result<bool, StepLimit> {
        Request::matches(self, pattern, subject)
    }

    fn client(&self) -> Peer {
        self.peer()
    }

    fn forwarded_for(&self) -> Vec<&[u8]> {
        if self.header(Known::XForwardedFor).is_none() {
            return Vec::new();
        }
        let fields = self.head.fields();
        let named = fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-for"));
        named.map(|(_, value)| value).collect()
    }
}

/// A valid Host field and what it says, kept from request to request: most clients name one host all the time.
#[derive(Default)]
pub struct RecentHost {
    text: Vec<u8>,
    name: Vec<u8>,
    port: Option<u16>,
}

impl RecentHost {
    /// Longer ones are read each time.
    const MOST: usize = 256;

    /// Name and port of the field, where it is that one.
    pub fn recall(&self, text: &[u8]) -> Option<(&[u8], Option<u16>)> {
        (self.text == text && !text.is_empty()).then_some((&self.name, self.port))
    }

    pub fn remember(&mut self, text: &[u8], name: &[u8], port: Option<u16>) {
        if text.len() > RecentHost::MOST {
            return;
        }
        text.clone_into(&mut self.text);
        name.clone_into(&mut self.name);
        self.port = port;
    }
}

/// Bytes as text for a log line; what is not UTF-8 is replaced.
pub struct Text<'t>(pub &'t [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl Origin for Request {
    fn connection(&self) -> u64 {
        self.connection_number()
    }

    fn context(&self, line: &mut dyn fmt::Write) -> fmt::Result {
        if !self.has_client() {
            return Ok(());
        }
        if !self.doing.is_empty() {
            write!(line, " while {}", self.doing)?;
        }
        write!(line, ", client: {}", self.peer())?;
        write!(line, ", server: {}", Text(self.server.name()))?;
        let request_line = self.head.request_line();
        if !request_line.is_empty() {
            write!(line, ", request: \"{}\"", Text(request_line))?;
        }
        if self.is_subrequest() {
            write!(line, ", subrequest: \"{}\"", Text(&self.uri))?;
        }
        if let Some(record) = &self.upstream {
            record.describe(line)?;
        }
        if let Some(host) = self.header(Known::Host) {
            write!(line, ", host: \"{}\"", Text(host))?;
        }
        if let Some(referer) = self.header(Known::Referer) {
            write!(line, ", referrer: \"{}\"", Text(referer))?;
        }
        Ok(())
    }
}
