//! Sessions that the server keeps: `ssl_session_cache`.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use rustls::server::StoresServerSessions;

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

/// Sessions as servers of certain terms see them: those that were made under others are not there for them.
#[derive(Debug)]
pub(crate) struct UnderTerms {
    sessions: Arc<Sessions>,
    terms: [u8; 32],
}

impl UnderTerms {
    pub fn new(sessions: Arc<Sessions>, terms: [u8; 32]) -> UnderTerms {
        UnderTerms { sessions, terms }
    }

    fn key(&self, id: &[u8]) -> Vec<u8> {
        [&self.terms, id].concat()
    }
}

impl StoresServerSessions for UnderTerms {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        self.sessions.with(|known| known.put(self.key(&id), (now(), session)));
        true
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        let found = self.sessions.with(|known| known.get(&self.key(id)).cloned());
        found.filter(|(made, _)| self.sessions.is_young(*made)).map(|(_, session)| session)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        let found = self.sessions.with(|known| known.pop(&self.key(id)));
        found.filter(|(made, _)| self.sessions.is_young(*made)).map(|(_, session)| session)
    }

    fn can_cache(&self) -> bool {
        true
    }
}
