//! The sessions that `sticky learn` has seen, in their zone: which peer each belongs to.
//!
//! A table of chains, and a list from the least to the most recently used. Two stores change that list, so a death
//! in the middle costs all sessions of the zone.

use std::sync::Arc;
use std::time::Duration;

use daemun_core::log;
use daemun_core::log::Log;
use daemun_shm::{Handle, Locked, Number, Zone, plain};
use md5::{Digest, Md5};

use crate::state::Now;

plain! {
    struct Table {
        /// How often a holder of the lock had died when the table was made.
        deaths: Number,
        /// A text: the group whose sessions these are.
        group: Number,
        buckets: Number,
        bucket_count: Number,
        oldest: Number,
        newest: Number,
    }
}

plain! {
    struct Entry {
        /// In the chain.
        next: Number,
        older: Number,
        newer: Number,
        /// The MD5 hash of the session's name.
        key: [Number; 2],
        /// Milliseconds: its last use.
        used: Number,
        /// The peer's id: bytes, and how many.
        id: [Number; 4],
        id_length: Number,
    }
}

/// Sessions of one group.
pub(crate) struct Sessions<'z> {
    zone: &'z Arc<Zone>,
    timeout: i64,
}

type Key = [i64; 2];

impl<'z> Sessions<'z> {
    pub fn new(zone: &'z Arc<Zone>, timeout: Duration) -> Sessions<'z> {
        Sessions { zone, timeout: i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX) }
    }

    /// Makes the table, or takes over the one that is there. The error is nginx's sentence: it is another group's.
    pub fn take_over(&self, group: &str) -> Result<(), String> {
        let locked = self.zone.lock();
        let Some(table) = Handle::<Table>::of(self.zone.root()) else {
            return self.make(&locked, group).map(drop).ok_or_else(|| full(self.zone.name()));
        };
        let name = Handle::of(&self.zone.at(table).group).map(|name| self.zone.text(name));
        let name = String::from_utf8_lossy(&name.unwrap_or_default()).into_owned();
        match name == group {
            true => Ok(()),
            false => Err(format!(
                "sticky zone \"{}\" is used in upstream \"{group}\" while previously it was used in upstream \"{name}\"",
                self.zone.name()
            )),
        }
    }

    /// The id of the session's peer.
    pub fn peer_of(&self, session: &[u8], now: Now) -> Option<String> {
        let locked = self.zone.lock();
        let table = self.table(&locked)?;
        let entry = self.zone.at(self.find(table, key_of(session))?);
        let is_fresh = now.millis - entry.used.get() <= self.timeout;
        is_fresh.then(|| entry.peer_id())
    }

    /// The session was answered by that peer. One that is not known becomes so where `create` says.
    pub fn learn(&self, session: &[u8], peer_id: &str, create: bool, now: Now) {
        let locked = self.zone.lock();
        let Some(table) = self.table(&locked) else { return };
        self.forget_old(&locked, table, now);
        let key = key_of(session);
        let entry = match self.find(table, key) {
            Some(entry) => {
                self.unlink(table, entry);
                entry
            }
            None if create => match self.add(&locked, table, key) {
                Some(entry) => entry,
                None => return,
            },
            None => return,
        };
        self.zone.at(entry).set_peer_id(peer_id);
        self.zone.at(entry).used.set(now.millis);
        self.link_newest(table, entry);
    }

    /// The table; a new one where a death may have torn it.
    fn table(&self, locked: &Locked<'_>) -> Option<Handle<Table>> {
        let handle: Handle<Table> = Handle::of(self.zone.root())?;
        let table = self.zone.at(handle);
        if table.deaths.get() == self.zone.deaths() {
            return Some(handle);
        }
        let group = Handle::of(&table.group).map(|group| self.zone.text(group)).unwrap_or_default();
        locked.clear();
        self.make(locked, &String::from_utf8_lossy(&group))
    }

    fn make(&self, locked: &Locked<'_>, group: &str) -> Option<Handle<Table>> {
        // four sessions a bucket where the zone is full
        let count = (self.zone.size() / 512).next_power_of_two();
        let group = locked.allocate_text(group.as_bytes())?;
        let buckets: Handle<Number> = locked.allocate_slice(count)?;
        let handle: Handle<Table> = locked.allocate()?;
        let table = self.zone.at(handle);
        table.deaths.set(self.zone.deaths());
        table.group.set(group.number());
        table.buckets.set(buckets.number());
        table.bucket_count.set(count as i64);
        self.zone.root().set(handle.number());
        Some(handle)
    }

    fn bucket(&self, table: Handle<Table>, key: Key) -> Option<&'z Number> {
        let table = self.zone.at(table);
        let count = usize::try_from(table.bucket_count.get()).ok()?;
        let buckets = self.zone.slice(Handle::of(&table.buckets)?, count);
        buckets.get(key[0] as usize & count.checked_sub(1)?)
    }

    fn find(&self, table: Handle<Table>, key: Key) -> Option<Handle<Entry>> {
        let first = Handle::of(self.bucket(table, key)?);
        let mut chain = std::iter::successors(first, |entry: &Handle<Entry>| {
            Handle::of(&self.zone.at(*entry).next)
        });
        chain.find(|entry| self.zone.at(*entry).key.each_ref().map(Number::get) == key)
    }

    fn add(&self, locked: &Locked<'_>, table: Handle<Table>, key: Key) -> Option<Handle<Entry>> {
        let entry = locked.allocate().or_else(|| {
            let log = Log::current();
            let zone = self.zone.name();
            log!(
                log,
                Warn,
                (),
                "could not allocate node in sticky session zone \"{}\", expiring least recently used session",
                zone
            );
            self.forget(locked, table, Handle::of(&self.zone.at(table).oldest)?);
            locked.allocate()
        })?;
        let bucket = self.bucket(table, key)?;
        let record: &Entry = self.zone.at(entry);
        record.key.iter().zip(key).for_each(|(place, half)| place.set(half));
        record.next.set(bucket.get());
        bucket.set(entry.number());
        Some(entry)
    }

    /// Two at most, so that nobody waits long.
    fn forget_old(&self, locked: &Locked<'_>, table: Handle<Table>, now: Now) {
        for _ in 0..2 {
            let oldest: Option<Handle<Entry>> = Handle::of(&self.zone.at(table).oldest);
            let Some(oldest) = oldest else { return };
            if now.millis - self.zone.at(oldest).used.get() <= self.timeout {
                return;
            }
            self.forget(locked, table, oldest);
        }
    }

    fn forget(&self, locked: &Locked<'_>, table: Handle<Table>, entry: Handle<Entry>) {
        self.unlink(table, entry);
        let record = self.zone.at(entry);
        let mut place = self.bucket(table, record.key.each_ref().map(Number::get));
        while let Some(link) = place {
            let Some(here) = Handle::<Entry>::of(link) else { break };
            if here == entry {
                link.set(record.next.get());
                break;
            }
            place = Some(&self.zone.at(here).next);
        }
        locked.free(entry);
    }

    fn unlink(&self, table: Handle<Table>, entry: Handle<Entry>) {
        let (table, entry) = (self.zone.at(table), self.zone.at(entry));
        let older: Option<Handle<Entry>> = Handle::of(&entry.older);
        let newer: Option<Handle<Entry>> = Handle::of(&entry.newer);
        older.map_or(&table.oldest, |older| &self.zone.at(older).newer).set(entry.newer.get());
        newer.map_or(&table.newest, |newer| &self.zone.at(newer).older).set(entry.older.get());
    }

    fn link_newest(&self, table: Handle<Table>, handle: Handle<Entry>) {
        let (table, entry) = (self.zone.at(table), self.zone.at(handle));
        let before: Option<Handle<Entry>> = Handle::of(&table.newest);
        entry.older.set(table.newest.get());
        entry.newer.set(0);
        before.map_or(&table.oldest, |before| &self.zone.at(before).newer).set(handle.number());
        table.newest.set(handle.number());
    }
}

impl Entry {
    fn peer_id(&self) -> String {
        let bytes: Vec<u8> = self.id.iter().flat_map(|word| word.get().to_le_bytes()).collect();
        let length = usize::try_from(self.id_length.get()).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// At most 32 bytes, as the configuration sees to.
    fn set_peer_id(&self, id: &str) {
        let mut bytes = [0; 32];
        let length = id.len().min(bytes.len());
        bytes[..length].copy_from_slice(&id.as_bytes()[..length]);
        let (words, _) = bytes.as_chunks();
        self.id.iter().zip(words).for_each(|(place, word)| place.set(i64::from_le_bytes(*word)));
        self.id_length.set(length as i64);
    }
}

fn key_of(session: &[u8]) -> Key {
    let hash: [u8; 16] = Md5::digest(session).into();
    let (words, _) = hash.as_chunks();
    [i64::from_le_bytes(words[0]), i64::from_le_bytes(words[1])]
}

fn full(zone: &str) -> String {
    format!("ngx_slab_alloc() failed: no memory in sticky session zone \"{zone}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now::after(Duration::from_secs(seconds))
    }

    fn zone() -> Arc<Zone> {
        Arc::new(Zone::new("sessions", Zone::LEAST).unwrap())
    }

    #[test]
    fn sessions_are_learned_and_expire_without_use() {
        let zone = zone();
        let sessions = Sessions::new(&zone, Duration::from_secs(10));
        sessions.take_over("u").unwrap();
        sessions.learn(b"one", "a", true, at(100));
        sessions.learn(b"two", "b", false, at(100));
        assert_eq!(sessions.peer_of(b"one", at(105)).as_deref(), Some("a"));
        assert_eq!(sessions.peer_of(b"two", at(105)), None, "nobody created it");
        sessions.learn(b"one", "c", false, at(108));
        assert_eq!(sessions.peer_of(b"one", at(118)).as_deref(), Some("c"));
        assert_eq!(sessions.peer_of(b"one", at(119)), None);
    }

    #[test]
    fn a_full_zone_forgets_the_least_recently_used() {
        let zone = zone();
        let sessions = Sessions::new(&zone, Duration::from_secs(600));
        sessions.take_over("u").unwrap();
        for number in 0..1000 {
            sessions.learn(format!("s{number}").as_bytes(), "peer", true, at(100));
            sessions.learn(b"s0", "kept", false, at(100));
        }
        assert_eq!(sessions.peer_of(b"s0", at(100)).as_deref(), Some("kept"));
        assert_eq!(sessions.peer_of(b"s1", at(100)), None);
        assert!(sessions.peer_of(b"s999", at(100)).is_some());
        let known = (0..1000)
            .filter(|number| sessions.peer_of(format!("s{number}").as_bytes(), at(100)).is_some());
        assert!(known.count() >= 150);
    }

    #[test]
    fn a_zone_belongs_to_one_group() {
        let zone = zone();
        let sessions = Sessions::new(&zone, Duration::from_secs(600));
        sessions.take_over("u").unwrap();
        sessions.learn(b"one", "a", true, at(1));
        sessions.take_over("u").unwrap();
        assert!(sessions.peer_of(b"one", at(1)).is_some(), "a reload forgets nothing");
        let sentence = "sticky zone \"sessions\" is used in upstream \"v\" while previously it was used in upstream \"u\"";
        assert_eq!(sessions.take_over("v"), Err(sentence.to_owned()));
    }
}
