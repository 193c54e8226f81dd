//! A group in a zone: its peers and their numbers, seen by all workers and threads alike.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use daemun_core::listen::Address;
use daemun_shm::{Handle, Locked, Number, Text, Zone, plain};

use crate::definition::{Definition, Resolve, ServerSpec};
use crate::former::Former;
use crate::health::{Beginning, CheckStart};
use crate::lease::Lease;
use crate::members::{Member, Members, Tier};
use crate::state::PeerState;

plain! {
    /// What stands for a group in its zone.
    #[derive(Debug)]
    pub(crate) struct GroupRecord {
        /// Becomes another with every change of who is in the group.
        version: Number,
        /// The last serial number that a peer has been given.
        serials: Number,
        /// The first peer of each rank.
        heads: [Number; 2],
        /// A record for each line `server` of the block.
        lines: Number,
        /// Who looks after the group.
        pub lease: Lease,
    }
}

plain! {
    /// What is known about the addresses of a line that has `resolve`.
    #[derive(Debug)]
    pub(crate) struct LineRecord {
        /// Milliseconds of the day's time: when they are to be looked up again.
        pub due: Number,
        /// They have been looked up.
        pub is_known: Number,
    }
}

plain! {
    /// A peer in a zone.
    #[derive(Debug)]
    pub(crate) struct PeerRecord {
        /// Tells it from those that stood here before; 0 while nobody does.
        pub serial: Number,
        next: Number,
        /// The place of its line in the `upstream` block.
        line: Number,
        /// Its place among the line's addresses; -1 where the address stands here.
        place: Number,
        port: Number,
        /// As IPv6, IPv4 mapped.
        ip: [Number; 2],
        pub weight: Number,
        /// A text: what it is called where that is not what the line says; 0 where it is.
        pub name: Number,
        pub state: PeerState,
    }
}

/// A group's place in its zone.
#[derive(Debug)]
pub(crate) struct SharedGroup {
    pub zone: Arc<Zone>,
    record: Handle<GroupRecord>,
    /// How peers begin where their health is checked.
    beginning: Beginning,
}

/// The zone has no room left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl SharedGroup {
    /// Writes the peers of a configuration into its zone; what the former one knew of them goes on.
    pub fn make(
        zone: &Arc<Zone>,
        definition: &Definition,
        former: Option<&Former<'_>>,
        checks: &[CheckStart],
    ) -> Result<SharedGroup, Full> {
        let locked = zone.lock();
        let record: Handle<GroupRecord> = locked.allocate().ok_or(Full)?;
        let lines: Handle<LineRecord> =
            locked.allocate_slice(definition.servers.len()).ok_or(Full)?;
        zone.at(record).lines.set(lines.number());
        let beginning = Beginning::of(checks);
        let group = SharedGroup { zone: Arc::clone(zone), record, beginning };
        for (line, server) in definition.servers.iter().enumerate() {
            for (place, address) in server.addresses.iter().enumerate() {
                let peer = group.prepare(&locked, line, server, definition.unit())?;
                zone.at(peer).place.set(place as i64);
                let known = former.and_then(|former| former.peer(&server.name, address));
                if let Some(known) = known {
                    group.take_over_peer(peer, known);
                }
                group.append(server.backup.into(), peer);
            }
            if let (Some(resolve), Some(former)) = (&server.resolve, former) {
                group.take_over_line(&locked, definition, (line, resolve), former)?;
            }
        }
        drop(locked);
        Ok(group)
    }

    fn take_over_peer(&self, peer: Handle<PeerRecord>, known: &Member) {
        let state = &self.zone.at(peer).state;
        state.take_over(known.state());
        self.beginning.go_on(state, known.state());
    }

    /// What the former configuration had looked up.
    fn take_over_line(
        &self,
        locked: &Locked<'_>,
        definition: &Definition,
        (line, resolve): (usize, &Resolve),
        former: &Former<'_>,
    ) -> Result<(), Full> {
        let server = &definition.servers[line];
        for (member, is_second) in former.resolved(resolve) {
            let rank = usize::from(server.backup) + usize::from(is_second);
            let Address::Ip(mut address) = member.peer.address else { continue };
            if resolve.service.is_none() {
                address.set_port(resolve.port);
            }
            let found = Found {
                address,
                name: resolve.service.is_some().then(|| member.server.to_string()),
                weight: u32::try_from(member.weight / former.definition.unit()).unwrap_or(1),
                is_second,
            };
            if rank < 2 {
                let peer = self.prepare_found(locked, definition, line, &found)?;
                self.take_over_peer(peer, member);
                self.append(rank, peer);
            }
        }
        if let Some(known) = former.line(resolve) {
            let mine = self.line(line, definition);
            mine.due.set(known.due.get());
            mine.is_known.set(known.is_known.get());
        }
        Ok(())
    }

    /// The line's addresses are these now: who is new comes first, and then who is gone goes, so that the group is never
    /// empty in between.
    pub fn update(
        &self,
        definition: &Definition,
        line: usize,
        found: &[Found],
    ) -> Result<(), Full> {
        let locked = self.zone.lock();
        let server = &definition.servers[line];
        let mut result = Ok(());
        let mut stays = Vec::new();
        for found in found {
            let rank = usize::from(server.backup) + usize::from(found.is_second);
            if rank > 1 {
                continue;
            }
            let same = self.records(rank).find(|record| {
                !stays.contains(record) && self.is_same(*record, server, line, found)
            });
            let added = same.map_or_else(
                || {
                    let peer = self.prepare_found(&locked, definition, line, found)?;
                    self.append(rank, peer);
                    Ok(peer)
                },
                Ok,
            );
            match added {
                Ok(peer) => stays.push(peer),
                Err(Full) => result = Err(Full),
            }
        }
        for rank in 0..2 {
            let gone: Vec<_> = self
                .records(rank)
                .filter(|record| self.is_resolved_of(*record, line) && !stays.contains(record))
                .collect();
            gone.into_iter().for_each(|peer| self.remove(&locked, rank, peer));
        }
        self.line(line, definition).is_known.set(1);
        result
    }

    fn is_resolved_of(&self, record: Handle<PeerRecord>, line: usize) -> bool {
        let peer = self.zone.at(record);
        peer.place.get() < 0 && peer.line.get() == line as i64
    }

    fn is_same(
        &self,
        record: Handle<PeerRecord>,
        server: &ServerSpec,
        line: usize,
        found: &Found,
    ) -> bool {
        let peer = self.zone.at(record);
        if !self.is_resolved_of(record, line) || peer.address() != Address::Ip(found.address) {
            return false;
        }
        let Some(name) = &found.name else { return true };
        let known = Handle::of(&peer.name).map(|known| self.zone.text(known));
        known.as_deref() == Some(name.as_bytes())
            && (server.weight != 1 || peer.weight.get() == i64::from(found.weight.max(1)))
    }

    fn prepare_found(
        &self,
        locked: &Locked<'_>,
        definition: &Definition,
        line: usize,
        found: &Found,
    ) -> Result<Handle<PeerRecord>, Full> {
        let server = &definition.servers[line];
        let weight = match (&found.name, server.weight) {
            (Some(_), 1) => found.weight.max(1),
            (_, weight) => weight,
        };
        let server = ServerSpec { weight, ..server.clone() };
        let handle = self.prepare(locked, line, &server, definition.unit())?;
        let peer = self.zone.at(handle);
        peer.place.set(-1);
        peer.set_address(found.address);
        if let Some(name) = &found.name {
            let Some(name) = locked.allocate_text(name.as_bytes()) else {
                locked.free(handle);
                return Err(Full);
            };
            peer.name.set(name.number());
        }
        Ok(handle)
    }

    /// Takes a peer out: one store and nobody sees it any more.
    fn remove(&self, locked: &Locked<'_>, rank: usize, peer: Handle<PeerRecord>) {
        let group = self.zone.at(self.record);
        let before =
            self.records(rank).find(|record| Handle::of(&self.zone.at(*record).next) == Some(peer));
        let link = before.map_or(&group.heads[rank], |before| &self.zone.at(before).next);
        let record = self.zone.at(peer);
        link.set(record.next.get());
        group.version.add(1);
        record.serial.set(0);
        if let Some(name) = Handle::<Text>::of(&record.name) {
            locked.free(name);
        }
        locked.free(peer);
    }

    /// Whether some line's addresses have never been looked up.
    pub fn is_pending(&self, definition: &Definition) -> bool {
        let lines = definition.servers.iter().enumerate();
        let mut lines = lines.filter(|(_, server)| server.resolve.is_some());
        lines.any(|(line, _)| self.line(line, definition).is_known.get() == 0)
    }

    pub fn line(&self, line: usize, definition: &Definition) -> &LineRecord {
        let lines = Handle::of(&self.zone.at(self.record).lines).expect("the lines are made first");
        &self.zone.slice(lines, definition.servers.len())[line]
    }

    pub fn lease(&self) -> &Lease {
        &self.zone.at(self.record).lease
    }

    pub fn version(&self) -> i64 {
        self.zone.at(self.record).version.get()
    }

    /// Who is in the group now.
    pub fn members(&self, definition: &Definition) -> Members {
        let _locked = self.zone.lock();
        let version = self.version();
        let tier = |rank: usize| {
            let records = self.records(rank);
            Tier::new(records.filter_map(|record| self.member(definition, record)).collect())
        };
        Members::new(tier(0), tier(1), Some((Arc::clone(&self.zone), version)))
    }

    fn member(&self, definition: &Definition, record: Handle<PeerRecord>) -> Option<Member> {
        let peer = self.zone.at(record);
        let line = usize::try_from(peer.line.get()).ok()?;
        let server = definition.servers.get(line)?;
        let address = match usize::try_from(peer.place.get()) {
            Ok(place) => server.addresses.get(place)?.clone(),
            Err(_) => peer.address(),
        };
        Some(Member::shared(line, server, definition.unit(), address, &self.zone, record))
    }

    /// The peers of a rank. To be called with the lock.
    fn records(&self, rank: usize) -> impl Iterator<Item = Handle<PeerRecord>> {
        let first: Option<Handle<PeerRecord>> = Handle::of(&self.zone.at(self.record).heads[rank]);
        std::iter::successors(first, |record| Handle::of(&self.zone.at(*record).next))
    }

    /// A peer that nobody sees yet.
    fn prepare(
        &self,
        locked: &Locked<'_>,
        line: usize,
        server: &ServerSpec,
        unit: i64,
    ) -> Result<Handle<PeerRecord>, Full> {
        let handle: Handle<PeerRecord> = locked.allocate().ok_or(Full)?;
        let group = self.zone.at(self.record);
        group.serials.add(1);
        let peer = self.zone.at(handle);
        peer.serial.set(group.serials.get());
        peer.line.set(line as i64);
        peer.weight.set(i64::from(server.weight) * unit);
        peer.state.begin(server, unit);
        self.beginning.begin(&peer.state);
        Ok(handle)
    }

    /// Puts a peer at the end of its rank: one store makes it seen.
    fn append(&self, rank: usize, peer: Handle<PeerRecord>) {
        let last = self.records(rank).last();
        let group = self.zone.at(self.record);
        let place = last.map_or(&group.heads[rank], |last| &self.zone.at(last).next);
        place.set(peer.number());
        group.version.add(1);
    }
}

/// An address that was looked up for a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub address: SocketAddr,
    /// The host that offers the service, where it is one.
    pub name: Option<String>,
    pub weight: u32,
    /// Of a service: not of the best priority, so that it is a backup.
    pub is_second: bool,
}

impl PeerRecord {
    fn set_address(&self, address: SocketAddr) {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let bits = ip.to_bits();
        self.ip[0].set(((bits >> 64) as u64).cast_signed());
        self.ip[1].set((bits as u64).cast_signed());
        self.port.set(address.port().into());
    }

    fn address(&self) -> Address {
        let bits = self.ip.each_ref().map(|half| u128::from(half.get().cast_unsigned()));
        let ip = Ipv6Addr::from_bits(bits[0] << 64 | bits[1]);
        let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
        Address::Ip(SocketAddr::new(ip, self.port.get() as u16))
    }
}

impl Members {
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.primary.members.iter().chain(&self.backup.members)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::selection::Attempt;
    use crate::state::Now;
    use crate::{Group, Groups};

    fn zone(size: usize) -> Arc<Zone> {
        Arc::new(Zone::new("test", size).unwrap())
    }

    fn line(host: &str, service: Option<&str>) -> ServerSpec {
        let service = service.map(str::to_owned);
        let resolve = Resolve { host: host.to_owned(), service, port: 80 };
        ServerSpec { resolve: Some(resolve), ..ServerSpec::new(host, Vec::new()) }
    }

    fn group(
        servers: Vec<ServerSpec>,
        zone: &Arc<Zone>,
        former: Option<&Arc<Group>>,
    ) -> Arc<Group> {
        let definition = Definition { servers, ..Definition::default() };
        let former = former.map(|former| {
            let (group, definition) = (former.shared.get().unwrap(), &former.definition);
            Former { group, definition, members: group.members(definition) }
        });
        let shared = SharedGroup::make(zone, &definition, former.as_ref(), &[]).unwrap();
        let mut groups = Groups::default();
        let group = Group::explicit("test".to_owned(), definition);
        group.shared.set(shared).unwrap();
        let id = groups.add(group);
        Arc::clone(groups.of(id))
    }

    fn found(last: u8) -> Found {
        let address = ([127, 0, 0, last], 80).into();
        Found { address, name: None, weight: 1, is_second: false }
    }

    fn update(group: &Arc<Group>, line: usize, found: &[Found]) {
        group.shared.get().unwrap().update(&group.definition, line, found).unwrap();
    }

    fn names(group: &Arc<Group>) -> Vec<String> {
        let members = group.shared.get().unwrap().members(&group.definition);
        members.all().map(|member| member.peer.name.to_string()).collect()
    }

    fn now() -> Now {
        Now::after(Duration::from_secs(1000))
    }

    #[test]
    fn addresses_come_and_go() {
        let group = group(vec![line("a.example", None)], &zone(Zone::LEAST), None);
        assert!(group.is_pending() && names(&group).is_empty());
        update(&group, 0, &[found(1), found(2)]);
        assert!(!group.is_pending());
        assert_eq!(names(&group), ["127.0.0.1:80", "127.0.0.2:80"]);
        update(&group, 0, &[found(3), found(2)]);
        assert_eq!(names(&group), ["127.0.0.2:80", "127.0.0.3:80"]);
        update(&group, 0, &[]);
        assert!(names(&group).is_empty());
    }

    #[test]
    fn servers_of_a_service_are_ranked_and_weighted() {
        let servers = vec![line("a.example", Some("http"))];
        let group = group(servers, &zone(Zone::LEAST), None);
        let offer = |last, weight, is_second| Found {
            name: Some("host.example".to_owned()),
            weight,
            is_second,
            ..found(last)
        };
        update(&group, 0, &[offer(1, 5, false), offer(2, 1, true)]);
        let members = group.shared.get().unwrap().members(&group.definition);
        let [first] = &*members.primary.members else { panic!("one of the best priority") };
        assert_eq!(
            (&*first.peer.name, first.weight, &*first.server),
            ("127.0.0.1:80", 5, "host.example")
        );
        assert_eq!(&*members.backup.members[0].peer.name, "127.0.0.2:80");
        update(&group, 0, &[offer(1, 7, false)]);
        let members = group.shared.get().unwrap().members(&group.definition);
        assert_eq!((members.primary.members[0].weight, members.backup.members.len()), (7, 0));
    }

    #[test]
    fn a_reload_keeps_what_was_found_and_what_had_failed() {
        let fixed = || {
            let address = Address::Ip(([127, 0, 0, 9], 81).into());
            ServerSpec::new("127.0.0.9:81", vec![address])
        };
        let before = group(vec![line("a.example", None), fixed()], &zone(Zone::LEAST), None);
        update(&before, 0, &[found(1)]);
        let mut selection = before.select();
        let peer = selection.choose(now()).unwrap();
        assert_eq!(&*peer.name, "127.0.0.9:81");
        assert!(selection.release(Attempt::Failed, now()));

        let moved = ServerSpec { weight: 3, ..line("a.example", None) };
        let after = group(vec![fixed(), moved], &zone(Zone::LEAST), Some(&before));
        assert_eq!(names(&after), ["127.0.0.9:81", "127.0.0.1:80"]);
        assert!(!after.is_pending());
        for _ in 0..3 {
            assert_eq!(&*after.select().choose(now()).unwrap().name, "127.0.0.1:80");
        }
        let other = group(vec![line("b.example", None)], &zone(Zone::LEAST), Some(&before));
        assert!(names(&other).is_empty() && other.is_pending());
    }

    #[test]
    fn ten_thousand_changes_never_leave_the_group_empty() {
        let zone = zone(Zone::LEAST);
        let group = group(vec![line("a.example", None)], &zone, None);
        update(&group, 0, &[found(1)]);
        let stop = AtomicBool::new(false);
        let serve = || {
            let mut seen = HashSet::new();
            while !stop.load(Ordering::Relaxed) {
                let mut selection = group.select();
                let peer = selection.choose(now()).expect("a live upstream");
                selection.release(Attempt::Next, now());
                selection.choose(now());
                seen.insert(Arc::clone(&peer.name));
            }
            seen.len()
        };
        std::thread::scope(|scope| {
            let threads = [scope.spawn(serve), scope.spawn(serve)];
            for change in 0..10_000u32 {
                let last = (change % 200) as u8;
                update(&group, 0, &[found(last), found(last + 1)]);
            }
            stop.store(true, Ordering::Relaxed);
            for thread in threads {
                assert!(thread.join().unwrap() > 1);
            }
        });
        let members = group.shared.get().unwrap().members(&group.definition);
        assert!(members.all().all(|member| member.state().conns.get() == 0));
    }

    #[test]
    fn a_full_zone_keeps_the_peers_it_has() {
        let group = group(vec![line("a.example", None)], &zone(Zone::LEAST), None);
        let many: Vec<_> = (0..=255).map(found).collect();
        let shared = group.shared.get().unwrap();
        assert_eq!(shared.update(&group.definition, 0, &many), Err(Full));
        assert!(names(&group).len() > 50);
        update(&group, 0, &[found(1)]);
        assert_eq!(names(&group), ["127.0.0.1:80"]);
    }
}
