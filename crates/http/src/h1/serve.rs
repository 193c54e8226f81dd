//! A connection's session: reads requests, has them answered, and says what becomes of the connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use daemun_core::connection::{AsStream, Connection, Partial, Protocol, Reason, Relay, Wait};
use daemun_core::{debug, log};
use daemun_event::{Deadline, Millis, Stream, next_turn};
use daemun_proto::http2::Config;
use daemun_shm::{Stage, WorkerSlot};

use super::read_head::{self, Head};
use super::send::{self, Sent, Settled};
use super::{broken, close, panics, proxy_header};
use crate::config::{HttpConfig, Server};
use crate::core::{client, http2};
use crate::exchange::{self, Writing, tell};
use crate::h2;
use crate::module::Step;
use crate::phases::{self, Answer, Start};
use crate::request::{Request, Text};
use crate::status::Status;
use crate::tls;
use crate::upstream;

/// HTTP/1.x as an engine runs it: what the sessions of one reactor share.
pub struct Http {
    config: &'static HttpConfig,
    counters: WorkerSlot,
    closing: Arc<AtomicBool>,
    drains: bool,
    /// Requests between uses: their storage makes a request free of allocations.
    #[expect(
        clippy::vec_box,
        reason = "requests stay in their boxes: moving one is moving a pointer"
    )]
    spare: RefCell<Vec<Box<Request>>>,
    /// By the address of the server.
    http2: RefCell<HashMap<usize, Arc<Config>>>,
}

/// How many unused requests are kept.
const SPARE: usize = 64;

impl Http {
    /// `closing` is set once no connection is to be kept after its response. `drains` says that sessions end as soon as
    /// only the client's pace is left to wait for.
    pub fn new(
        config: &'static HttpConfig,
        counters: WorkerSlot,
        closing: Arc<AtomicBool>,
        drains: bool,
    ) -> Http {
        let (spare, http2) = Default::default();
        Http { config, counters, closing, drains, spare, http2 }
    }
}

/// What becomes of an HTTP connection.
type Outcome = daemun_core::connection::Outcome<Drained>;

/// An exchange that waits for its client alone.
pub struct Drained {
    request: Box<Request>,
    left: Left,
}

enum Left {
    /// The end of the response.
    Response(Settled),
    /// To read what the client still sends.
    Linger,
}

impl AsStream for Drained {
    fn stream(&mut self) -> &mut Stream {
        &mut self.request.connection_mut().stream
    }
}

impl Protocol for Http {
    type Rest = Drained;

    fn serve(self: Rc<Self>, connection: Connection) -> impl Future<Output = Outcome> + 'static {
        serve(self, connection)
    }

    fn finish(self: Rc<Self>, rest: Drained) -> impl Future<Output = Outcome> + 'static {
        finish(self, rest)
    }

    fn first_wait(&self, connection: &Connection) -> Wait {
        let settings = self.config.default_server(connection).settings();
        Wait::first_byte(*settings.of(&client::SETTINGS).header_timeout)
    }

    fn timed_out(&self, mut connection: Connection) -> Outcome {
        let server = self.config.default_server(&connection);
        let settings = &server.location.core.connection;
        match connection.waited {
            Reason::Held if !self.is_closing() => {
                let timeout = *settings.keepalive_timeout;
                let rest = timeout.saturating_sub(*settings.keepalive_min_timeout);
                let wait = Wait::keep_alive(rest);
                return Outcome::Park { connection, wait };
            }
            Reason::Held | Reason::KeepAlive | Reason::Relay => {}
            Reason::FirstByte | Reason::Head => {
                let error = io::Error::from(rustix::io::Errno::TIMEDOUT);
                let origin = Waiting { connection: &connection, config: self.config, server };
                log!(server.log(), Info, origin, "client timed out"; error);
                if *settings.reset_timedout {
                    // Without it the close is only slower.
                    let _ = connection.stream.reset_on_close();
                }
                if let Some(partial) = connection.take_partial() {
                    let mut request = self.take_request();
                    request.begin(connection, server);
                    broken::times_out(&mut request, &partial.bytes);
                    connection = self.put_back(request);
                }
            }
        }
        connection.say_goodbye();
        Outcome::Close(connection)
    }

    fn shed(&self, mut connection: Connection) {
        connection.say_goodbye();
        let server = self.config.default_server(&connection);
        debug!(server.log(), Http, connection.number, "reusing connection");
    }
}

/// What nginx does until a request's first line has come.
const READING_LINE: &str = "reading client request line";

/// A connection without a request, or with the beginning of one, as the error log tells of it.
struct Waiting<'c> {
    connection: &'c Connection,
    config: &'static HttpConfig,
    server: &'static Server,
}

impl log::Origin for Waiting<'_> {
    fn connection(&self) -> u64 {
        self.connection.number
    }

    fn context(&self, line: &mut dyn fmt::Write) -> fmt::Result {
        let client = &self.connection.peer;
        let Some(partial) = self.connection.partial() else {
            let socket = &self.config.sockets[usize::from(self.connection.listener)];
            let address = &socket.spec.address;
            return write!(line, " while waiting for request, client: {client}, server: {address}");
        };
        write_beginning(&partial.bytes, client, self.server, line)
    }
}

/// A request whose head is not all there.
struct Begun<'r>(&'r Request);

impl log::Origin for Begun<'_> {
    fn connection(&self) -> u64 {
        log::Origin::connection(self.0)
    }

    fn context(&self, line: &mut dyn fmt::Write) -> fmt::Result {
        let request = self.0;
        let bytes = &request.head.bytes[request.consumed..];
        write_beginning(bytes, request.peer(), request.server, line)
    }
}

/// What the error log tells of a request whose head is not all there.
fn write_beginning(
    bytes: &[u8],
    client: impl fmt::Display,
    server: &Server,
    line: &mut dyn fmt::Write,
) -> fmt::Result {
    let mut lines = bytes.split(|byte| matches!(byte, b'\r' | b'\n'));
    let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
    let doing = match lines.next() {
        Some(_) => "reading client request headers",
        None => READING_LINE,
    };
    write!(line, " while {doing}, client: {client}, server: {}", Text(server.name()))?;
    match first {
        [] => Ok(()),
        first => write!(line, ", request: \"{}\"", Text(first)),
    }
}

impl Http {
    pub(crate) fn config(&self) -> &'static HttpConfig {
        self.config
    }

    pub(crate) fn counters(&self) -> &WorkerSlot {
        &self.counters
    }

    /// What the connections of a server of HTTP/2 go by.
    pub(crate) fn http2_config(&self, server: &'static Server) -> Arc<Config> {
        let mut known = self.http2.borrow_mut();
        let key = std::ptr::from_ref(server).addr();
        let config = known.entry(key).or_insert_with(|| Arc::new(http2::config_of(server)));
        Arc::clone(config)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Counts what an exchange cost.
    pub(crate) fn count(&self, request: &Request) {
        self.count_since(request, request.started, 0);
    }

    /// The same of one that was begun elsewhere: what it has cost since, after so many bytes.
    fn count_since(&self, request: &Request, since: Millis, sent: u64) {
        self.counters.sent(request.sent - sent);
        if self.config.shows_requests {
            self.counters.busy(daemun_event::now().saturating_sub(since));
        }
    }

    pub(crate) fn take_request(&self) -> Box<Request> {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| {
            let owner = Some(self.counters.owner());
            Box::new(Request::new(self.config, Arc::clone(self.counters.scoreboard()), owner))
        })
    }

    /// Ends a request and keeps its storage.
    fn put_back(&self, mut request: Box<Request>) -> Connection {
        let connection = request.end();
        self.put_aside(request);
        connection
    }

    /// The same of one that came on a stream.
    pub(crate) fn put_back_stream(&self, mut request: Box<Request>) {
        request.end_stream();
        self.put_aside(request);
    }

    /// Keeps the storage of a request that is not in use.
    pub(crate) fn put_aside(&self, mut request: Box<Request>) {
        request.head.reset();
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE {
            spare.push(request);
        }
    }
}

/// How long a connection may wait for its next request, by the location that answered the last one.
#[derive(Clone, Copy)]
struct Idle {
    timeout: Duration,
    /// Nobody may close it before.
    least: Duration,
}

impl Idle {
    fn of(request: &Request) -> Idle {
        let settings = &request.core().connection;
        Idle { timeout: *settings.keepalive_timeout, least: *settings.keepalive_min_timeout }
    }

    fn wait(self) -> Wait {
        match self.least {
            Duration::ZERO => Wait::keep_alive(self.timeout),
            least => Wait::held(least.min(self.timeout)),
        }
    }
}

/// What follows an exchange.
enum Next {
    /// The client may send another request, or has.
    KeepAlive(Idle),
    Drain(Left),
    /// An upgraded connection goes to another process.
    Relay(Box<Relay>),
    Close,
}

async fn serve(http: Rc<Http>, mut connection: Connection) -> Outcome {
    if let Some(relay) = connection.take_relay() {
        return Box::pin(go_on(http, connection, *relay)).await;
    }
    if h2::is_kept(&connection) {
        return Box::pin(serve_http2(http, connection, Vec::new())).await;
    }
    let partial = connection.take_partial();
    let server = http.config.default_server(&connection);
    let mut request = http.take_request();
    request.begin(connection, server);
    tls::settle(&mut request);
    let mut deadline = None;
    let mut in_a_row = 0u32;
    // A connection that was woken for nothing has none.
    let mut idle = None;
    if let Some(partial) = partial {
        match partial.bytes.len() {
            ..COPIED => request.head.bytes.extend_from_slice(&partial.bytes),
            _ => request.head.bytes = partial.bytes,
        }
        request.scanned = partial.scanned;
        deadline = partial.until;
    }
    loop {
        let head = match receive_head(&mut request, &mut deadline) {
            Ok(Head::Incomplete) => return park(&http, request, deadline, idle),
            Ok(Head::Http2) => {
                let bytes = std::mem::take(&mut request.head.bytes);
                request.connection_mut().requests -= 1;
                let connection = http.put_back(request);
                return Box::pin(serve_http2(http, connection, bytes)).await;
            }
            Ok(Head::Handshake) => {
                deadline = None;
                match Box::pin(tls::accept(&mut request)).await {
                    Ok(()) if h2::is_agreed(&request) => {
                        let connection = http.put_back(request);
                        return Box::pin(serve_http2(http, connection, Vec::new())).await;
                    }
                    Ok(()) => continue,
                    Err(_) => return close(&http, request),
                }
            }
            Ok(head) => head,
            Err(_) => {
                if deadline.is_some() {
                    broken::breaks_off(&mut request);
                }
                return close(&http, request);
            }
        };
        deadline = None;
        let next = {
            let _writing = Writing::begin(&http.counters);
            if http.config.shows_requests {
                tell(&http.counters, &request);
            }
            exchange(&mut request, head, &http).await
        };
        if let Next::Drain(left) = next {
            return Outcome::Drain(Drained { request, left });
        }
        if has_to_linger(&next, &request, &http) {
            if http.drains {
                return Outcome::Drain(Drained { request, left: Left::Linger });
            }
            Box::pin(close::linger(&mut request)).await;
        }
        http.count(&request);
        match next {
            Next::KeepAlive(after) if !http.is_closing() => {
                if has_nothing_more(&request) {
                    return rest(http.put_back(request), after.wait());
                }
                idle = Some(after);
            }
            Next::Relay(relay) => return pass_on(http.put_back(request), relay),
            _ => return close(&http, request),
        }
        prepare_next(&mut request);
        in_a_row += 1;
        if in_a_row.is_multiple_of(IN_A_ROW) && !request.head.bytes.is_empty() {
            next_turn().await;
        }
    }
}

/// Whether a connection that could be kept is to be closed, and its client may have sent more already.
fn has_to_linger(next: &Next, request: &Request, http: &Http) -> bool {
    matches!(next, Next::KeepAlive(_)) && http.is_closing() && close::lingers(request)
}

/// Serves a connection that speaks HTTP/2.
async fn serve_http2(http: Rc<Http>, connection: Connection, first: Vec<u8>) -> Outcome {
    match h2::serve(http, connection, first).await {
        h2::Ended::Park { connection, wait } => Outcome::Park { connection, wait },
        h2::Ended::Close(mut connection) => {
            connection.say_goodbye();
            Outcome::Close(connection)
        }
    }
}

/// Goes on with an exchange that was left to its client.
async fn finish(http: Rc<Http>, drained: Drained) -> Outcome {
    let Drained { mut request, left } = drained;
    let next = {
        let _writing = Writing::go_on(&http.counters);
        match left {
            Left::Response(settled) => {
                let sent = Box::pin(send::rest(&mut request, settled)).await;
                let next = Box::pin(conclude(&mut request, sent, &http, false)).await;
                if has_to_linger(&next, &request, &http) {
                    Box::pin(close::linger(&mut request)).await;
                }
                next
            }
            Left::Linger => {
                Box::pin(close::linger(&mut request)).await;
                Next::Close
            }
        }
    };
    http.count(&request);
    match next {
        Next::KeepAlive(idle) if !http.is_closing() => match has_nothing_more(&request) {
            true => rest(http.put_back(request), idle.wait()),
            false => again(&http, request),
        },
        _ => close(&http, request),
    }
}

/// Goes on with an upgraded connection that another process had.
async fn go_on(http: Rc<Http>, connection: Connection, relay: Relay) -> Outcome {
    let server = http.config.default_server(&connection);
    let mut request = http.take_request();
    request.begin(connection, server);
    tls::settle(&mut request);
    let since = request.started;
    let Some(relay) = upstream::Relay::resume(&mut request, relay) else {
        log!(
            request.log(),
            Alert,
            *request,
            "an upgraded connection that was handed over could not be understood"
        );
        return Outcome::Close(http.put_back(request));
    };
    let sent = request.sent;
    let next = {
        let _writing = Writing::go_on(&http.counters);
        if http.config.shows_requests {
            tell(&http.counters, &request);
        }
        match relay.run(&mut request).await {
            Some(relay) => Next::Relay(relay),
            None => conclude(&mut request, Ok(()), &http, false).await,
        }
    };
    http.count_since(&request, since, sent);
    match next {
        Next::Relay(relay) => pass_on(http.put_back(request), relay),
        _ => close(&http, request),
    }
}

/// Ends a connection, and tells the client so where its protocol can.
fn close(http: &Http, request: Box<Request>) -> Outcome {
    let mut connection = http.put_back(request);
    connection.say_goodbye();
    Outcome::Close(connection)
}

/// Leaves an upgraded connection to whoever takes it.
fn pass_on(mut connection: Connection, relay: Box<Relay>) -> Outcome {
    connection.keep_relay(relay);
    Outcome::Park { connection, wait: Wait::relay() }
}

/// Leaves the next request, of which there is something already, to a session of its own.
fn again(http: &Http, request: Box<Request>) -> Outcome {
    daemun_event::next_moment();
    let bytes = request.head.bytes[request.consumed..].to_vec();
    let mut connection = http.put_back(request);
    if !bytes.is_empty() {
        connection.pipelines = true;
        connection.keep_partial(Partial { bytes, ..Partial::default() });
    }
    Outcome::Again(connection)
}

/// How many pipelined requests are answered before other connections have their turn.
const IN_A_ROW: u32 = 16;

/// Receives until a head is complete, or there is nothing more to receive.
fn receive_head(request: &mut Request, deadline: &mut Option<Deadline>) -> io::Result<Head> {
    let mut is_unread = !request.head.bytes.is_empty() && deadline.is_none();
    loop {
        if !is_unread && !receive(request)? {
            return Ok(Head::Incomplete);
        }
        is_unread = false;
        if deadline.is_none() {
            request.connection_mut().requests += 1;
            let timeout = *request.core().client.header_timeout;
            *deadline = Some(Deadline::after(timeout));
        }
        if proxy_header::is_due(request) && !proxy_header::take(request)? {
            continue;
        }
        if tls::is_due(request) {
            // It was no request.
            request.connection_mut().requests -= 1;
            return Ok(Head::Handshake);
        }
        match h2::of_bytes(request) {
            h2::Start::No => {}
            h2::Start::Begun => continue,
            h2::Start::Yes => return Ok(Head::Http2),
        }
        if read_head::goes_on(request) {
            continue;
        }
        match read_head::parse(request) {
            Head::Incomplete => {}
            head => return Ok(head),
        }
    }
}

/// Receives what is there; `false` where nothing is. The client's end is an error.
fn receive(request: &mut Request) -> io::Result<bool> {
    match request.receive_available() {
        Ok(0) => {
            if request.head.bytes.is_empty() {
                log_gone(request, None);
            } else if request.doing.is_empty() {
                let origin = Begun(request);
                log!(request.log(), Info, origin, "client prematurely closed connection");
            } else {
                log!(request.log(), Info, *request, "client prematurely closed connection");
            }
            Err(io::ErrorKind::UnexpectedEof.into())
        }
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => {
            match request.head.bytes.is_empty() {
                true => log_gone(request, Some(&error)),
                false => log!(request.log(), Info, Begun(request), "recv() failed"; error),
            }
            Err(error)
        }
    }
}

/// Tells of a client that left between two requests, or before the first.
#[cold]
fn log_gone(request: &Request, error: Option<&io::Error>) {
    let log = request.log();
    let Request { config, server, .. } = *request;
    let connection = request.connection();
    let waiting = Waiting { connection, config, server };
    let client = &connection.peer;
    match (connection.requests, error) {
        (0, None) => log!(log, Info, waiting, "client closed connection"),
        (0, Some(error)) => log!(log, Info, waiting, "recv() failed"; *error),
        (_, None) => {
            log!(log, Info, connection.number, "client {} closed keepalive connection", client);
        }
        (_, Some(error)) => {
            log!(log, Info, connection.number, "client {} closed keepalive connection", client; *error);
        }
    }
}

/// All that has come was this request, and nothing has come since: the usual case, known without a system call.
fn has_nothing_more(request: &Request) -> bool {
    request.consumed == request.head.bytes.len() && !request.connection().may_be_readable()
}

/// A shorter beginning of a head is copied from where it was read.
const COPIED: usize = 4096;

/// Nothing more is there: the connection waits without a task for a request, or for the rest of its head.
fn park(
    http: &Http,
    mut request: Box<Request>,
    deadline: Option<Deadline>,
    idle: Option<Idle>,
) -> Outcome {
    let wait = match deadline {
        Some(until) => {
            let bytes = match request.head.bytes.len() {
                // A copy, since it takes no more room than it needs.
                ..COPIED => request.head.bytes.clone(),
                _ => std::mem::take(&mut request.head.bytes),
            };
            let scanned = request.scanned.take();
            request.connection_mut().keep_partial(Partial { bytes, scanned, until: Some(until) });
            Wait::head(until)
        }
        None if request.connection().requests == 0 => {
            Wait::first_byte(*request.core().client.header_timeout)
        }
        None => idle.unwrap_or_else(|| Idle::of(&request)).wait(),
    };
    rest(http.put_back(request), wait)
}

/// Parks a connection without what only one in use needs.
fn rest(mut connection: Connection, wait: Wait) -> Outcome {
    connection.rest();
    Outcome::Park { connection, wait }
}

/// Answers one request.
async fn exchange(request: &mut Request, head: Head, http: &Http) -> Next {
    let answered = {
        let answering = pin!(answer_of(request, head));
        panics::caught(answering).await
    };
    let answer = answered.unwrap_or_else(|panic| exchange::after_panic(request, &panic));
    let Answer::Body(body) = answer else {
        request.response.status = Status::CLOSE;
        http.counters.set_stage(Stage::Logging);
        phases::write_log(request);
        return Next::Close;
    };
    if !request.body.is_complete() && !Box::pin(begin_discarding(request)).await {
        request.keepalive = false;
    }
    // The client is told, in time to open another connection.
    request.keepalive &= !http.is_closing();
    let sent = match send::response(request, body, http.drains).await {
        Ok(Sent::Later(settled)) => return Next::Drain(Left::Response(settled)),
        Ok(Sent::Elsewhere(relay)) => return Next::Relay(relay),
        Ok(Sent::Whole) => Ok(()),
        Err(error) => Err(error),
    };
    conclude(request, sent, http, http.drains).await
}

/// Ends an exchange whose response was sent, or could not be.
async fn conclude(request: &mut Request, sent: io::Result<()>, http: &Http, drains: bool) -> Next {
    exchange::conclude(request, &sent, &http.counters).await;
    if sent.is_err() {
        return Next::Close;
    }
    if !request.body.is_complete() && !finish_body(request).await {
        request.keepalive = false;
    }
    if request.keepalive {
        debug!(request.log(), Http, *request, "set http keepalive handler");
        return Next::KeepAlive(Idle::of(request));
    }
    debug!(request.log(), Http, *request, "close http connection");
    if !close::lingers(request) {
        return Next::Close;
    }
    if drains {
        return Next::Drain(Left::Linger);
    }
    http.counters.set_stage(Stage::Closing);
    Box::pin(close::linger(request)).await;
    Next::Close
}

/// What the head that was read leads to.
pub(super) fn answer_of(request: &mut Request, head: Head) -> impl Future<Output = Answer> {
    let start = match head {
        Head::Complete(end) => {
            request.head_end = end;
            request.consumed = end;
            match tls::objection(request) {
                None => Start::Request,
                Some(status) => Start::With(Step::Status(status)),
            }
        }
        Head::Refused(status) => {
            request.keepalive = false;
            request.lingers |= matches!(status, Status::HEADER_TOO_LARGE | Status::URI_TOO_LONG);
            Start::With(Step::Status(status))
        }
        Head::Incomplete | Head::Handshake | Head::Http2 => Start::With(Step::Hangup),
    };
    phases::answer(request, start)
}

/// Takes what has come of a body that nobody read. A client that waits to be asked for it is asked, unless the answer
/// is an error. `false`: nothing of sense can follow on this connection.
async fn begin_discarding(request: &mut Request) -> bool {
    if request.error_status == 0 && request.send_continue().await.is_err() {
        return false;
    }
    request.discard_available().is_ok()
}

/// Reads away what the client still sends of the body; `false` where it does not come to an end in time.
async fn finish_body(request: &mut Request) -> bool {
    if !request.keepalive {
        return false;
    }
    let settings = &request.core().connection;
    let until = Deadline::after(*settings.lingering_time);
    Box::pin(request.discard_rest(*settings.lingering_timeout, until)).await.is_ok()
}

/// Keeps what the client has sent behind its request.
fn prepare_next(request: &mut Request) {
    daemun_event::next_moment();
    let mut bytes = std::mem::take(&mut request.head.bytes);
    bytes.drain(..request.consumed);
    request.reset();
    request.is_pipelined = !bytes.is_empty();
    request.connection_mut().pipelines |= request.is_pipelined;
    request.head.bytes = bytes;
    let connection = request.connection();
    let server = request.config.default_server(connection);
    request.begin_again(server);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_size<F: Future>(_: impl Fn(Rc<Http>, Connection) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_is_small() {
        let size = future_size(serve);
        println!("a session's future takes {size} bytes");
        assert!(size <= 2048, "{size} bytes");
    }
}
