//! `upstream NAME { … }`, or what an address in `proxy_pass` and its like stands for.

use std::sync::Arc;

use daemun_core::listen::Address;

use crate::selection::Selection;

/// A group's place among all of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(pub u32);

/// All groups of a configuration.
#[derive(Default)]
pub struct Groups(Vec<Arc<Group>>);

impl Groups {
    pub fn add(&mut self, group: Group) -> GroupId {
        self.0.push(Arc::new(group));
        GroupId(u32::try_from(self.0.len() - 1).expect("a configuration has fewer groups"))
    }

    pub fn of(&self, id: GroupId) -> &Arc<Group> {
        &self.0[id.0 as usize]
    }

    /// The group of that name, for a name that is known only once a request is there.
    pub fn named(&self, name: &str) -> Option<&Arc<Group>> {
        self.0.iter().find(|group| group.name == name)
    }
}

/// Servers that can stand for each other.
pub struct Group {
    pub name: String,
    pub(crate) servers: Vec<Server>,
}

/// A line `server` of a group.
pub struct Server {
    /// As it is written.
    pub name: String,
    pub addresses: Vec<Address>,
}

impl Group {
    /// A group without directives of its own.
    pub fn implicit(name: String, servers: Vec<Server>) -> Group {
        Group { name, servers }
    }

    /// Begins a request's way through the group.
    pub fn select(self: &Arc<Self>) -> Selection {
        Selection::new(Arc::clone(self))
    }
}
