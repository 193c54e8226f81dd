//! `upstream NAME { … }`, or what an address in `proxy_pass` and its like stands for.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::definition::{Definition, Keepalive, Method, ServerSpec};
use crate::members::Members;
use crate::selection::Selection;

/// A group's place among all of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(pub u32);

/// All groups of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Groups(Vec<Arc<Group>>);

impl Groups {
    pub fn add(&mut self, mut group: Group) -> GroupId {
        let id = GroupId(u32::try_from(self.0.len()).expect("a configuration has fewer groups"));
        group.id = Some(id);
        self.0.push(Arc::new(group));
        id
    }

    pub fn of(&self, id: GroupId) -> &Arc<Group> {
        &self.0[id.0 as usize]
    }

    /// The group of that name, for a name that is known only once a request is there: as in nginx, one with an
    /// `upstream` block, or one that is asked for with its port.
    pub fn find(&self, host: &str, port: Option<u16>) -> Option<&Arc<Group>> {
        self.0.iter().find(|group| {
            group.name.eq_ignore_ascii_case(host)
                && (group.is_named || group.port.is_none() || group.port == port)
        })
    }

    /// The group of that name.
    pub fn named(&self, name: &str) -> Option<&Arc<Group>> {
        self.0.iter().find(|group| group.name.eq_ignore_ascii_case(name))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.0.iter()
    }
}

/// Servers that can stand for each other.
#[derive(Debug)]
pub struct Group {
    /// `None` for one that a single request has made.
    pub id: Option<GroupId>,
    pub name: String,
    /// The port of a group without an `upstream` block.
    pub port: Option<u16>,
    /// It has an `upstream` block.
    pub is_named: bool,
    /// `None`: its connections are not kept, as nginx keeps none for groups without a block.
    pub keepalive: Option<Keepalive>,
    pub(crate) definition: Definition,
    /// Tells it from the groups of other configurations.
    serial: u64,
}

impl Group {
    /// A group without directives of its own: `proxy_pass http://127.0.0.1:8080`, or what a name stands for that a
    /// request brought.
    pub fn implicit(name: String, servers: Vec<ServerSpec>) -> Group {
        let definition = Definition { servers, ..Definition::default() };
        Group::new(name, definition, None)
    }

    /// A group with an `upstream` block.
    pub fn explicit(name: String, definition: Definition) -> Group {
        let keepalive = definition.keepalive.settled();
        Group { is_named: true, ..Group::new(name, definition, keepalive) }
    }

    fn new(name: String, definition: Definition, keepalive: Option<Keepalive>) -> Group {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Group { id: None, name, port: None, is_named: false, keepalive, definition, serial }
    }

    pub fn method(&self) -> Option<&Method> {
        self.definition.method.as_ref()
    }

    /// Begins a request's way through the group.
    pub fn select(self: &Arc<Self>) -> Selection {
        Selection::new(Arc::clone(self), self.members())
    }

    /// Who is in it, as this thread sees it.
    pub(crate) fn members(&self) -> Rc<Members> {
        let Some(GroupId(place)) = self.id else {
            return Rc::new(Members::of(&self.definition));
        };
        OF_THREAD.with_borrow_mut(|groups| {
            let place = place as usize;
            if place >= groups.len() {
                groups.resize_with(place + 1, || None);
            }
            match &groups[place] {
                Some((serial, members)) if *serial == self.serial => Rc::clone(members),
                _ => {
                    let members = Rc::new(Members::of(&self.definition));
                    groups[place] = Some((self.serial, Rc::clone(&members)));
                    members
                }
            }
        })
    }
}

/// What a thread keeps of the group at a place, with the group's serial number.
type Own = (u64, Rc<Members>);

thread_local! {
    /// A thread serves one configuration.
    static OF_THREAD: RefCell<Vec<Option<Own>>> = const { RefCell::new(Vec::new()) };
}
