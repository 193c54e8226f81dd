//! Sessions that all workers have in common: `ssl_session_cache shared:NAME:SIZE`.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU8;

use daemun_core::zones::{Purpose, ZoneRef};
use daemun_shm::{Entry, LockedTable, New, Record, Table, plain};
use daemun_tls::sessions::SessionStore;

/// What its zones are for.
pub const PURPOSE: Purpose = Purpose { user: "ssl_session_cache", fresh: false };

plain! {
    /// The beginning of the key, behind which the session stands.
    struct Kept {
        begin: [AtomicU8; 100],
    }
}

impl Record for Kept {
    fn text(&self) -> &[AtomicU8] {
        &self.begin
    }
}

/// The one queue: who was asked for last is the newest.
const QUEUE: u8 = 1;

/// A zone of sessions.
pub struct SharedSessions {
    zone: ZoneRef,
    /// `None` where the zone has no room for any.
    table: OnceLock<Option<Table<Kept>>>,
}

impl SharedSessions {
    pub fn new(zone: ZoneRef) -> SharedSessions {
        SharedSessions { zone, table: OnceLock::new() }
    }

    /// `None` while the configuration is only tested.
    fn table(&self) -> Option<&Table<Kept>> {
        let zone = self.zone.zone()?;
        self.table.get_or_init(|| Table::open(zone, 0)).as_ref()
    }

    fn find(table: &LockedTable<'_, Kept>, hash: u32, key: &[u8]) -> Option<Entry> {
        table.find_where(hash, |entry| table.begins_with(entry, key))
    }
}

impl fmt::Debug for SharedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedSessions").field(&self.zone).finish()
    }
}

impl SessionStore for SharedSessions {
    fn put(&self, key: &[u8], session: &[u8]) {
        let Some(table) = self.table() else { return };
        let hash = table.hash(key);
        let text = [key, session].concat();
        let locked = table.lock();
        if let Some(former) = SharedSessions::find(&locked, hash, key) {
            locked.retire(former);
        }
        let new = New { hash, text: &text, queue: QUEUE, holder: None };
        while locked.insert(new, |_| {}).is_none() {
            // One that is longer than the zone is not kept.
            let Some(oldest) = locked.oldest(QUEUE) else { return };
            locked.retire(oldest);
        }
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let table = self.table()?;
        let hash = table.hash(key);
        let locked = table.lock();
        let entry = SharedSessions::find(&locked, hash, key)?;
        locked.touch(entry);
        Some(locked.text(entry).split_off(key.len()))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let table = self.table()?;
        let hash = table.hash(key);
        let locked = table.lock();
        let entry = SharedSessions::find(&locked, hash, key)?;
        let session = locked.text(entry).split_off(key.len());
        locked.retire(entry);
        Some(session)
    }
}
