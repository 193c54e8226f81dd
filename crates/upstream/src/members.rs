//! Who is in a group right now, as one thread sees it.

use std::cell::OnceCell;
use std::fmt::Write;
use std::sync::Arc;

use daemun_core::listen::Address;
use daemun_shm::{Handle, Locked, Zone};
use md5::{Digest, Md5};

use crate::balance::ring::Ring;
use crate::definition::{Definition, ServerSpec};
use crate::selection::Peer;
use crate::shared::PeerRecord;
use crate::state::{Down, Now, PeerState};

/// The peers of a group: those that are asked, and those that are asked once none of them can be.
#[derive(Debug)]
pub(crate) struct Members {
    pub primary: Tier,
    pub backup: Tier,
    /// One peer alone: failures do not count against it.
    pub is_single: bool,
    /// The points of `hash … consistent`, once they are asked for.
    pub ring: OnceCell<Ring>,
    /// Where the peers' numbers are shared, and as of which version of the group this is.
    pub shared: Option<(Arc<Zone>, i64)>,
}

/// Peers of one rank.
#[derive(Debug, Default)]
pub(crate) struct Tier {
    pub members: Vec<Member>,
    pub total_weight: i64,
    /// Peers that the configuration has not taken out.
    pub tries: usize,
}

/// A peer, with what is configured for it.
#[derive(Debug)]
pub(crate) struct Member {
    pub peer: Arc<Peer>,
    /// The line `server` that it comes from, as it is written.
    pub server: Arc<str>,
    /// `route=`.
    route: Option<Box<str>>,
    /// A hash of its name, once it is asked for.
    hash: OnceCell<Box<str>>,
    pub weight: i64,
    pub max_conns: i64,
    pub max_fails: i64,
    /// Seconds.
    pub fail_timeout: i64,
    /// Milliseconds.
    pub slow_start: i64,
    /// What a weight of 1 counts: more where weights grow bit by bit.
    unit: i64,
    /// The place of its line in the block.
    pub line: usize,
    state: State,
}

/// Where a peer's numbers are.
#[derive(Debug)]
enum State {
    Own(PeerState),
    Shared { zone: Arc<Zone>, record: Handle<PeerRecord>, serial: i64 },
}

impl Members {
    /// Peers whose numbers are this thread's own.
    pub fn of(definition: &Definition) -> Members {
        let tier = |is_backup: bool| {
            let lines = definition.servers.iter().enumerate();
            let lines = lines.filter(|(_, server)| server.backup == is_backup);
            let unit = definition.unit();
            Tier::new(lines.flat_map(|(line, server)| members_of(line, server, unit)).collect())
        };
        Members::new(tier(false), tier(true), None)
    }

    pub fn new(primary: Tier, backup: Tier, shared: Option<(Arc<Zone>, i64)>) -> Members {
        let is_single = primary.members.len() == 1 && backup.members.is_empty();
        Members { primary, backup, is_single, ring: OnceCell::new(), shared }
    }

    pub fn tries(&self) -> usize {
        self.primary.tries + self.backup.tries
    }

    /// Keeps others from changing the numbers, where they are shared.
    pub fn lock(&self) -> Option<Locked<'_>> {
        self.shared.as_ref().map(|(zone, _)| zone.lock())
    }
}

impl Tier {
    pub fn new(members: Vec<Member>) -> Tier {
        let total_weight = members.iter().map(|member| member.weight).sum();
        let is_up =
            |member: &&Member| member.state().down.get() & (Down::CONFIGURED | Down::DRAINING) == 0;
        let tries = members.iter().filter(is_up).count();
        Tier { members, total_weight, tries }
    }
}

fn members_of(line: usize, server: &ServerSpec, unit: i64) -> impl Iterator<Item = Member> {
    let written: Arc<str> = server.name.as_str().into();
    server.addresses.iter().map(move |address| {
        let state = PeerState::default();
        state.begin(server, unit);
        let member =
            Member::new(server, unit, Arc::clone(&written), address.clone(), State::Own(state));
        Member { line, ..member }
    })
}

impl Member {
    fn new(
        server: &ServerSpec,
        unit: i64,
        written: Arc<str>,
        address: Address,
        state: State,
    ) -> Member {
        let name = address.to_string().into();
        Member {
            peer: Arc::new(Peer { address, name }),
            route: server.route.as_deref().map(Box::from),
            hash: OnceCell::new(),
            server: written,
            weight: i64::from(server.weight) * unit,
            max_conns: server.max_conns.into(),
            max_fails: server.max_fails.into(),
            fail_timeout: i64::try_from(server.fail_timeout).unwrap_or(i64::MAX),
            slow_start: i64::try_from(server.slow_start.as_millis()).unwrap_or(i64::MAX),
            unit,
            line: 0,
            state,
        }
    }

    /// A peer whose numbers stand in a zone.
    pub fn shared(
        line: usize,
        server: &ServerSpec,
        unit: i64,
        address: Address,
        zone: &Arc<Zone>,
        record: Handle<PeerRecord>,
    ) -> Member {
        let peer = zone.at(record);
        let written = match Handle::of(&peer.name) {
            Some(name) => String::from_utf8_lossy(&zone.text(name)).as_ref().into(),
            None => server.name.as_str().into(),
        };
        let serial = peer.serial.get();
        let state = State::Shared { zone: Arc::clone(zone), record, serial };
        let weight = peer.weight.get();
        Member { line, weight, ..Member::new(server, unit, written, address, state) }
    }

    /// What `sticky` calls it: its route, or a hash of its name.
    pub fn id(&self) -> &str {
        self.route.as_deref().unwrap_or_else(|| self.hash.get_or_init(|| hash_of(&self.peer.name)))
    }

    pub fn state(&self) -> &PeerState {
        match &self.state {
            State::Own(state) => state,
            State::Shared { zone, record, .. } => &zone.at(*record).state,
        }
    }

    /// Whether the numbers are still this peer's: it may have left the group, and another come to its place.
    pub fn is_there(&self) -> bool {
        match &self.state {
            State::Own(_) => true,
            State::Shared { zone, record, serial } => zone.at(*record).serial.get() == *serial,
        }
    }

    /// Tells it from other peers of its zone; 0 where it is in none.
    pub fn serial(&self) -> i64 {
        match &self.state {
            State::Own(_) => 0,
            State::Shared { serial, .. } => *serial,
        }
    }

    /// Whether both are the same peer of a group at different times.
    pub fn is(&self, other: &Member) -> bool {
        match (&self.state, &other.state) {
            (
                State::Shared { record, serial, .. },
                State::Shared { record: other_record, serial: other_serial, .. },
            ) => record == other_record && serial == other_serial,
            _ => self.peer.name == other.peer.name,
        }
    }

    /// Whether it takes requests of anybody.
    pub fn is_open(&self, now: Now) -> bool {
        self.state().down.get() == 0 && self.has_not_failed(now) && self.has_room()
    }

    /// Whether it takes requests that are bound to it.
    pub fn is_open_to_its_own(&self, now: Now) -> bool {
        self.state().down.get() & !Down::DRAINING == 0
            && self.has_not_failed(now)
            && self.has_room()
    }

    pub fn has_room(&self) -> bool {
        self.max_conns == 0 || self.state().conns.get() < self.max_conns
    }

    pub fn has_not_failed(&self, now: Now) -> bool {
        let state = self.state();
        self.max_fails == 0
            || state.fails.get() < self.max_fails
            || now.seconds - state.checked.get() > self.fail_timeout
    }

    /// Has one more request: the peer is taken.
    pub fn take(&self, now: Now) {
        let state = self.state();
        if now.seconds - state.checked.get() > self.fail_timeout {
            state.checked.set(now.seconds);
        }
        state.conns.add(1);
    }

    /// Its weight: less than what is configured for as long as `slow_start` has it recover.
    pub fn weight_at(&self, now: Now) -> i64 {
        if self.slow_start == 0 {
            return self.weight;
        }
        let since = self.state().recovering.get();
        let passed = now.millis - since;
        if since == 0 || passed >= self.slow_start {
            return self.weight;
        }
        (self.weight * passed.max(0) / self.slow_start).max(1)
    }

    /// From now on it recovers its weight.
    pub fn recover(&self, now: Now) {
        if self.slow_start > 0 {
            self.state().recovering.set(now.millis);
        }
    }

    /// Its turn comes nearer; returns by how much.
    pub fn advance(&self, now: Now) -> i64 {
        let state = self.state();
        let most = self.weight_at(now);
        let weight = state.effective_weight.get().min(most);
        state.current_weight.add(weight);
        if weight < most {
            state.effective_weight.set((weight + self.unit).min(most));
        }
        weight
    }
}

/// The MD5 hash of the peer's name, in hexadecimal digits.
fn hash_of(name: &str) -> Box<str> {
    let mut hash = String::with_capacity(32);
    for byte in Md5::digest(name) {
        let _ = write!(hash, "{byte:02x}");
    }
    hash.into()
}
