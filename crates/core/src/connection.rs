//! A connection between requests, and the contract between engines and protocols.
//!
//! An engine accepts connections and watches those that wait; a protocol serves what came in.
//! A [`Connection`] is all that is left of one while it waits: it has no task and no buffer.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use daemun_event::{Deadline, Millis, Peer, Stream};
use daemun_tls::facts::Facts;
use daemun_tls::{Session, Transport};

/// A connection without a request in hand.
pub struct Connection {
    pub stream: Stream,
    pub peer: Peer,
    /// Which of the engine's listening sockets it came from.
    pub listener: u16,
    /// What it was last parked for; for a new connection, its first byte.
    pub waited: Reason,
    /// Its client has sent requests without waiting for answers.
    pub pipelines: bool,
    /// Requests answered so far.
    pub requests: u32,
    /// `$connection`.
    pub number: u64,
    /// When it was accepted, on the reactor's clock.
    pub started: Millis,
    /// What few connections have. Without it an idle connection takes no more than 120 bytes.
    pub rare: Option<Box<Rare>>,
}

/// What not every connection has while it waits.
#[derive(Default)]
pub struct Rare {
    tls: Option<Box<Session>>,
    more: Option<Box<More>>,
}

/// What few connections have.
#[derive(Default)]
struct More {
    partial: Option<Partial>,
    proxy_header: Option<Box<[u8]>>,
    relay: Option<Box<Relay>>,
    /// Of a handshake that is under way, or only imagined.
    facts: Option<Arc<Facts>>,
    kept: Option<Box<dyn Kept>>,
}

/// What a protocol keeps of a connection while it waits, beside what a [`Connection`] is. It stays in its process.
pub trait Kept: Any + Send {
    /// Appends what the peer is to be told before the connection is closed.
    fn say_goodbye(&mut self, out: &mut Vec<u8>);
}

impl More {
    fn is_empty(&self) -> bool {
        let More { partial, proxy_header, relay, facts, kept } = self;
        let has_none = partial.is_none() && proxy_header.is_none() && relay.is_none();
        has_none && facts.is_none() && kept.is_none()
    }
}

impl Connection {
    /// What there is of a request head.
    pub fn partial(&self) -> Option<&Partial> {
        self.more()?.partial.as_ref()
    }

    pub fn take_partial(&mut self) -> Option<Partial> {
        let rare = self.rare.as_mut()?;
        let partial = rare.more.as_mut()?.partial.take();
        if rare.more.as_ref().is_some_and(|more| more.is_empty()) {
            rare.more = None;
        }
        if rare.tls.is_none() && rare.more.is_none() {
            self.rare = None;
        }
        partial
    }

    fn more(&self) -> Option<&More> {
        self.rare.as_ref()?.more.as_deref()
    }

    fn more_mut(&mut self) -> &mut More {
        self.rare.get_or_insert_default().more.get_or_insert_default()
    }

    pub fn keep_partial(&mut self, partial: Partial) {
        self.more_mut().partial = Some(partial);
    }

    /// The upgraded connection that goes on elsewhere.
    pub fn relay(&self) -> Option<&Relay> {
        self.more()?.relay.as_deref()
    }

    pub fn relay_mut(&mut self) -> Option<&mut Relay> {
        self.rare.as_mut()?.more.as_mut()?.relay.as_deref_mut()
    }

    pub fn take_relay(&mut self) -> Option<Box<Relay>> {
        self.rare.as_mut()?.more.as_mut()?.relay.take()
    }

    pub fn keep_relay(&mut self, relay: Box<Relay>) {
        self.more_mut().relay = Some(relay);
    }

    /// Whether its protocol keeps something of it, which cannot go to another process.
    pub fn has_kept(&self) -> bool {
        self.more().is_some_and(|more| more.kept.is_some())
    }

    pub fn keep(&mut self, kept: Box<dyn Kept>) {
        self.more_mut().kept = Some(kept);
    }

    /// What its protocol has kept, if that is of this type.
    pub fn take_kept<T: Kept>(&mut self) -> Option<Box<T>> {
        let kept: Box<dyn Any> = self.rare.as_mut()?.more.as_mut()?.kept.take()?;
        kept.downcast().ok()
    }

    /// Stops receiving ahead, before the connection passes to another process; `false` where something has come that has to
    /// be dealt with here.
    pub fn hold_back(&self) -> bool {
        let other = self.relay().map(|relay| &relay.upstream);
        let mut streams = std::iter::once(&self.stream).chain(other);
        streams.all(|stream| stream.hold_back().unwrap_or(false))
    }

    /// Whether the peer has sent something that nobody has looked at.
    pub fn has_arrived(&self) -> bool {
        !self.stream.hold_back().unwrap_or(true) || self.stream.has_unread()
    }

    /// What is known of a handshake, of a connection that has no session of its own, or not yet.
    pub fn set_facts(&mut self, facts: Option<Arc<Facts>>) {
        self.more_mut().facts = facts;
    }

    /// What bytes are received from and sent to.
    #[inline]
    pub fn transport(&mut self) -> Transport<'_> {
        let session = self.rare.as_deref_mut().and_then(|rare| rare.tls.as_deref_mut());
        Transport::new(&self.stream, session)
    }

    /// Gives its session up, and that of a relay's other side, for another process to go on with. Empty where there is
    /// none; `None` where bytes are on their way, and the connection has to stay.
    pub fn export_tls(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let Some(rare) = &mut self.rare else { return Some(Default::default()) };
        let own = take_apart(&mut rare.tls)?;
        let others = match rare.more.as_mut().and_then(|more| more.relay.as_mut()) {
            Some(relay) => take_apart(&mut relay.tls)?,
            None => Vec::new(),
        };
        Some((own, others))
    }

    /// Goes on with a session that another process [gave up](Self::export_tls); `false` where that is not possible.
    #[must_use = "a connection without its keys can only be closed"]
    pub fn import_tls(&mut self, own: &[u8], others: &[u8]) -> bool {
        let put = |place: &mut Option<Box<Session>>, bytes: &[u8]| {
            if !bytes.is_empty() {
                *place = Session::import(bytes).map(Box::new);
            }
            bytes.is_empty() || place.is_some()
        };
        if own.is_empty() && others.is_empty() {
            return true;
        }
        let rare = self.rare.get_or_insert_default();
        let is_put = put(&mut rare.tls, own);
        let relay = rare.more.as_mut().and_then(|more| more.relay.as_mut());
        is_put && relay.map_or(others.is_empty(), |relay| put(&mut relay.tls, others))
    }

    /// Its session, where it has one of its own.
    pub fn session_mut(&mut self) -> Option<&mut Session> {
        self.rare.as_mut()?.tls.as_deref_mut()
    }

    /// Has everything that passes from now on be protected.
    pub fn begin_tls(&mut self, session: Box<Session>) {
        self.rare.get_or_insert_default().tls = Some(session);
    }

    /// What the handshake came to, where there was one.
    #[inline]
    pub fn tls(&self) -> Option<&Arc<Facts>> {
        let rare = self.rare.as_ref()?;
        match &rare.tls {
            Some(session) => Some(session.facts()),
            None => rare.more.as_ref()?.facts.as_ref(),
        }
    }

    /// Whether a receive may yield something, as far as is known without asking the kernel.
    #[inline]
    pub fn may_be_readable(&self) -> bool {
        self.rare
            .as_ref()
            .and_then(|rare| rare.tls.as_ref())
            .is_some_and(|session| session.has_plain())
            || self.stream.may_be_readable()
    }

    /// Gives back what only a connection in use needs.
    pub fn rest(&mut self) {
        if let Some(session) = self.rare.as_mut().and_then(|rare| rare.tls.as_mut()) {
            session.rest();
        }
    }

    /// Tells the peer that nothing more will come, where its protocol has words for that.
    pub fn say_goodbye(&mut self) {
        let more = self.rare.as_mut().and_then(|rare| rare.more.as_mut());
        if let Some(mut kept) = more.and_then(|more| more.kept.take()) {
            let mut bytes = Vec::new();
            kept.say_goodbye(&mut bytes);
            let _ = self.transport().try_send(&bytes, false);
        }
        if self.rare.as_ref().is_some_and(|rare| rare.tls.is_some()) {
            // A peer that does not take it sees the connection closed.
            let _ = self.transport().close();
        }
    }

    /// The PROXY protocol's header that the connection began with, as it came.
    pub fn proxy_header(&self) -> Option<&[u8]> {
        self.more()?.proxy_header.as_deref()
    }

    pub fn keep_proxy_header(&mut self, header: Box<[u8]>) {
        self.more_mut().proxy_header = Some(header);
    }
}

fn take_apart(session: &mut Option<Box<Session>>) -> Option<Vec<u8>> {
    let Some(own) = session.take() else { return Some(Vec::new()) };
    match own.export() {
        Ok(mut bytes) => Some(std::mem::take(&mut *bytes)),
        Err(own) => {
            *session = Some(own);
            None
        }
    }
}

/// How far an unfinished head was read, in the middle of a field's value.
#[derive(Clone, Copy, Debug)]
pub struct Scanned {
    /// Bytes that were looked at.
    pub seen: usize,
    /// It may become so long until its bounds have to be looked at.
    pub most: usize,
}

/// An unfinished request head.
#[derive(Default)]
pub struct Partial {
    pub bytes: Vec<u8>,
    pub scanned: Option<Scanned>,
    /// When the whole head must be there; `None` where nobody has looked at it yet.
    pub until: Option<Deadline>,
}

/// An upgraded connection between two processes: nothing that was read from either side waits to be written.
pub struct Relay {
    /// The other side.
    pub upstream: Stream,
    /// What protects that.
    pub tls: Option<Box<Session>>,
    /// What its protocol knows of the request, in that protocol's own form.
    pub facts: Vec<u8>,
    /// When it is closed whatever passes: `worker_shutdown_timeout` of a process that had it before.
    pub until: Deadline,
    /// No other process took it.
    pub stays: bool,
}

/// What a parked connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The first byte of the first request.
    FirstByte,
    /// The rest of a request head.
    Head,
    /// The next request, and nobody may close it yet to make room or to end sooner.
    Held,
    /// The next request.
    KeepAlive,
    /// Somebody who passes on what both sides of a [`Relay`] send.
    Relay,
}

/// How long a connection may be parked, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub reason: Reason,
    pub until: Deadline,
}

impl Wait {
    pub fn first_byte(timeout: Duration) -> Wait {
        Wait { reason: Reason::FirstByte, until: Deadline::after(timeout) }
    }

    pub fn keep_alive(timeout: Duration) -> Wait {
        Wait { reason: Reason::KeepAlive, until: Deadline::after(timeout) }
    }

    /// The deadline stays where it was when the head began.
    pub fn held(timeout: Duration) -> Wait {
        Wait { reason: Reason::Held, until: Deadline::after(timeout) }
    }

    pub fn head(until: Deadline) -> Wait {
        Wait { reason: Reason::Head, until }
    }

    /// Not for long: the engine passes it on, or serves it again, as soon as it has parked it.
    pub fn relay() -> Wait {
        Wait { reason: Reason::Relay, until: Deadline::NEVER }
    }
}

/// What becomes of a connection when its session ends. `R` is the protocol's
/// [`Rest`](Protocol::Rest).
pub enum Outcome<R> {
    /// Nothing more to do until the peer sends something.
    Park { connection: Connection, wait: Wait },
    /// The response is made, and only has to be sent, or the connection to be read empty: what is
    /// left waits for the peer alone and may do so on another thread.
    Drain(R),
    /// Its next request is in hand already: serve it.
    Again(Connection),
    /// Close it.
    Close(Connection),
    /// The session closed it, or gave it away.
    Closed,
}

/// What an engine runs on its connections.
pub trait Protocol: 'static {
    /// What is left of an exchange that [drains](Outcome::Drain), with its connection.
    type Rest: AsStream + Send + 'static;

    /// Serves what the peer has sent until there is nothing left in hand. Called when a
    /// connection is new, whether or not something came, and when a parked one has something to
    /// receive or ended: a receive that would block then means `Park`.
    fn serve(
        self: Rc<Self>,
        connection: Connection,
    ) -> impl Future<Output = Outcome<Self::Rest>> + 'static;

    /// Sends what is left of a response, and goes on as [`serve`](Self::serve) does.
    fn finish(
        self: Rc<Self>,
        rest: Self::Rest,
    ) -> impl Future<Output = Outcome<Self::Rest>> + 'static;

    /// What a new connection waits for that is parked before anything was asked of it.
    fn first_wait(&self, connection: &Connection) -> Wait;

    /// A parked connection's time is up: log it and let it go, or wait for something else.
    fn timed_out(&self, connection: Connection) -> Outcome<Self::Rest>;

    /// A parked connection has to make room for another: let it go.
    fn shed(&self, connection: Connection);
}

/// What has a connection's stream, for the engine to take it from one reactor to another.
pub trait AsStream {
    fn stream(&mut self) -> &mut Stream;
}

impl AsStream for Connection {
    fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

/// For protocols that never drain.
impl AsStream for std::convert::Infallible {
    fn stream(&mut self) -> &mut Stream {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the two list links of the engine's table, and the event core's 20 bytes of a source
    /// and 28 of a timer, an idle connection takes 120 bytes.
    #[test]
    fn a_connection_is_small_enough_to_wait() {
        assert!(size_of::<Connection>() <= 64, "{} bytes", size_of::<Connection>());
    }
}
