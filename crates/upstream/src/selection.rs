//! A request's way through a group: one peer after the other until one answers.

use std::sync::Arc;

use daemun_core::listen::Address;
use daemun_core::script::Session;

use crate::group::Group;

/// What one request has tried of a group.
pub struct Selection {
    group: Arc<Group>,
    next: usize,
}

/// Whom to ask; goes back with [`Selection::done`].
pub struct Peer {
    pub address: Address,
    /// `$upstream_addr`.
    pub name: Arc<str>,
}

/// Nobody can be asked ("no live upstreams").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPeer;

/// How it went with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Good,
    /// Its answer is one that another peer may better; that says nothing against it.
    Next,
    Failed,
}

impl Selection {
    pub(crate) fn new(group: Arc<Group>) -> Selection {
        Selection { group, next: 0 }
    }

    /// Chooses the next peer; waits where the group has a `queue`.
    pub async fn next(&mut self, _session: &mut dyn Session) -> Result<Peer, NoPeer> {
        let mut addresses = self.group.servers.iter().flat_map(|server| &server.addresses);
        let address = addresses.nth(self.next).ok_or(NoPeer)?;
        self.next += 1;
        Ok(Peer { address: address.clone(), name: address.to_string().into() })
    }

    /// How many peers may still be asked, this request's first one included.
    pub fn tries(&self) -> usize {
        self.group.servers.iter().map(|server| server.addresses.len()).sum()
    }

    /// Takes a peer back.
    pub fn done(&mut self, _peer: Peer, _attempt: Attempt) {}
}
