//! What checks of the peers' health mean for requests: a peer that fails any check takes none.

use std::rc::Rc;
use std::sync::Arc;

use daemun_core::listen::Address;

use crate::group::Group;
use crate::lease::Caretaker;
use crate::members::{Member, Members};
use crate::state::{Down, Now, PeerState};

/// How a peer stands before a check has ever looked at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckStart {
    /// It takes no requests until it has passed.
    pub mandatory: bool,
    /// Unless it was healthy before a reload.
    pub persistent: bool,
}

/// The most checks of one group.
pub const MOST_CHECKS: usize = 24;

/// A peer that is to be checked.
#[derive(Clone)]
pub struct Checked {
    pub address: Address,
    pub name: Arc<str>,
    /// Tells it from other peers, also of the same address at another time.
    pub serial: i64,
    members: Rc<Members>,
    place: usize,
}

impl Group {
    /// Its peers' state is shared by all workers, which health checks need.
    pub fn has_zone(&self) -> bool {
        self.definition.zone.is_some()
    }

    /// Says what checks there will be. Before the configuration is in force.
    pub fn announce_checks(&self, checks: Vec<CheckStart>) {
        let _ = self.checks.set(checks);
    }

    /// The peers to check now: none where another process does it for all, or the configuration took them out. `me`
    /// is who asks.
    pub fn to_be_checked(self: &Arc<Self>, me: &Caretaker) -> Vec<Checked> {
        if !self.holds_lease(me) {
            return Vec::new();
        }
        let members = self.local().members();
        let all = members.all().enumerate();
        let open = all.filter(|(_, member)| member.state().down.get() & Down::CONFIGURED == 0);
        let checked = open.map(|(place, member)| Checked {
            address: member.peer.address.clone(),
            name: Arc::clone(&member.peer.name),
            serial: member.serial(),
            members: Rc::clone(&members),
            place,
        });
        checked.collect()
    }

    /// Whether the peer waits for this check's first word.
    pub fn awaits_check(&self, check: usize, peer: &Checked) -> bool {
        let member = peer.members.all().nth(peer.place).filter(|peer| peer.is_there());
        member.is_some_and(|peer| peer.state().down.get() & Down::checking(check) != 0)
    }

    /// Takes note of what a check says; `true` where that is news.
    pub fn note_health(&self, check: usize, peer: &Checked, is_healthy: bool) -> bool {
        let _locked = peer.members.lock();
        let Some(member) = peer.members.all().nth(peer.place).filter(|peer| peer.is_there()) else {
            return false;
        };
        let before = member.state().down.get();
        let after = match is_healthy {
            true => before & !(Down::unhealthy(check) | Down::checking(check)),
            false => before & !Down::checking(check) | Down::unhealthy(check),
        };
        if after == before {
            return false;
        }
        member.state().down.set(after);
        if after == 0 {
            member.recover_from_checks();
        }
        true
    }
}

/// The bits that peers begin with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beginning {
    checking: i64,
    persistent: i64,
}

impl Beginning {
    pub fn of(checks: &[CheckStart]) -> Beginning {
        let mut beginning = Beginning::default();
        for (index, check) in checks.iter().enumerate().filter(|(_, check)| check.mandatory) {
            beginning.checking |= Down::checking(index);
            if check.persistent {
                beginning.persistent |= Down::checking(index);
            }
        }
        beginning
    }

    pub fn begin(self, state: &PeerState) {
        state.down.set(state.down.get() | self.checking);
    }

    /// The peer was known before a reload.
    pub fn go_on(self, state: &PeerState, former: &PeerState) {
        if former.down.get() & !(Down::CONFIGURED | Down::DRAINING) == 0 {
            state.down.set(state.down.get() & !self.persistent);
        }
    }
}

impl Member {
    fn recover_from_checks(&self) {
        self.recover(Now::of_turn());
        self.state().fails.set(0);
    }
}
