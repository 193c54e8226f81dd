//! Sessions that the server keeps: `ssl_session_cache`.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
pub use rustls::server::StoresServerSessions as Keeps;

use crate::client_auth::now;
use crate::x509::time::Time;

/// By their identifiers: when they were made, and what rustls keeps of them.
type Known = LruCache<Vec<u8>, (Time, Vec<u8>)>;

/// Sessions of one process, the one that was used longest ago leaving first.
pub struct Sessions {
    known: Mutex<Known>,
    lifetime: Duration,
}

impl Sessions {
    pub fn new(most: usize, lifetime: Duration) -> Sessions {
        let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
        // Room is taken as sessions come.
        let mut known = LruCache::unbounded();
        known.resize(most);
        Sessions { known: Mutex::new(known), lifetime }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Known) -> R) -> R {
        // A list of sessions is whole between any two of its functions.
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_young(&self, made: Time) -> bool {
        now().0 - made.0 <= self.lifetime.as_secs().cast_signed()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sessions", self.with(|known| known.len()))
    }
}

impl Keeps for Sessions {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        self.with(|known| known.put(id, (now(), session)));
        true
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        let found = self.with(|known| known.get(id).cloned());
        found.filter(|(made, _)| self.is_young(*made)).map(|(_, session)| session)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        let found = self.with(|known| known.pop(id));
        found.filter(|(made, _)| self.is_young(*made)).map(|(_, session)| session)
    }

    fn can_cache(&self) -> bool {
        true
    }
}
