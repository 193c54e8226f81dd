//! A request's way through a group: one peer after the other until one answers.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use daemun_core::listen::Address;
use daemun_core::script::Session;
use daemun_event::Deadline;

use crate::balance::{Tried, Walk, least_time};
use crate::group::{Group, Local};
use crate::members::{Member, Members, Tier};
use crate::queue::{GLANCE, Ticket};
use crate::sessions::Sessions;
use crate::state::{Down, Now};
use crate::sticky::{Sticky, first};

/// What one request has tried of a group. Dropped in the middle of a request, it takes the peer back as one that did
/// well.
pub struct Selection {
    group: Arc<Group>,
    local: Rc<Local>,
    members: Rc<Members>,
    walk: Walk,
    rank: Rank,
    /// Of the tier that is being asked.
    tried: Tried,
    tries: usize,
    current: Option<Current>,
    has_begun: bool,
    /// What the request says about its session or peer, for `sticky`.
    looked_up: Option<Vec<u8>>,
    /// The session that the answer begins or goes on with, and whether it begins.
    learned: Option<(Vec<u8>, bool)>,
    queued: Duration,
}

/// Whom to ask; goes back with [`Selection::done`].
#[derive(Debug)]
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
    /// A kept connection was closed before anything came. That is nobody's failure, and costs no try.
    Stale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    Primary,
    Backup,
}

/// The peer that is being asked.
struct Current {
    rank: Rank,
    place: usize,
    /// When it was chosen.
    since: Now,
    /// Milliseconds until the head of its answer was there.
    head: Option<i64>,
    /// It counts among those that have not answered.
    is_inflight: bool,
}

/// How often a request looks whether the group's first addresses are there.
const FIRST_GLANCE: Duration = Duration::from_millis(10);

impl Selection {
    pub(crate) fn new(group: Arc<Group>, local: Rc<Local>) -> Selection {
        let members = local.members();
        let tries = members.tries();
        Selection {
            group,
            local,
            members,
            walk: Walk::Turns,
            rank: Rank::Primary,
            tried: Tried::default(),
            tries,
            current: None,
            has_begun: false,
            looked_up: None,
            learned: None,
            queued: Duration::ZERO,
        }
    }

    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Chooses the next peer; waits where the group has a `queue`.
    pub async fn next(&mut self, session: &mut dyn Session) -> Result<Arc<Peer>, NoPeer> {
        self.begin(session);
        match self.choose(Now::of_turn()) {
            Some(peer) => Ok(peer),
            None if self.group.is_pending() => {
                Box::pin(self.wait_for_addresses()).await.ok_or(NoPeer)
            }
            None => Box::pin(self.wait_for_peer()).await.ok_or(NoPeer),
        }
    }

    /// How many peers may still be asked: all at first, one less with each that was done with.
    pub fn tries(&self) -> usize {
        self.tries
    }

    /// `$upstream_queue_time`: how long the request has waited for a peer, altogether.
    pub fn queued(&self) -> Duration {
        self.queued
    }

    /// Appends what tells the client who its peer is, for `sticky cookie`: the value of a `Set-Cookie`, which takes the
    /// place of one for an earlier peer. `false` where there is nothing to tell.
    pub fn cookie(&self, session: &mut dyn Session, out: &mut Vec<u8>) -> bool {
        let Some(Sticky::Told { tell: Some(tell), .. }) = self.group.sticky() else {
            return false;
        };
        let Some(current) = &self.current else {
            return false;
        };
        (tell.0)(session, self.member(current).id(), out);
        true
    }

    /// The head of the peer's answer is there, and the session's variables tell of it.
    pub fn head_came(&mut self, session: &mut dyn Session) {
        self.note_head(Now::of_turn());
        if let Some(Sticky::Learned(learn)) = self.group.sticky() {
            let created = first(&learn.create, session).map(|name| (name, true));
            let known = || self.looked_up.clone().map(|name| (name, false));
            self.learned = created.or_else(known);
            if learn.at_head {
                self.learn(Now::of_turn());
            }
        }
    }

    /// Takes a peer back. `true`: it has failed so often that it is not asked for a while ("upstream server temporarily
    /// disabled").
    pub fn done(&mut self, _peer: Arc<Peer>, attempt: Attempt) -> bool {
        self.release(attempt, Now::of_turn())
    }

    /// Counts a request that another process has at the peer of that address; `None` where the group has no such peer.
    pub fn resume(&mut self, address: &Address) -> Option<Arc<Peer>> {
        self.release(Attempt::Good, Now::of_turn());
        let members = Rc::clone(&self.members);
        let place = |tier: &Tier| tier.members.iter().position(|one| one.peer.address == *address);
        let primary = place(&members.primary).map(|place| (Rank::Primary, place));
        let (rank, place) = primary.or_else(|| Some((Rank::Backup, place(&members.backup)?)))?;
        let member = &members.tier(rank).members[place];
        let _locked = members.lock();
        if !member.is_there() {
            return None;
        }
        let since = Now::of_turn();
        member.take(since);
        self.current = Some(Current { rank, place, since, head: None, is_inflight: false });
        Some(Arc::clone(&member.peer))
    }

    /// What the method and `sticky` want to know of the request.
    pub(crate) fn begin(&mut self, session: &mut dyn Session) {
        if self.has_begun {
            return;
        }
        self.has_begun = true;
        if let Some(method) = self.group.method() {
            self.walk = Walk::new(method, &self.members, session);
        }
        self.looked_up = self.group.sticky().and_then(|sticky| sticky.looked_up(session));
    }

    /// The server has just started: its first answer is on the way.
    async fn wait_for_addresses(&mut self) -> Option<Arc<Peer>> {
        let (_, patience) = self.group.definition.resolver.as_ref()?;
        let deadline = Deadline::after(*patience);
        while self.group.is_pending() && !deadline.has_passed() {
            daemun_event::sleep(FIRST_GLANCE).await;
        }
        self.start_over();
        self.choose(Now::of_turn())
    }

    /// As if no peer had been asked.
    fn start_over(&mut self) {
        self.rank = Rank::Primary;
        self.tried.clear();
    }

    async fn wait_for_peer(&mut self) -> Option<Arc<Peer>> {
        let queue = self.group.definition.queue?;
        let ticket: Ticket = self.local.line.join(queue.length)?;
        let (began, deadline) = (daemun_event::now(), Deadline::after(queue.timeout));
        let peer = loop {
            let glance = Deadline::after(GLANCE).min(deadline);
            daemun_event::timeout(glance, ticket.wait()).await;
            if ticket.is_first() {
                self.start_over();
                if let Some(peer) = self.choose(Now::of_turn()) {
                    break Some(peer);
                }
            }
            if deadline.has_passed() {
                break None;
            }
        };
        self.queued += Duration::from_millis(daemun_event::now() - began);
        peer
    }

    pub(crate) fn choose(&mut self, now: Now) -> Option<Arc<Peer>> {
        self.release(Attempt::Good, now);
        let bound = self.bound_id(now);
        let members = loop {
            self.catch_up();
            let members = Rc::clone(&self.members);
            let locked = members.lock();
            if self.local.is_current(&members) {
                let chosen = self.choose_locked(&members, bound.as_deref(), now);
                drop(locked);
                chosen?;
                break members;
            }
        };
        let current = self.current.as_ref()?;
        let member = &members.tier(current.rank).members[current.place];
        Some(Arc::clone(&member.peer))
    }

    /// Takes note of peers that have come and gone.
    fn catch_up(&mut self) {
        let members = self.local.members();
        if Rc::ptr_eq(&members, &self.members) {
            return;
        }
        let (old, new) = (self.members.tier(self.rank), members.tier(self.rank));
        let mut tried = Tried::default();
        for (place, member) in new.members.iter().enumerate() {
            let mut known = old.members.iter().enumerate();
            if known.any(|(old, known)| self.tried.has(old) && known.is(member)) {
                tried.insert(place);
            }
        }
        self.tries = self.tries.max(members.tries().saturating_sub(self.members.tries()));
        self.tried = tried;
        self.members = members;
    }

    fn choose_locked(&mut self, members: &Members, bound: Option<&str>, now: Now) -> Option<()> {
        let place = self.choose_ranked(members, bound, now)?;
        let member = &members.tier(self.rank).members[place];
        member.take(now);
        let is_inflight = self.group.least_time().is_some_and(|how| how.inflight);
        if is_inflight && !members.is_single {
            least_time::begin(member.state(), now);
        }
        self.tried.insert(place);
        self.current = Some(Current {
            rank: self.rank,
            place,
            since: now,
            head: None,
            is_inflight: is_inflight && !members.is_single,
        });
        Some(())
    }

    /// Peers of the first rank as long as one can be asked, backups from then on.
    fn choose_ranked(&mut self, members: &Members, bound: Option<&str>, now: Now) -> Option<usize> {
        if self.rank == Rank::Primary {
            let chosen = match members.is_single {
                true => single(&members.primary, bound),
                false => self.choose_in_tier(members, bound, now),
            };
            if chosen.is_some() || members.backup.members.is_empty() {
                return chosen;
            }
            self.rank = Rank::Backup;
            self.tried.clear();
        }
        self.choose_in_tier(members, bound, now)
    }

    fn choose_in_tier(
        &mut self,
        members: &Members,
        bound: Option<&str>,
        now: Now,
    ) -> Option<usize> {
        let tier = members.tier(self.rank);
        let bound = bound.and_then(|id| tier.members.iter().position(|member| member.id() == id));
        let bound = bound.filter(|place| {
            !self.tried.has(*place) && tier.members[*place].is_open_to_its_own(now)
        });
        self.walk.choose(members, tier, &self.tried, bound, now)
    }

    /// The id of the peer that the request belongs to.
    fn bound_id(&self, now: Now) -> Option<String> {
        let looked_up = self.looked_up.as_ref()?;
        match self.group.sticky()? {
            Sticky::Told { .. } => Some(String::from_utf8_lossy(looked_up).into_owned()),
            Sticky::Learned(learn) => {
                Sessions::new(learn.zone.zone()?, learn.timeout).peer_of(looked_up, now)
            }
        }
    }

    fn learn(&mut self, now: Now) {
        let Some(Sticky::Learned(learn)) = self.group.sticky() else { return };
        let (Some(zone), Some(current)) = (learn.zone.zone(), &self.current) else { return };
        let Some((session, begins)) = self.learned.take() else { return };
        let id = self.member(current).id();
        Sessions::new(zone, learn.timeout).learn(&session, id, begins, now);
    }

    pub(crate) fn note_head(&mut self, now: Now) {
        let how = self.group.least_time();
        let Some(current) = &mut self.current else { return };
        let took = (now.millis - current.since.millis).max(0);
        current.head = Some(took);
        let Some(how) = how.filter(|how| how.inflight && how.until == crate::Until::Header) else {
            return;
        };
        let members = Rc::clone(&self.members);
        let _locked = members.lock();
        let member = &members.tier(current.rank).members[current.place];
        if member.is_there() {
            least_time::note_head(member.state(), how, took);
            if std::mem::take(&mut current.is_inflight) {
                least_time::end(member.state(), took, now);
            }
        }
    }

    fn member(&self, current: &Current) -> &Member {
        &self.members.tier(current.rank).members[current.place]
    }

    /// Counts the end of an attempt as nginx does. `true`: the peer is disabled for a while.
    pub(crate) fn release(&mut self, attempt: Attempt, now: Now) -> bool {
        if self.current.is_none() {
            return false;
        }
        if attempt == Attempt::Good {
            self.learn(now);
        }
        let Some(current) = self.current.take() else { return false };
        let members = Rc::clone(&self.members);
        let locked = members.lock();
        let disabled = self.release_locked(&members, &current, attempt, now);
        drop(locked);
        if self.group.definition.queue.is_some() {
            self.local.line.tell();
        }
        disabled
    }

    fn release_locked(
        &mut self,
        members: &Members,
        current: &Current,
        attempt: Attempt,
        now: Now,
    ) -> bool {
        if attempt == Attempt::Stale {
            self.tried.remove(current.place);
        } else {
            self.tries = if members.is_single { 0 } else { self.tries.saturating_sub(1) };
        }
        let member = &members.tier(current.rank).members[current.place];
        if !member.is_there() {
            return false;
        }
        let state = member.state();
        state.conns.add(-1);
        if let Some(how) = self.group.least_time().filter(|_| !members.is_single) {
            let took = (now.millis - current.since.millis).max(0);
            if current.is_inflight {
                least_time::end(state, took, now);
            }
            if let (Attempt::Good, Some(head)) = (attempt, current.head) {
                least_time::note_response(state, how, head, took);
            }
        }
        match attempt {
            Attempt::Stale => false,
            _ if members.is_single => {
                state.fails.set(0);
                false
            }
            Attempt::Failed => member.fail(now),
            Attempt::Good | Attempt::Next => {
                member.do_well(now);
                false
            }
        }
    }
}

/// One peer alone is asked whether or not it has failed.
fn single(tier: &Tier, bound: Option<&str>) -> Option<usize> {
    let member = &tier.members[0];
    let is_bound = bound.is_some_and(|id| id == member.id());
    let reasons = member.state().down.get() & if is_bound { !Down::DRAINING } else { !0 };
    (reasons == 0 && member.has_room()).then_some(0)
}

impl Drop for Selection {
    fn drop(&mut self) {
        if self.current.is_some() {
            // the thread's reactor may be gone
            self.release(Attempt::Good, Now::from(SystemTime::now()));
        }
    }
}

impl Members {
    fn tier(&self, rank: Rank) -> &Tier {
        match rank {
            Rank::Primary => &self.primary,
            Rank::Backup => &self.backup,
        }
    }
}

impl Member {
    /// Counts a failure. `true`: it was one too many.
    fn fail(&self, now: Now) -> bool {
        let state = self.state();
        state.fails.add(1);
        state.accessed.set(now.seconds);
        state.checked.set(now.seconds);
        if self.max_fails == 0 {
            return false;
        }
        let weight = state.effective_weight.get() - self.weight / self.max_fails;
        state.effective_weight.set(weight.max(0));
        state.fails.get() >= self.max_fails
    }

    /// A time of `fail_timeout` with a good end: earlier failures are forgotten.
    fn do_well(&self, now: Now) {
        let state = self.state();
        if state.accessed.get() >= state.checked.get() {
            return;
        }
        if self.max_fails > 0 && state.fails.get() >= self.max_fails {
            self.recover(now);
        }
        state.fails.set(0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::definition::{Availability, Definition, ServerSpec};
    use crate::group::Groups;

    fn server(port: u16) -> ServerSpec {
        let address = Address::Ip(([127, 0, 0, 1], port).into());
        ServerSpec::new(address.to_string(), vec![address])
    }

    fn group(servers: Vec<ServerSpec>) -> Arc<Group> {
        let definition = Definition { servers, ..Definition::default() };
        let mut groups = Groups::default();
        let id = groups.add(Group::explicit("test".to_owned(), definition));
        Arc::clone(groups.of(id))
    }

    fn at(seconds: u64) -> Now {
        Now::after(Duration::from_secs(seconds))
    }

    /// The last digit of the chosen port; `-` for nobody.
    fn digit(peer: Option<&Arc<Peer>>) -> char {
        peer.map_or('-', |peer| peer.name.chars().last().unwrap())
    }

    fn sequence(group: &Arc<Group>, requests: usize) -> String {
        (0..requests).map(|_| digit(group.select().choose(at(1000)).as_ref())).collect()
    }

    #[test]
    fn weights_are_spread_smoothly() {
        let heavy = ServerSpec { weight: 5, ..server(1) };
        // nginx's own choices for weights 5, 1 and 1
        assert_eq!(sequence(&group(vec![heavy, server(2), server(3)]), 14), "11213111121311");
        assert_eq!(sequence(&group(vec![server(1), server(2), server(3)]), 7), "1231231");
    }

    #[test]
    fn a_peer_that_is_down_is_left_out() {
        let down = ServerSpec { availability: Availability::Down, ..server(2) };
        let group = group(vec![server(1), down, server(3)]);
        assert_eq!(sequence(&group, 4), "1313");
        assert_eq!(group.select().tries(), 2);
    }

    #[test]
    fn a_request_asks_each_peer_once_and_backups_last() {
        let backup = ServerSpec { backup: true, ..server(3) };
        let group = group(vec![server(1), server(2), backup]);
        let mut selection = group.select();
        assert_eq!(selection.tries(), 3);
        let mut asked = String::new();
        while let Some(peer) = selection.choose(at(1000)) {
            asked.push(digit(Some(&peer)));
            selection.release(Attempt::Next, at(1000));
        }
        assert_eq!((asked.as_str(), selection.tries()), ("123", 0));
        assert_eq!(sequence(&group, 2), "21", "an answer that may be bettered is no failure");
    }

    #[test]
    fn failures_disable_a_peer_for_fail_timeout() {
        let group = group(vec![server(1), server(2)]);
        let fail = |now: Now| {
            let mut selection = group.select();
            let peer = selection.choose(now).unwrap();
            (digit(Some(&peer)), selection.release(Attempt::Failed, now))
        };
        assert_eq!(fail(at(1000)), ('1', true));
        let choose = |now: Now| digit(group.select().choose(now).as_ref());
        assert_eq!([1000, 1005, 1010].map(|second| choose(at(second))), ['2'; 3]);
        // one request after ten seconds and more, which does well, and all is forgotten
        let later: String = (0..4).map(|_| choose(at(1011))).collect();
        assert!(later.contains('1'), "{later}");
        assert_eq!(fail(at(1011)).1, fail(at(1011)).1);
        assert_eq!(choose(at(1012)), '-', "nobody is left");
    }

    #[test]
    fn failures_are_counted_up_to_max_fails() {
        let patient = |port| ServerSpec { max_fails: 3, weight: 3, ..server(port) };
        let group = group(vec![patient(1), ServerSpec { max_fails: 0, ..server(2) }]);
        let mut failed = Vec::new();
        for _ in 0..12 {
            let mut selection = group.select();
            let peer = selection.choose(at(1000)).unwrap();
            failed.push((digit(Some(&peer)), selection.release(Attempt::Failed, at(1000))));
        }
        let of_first: Vec<_> = failed.iter().filter(|(peer, _)| *peer == '1').collect();
        assert_eq!(of_first, [&('1', false), &('1', false), &('1', true)]);
        assert!(failed.iter().all(|(peer, disabled)| *peer == '1' || !disabled));
    }

    #[test]
    fn a_single_peer_is_never_given_up() {
        let group = group(vec![server(1)]);
        for _ in 0..5 {
            let mut selection = group.select();
            assert!(selection.choose(at(1000)).is_some());
            assert!(!selection.release(Attempt::Failed, at(1000)));
            assert_eq!(selection.tries(), 0);
        }
    }

    #[test]
    fn max_conns_are_never_exceeded() {
        let small = |port| ServerSpec { max_conns: 1, ..server(port) };
        let group = group(vec![small(1), small(2)]);
        let (mut first, mut second, mut third) = (group.select(), group.select(), group.select());
        assert!(first.choose(at(1)).is_some() && second.choose(at(1)).is_some());
        assert!(third.choose(at(1)).is_none());
        drop(first);
        assert_eq!(
            digit(third.choose(at(1)).as_ref()),
            '1',
            "a request that is dropped gives its peer back"
        );
        let mut lonely = super::tests::group(vec![small(1)]).select();
        assert!(lonely.choose(at(1)).is_some());
    }

    #[test]
    fn a_stale_connection_costs_no_try() {
        let group = group(vec![server(1), server(2)]);
        let mut selection = group.select();
        selection.choose(at(1)).unwrap();
        assert!(!selection.release(Attempt::Stale, at(1)));
        assert_eq!(selection.tries(), 2);
        let state =
            |place: usize| group.local().members().primary.members[place].state().fails.get();
        assert_eq!((state(0), state(1)), (0, 0));
    }
}
