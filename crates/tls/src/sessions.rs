//! Sessions that the server keeps: `ssl_session_cache`.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use rustls::server::StoresServerSessions;

use crate::client_auth::now;
use crate::x509::time::Time;

/// Where sessions are kept, by keys of some 64 bytes. What is full drops what was asked for longest
/// ago.
pub trait SessionStore: Send + Sync {
    fn put(&self, key: &[u8], session: &[u8]);
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
    /// Whoever of several asks first gets it, and nobody after.
    fn take(&self, key: &[u8]) -> Option<Vec<u8>>;
}

/// Sessions, and how long they are good for.
pub struct Sessions {
    store: Box<dyn SessionStore>,
    lifetime: Duration,
}

impl Sessions {
    /// In this process, so many.
    pub fn new(most: usize, lifetime: Duration) -> Sessions {
        let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
        // Room is taken as sessions come.
        let mut known = LruCache::unbounded();
        known.resize(most);
        Sessions::kept_by(Box::new(InProcess(Mutex::new(known))), lifetime)
    }

    pub fn kept_by(store: Box<dyn SessionStore>, lifetime: Duration) -> Sessions {
        Sessions { store, lifetime }
    }

    /// The session, where it is not too old.
    fn young(&self, found: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let mut found = found?;
        let made = Time(i64::from_be_bytes(*found.first_chunk()?));
        let is_young = now().0 - made.0 <= self.lifetime.as_secs().cast_signed();
        is_young.then(|| found.split_off(size_of::<i64>()))
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

struct InProcess(Mutex<LruCache<Vec<u8>, Vec<u8>>>);

impl InProcess {
    fn with<R>(&self, work: impl FnOnce(&mut LruCache<Vec<u8>, Vec<u8>>) -> R) -> R {
        // A list of sessions is whole between any two of its functions.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SessionStore for InProcess {
    fn put(&self, key: &[u8], session: &[u8]) {
        self.with(|known| known.put(key.to_vec(), session.to_vec()));
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.with(|known| known.get(key).cloned())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.with(|known| known.pop(key))
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
        let stamped = [&now().0.to_be_bytes()[..], &session].concat();
        self.sessions.store.put(&self.key(&id), &stamped);
        true
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.sessions.young(self.sessions.store.get(&self.key(id)))
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.sessions.young(self.sessions.store.take(&self.key(id)))
    }

    fn can_cache(&self) -> bool {
        true
    }
}
