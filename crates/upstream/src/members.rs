//! Who is in a group right now, as one thread sees it.

use std::fmt::Write;
use std::sync::Arc;

use daemun_core::listen::Address;
use md5::{Digest, Md5};

use crate::definition::{Availability, Definition, ServerSpec};
use crate::state::{Down, Now, PeerState};

/// The peers of a group: those that are asked, and those that are asked once none of them can be.
#[derive(Debug)]
pub(crate) struct Members {
    pub primary: Tier,
    pub backup: Tier,
    /// One peer alone: failures do not count against it.
    pub is_single: bool,
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
    pub address: Address,
    /// `$upstream_addr`.
    pub name: Arc<str>,
    /// The line `server` that it comes from, as it is written.
    pub server: Arc<str>,
    /// What `sticky` calls it: its route, or a hash of its name.
    pub id: Box<str>,
    pub weight: i64,
    pub max_conns: i64,
    pub max_fails: i64,
    /// Seconds.
    pub fail_timeout: i64,
    /// Milliseconds.
    pub slow_start: i64,
    state: PeerState,
}

impl Members {
    pub fn of(definition: &Definition) -> Members {
        let tier = |is_backup: bool| {
            let servers = definition.servers.iter().filter(|server| server.backup == is_backup);
            Tier::new(servers.flat_map(members_of).collect())
        };
        Members::new(tier(false), tier(true))
    }

    pub fn new(primary: Tier, backup: Tier) -> Members {
        let is_single = primary.members.len() == 1 && backup.members.is_empty();
        Members { primary, backup, is_single }
    }

    pub fn tries(&self) -> usize {
        self.primary.tries + self.backup.tries
    }
}

impl Tier {
    pub fn new(members: Vec<Member>) -> Tier {
        let total_weight = members.iter().map(|member| member.weight).sum();
        let tries = members.iter().filter(|member| member.state().down.get() == 0).count();
        Tier { members, total_weight, tries }
    }
}

fn members_of(server: &ServerSpec) -> impl Iterator<Item = Member> {
    let written: Arc<str> = server.name.as_str().into();
    server.addresses.iter().map(move |address| Member::new(server, Arc::clone(&written), address))
}

impl Member {
    fn new(server: &ServerSpec, written: Arc<str>, address: &Address) -> Member {
        let name: Arc<str> = address.to_string().into();
        let state = PeerState::default();
        state.effective_weight.set(server.weight.into());
        state.down.set(match server.availability {
            Availability::Up => 0,
            Availability::Down => Down::CONFIGURED,
            Availability::Draining => Down::DRAINING,
        });
        Member {
            address: address.clone(),
            id: server.route.as_deref().map_or_else(|| id_of(&name), Box::from),
            name,
            server: written,
            weight: server.weight.into(),
            max_conns: server.max_conns.into(),
            max_fails: server.max_fails.into(),
            fail_timeout: i64::try_from(server.fail_timeout).unwrap_or(i64::MAX),
            slow_start: i64::try_from(server.slow_start.as_millis()).unwrap_or(i64::MAX),
            state,
        }
    }

    pub fn state(&self) -> &PeerState {
        &self.state
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

    /// Its turn comes nearer; returns by how much.
    pub fn advance(&self) -> i64 {
        let state = self.state();
        let weight = state.effective_weight.get();
        state.current_weight.add(weight);
        if weight < self.weight {
            state.effective_weight.set(weight + 1);
        }
        weight
    }
}

/// The MD5 hash of the peer's name, in hexadecimal digits.
fn id_of(name: &str) -> Box<str> {
    let mut id = String::with_capacity(32);
    for byte in Md5::digest(name) {
        let _ = write!(id, "{byte:02x}");
    }
    id.into()
}
