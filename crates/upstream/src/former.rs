//! A group as the configuration before had it, for what goes on after a reload.

use daemun_core::listen::Address;

use crate::definition::{Definition, Resolve};
use crate::members::{Member, Members, Tier};
use crate::shared::{LineRecord, SharedGroup};

/// A group of the configuration before.
pub(crate) struct Former<'f> {
    pub group: &'f SharedGroup,
    pub definition: &'f Definition,
    pub members: Members,
}

impl Former<'_> {
    pub fn peer(&self, server: &str, address: &Address) -> Option<&Member> {
        self.members.all().find(|peer| *peer.server == *server && peer.peer.address == *address)
    }

    /// The peers of a line that looked up the same, and whether each was second rate.
    pub fn resolved(&self, resolve: &Resolve) -> impl Iterator<Item = (&Member, bool)> {
        let place = self.place(resolve);
        let was_backup = place.is_some_and(|place| self.definition.servers[place].backup);
        let first = self.members.primary.of_line(place).map(|peer| (peer, false));
        let second = self.members.backup.of_line(place);
        let second = second.map(move |peer| (peer, !was_backup));
        first.chain(second)
    }

    pub fn line(&self, resolve: &Resolve) -> Option<&LineRecord> {
        Some(self.group.line(self.place(resolve)?, self.definition))
    }

    /// Where the former configuration looked up the same.
    fn place(&self, resolve: &Resolve) -> Option<usize> {
        self.definition.servers.iter().position(|server| {
            let known = server.resolve.as_ref();
            known
                .is_some_and(|known| known.host == resolve.host && known.service == resolve.service)
        })
    }
}

impl Tier {
    fn of_line(&self, line: Option<usize>) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |peer| Some(peer.line) == line)
    }
}
