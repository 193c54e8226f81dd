//! `upstream NAME { … }`, or what an address in `proxy_pass` and its like stands for.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::definition::{Better, Definition, Keepalive, LeastTime, Method, ServerSpec};
use crate::former::Former;
use crate::health::CheckStart;
use crate::lease::Caretaker;
use crate::members::Members;
use crate::queue::Line;
use crate::resolve;
use crate::selection::Selection;
use crate::sessions::Sessions;
use crate::shared::{Full, SharedGroup};
use crate::state::Now;
use crate::sticky::Sticky;
use crate::url::Url;

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

    /// The group that an address means which is known only once a request is there: as in nginx one with an `upstream`
    /// block where no port is written, or one that the configuration names with the same port.
    pub fn find(&self, url: &Url) -> Option<&Arc<Group>> {
        self.0.iter().find(|group| {
            group.name.eq_ignore_ascii_case(&url.host)
                && (group.port == url.port || (group.port.is_none() && !url.has_port))
        })
    }

    /// The group of that name.
    pub fn named(&self, name: &str) -> Option<&Arc<Group>> {
        self.0.iter().find(|group| group.name.eq_ignore_ascii_case(name))
    }

    /// Makes use of the zones, which are there now, and of what the former configuration's groups knew. The error is a
    /// sentence for the log. In the master, before its workers.
    pub fn take_over(&self, former: Option<&Groups>) -> Result<(), String> {
        for group in &self.0 {
            let same = former.and_then(|former| {
                former.0.iter().find(|former| former.is_named && former.name == group.name)
            });
            group.take_over(same)?;
        }
        Ok(())
    }

    /// Begins what has to be done for the groups besides requests. In each worker, on the thread that lives as long as
    /// it, which is `me`.
    pub fn maintain(&self, me: &Caretaker) {
        for group in self.0.iter().filter(|group| group.shared.get().is_some()) {
            for (line, server) in group.definition.servers.iter().enumerate() {
                if server.resolve.is_some() {
                    daemun_event::spawn(resolve::keep_resolved(
                        Arc::clone(group),
                        line,
                        me.clone(),
                    ));
                }
            }
        }
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
    /// The checks of its peers' health.
    pub(crate) checks: OnceLock<Vec<CheckStart>>,
    /// Its place in its zone, once the configuration is in force.
    pub(crate) shared: OnceLock<SharedGroup>,
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
        Group {
            id: None,
            name,
            port: None,
            is_named: false,
            keepalive,
            definition,
            checks: OnceLock::new(),
            shared: OnceLock::new(),
            serial,
        }
    }

    pub(crate) fn method(&self) -> Option<&Method> {
        self.definition.method.as_ref()
    }

    pub(crate) fn least_time(&self) -> Option<LeastTime> {
        match self.definition.method {
            Some(Method::LeastTime(how)) => Some(how),
            // two random ones are compared by their times
            Some(Method::Random { two: Some(Better::LeastTime(until)) }) => {
                Some(LeastTime { until, inflight: false })
            }
            _ => None,
        }
    }

    pub(crate) fn sticky(&self) -> Option<&Sticky> {
        self.definition.sticky.as_ref()
    }

    /// Begins a request's way through the group.
    pub fn select(self: &Arc<Self>) -> Selection {
        Selection::new(Arc::clone(self), self.local())
    }

    /// What this thread has of it.
    pub(crate) fn local(self: &Arc<Self>) -> Rc<Local> {
        let Some(GroupId(place)) = self.id else {
            return Rc::new(Local::new(self));
        };
        OF_THREAD.with_borrow_mut(|groups| {
            let place = place as usize;
            if place >= groups.len() {
                groups.resize_with(place + 1, || None);
            }
            match &groups[place] {
                Some(local) if local.group.serial == self.serial => Rc::clone(local),
                _ => Rc::clone(groups[place].insert(Rc::new(Local::new(self)))),
            }
        })
    }

    /// Whether this process looks after the group, from now on or still.
    pub(crate) fn holds_lease(&self, me: &Caretaker) -> bool {
        self.shared.get().is_some_and(|shared| {
            let _locked = shared.zone.lock();
            shared.lease().hold(me, Now::of_turn())
        })
    }

    /// Some server's addresses are being looked up for the first time.
    pub(crate) fn is_pending(&self) -> bool {
        self.definition.resolves()
            && self.shared.get().is_some_and(|shared| shared.is_pending(&self.definition))
    }

    /// Puts the group into its zone, and takes over what the former configuration knew. The error is a sentence.
    fn take_over(&self, former: Option<&Arc<Group>>) -> Result<(), String> {
        if let Some(Sticky::Learned(learn)) = self.sticky()
            && let Some(zone) = learn.zone.zone()
        {
            Sessions::new(zone, learn.timeout).take_over(&self.name)?;
        }
        let Some(zone) = self.definition.zone.as_ref().and_then(|zone| zone.zone()) else {
            return Ok(());
        };
        let former = former.and_then(|former| {
            let (group, definition) = (former.shared.get()?, &former.definition);
            Some(Former { group, definition, members: group.members(definition) })
        });
        let checks = self.checks.get().map(Vec::as_slice).unwrap_or_default();
        let shared = SharedGroup::make(zone, &self.definition, former.as_ref(), checks);
        let shared = shared.map_err(|Full| {
            format!("ngx_slab_alloc() failed: no memory in upstream zone \"{}\"", zone.name())
        })?;
        let _ = self.shared.set(shared);
        Ok(())
    }
}

/// What a thread has of a group.
#[derive(Debug)]
pub(crate) struct Local {
    group: Arc<Group>,
    members: RefCell<Rc<Members>>,
    /// Who waits for a peer.
    pub line: Rc<Line>,
}

impl Local {
    fn new(group: &Arc<Group>) -> Local {
        let members = match group.shared.get() {
            Some(shared) => shared.members(&group.definition),
            None => Members::of(&group.definition),
        };
        Local {
            group: Arc::clone(group),
            members: RefCell::new(Rc::new(members)),
            line: Rc::default(),
        }
    }

    /// Who is in the group now.
    pub fn members(&self) -> Rc<Members> {
        let mut members = self.members.borrow_mut();
        if !self.is_current(&members)
            && let Some(shared) = self.group.shared.get()
        {
            *members = Rc::new(shared.members(&self.group.definition));
        }
        Rc::clone(&members)
    }

    pub fn is_current(&self, members: &Members) -> bool {
        match (self.group.shared.get(), &members.shared) {
            (Some(shared), Some((_, version))) => shared.version() == *version,
            _ => true,
        }
    }
}

thread_local! {
    /// By the group's place. A thread serves one configuration.
    static OF_THREAD: RefCell<Vec<Option<Rc<Local>>>> = const { RefCell::new(Vec::new()) };
}
