//! Connections that come from workers that leave.

use std::time::{Duration, Instant};

use daemun_core::connection::{Connection, Partial, Protocol, Reason, Relay, Wait};
use daemun_core::log;
use daemun_event::{Deadline, Peer, Stream, now};

use super::{Worker, watch};
use crate::engines::Runner;
use crate::handover::{CREDITS, Offer, Receiver};

/// This worker has its share of what other generations pass on.
pub(super) struct Yielding {
    /// When to look for lanes again.
    pub until: Instant,
    /// Since when there has always been one.
    since: Instant,
}

impl Yielding {
    const PAUSE: Duration = Duration::from_millis(10);
    /// Those with fewer connections do not come: they may be busy for long.
    const PATIENCE: Duration = Duration::from_millis(100);
}

/// Lanes that a worker reads from at once.
const LANES: usize = 64;

/// By how many connections a worker may be ahead of another one and go on to take what is passed on;
/// where they have many, by a sixteenth of them.
const AHEAD: usize = 16;

impl<P: Protocol, R: Runner<P>> Worker<P, R> {
    /// Workers without room do not hear of those who leave, nor do those that have their share.
    pub(super) fn listen_to_leavers(&mut self) {
        let yields = self.yielding.as_ref().is_some_and(|yielding| Instant::now() < yielding.until);
        if self.may_listen()
            && !yields
            && let Some(channel) = &self.context.channel
        {
            if !channel.is_waited_at() {
                self.yielding = None;
            }
            // Without a descriptor to watch it by, another worker hears of them.
            self.channel = watch(channel, &self.stirred).ok();
        }
    }

    /// Whether it does not listen, and has room to.
    pub(super) fn may_listen(&self) -> bool {
        self.channel.is_none()
            && self.leaving.is_none()
            && self.arriving.len() < LANES
            && self.life.engine.room() > 0
    }

    /// How many connections this worker may take now, so that none of its generation comes to have
    /// many more than another.
    fn share(&self) -> usize {
        let engine = &self.life.engine;
        let promised: usize = self.arriving.iter().map(|(lane, _)| lane.credits()).sum();
        let share = match self.context.counters.least_of_siblings() {
            Some(least) => (least + AHEAD.max(least / 16)).saturating_sub(engine.open() + promised),
            None => usize::MAX,
        };
        share.min(engine.room())
    }

    pub(super) fn greet(&mut self) {
        let (Some(channel), Some(_)) = (self.context.channel.clone(), &self.channel) else {
            return;
        };
        while channel.is_waited_at() {
            let share = match self.share() {
                0 if self.life.engine.room() > 0 && !self.yields() => AHEAD,
                share => share,
            };
            if share == 0 || self.arriving.len() == LANES {
                self.channel = None;
                return;
            }
            let credits = u16::try_from(share).unwrap_or(CREDITS).min(CREDITS);
            // One that fails was a sender that went away before it was greeted.
            let Ok(Some(receiver)) = channel.accept(credits) else {
                continue;
            };
            // Without a descriptor to watch it by, it looks for another receiver.
            if let Ok(watch) = watch(&receiver, &self.stirred) {
                self.arriving.push((receiver, watch));
            }
        }
        self.yielding = None;
    }

    /// Leaves a lane to workers with fewer connections, unless none of them has come for it.
    fn yields(&mut self) -> bool {
        let now = Instant::now();
        let since = self.yielding.as_ref().map_or(now, |yielding| yielding.since);
        self.yielding = Some(Yielding { until: now + Yielding::PAUSE, since });
        now < since + Yielding::PATIENCE
    }

    pub(super) fn take_over(&mut self) {
        let mut share = if self.arriving.is_empty() { 0 } else { self.share() };
        let mut arriving = std::mem::take(&mut self.arriving);
        arriving.retain_mut(|(receiver, _)| {
            loop {
                match receiver.next_offer() {
                    // A lane that ends here sends what it still carries to another worker.
                    _ if !self.life.engine.makes_room() => return false,
                    Ok(Some(offer)) => {
                        self.consider(receiver, offer, share > 0);
                        share = share.saturating_sub(1);
                    }
                    Ok(None) => return !receiver.is_spent(),
                    Err(_) => return false,
                }
            }
        });
        self.arriving = arriving;
    }

    fn consider(&mut self, receiver: &mut Receiver, offer: Offer, has_share: bool) {
        let room = self.life.engine.room();
        let is_relay = offer.record.reason == Reason::Relay;
        let listener = self.listener_of(&offer);
        let Some(listener) = listener.filter(|_| !is_relay || self.life.engine.may_resume()) else {
            // A sender that does not hear the answer is gone, and its connection with it.
            let _ = receiver.refuse(offer, true);
            return;
        };
        // The same holds for one that does not hear that its connection was taken.
        let _ = receiver.take(&offer, has_share && room > 1);
        let left = offer.record.remaining.min(offer.record.shutdown.unwrap_or(Duration::MAX));
        let number = offer.record.number;
        let Some(connection) = arrived(offer, listener) else {
            log!(
                self.life.log,
                Alert,
                number,
                "a connection that was handed over could not be understood"
            );
            return;
        };
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
    pub(super) fn rest_of_wait(&self, connection: &Connection, until: Deadline) -> Wait {
        let wait = (self.life.wait)(connection);
        Wait { until: wait.until.min(until), ..wait }
    }

    fn listener_of(&self, offer: &Offer) -> Option<u16> {
        let address = &offer.record.listener;
        let mut own = self.context.listening.iter().zip(0..);
        own.find(|(entry, _)| entry.spec.address == *address).map(|(_, place)| place)
    }
}

/// `None` where it can't be gone on with.
fn arrived(offer: Offer, listener: u16) -> Option<Connection> {
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
            tls: None,
            facts: record.rest,
            until: record.shutdown.map_or(Deadline::NEVER, Deadline::after),
            stays: false,
        }));
    } else if record.reason == Reason::Head {
        let until = Some(Deadline::after(record.remaining));
        connection.keep_partial(Partial { bytes: record.rest, until, ..Partial::default() });
    }
    connection.import_tls(&record.tls, &record.upstream_tls).then_some(connection)
}
