//! A connection that speaks HTTP/2: its session reads, begins a task for each request, and writes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use daemun_core::connection::{Connection, Kept, Wait};
use daemun_core::{debug, log};
use daemun_event::{Deadline, Millis, next_turn, now, sleep, sleep_until};
use daemun_proto::http1::Method;
use daemun_proto::http2::{self, By, Code, Cost, Event, Fatal, Message};
use daemun_shm::Rare;
use rustix::io::Errno;

use super::head::{self, Incoming};
use super::shared::{self, Entered, Shared, Stream};
use super::{Handle, respond};
use crate::client::Client;
use crate::config::Server;
use crate::core::connection;
use crate::exchange::{self, Writing};
use crate::h1::{Http, panics};
use crate::module::Step;
use crate::phases::{self, Answer, Start};
use crate::request::Request;
use crate::status::Status;
use crate::{body, special_response, tls};

/// What a connection that waits is: everything else can be made again.
pub struct Idle {
    machine: http2::Connection,
    /// The beginning of a frame.
    input: Vec<u8>,
    requests: u32,
    refilled: Millis,
}

impl Kept for Idle {
    fn say_goodbye(&mut self, out: &mut Vec<u8>) {
        self.machine.go_away(Code::NO_ERROR, out);
    }
}

/// Whether the connection was parked by a session of HTTP/2.
pub fn is_kept(connection: &Connection) -> bool {
    connection.has_kept()
}

/// What becomes of the connection.
pub enum Ended {
    Park { connection: Connection, wait: Wait },
    Close(Connection),
}

/// How many bytes are received at a time, and how many in a row until others have their turn.
const RECEIVE: usize = 16 * 1024;
const IN_A_TURN: usize = 4 * RECEIVE;
/// How often a session looks whether its process is about to end.
const LOOKS: Duration = Duration::from_millis(500);

/// Serves a connection of which `first` has been received, until nothing is under way.
pub async fn serve(http: Rc<Http>, mut connection: Connection, first: Vec<u8>) -> Ended {
    let server = http.config().default_server(&connection);
    let client = Arc::new(Client::of(&connection, http.config()));
    let mut out = Vec::new();
    let (machine, input, requests, refilled) = match connection.take_kept::<Idle>() {
        Some(idle) => (idle.machine, idle.input, idle.requests, idle.refilled),
        None => {
            let machine = http2::Connection::server(http.http2_config(server), &mut out);
            (machine, first, 0, now())
        }
    };
    let (entered, shared) = shared::enter(Shared::new(connection, machine, out));
    let session = Session {
        http,
        server,
        client,
        entered,
        shared,
        input,
        requests,
        refilled,
        request: None,
        fresh: Vec::new(),
        head_until: None,
    };
    session.run().await
}

struct Session {
    http: Rc<Http>,
    server: &'static Server,
    client: Arc<Client>,
    entered: Entered,
    shared: Rc<RefCell<Shared>>,
    /// What was received and not yet understood.
    input: Vec<u8>,
    requests: u32,
    /// When the machine was last told of the time.
    refilled: Millis,
    /// The fields of the next request are read into it.
    request: Option<Box<Request>>,
    /// Streams whose requests have begun and had no turn yet.
    fresh: Vec<u32>,
    /// When the rest of a head has to have come, or of a frame that belongs to no stream.
    head_until: Option<Deadline>,
}

/// Why a session ends.
enum End {
    /// Nothing is under way.
    Idle,
    /// Both sides have said goodbye.
    Done,
    /// The client has gone.
    Gone,
    /// The client takes nothing any more.
    TimedOut,
    /// It broke the rules; what says so is still to be sent.
    Broken,
}

impl Session {
    async fn run(mut self) -> Ended {
        let end = loop {
            if let Err(end) = self.step() {
                break end;
            }
            if self.awaits_fresh(0) {
                next_turn().await;
                self.fresh.clear();
                continue;
            }
            self.fresh.clear();
            if let Err(end) = self.wait().await {
                break end;
            }
        };
        self.finish(end).await
    }

    /// Does what can be done without waiting.
    fn step(&mut self) -> Result<(), End> {
        self.look_at_the_end();
        let mut taken = 0;
        loop {
            if let Err(fatal) = self.understand() {
                self.tell(&fatal);
                return Err(End::Broken);
            }
            self.flush()?;
            let may_read = self.shared.borrow().may_read() && !self.awaits_fresh(0);
            if !may_read || taken >= IN_A_TURN {
                return Ok(());
            }
            match self.receive() {
                Ok(0) => return Err(End::Gone),
                Ok(received) => taken += received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(End::Gone),
            }
        }
        let mut shared = self.shared.borrow_mut();
        let is_begun = shared.machine.unfinished_head().is_some() || !self.input.is_empty();
        let timeout = *self.server.location.core.client.header_timeout;
        self.head_until = match is_begun {
            true => Some(self.head_until.unwrap_or_else(|| Deadline::after(timeout))),
            false => None,
        };
        if shared.unsent() > 0 || !shared.streams.is_empty() || is_begun {
            return Ok(());
        }
        if self.is_for_one_use() {
            let Shared { machine, out, .. } = &mut *shared;
            machine.go_away(Code::NO_ERROR, out);
            drop(shared);
            self.flush()?;
            return match self.shared.borrow().unsent() {
                0 => Err(End::Done),
                _ => Ok(()),
            };
        }
        match shared.machine.is_done() {
            true => Err(End::Done),
            false if shared.machine.is_idle() => Err(End::Idle),
            false => Ok(()),
        }
    }

    /// Says goodbye where the process is about to end.
    fn look_at_the_end(&mut self) {
        if self.http.is_closing() || shared::is_leaving() {
            let mut shared = self.shared.borrow_mut();
            let Shared { machine, out, .. } = &mut *shared;
            machine.go_away(Code::NO_ERROR, out);
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        self.input.reserve(RECEIVE);
        let received =
            self.shared.borrow_mut().connection.transport().try_recv_append(&mut self.input)?;
        let seconds = now().saturating_sub(self.refilled) / 1000;
        if seconds > 0 {
            self.refilled += seconds * 1000;
            let seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
            self.shared.borrow_mut().machine.refill(seconds);
        }
        Ok(received)
    }

    /// Whether the next frame brings more than its stream may send, and the stream's request has not
    /// had the time to ask for it. As in nginx a client may send a body at once with its head.
    fn awaits_fresh(&self, at: usize) -> bool {
        if self.fresh.is_empty() {
            return false;
        }
        let overrun = self.shared.borrow().machine.overruns(&self.input[at..]);
        overrun.is_some_and(|stream| self.fresh.contains(&stream))
    }

    /// Has the machine read what has come.
    fn understand(&mut self) -> Result<(), Fatal> {
        let mut at = 0;
        let outcome = loop {
            if self.awaits_fresh(at) {
                break Ok(());
            }
            let mut request = match self.request.take() {
                Some(request) => request,
                None => self.http.take_request(),
            };
            let event = {
                let mut shared = self.shared.borrow_mut();
                let Shared { machine, out, .. } = &mut *shared;
                let mut sink = Incoming { head: &mut request.head };
                machine.receive(&self.input, &mut at, &mut sink, out)
            };
            match event {
                Ok(Event::Message(message)) => self.begin(request, &message),
                Ok(event) => {
                    self.request = Some(request);
                    if event == Event::Incomplete {
                        break Ok(());
                    }
                    self.react(event, at);
                }
                Err(fatal) => {
                    self.http.put_aside(request);
                    break Err(fatal);
                }
            }
        };
        self.input.drain(..at);
        outcome
    }

    /// What is told of streams that there are.
    fn react(&mut self, event: Event, at: usize) {
        let mut shared = self.shared.borrow_mut();
        match event {
            Event::Data { stream, length, is_end } => {
                let Shared { machine, out, streams, .. } = &mut *shared;
                match streams.get_mut(&stream) {
                    Some(known) => {
                        known.inbox.extend_from_slice(&self.input[at - length..at]);
                        known.has_ended |= is_end;
                    }
                    None => machine.consume(stream, length, out),
                }
                shared.wake(stream);
            }
            Event::Trailers { stream } => {
                // Nobody asks for a request's trailers.
                if let Some(request) = &mut self.request {
                    request.head.reset();
                }
                if let Some(known) = shared.streams.get_mut(&stream) {
                    known.has_ended = true;
                }
                shared.wake(stream);
            }
            Event::Malformed { stream, malformed } => {
                let log = self.server.log();
                log!(log, Info, *self.client, "client {}", malformed.reason());
                if let Some(known) = shared.streams.get_mut(&stream) {
                    known.is_malformed = true;
                }
                shared.wake(stream);
            }
            Event::Reset { stream, by, code } => {
                debug!(
                    self.server.log(),
                    Http, *self.client, "stream {} reset: {}", stream, code.0
                );
                match shared.streams.get_mut(&stream) {
                    Some(known) => {
                        known.is_gone = true;
                        known.is_cancelled |= by != By::Leaving;
                    }
                    None if by != By::Leaving => shared.machine.release(),
                    None => {}
                }
                if let Some(request) = &mut self.request {
                    request.head.reset();
                }
                shared.wake(stream);
            }
            Event::Window { stream: 0 } => shared.next_turn(),
            Event::Window { stream } => shared.wake(stream),
            // A smaller or larger window may come with them.
            Event::Settings => shared.wake_all(),
            Event::Priority { stream, priority } => shared.set_priority(stream, priority),
            Event::Pong { .. } | Event::GoAway { .. } | Event::Message(_) | Event::Incomplete => {}
        }
    }

    /// Begins the task of a request.
    fn begin(&mut self, mut request: Box<Request>, message: &Message) {
        self.requests += 1;
        let id = message.stream;
        let handle = Handle {
            key: self.entered.key(),
            id,
            client: Arc::clone(&self.client),
            requests: self.requests,
            length: message.length,
            is_tunnel: message.pseudo.protocol.is_some(),
        };
        request.begin_stream(handle.clone(), self.server);
        let stream = Stream { has_ended: message.is_end, ..Stream::default() };
        let mut shared = self.shared.borrow_mut();
        if !message.is_end {
            self.fresh.push(id);
        }
        shared.streams.insert(id, stream);
        if let Some(priority) = message.priority {
            shared.set_priority(id, priority);
        }
        if self.has_lived() {
            let Shared { machine, out, .. } = &mut *shared;
            machine.go_away(Code::NO_ERROR, out);
        }
        drop(shared);
        let refused = head::settle(&mut request, message).err();
        let http = Rc::clone(&self.http);
        // RFC 9113, section 8.5.
        let is_odd = request.head.method() == Method::Connect
            && message.pseudo.protocol.is_none()
            && (message.pseudo.path.is_some() || message.pseudo.scheme.is_some());
        let is_malformed = is_odd || message.malformed.is_some();
        daemun_event::spawn(answer(http, request, handle, refused, is_malformed));
    }

    /// The server's limits on how long the connection lives.
    fn has_lived(&self) -> bool {
        let settings = self.server.settings().of(&connection::SETTINGS);
        let age = Duration::from_millis(now().saturating_sub(self.client.started));
        self.requests >= *settings.keepalive_requests || age > *settings.keepalive_time
    }

    /// Nothing is to come behind the streams that are open at a time (`keepalive_timeout 0`).
    fn is_for_one_use(&self) -> bool {
        let settings = self.server.settings().of(&connection::SETTINGS);
        self.requests > 0 && settings.keepalive_timeout.is_zero()
    }

    /// Sends what the socket takes.
    fn flush(&mut self) -> Result<(), End> {
        let mut shared = self.shared.borrow_mut();
        while shared.unsent() > 0 {
            let Shared { connection, out, sent, .. } = &mut *shared;
            match connection.transport().try_send(&out[*sent..], false) {
                Ok(taken) => *sent += taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(End::Gone),
            }
        }
        if shared.sent == shared.out.len() {
            shared.out.clear();
            shared.sent = 0;
        } else if shared.sent > RECEIVE {
            let sent = std::mem::take(&mut shared.sent);
            shared.out.drain(..sent);
        }
        let is_flushed = shared.connection.transport().flush();
        if is_flushed.is_err() {
            return Err(End::Gone);
        }
        shared.next_turn();
        Ok(())
    }

    /// Waits for anything to do.
    async fn wait(&mut self) -> Result<(), End> {
        let timeout = *self.server.location.core.sending.send_timeout;
        let mut look = sleep(LOOKS);
        let mut head = self.head_until.map(sleep_until);
        let waited = poll_fn(|cx| {
            let mut shared = self.shared.borrow_mut();
            shared.waker = Some(cx.waker().clone());
            if shared.has_unsent() {
                let stream = &shared.connection.stream;
                let writable = &mut stream.writable(Deadline::after(timeout));
                match Pin::new(writable).poll(cx) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Ok(false)),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(End::TimedOut)),
                    Poll::Pending => {}
                }
            }
            if shared.may_read() {
                if shared.connection.may_be_readable() {
                    return Poll::Ready(Ok(false));
                }
                let readable = &mut shared.connection.stream.readable(Deadline::NEVER);
                if Pin::new(readable).poll(cx).is_ready() {
                    return Poll::Ready(Ok(false));
                }
            }
            if let Some(head) = &mut head
                && Pin::new(head).poll(cx).is_ready()
            {
                return Poll::Ready(Ok(true));
            }
            if Pin::new(&mut look).poll(cx).is_ready() {
                return Poll::Ready(Ok(false));
            }
            Poll::Pending
        });
        match waited.await? {
            true => self.give_head_up(),
            false => Ok(()),
        }
    }

    /// A head has not come in time. One that has a stream takes no other down with it.
    fn give_head_up(&mut self) -> Result<(), End> {
        let error = io::Error::from(Errno::TIMEDOUT);
        log!(self.server.log(), Info, *self.client, "client timed out"; error);
        self.head_until = None;
        let mut shared = self.shared.borrow_mut();
        let Shared { machine, out, .. } = &mut *shared;
        // The rest of a head whose stream was given up may not stay away for ever, either.
        let unfinished = machine.unfinished_head().filter(|stream| machine.is_open(*stream));
        let Some(stream) = unfinished else { return Err(End::TimedOut) };
        machine.reset(stream, Code::PROTOCOL_ERROR, out);
        if let Some(request) = &mut self.request {
            request.head.reset();
        }
        Ok(())
    }

    #[cold]
    fn tell(&self, fatal: &Fatal) {
        let log = self.server.log();
        match fatal.cost {
            Some(cost) => {
                self.http.counters().count(counter_of(cost));
                log!(log, Info, *self.client, "http2 flood detected: client {}", fatal.reason);
            }
            None => log!(log, Info, *self.client, "client {}", fatal.reason),
        }
    }

    async fn finish(mut self, end: End) -> Ended {
        if let Some(request) = self.request.take() {
            self.http.put_aside(request);
        }
        if matches!(end, End::Broken | End::Done | End::TimedOut) {
            self.part(&end).await;
        }
        self.shared.borrow_mut().lose_all();
        self.until_tasks_end().await;
        let Session { entered, shared, input, requests, refilled, server, .. } = self;
        drop(entered);
        let shared = Rc::into_inner(shared).expect("nobody else holds it").into_inner();
        let Shared { mut connection, mut machine, .. } = shared;
        connection.requests = requests;
        if !matches!(end, End::Idle) {
            return Ended::Close(connection);
        }
        machine.shrink();
        let input = input.into_boxed_slice().into_vec();
        connection.keep(Box::new(Idle { machine, input, requests, refilled }));
        connection.rest();
        let settings = server.settings().of(&connection::SETTINGS);
        let timeout = match requests {
            0 => *server.location.core.client.header_timeout,
            _ => *settings.keepalive_timeout,
        };
        Ended::Park { connection, wait: Wait::keep_alive(timeout) }
    }

    /// Sends the last words, and reads for a moment what the client still sends, so that it hears them.
    async fn part(&mut self, end: &End) {
        if matches!(end, End::TimedOut) {
            let _ = self.flush();
            return;
        }
        let until = Deadline::after(PARTING);
        while self.flush().is_ok() && self.shared.borrow_mut().has_unsent() {
            let writable = poll_fn(|cx| {
                let shared = self.shared.borrow();
                Pin::new(&mut shared.connection.stream.writable(until)).poll(cx)
            });
            if writable.await.is_err() {
                return;
            }
        }
        let _ = self.shared.borrow_mut().connection.transport().shutdown_send();
        poll_fn(|cx| {
            let mut shared = self.shared.borrow_mut();
            loop {
                self.input.clear();
                self.input.reserve(RECEIVE);
                match shared.connection.transport().try_recv_append(&mut self.input) {
                    Ok(1..) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let readable = &mut shared.connection.stream.readable(until);
                        match Pin::new(readable).poll(cx) {
                            Poll::Ready(Ok(())) => {}
                            other => return other.map(drop),
                        }
                    }
                    Ok(0) | Err(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    /// Tasks find out by themselves that their client has gone.
    async fn until_tasks_end(&mut self) {
        poll_fn(|cx| {
            let mut shared = self.shared.borrow_mut();
            shared.waker = Some(cx.waker().clone());
            match shared.streams.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

fn counter_of(cost: Cost) -> Rare {
    match cost {
        Cost::Resets => Rare::Http2Resets,
        Cost::Refusals => Rare::Http2Refusals,
        Cost::Pings => Rare::Http2Pings,
        Cost::Settings => Rare::Http2Settings,
        Cost::WindowUpdates => Rare::Http2WindowUpdates,
        Cost::EmptyFrames => Rare::Http2EmptyFrames,
        Cost::Priorities => Rare::Http2Priorities,
        Cost::Others => Rare::Http2Others,
        Cost::Continuations => Rare::Http2Continuations,
        Cost::Fields => Rare::Http2Fields,
    }
}

const PARTING: Duration = Duration::from_secs(1);

/// Answers a request.
async fn answer(
    http: Rc<Http>,
    mut request: Box<Request>,
    handle: Handle,
    refused: Option<Status>,
    is_malformed: bool,
) {
    {
        let _writing = Writing::begin(http.counters());
        if http.config().shows_requests {
            exchange::tell(http.counters(), &request);
        }
        let start = match refused.or_else(|| tls::objection(&request)) {
            None => Start::Request,
            Some(status) => Start::With(Step::Status(status)),
        };
        let answered = {
            let answering = pin!(phases::answer(&mut request, start));
            panics::caught(answering).await
        };
        let answer = answered.unwrap_or_else(|panic| exchange::after_panic(&mut request, &panic));
        let sent = match answer {
            Answer::Body(body) => respond::response(&mut request, &handle, body).await,
            Answer::Hangup if handle.is_malformed() => {
                request.response.reset();
                request.error_status = Status::BAD_REQUEST.0;
                let body = special_response::build(&mut request, Status::BAD_REQUEST);
                respond::response(&mut request, &handle, body).await
            }
            Answer::Hangup => Err(body::told()),
        };
        if let Err(error) = &sent {
            let is_late = error.kind() == io::ErrorKind::TimedOut
                || request.logged_status() == Status::REQUEST_TIMEOUT;
            respond::break_off(&handle, is_late);
        }
        if refused == Some(Status::BAD_REQUEST) || is_malformed || handle.is_malformed() {
            // RFC 9113, section 8.1.1: it may be answered, and is an error of its stream.
            let _ = shared::with(handle.key, |shared| shared.blame(handle.id));
        }
        exchange::conclude(&mut request, &sent, http.counters()).await;
    }
    http.count(&request);
    http.put_back_stream(request);
    let _ = shared::with(handle.key, |shared| shared.end(handle.id));
}

impl log::Origin for Client {
    fn connection(&self) -> u64 {
        self.number
    }

    fn context(&self, line: &mut dyn std::fmt::Write) -> std::fmt::Result {
        write!(line, " while processing HTTP/2 connection, client: {}", self.peer)
    }
}
