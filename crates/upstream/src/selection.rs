//! A request's way through a group: one peer after the other until one answers.

use std::rc::Rc;
use std::sync::Arc;

use daemun_core::listen::Address;
use daemun_core::script::Session;

use crate::balance::{Tried, round_robin};
use crate::group::Group;
use crate::members::{Member, Members, Tier};
use crate::state::Now;

/// What one request has tried of a group. Dropped in the middle of a request, it takes the peer back as one that did
/// well.
pub struct Selection {
    group: Arc<Group>,
    members: Rc<Members>,
    rank: Rank,
    /// Of the tier that is being asked.
    tried: Tried,
    tries: usize,
    current: Option<(Rank, usize)>,
}

/// Whom to ask; goes back with [`Selection::done`].
#[derive(Clone, Debug)]
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

impl Selection {
    pub(crate) fn new(group: Arc<Group>, members: Rc<Members>) -> Selection {
        let tries = members.tries();
        Selection {
            group,
            members,
            rank: Rank::Primary,
            tried: Tried::default(),
            tries,
            current: None,
        }
    }

    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Chooses the next peer; waits where the group has a `queue`.
    pub async fn next(&mut self, _session: &mut dyn Session) -> Result<Peer, NoPeer> {
        self.choose(Now::of_turn()).ok_or(NoPeer)
    }

    /// How many peers may still be asked: all at first, one less with each that was done with.
    pub fn tries(&self) -> usize {
        self.tries
    }

    /// Takes a peer back. `true`: it has failed so often that it is not asked for a while ("upstream server temporarily
    /// disabled").
    pub fn done(&mut self, _peer: Peer, attempt: Attempt) -> bool {
        self.release(attempt, Now::of_turn())
    }

    pub(crate) fn choose(&mut self, now: Now) -> Option<Peer> {
        self.release(Attempt::Good, now);
        let place = self.choose_ranked(now)?;
        let member = &self.tier().members[place];
        member.take(now);
        let peer = Peer { address: member.address.clone(), name: Arc::clone(&member.name) };
        self.tried.insert(place);
        self.current = Some((self.rank, place));
        Some(peer)
    }

    /// Peers of the first rank as long as one can be asked, backups from then on.
    fn choose_ranked(&mut self, now: Now) -> Option<usize> {
        if self.rank == Rank::Primary {
            let chosen = match self.members.is_single {
                true => self.single(),
                false => self.choose_in_tier(now),
            };
            if chosen.is_some() || self.members.backup.members.is_empty() {
                return chosen;
            }
            self.rank = Rank::Backup;
            self.tried.clear();
        }
        self.choose_in_tier(now)
    }

    /// One peer alone is asked whether or not it has failed.
    fn single(&self) -> Option<usize> {
        let member = &self.members.primary.members[0];
        (member.state().down.get() == 0 && member.has_room()).then_some(0)
    }

    fn choose_in_tier(&mut self, now: Now) -> Option<usize> {
        round_robin::choose(self.tier(), &self.tried, None, now)
    }

    fn tier(&self) -> &Tier {
        self.members.tier(self.rank)
    }

    /// Counts the end of an attempt as nginx does. `true`: the peer is disabled for a while.
    pub(crate) fn release(&mut self, attempt: Attempt, now: Now) -> bool {
        let Some((rank, place)) = self.current.take() else {
            return false;
        };
        let members = Rc::clone(&self.members);
        let member = &members.tier(rank).members[place];
        member.state().conns.add(-1);
        if attempt == Attempt::Stale {
            self.tried.remove(place);
            return false;
        }
        self.tries = match members.is_single {
            true => 0,
            false => self.tries.saturating_sub(1),
        };
        if members.is_single {
            member.state().fails.set(0);
            return false;
        }
        match attempt {
            Attempt::Failed => member.fail(now),
            _ => {
                member.do_well();
                false
            }
        }
    }
}

impl Drop for Selection {
    fn drop(&mut self) {
        if self.current.is_some() {
            self.release(Attempt::Good, Now::default());
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
    fn do_well(&self) {
        let state = self.state();
        if state.accessed.get() < state.checked.get() {
            state.fails.set(0);
        }
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
    fn digit(peer: Option<&Peer>) -> char {
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
        let state = |place: usize| group.members().primary.members[place].state().fails.get();
        assert_eq!((state(0), state(1)), (0, 0));
    }
}
