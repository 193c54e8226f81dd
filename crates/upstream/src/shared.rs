//! A group in a zone: its peers and their numbers, seen by all workers and threads alike.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use daemun_core::listen::Address;
use daemun_shm::{Handle, Locked, Number, Zone, plain};

use crate::definition::{Definition, ServerSpec};
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
}

/// The zone has no room left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl SharedGroup {
    /// Writes the peers of a configuration into its zone; what the former one knew of them goes on.
    pub fn make(
        zone: &Arc<Zone>,
        definition: &Definition,
        former: Option<&Members>,
    ) -> Result<SharedGroup, Full> {
        let locked = zone.lock();
        let record = locked.allocate().ok_or(Full)?;
        let group = SharedGroup { zone: Arc::clone(zone), record };
        for (line, server) in definition.servers.iter().enumerate() {
            for (place, address) in server.addresses.iter().enumerate() {
                let peer = group.prepare(&locked, line, server, definition.unit())?;
                let peer_record = zone.at(peer);
                peer_record.place.set(place as i64);
                let known = former.into_iter().flat_map(Members::all);
                let mut known = known.filter(|member| *member.server == server.name);
                if let Some(known) = known.find(|member| member.address == *address) {
                    peer_record.state.take_over(known.state());
                }
                group.append(server, peer);
            }
        }
        drop(locked);
        Ok(group)
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
        Some(Member::shared(server, definition.unit(), address, &self.zone, record))
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
        Ok(handle)
    }

    /// Puts a peer at the end of its rank: one store makes it seen.
    fn append(&self, server: &ServerSpec, peer: Handle<PeerRecord>) {
        let rank = usize::from(server.backup);
        let last = self.records(rank).last();
        let group = self.zone.at(self.record);
        let place = last.map_or(&group.heads[rank], |last| &self.zone.at(last).next);
        place.set(peer.number());
        group.version.add(1);
    }
}

impl PeerRecord {
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
