//! The way out: connections pass to a successor, or are served to their end.

use std::cell::Cell;
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use daemun_core::connection::{Connection, Protocol, Reason};
use daemun_core::log;
use daemun_event::{Deadline, Watch, now};
use daemun_shm::WorkerState;

use super::{Worker, watch};
use crate::Listening;
use crate::engines::Runner;
use crate::handover::{Departed, Departure, Record, Sockets};

/// What is left to do on the way out.
pub(super) struct Leaving {
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
    /// What was begun in this turn needs another one: a relay was served again, and may be parked
    /// already.
    resumes: bool,
    /// Relays were told to come to be parked, since there is a successor.
    released: bool,
    /// Numbers of connections that the successor refused, with a request begun: they are served here.
    unwanted: HashSet<u64>,
}

impl Leaving {
    /// The pace of the departure where its lane cannot be watched, for want of descriptors.
    const UNWATCHED: Duration = Duration::from_millis(20);

    fn is_late(&self) -> bool {
        self.limit.is_some_and(|limit| limit <= Instant::now())
    }

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
struct Passing {
    connection: Connection,
    keys: Keys,
}

/// What protects a connection, and a relay's other side, taken out of them: who answers an offer uses it from then on,
/// and where nobody does, it comes back here.
#[derive(Clone, Default)]
struct Keys {
    own: Vec<u8>,
    others: Vec<u8>,
}

impl Passing {
    /// The connection as it was before it was offered.
    fn back(self) -> Connection {
        let Passing { mut connection, keys } = self;
        // They were taken out of it.
        let _ = connection.import_tls(&keys.own, &keys.others);
        connection
    }
}

impl Sockets for Passing {
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        let upstream = self.connection.relay().map(|relay| relay.upstream.as_fd());
        std::iter::once(self.connection.stream.as_fd()).chain(upstream).collect()
    }
}

impl<P: Protocol, R: Runner<P>> Worker<P, R> {
    /// Has the master start another one in its place, and goes on until that serves.
    pub(super) fn retire_in_time(&mut self) {
        let most = self.life.max_connections;
        if most > 0 && !self.retires && self.life.engine.accepted() >= most {
            self.retires = true;
            self.context.ready.retire();
        }
    }
}

impl<P: Protocol, R: Runner<P>> Worker<P, R> {
    pub(super) fn leave(&mut self, hand_over: bool) -> io::Result<()> {
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
        let departure = channel.map(|channel| Departure::new(Arc::clone(channel)));
        let limit = self.life.shutdown_timeout.map(|timeout| Instant::now() + timeout);
        self.leaving = Some(Leaving {
            departure,
            watch: None,
            limit,
            kept: 0,
            refused: 0,
            resumes: false,
            released: false,
            unwanted: HashSet::new(),
        });
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

    /// Closes a connection that waits for another request, unless one has come by now.
    fn keep_if_begun(&mut self, mut connection: Connection) {
        match connection.waited != Reason::KeepAlive || connection.has_arrived() {
            true => self.keep(connection),
            false if connection.has_kept() => drop(self.life.engine.resume(connection)),
            false => connection.say_goodbye(),
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

    pub(super) fn pass_on(&mut self) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        leaving.resumes = false;
        if leaving.is_late() {
            // What worked for those that are ended has a turn to notice.
            leaving.resumes = self.life.engine.active() > 0;
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
        let engine = &self.life.engine;
        let wanting = match departure.has_successor() {
            true => engine.parked() > 0,
            false => engine.open() > 0,
        };
        let departed = departure.pump(wanting);
        if departure.has_successor() && !leaving.released {
            leaving.released = true;
            let release = self.life.release_relays;
            self.life.engine.on_each_thread(release, Box::new(|| {}));
        }
        let is_hopeless = departure.is_hopeless();
        departed.into_iter().for_each(|departed| self.settle(departed));
        if is_hopeless {
            self.give_up_departure();
        } else {
            self.offer_parked();
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.watch_lane(&self.stirred);
        }
    }

    /// There is no successor, or none with room: what there is goes nginx's way.
    fn give_up_departure(&mut self) {
        let before = self.life.engine.parked();
        if let Some(leaving) = &mut self.leaving {
            leaving.departure = None;
        }
        self.close_idle();
        if let Some(leaving) = &mut self.leaving {
            leaving.refused += before.saturating_sub(leaving.kept);
        }
    }

    /// Takes parked connections off their event set, as many as the successor has room for.
    fn offer_parked(&mut self) {
        let Some(leaving) = &mut self.leaving else { return };
        let Some(departure) = &mut leaving.departure else { return };
        let left = leaving.limit.map(|limit| limit.saturating_duration_since(Instant::now()));
        let (mut staying, mut ending) = (Vec::new(), Vec::new());
        while departure.credits() > 0
            && let Some(mut connection) = self.life.engine.take_parked()
        {
            let is_unwanted = connection.waited != Reason::KeepAlive
                && leaving.unwanted.contains(&connection.number);
            // What was received ahead cannot be handed over: it is served here first.
            if is_unwanted || !connection.hold_back() {
                staying.push(connection);
                continue;
            }
            // Nor can what its protocol knows of it, if that is much: its client is told to come again.
            if connection.has_kept() {
                ending.push(connection);
                continue;
            }
            // Nor can what is on its way through the keys.
            let Some((own, others)) = connection.export_tls() else {
                staying.push(connection);
                continue;
            };
            let keys = Keys { own, others };
            if let Some(relay) = connection.relay_mut() {
                // Its new owner may have it for long, and this process live on for other reasons.
                relay.upstream.leave();
                connection.stream.leave();
            }
            let listening = &self.context.listening[usize::from(connection.listener)];
            let record = departing(&connection, keys.clone(), listening, left);
            if let Err(passing) = departure.offer(Passing { connection, keys }, &record) {
                staying.push(passing.back());
                break;
            }
        }
        staying.into_iter().for_each(|connection| self.keep(connection));
        // Their sessions know that they are to end.
        ending.into_iter().for_each(|connection| drop(self.life.engine.resume(connection)));
    }

    fn settle(&mut self, departed: Departed<Passing>) {
        match departed {
            Departed::Taken(_) => {}
            Departed::Back(passing) => self.keep(passing.back()),
            Departed::Left(passing) => {
                let mut connection = passing.back();
                if let Some(relay) = connection.relay_mut() {
                    relay.stays = true;
                }
                if let Some(leaving) = &mut self.leaving {
                    leaving.refused += usize::from(connection.waited == Reason::KeepAlive);
                    leaving.unwanted.insert(connection.number);
                }
                self.keep_if_begun(connection);
            }
        }
    }

    /// How long the reactor may wait for events.
    pub(super) fn patience(&self) -> Option<Duration> {
        let now = Instant::now();
        let yielding = self.yielding.as_ref().filter(|_| self.may_listen());
        let yielding = yielding.map(|yielding| yielding.until.saturating_duration_since(now));
        let elsewhere = self.life.engine.patience();
        elsewhere.into_iter().chain(yielding).chain(self.patience_on_the_way_out()).min()
    }

    fn patience_on_the_way_out(&self) -> Option<Duration> {
        let leaving = self.leaving.as_ref()?;
        if leaving.resumes {
            return Some(Duration::ZERO);
        }
        let pump = leaving.departure.as_ref().and_then(|departure| match leaving.watch {
            None if departure.lane().is_some() => Some(Instant::now() + Leaving::UNWATCHED),
            _ => departure.next_moment(self.life.engine.parked() > 0),
        });
        let moment = pump.into_iter().chain(leaving.limit).min()?;
        Some(moment.saturating_duration_since(Instant::now()))
    }

    pub(super) fn tell_of_refused(&self) {
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

    pub(super) fn is_over(&self) -> bool {
        let departed = |leaving: &Leaving| {
            leaving.departure.as_ref().is_none_or(|departure| departure.in_flight() == 0)
        };
        let engine = &self.life.engine;
        let is_at_rest =
            |leaving: &Leaving| departed(leaving) && !(leaving.resumes && leaving.is_late());
        engine.active() == 0
            && engine.parked() == 0
            && self.leaving.as_ref().is_some_and(is_at_rest)
    }
}

fn departing(
    connection: &Connection,
    keys: Keys,
    listening: &Listening,
    shutdown: Option<Duration>,
) -> Record {
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
        tls: keys.own,
        upstream_tls: keys.others,
        rest,
    }
}
