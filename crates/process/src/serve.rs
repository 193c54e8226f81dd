//! The life of a worker, whatever its engine: it serves, obeys, takes parked connections over,
//! and passes its own on.
//!
//! Nothing here is on a request's path: a turn of the reactor looks at one flag, which watched
//! descriptors raise.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use daemun_core::connection::{Connection, Partial, Protocol, Reason, Relay, Wait};
use daemun_core::log;
use daemun_core::log::Log;
use daemun_event::{Deadline, Peer, Reactor, Stream, Watch, now};
use daemun_shm::WorkerState;

use crate::engines::{Engine, Runner};
use crate::handover::{CREDITS, Departed, Departure, Offer, Receiver, Record, Sockets};
use crate::{Listening, Order, WorkerContext};

/// What the program gives for a worker's life.
pub struct Life<P: Protocol, R> {
    pub engine: Engine<P, R>,
    /// How long a connection that came from another generation may wait here.
    pub wait: Box<dyn Fn(&Connection) -> Wait>,
    /// Writes what a thread has buffered for its log files, and opens these anew. The one is called on
    /// every thread, the other after that.
    pub flush: fn(),
    pub reopen: Arc<dyn Fn() + Send + Sync>,
    /// Has the relays of a thread come to be parked, now and from now on. It is called on every thread.
    pub release_relays: fn(),
    /// Set once nobody would take parked connections over: the protocol then keeps none after a
    /// response.
    pub closing: Arc<AtomicBool>,
    /// `worker_shutdown_timeout`.
    pub shutdown_timeout: Option<Duration>,
    /// `max_connections_per_child`: having accepted so many, the worker asks for a successor. 0: it
    /// never does.
    pub max_connections: u64,
    pub log: Log,
}

/// Serves until ordered to end, and returns the exit code.
pub fn serve<P: Protocol, R: Runner<P>>(
    mut reactor: Reactor,
    life: Life<P, R>,
    context: WorkerContext,
) -> i32 {
    let log = life.log.clone();
    match Worker::new(life, context).and_then(|mut worker| worker.run(&mut reactor)) {
        Ok(()) => 0,
        Err(error) => {
            log!(log, Alert, (), "the event loop failed"; error);
            1
        }
    }
}

struct Worker<P: Protocol, R> {
    life: Life<P, R>,
    context: WorkerContext,
    /// A watched descriptor became readable.
    stirred: Rc<Cell<bool>>,
    _orders: Watch,
    /// While this worker serves, and has room for what comes.
    channel: Option<Watch>,
    /// A successor was asked for.
    retires: bool,
    arriving: Vec<(Receiver, Watch)>,
    leaving: Option<Leaving>,
}

/// What is left to do on the way out.
struct Leaving {
    /// `None` where there is no successor.
    departure: Option<Departure<Passing>>,
    /// The departure's lane, which may change with each pump, and its watch.
    watch: Option<(u32, Watch)>,
    /// When active sessions are ended, too.
    limit: Option<Instant>,
    /// Parked connections that are served to their end, where there is no successor.
    kept: usize,
    /// Idle connections that no successor took, where there is one.
    refused: usize,
    /// A relay was served again in this turn, and may be parked already.
    resumes: bool,
}

impl Leaving {
    /// The pace of the departure where its lane cannot be watched, for want of descriptors.
    const UNWATCHED: Duration = Duration::from_millis(20);

    fn watch_lane(&mut self, stirred: &Rc<Cell<bool>>) {
        let lane = self.departure.as_ref().and_then(Departure::lane);
        let watched = self.watch.as_ref().map(|(number, _)| *number);
        if watched != lane.map(|(number, _)| number) {
            self.watch =
                lane.and_then(|(number, lane)| Some((number, watch(&lane, stirred).ok()?)));
        }
    }
}

/// A connection on its way out. It is open until the successor has it.
struct Passing(Connection);

impl Sockets for Passing {
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        let upstream = self.0.relay().map(|relay| relay.upstream.as_fd());
        std::iter::once(self.0.stream.as_fd()).chain(upstream).collect()
    }
}

impl<P: Protocol, R: Runner<P>> Worker<P, R> {
    fn new(life: Life<P, R>, context: WorkerContext) -> io::Result<Worker<P, R>> {
        let stirred = Rc::new(Cell::new(true));
        let orders = watch(&context.orders, &stirred)?;
        Ok(Worker {
            life,
            context,
            stirred,
            _orders: orders,
            channel: None,
            retires: false,
            arriving: Vec::new(),
            leaving: None,
        })
    }

    fn run(&mut self, reactor: &mut Reactor) -> io::Result<()> {
        self.context.ready.tell();
        loop {
            self.listen_to_leavers();
            let patience = self.patience();
            reactor.turn(&mut self.life.engine, patience)?;
            self.life.engine.end_turn();
            if self.stirred.take() && self.obey()?.is_terminated() {
                return Ok(());
            }
            if self.leaving.is_none() {
                self.retire_in_time();
            } else {
                self.pass_on();
                if self.is_over() {
                    self.tell_of_refused();
                    return Ok(());
                }
            }
        }
    }

    fn reopen(&mut self) {
        let Life { engine, flush, reopen, .. } = &mut self.life;
        let reopen = Arc::clone(reopen);
        engine.on_each_thread(*flush, Box::new(move || reopen()));
    }

    fn obey(&mut self) -> io::Result<Fate> {
        while let Some(order) = self.context.orders.receive()? {
            match order {
                Order::Terminate => return Ok(Fate::Terminated),
                Order::Reopen => self.reopen(),
                Order::Quit { hand_over } => self.leave(hand_over)?,
            }
        }
        if self.leaving.is_none() {
            self.greet();
            self.take_over();
        }
        Ok(Fate::Serving)
    }
}

/// Whether the worker goes on after its orders.
#[derive(PartialEq, Eq)]
enum Fate {
    Serving,
    Terminated,
}

impl Fate {
    fn is_terminated(&self) -> bool {
        *self == Fate::Terminated
    }
}

// === Connections that come ===

impl<P: Protocol, R: Runner<P>> Worker<P, R> {
    /// Workers without room do not hear of those who leave.
    fn listen_to_leavers(&mut self) {
        if self.channel.is_none()
            && self.leaving.is_none()
            && let Some(channel) = &self.context.channel
            && self.life.engine.room() > 0
        {
            // Without a descriptor to watch it by, another worker hears of them.
            self.channel = watch(channel, &self.stirred).ok();
        }
    }

    fn greet(&mut self) {
        let (Some(channel), Some(_)) = (self.context.channel.clone(), &self.channel) else {
            return;
        };
        let room = self.life.engine.room();
        if room == 0 {
            self.channel = None;
            return;
        }
        let credits = u16::try_from(room).unwrap_or(CREDITS).min(CREDITS);
        // One that fails was a sender that went away before it was greeted.
        while let Ok(Some(receiver)) = channel.accept(credits) {
            // Without a descriptor to watch it by, it looks for another receiver.
            if let Ok(watch) = watch(&receiver, &self.stirred) {
                self.arriving.push((receiver, watch));
            }
        }
    }

    fn take_over(&mut self) {
        let mut arriving = std::mem::take(&mut self.arriving);
        arriving.retain_mut(|(receiver, _)| {
            loop {
                match receiver.next_offer() {
                    // A lane that ends here sends what it still carries to another worker.
                    _ if !self.life.engine.makes_room() => return false,
                    Ok(Some(offer)) => self.consider(receiver, offer),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        });
        self.arriving = arriving;
    }

    fn consider(&mut self, receiver: &mut Receiver, offer: Offer) {
        let room = self.life.engine.room();
        let is_relay = offer.record.reason == Reason::Relay;
        let listener = self.listener_of(&offer);
        let Some(listener) = listener.filter(|_| !is_relay || self.life.engine.may_resume()) else {
            // A sender that does not hear the answer is gone, and its connection with it.
            let _ = receiver.refuse(offer, true);
            return;
        };
        // The same holds for one that does not hear that its connection was taken.
        let _ = receiver.take(&offer, room > 1);
        let left = offer.record.remaining.min(offer.record.shutdown.unwrap_or(Duration::MAX));
        let connection = arrived(offer, listener);
        let kept = match is_relay {
            true => self.life.engine.resume(connection),
            false => {
                let wait = self.rest_of_wait(&connection, Deadline::after(left));
                self.life.engine.adopt(connection, wait)
            }
        };
        if let Err(connection) = kept {
            log!(
                self.life.log,
                Alert,
                connection.number,
                "a connection that was handed over could not be kept"
            );
        }
    }

    /// What a connection waits for that has waited already: not longer than `until`.
    fn rest_of_wait(&self, connection: &Connection, until: Deadline) -> Wait {
        let wait = (self.life.wait)(connection);
        Wait { until: wait.until.min(until), ..wait }
    }

    fn listener_of(&self, offer: &Offer) -> Option<u16> {
        let address = &offer.record.listener;
        let mut own = self.context.listening.iter().zip(0..);
        own.find(|(entry, _)| entry.spec.address == *address).map(|(_, place)| place)
    }
}

// === Connections that go ===

impl<P: Protocol, R: Runner<P>> Worker<P, R> {
    /// Has the master start another one in its place, and goes on until that serves.
    fn retire_in_time(&mut self) {
        let most = self.life.max_connections;
        if most > 0 && !self.retires && self.life.engine.accepted() >= most {
            self.retires = true;
            self.context.ready.retire();
        }
    }
}

impl<P: Protocol, R: Runner<P>> Worker<P, R> {
    fn leave(&mut self, hand_over: bool) -> io::Result<()> {
        if self.leaving.is_some() {
            return Ok(());
        }
        self.context.counters.set_state(WorkerState::Leaving);
        // What senders have offered is theirs again, once the receivers are gone.
        self.take_over();
        self.arriving.clear();
        self.channel = None;
        self.life.engine.leave();
        self.context.listening.iter_mut().for_each(|entry| entry.sockets.clear());
        let channel = self.context.channel.as_ref().filter(|_| hand_over);
        if channel.is_some() {
            let release = self.life.release_relays;
            self.life.engine.on_each_thread(release, Box::new(|| {}));
        }
        let departure = channel.map(|channel| Departure::new(Arc::clone(channel)));
        let limit = self.life.shutdown_timeout.map(|timeout| Instant::now() + timeout);
        self.leaving =
            Some(Leaving { departure, watch: None, limit, kept: 0, refused: 0, resumes: false });
        Ok(())
    }

    /// Without a successor: nginx's way, which closes what waits for another request and serves
    /// what has begun.
    fn close_idle(&mut self) {
        self.life.closing.store(true, Ordering::Relaxed);
        let parked: Vec<Connection> = self.life.engine.drain_parked().collect();
        parked.into_iter().for_each(|connection| self.keep_if_begun(connection));
        if let Some(leaving) = &mut self.leaving {
            leaving.kept = self.life.engine.parked();
        }
    }

    fn keep_if_begun(&mut self, connection: Connection) {
        if connection.waited != Reason::KeepAlive {
            self.keep(connection);
        }
    }

    fn keep(&mut self, mut connection: Connection) {
        if let Some(relay) = connection.relay_mut() {
            if let Some(leaving) = &mut self.leaving {
                relay.stays |= leaving.departure.is_none();
                leaving.resumes = true;
            }
            // There is room: it was here before.
            drop(self.life.engine.resume(connection));
            return;
        }
        let wait = self.rest_of_wait(&connection, connection.stream.deadline());
        // Where there is no way to watch it, it is closed.
        drop(self.life.engine.adopt(connection, wait));
    }

    fn pass_on(&mut self) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        leaving.resumes = false;
        if leaving.limit.is_some_and(|limit| limit <= Instant::now()) {
            self.life.engine.abort_active();
            self.life.engine.drain_parked().for_each(drop);
            leaving.departure = None;
        }
        let Some(departure) = &mut leaving.departure else {
            // A session that was active when the protocol was told to keep nothing may have kept
            // something.
            if !self.life.closing.load(Ordering::Relaxed)
                || self.life.engine.parked() > leaving.kept
            {
                self.close_idle();
            }
            return;
        };
        let left = leaving.limit.map(|limit| limit.saturating_duration_since(Instant::now()));
        let mut stirring = Vec::new();
        for mut connection in self.life.engine.drain_parked() {
            // What was received ahead cannot be handed over: it is served here first.
            if !connection.hold_back() {
                stirring.push(connection);
                continue;
            }
            if let Some(relay) = connection.relay_mut() {
                // Its new owner may have it for long, and this process live on for other reasons.
                relay.upstream.leave();
                connection.stream.leave();
            }
            let listening = &self.context.listening[usize::from(connection.listener)];
            let record = departing(&connection, listening, left);
            departure.add(Passing(connection), record);
        }
        let departed = departure.pump();
        let is_over = departure.is_over();
        leaving.watch_lane(&self.stirred);
        let left = departed.into_iter().filter_map(|departed| match departed {
            Departed::Taken(_) => None,
            Departed::Left(Passing(connection)) => Some(connection),
        });
        let left: Vec<Connection> = left.collect();
        // The successor does not want these, or there is none: whatever else there is goes nginx's
        // way, too.
        if !left.is_empty() && is_over {
            leaving.departure = None;
            leaving.watch = None;
        }
        let idle = |connection: &&Connection| connection.waited == Reason::KeepAlive;
        leaving.refused += left.iter().filter(idle).count();
        left.into_iter().for_each(|mut connection| {
            if let Some(relay) = connection.relay_mut() {
                relay.stays = true;
            }
            self.keep_if_begun(connection);
        });
        stirring.into_iter().for_each(|connection| self.keep(connection));
    }

    /// How long the reactor may wait for events.
    fn patience(&self) -> Option<Duration> {
        let elsewhere = self.life.engine.patience();
        match self.patience_on_the_way_out() {
            None => elsewhere,
            leaving => elsewhere.into_iter().chain(leaving).min(),
        }
    }

    fn patience_on_the_way_out(&self) -> Option<Duration> {
        let leaving = self.leaving.as_ref()?;
        if leaving.resumes {
            return Some(Duration::ZERO);
        }
        let pump = leaving.departure.as_ref().and_then(|departure| match leaving.watch {
            None if !departure.is_over() => Some(Instant::now() + Leaving::UNWATCHED),
            _ => departure.next_moment(),
        });
        let moment = pump.into_iter().chain(leaving.limit).min()?;
        Some(moment.saturating_duration_since(Instant::now()))
    }

    fn tell_of_refused(&self) {
        let refused = self.leaving.as_ref().map_or(0, |leaving| leaving.refused);
        if refused > 0 {
            log!(
                self.life.log,
                Notice,
                (),
                "{} idle connections were closed: no successor has room for them",
                refused
            );
        }
    }

    fn is_over(&self) -> bool {
        let departed =
            |leaving: &Leaving| leaving.departure.as_ref().is_none_or(Departure::is_over);
        let engine = &self.life.engine;
        engine.active() == 0 && engine.parked() == 0 && self.leaving.as_ref().is_some_and(departed)
    }
}

/// Raises the flag while the descriptor is readable.
fn watch(source: &impl AsFd, stirred: &Rc<Cell<bool>>) -> io::Result<Watch> {
    let stirred = Rc::clone(stirred);
    Watch::new(source.as_fd().try_clone_to_owned()?, move || stirred.set(true))
}

fn departing(connection: &Connection, listening: &Listening, shutdown: Option<Duration>) -> Record {
    let peer = connection.peer.ip().zip(connection.peer.port()).map(SocketAddr::from);
    let rest = match (connection.partial(), connection.relay()) {
        (Some(partial), _) => partial.bytes.clone(),
        (None, Some(relay)) => relay.facts.clone(),
        (None, None) => Vec::new(),
    };
    let until = connection.relay().map_or(Deadline::NEVER, |relay| relay.until);
    let limit = (until != Deadline::NEVER).then(|| until.remaining());
    Record {
        listener: listening.spec.address.clone(),
        peer,
        number: connection.number,
        requests: connection.requests,
        age: Duration::from_millis(now().saturating_sub(connection.started)),
        reason: connection.waited,
        remaining: connection.stream.deadline().remaining(),
        shutdown: shutdown.into_iter().chain(limit).min(),
        proxy_header: connection.proxy_header().map(Box::from),
        rest,
    }
}

fn arrived(offer: Offer, listener: u16) -> Connection {
    let Offer { socket, upstream, record, .. } = offer;
    let mut connection = Connection {
        stream: Stream::new(socket),
        peer: record.peer.map_or(Peer::Unix, Peer::from),
        listener,
        waited: record.reason,
        pipelines: false,
        requests: record.requests,
        number: record.number,
        started: now().saturating_sub(u64::try_from(record.age.as_millis()).unwrap_or(u64::MAX)),
        rare: None,
    };
    if let Some(header) = record.proxy_header {
        connection.keep_proxy_header(header);
    }
    if let Some(upstream) = upstream {
        connection.keep_relay(Box::new(Relay {
            upstream: Stream::new(upstream),
            facts: record.rest,
            until: record.shutdown.map_or(Deadline::NEVER, Deadline::after),
            stays: false,
        }));
    } else if record.reason == Reason::Head {
        let until = Some(Deadline::after(record.remaining));
        connection.keep_partial(Partial { bytes: record.rest, until, ..Partial::default() });
    }
    connection
}
