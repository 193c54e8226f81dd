//! Certificates whose names have variables: they are read when a handshake needs them, and remembered where
//! `ssl_certificate_cache` or its like says so.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use daemun_conf::Word;
use daemun_core::script::Script;
use daemun_event::Millis;
use daemun_tls::CertifiedKey;
use daemun_tls::context::replace_kind;
use lru::LruCache;

use super::files;
use crate::request::{Request, Text};

/// The name of a file, or what stands in its place, which may have variables.
#[derive(Clone, Debug)]
pub struct Source {
    pub word: Word,
    pub script: Script,
}

impl Source {
    pub fn is_computed(&self) -> bool {
        self.script.as_literal().is_none()
    }
}

/// `max=N [inactive=time] [valid=time]`
#[derive(Clone, Copy)]
pub struct CacheLimits {
    pub most: NonZeroUsize,
    pub inactive: Duration,
    pub valid: Duration,
}

/// What is remembered, for all requests of a process.
pub struct Cache {
    limits: CacheLimits,
    known: Mutex<LruCache<Names, Known>>,
}

type Names = (Box<[u8]>, Box<[u8]>);

struct Known {
    identity: Arc<CertifiedKey>,
    read: Millis,
    used: Millis,
}

impl Cache {
    pub fn new(limits: CacheLimits) -> Cache {
        let mut known = LruCache::unbounded();
        // A certificate and its key are two of what is counted.
        let pairs = NonZeroUsize::new(limits.most.get() / 2).unwrap_or(NonZeroUsize::MIN);
        known.resize(pairs);
        Cache { limits, known: Mutex::new(known) }
    }

    fn with<R>(&self, work: impl FnOnce(&mut LruCache<Names, Known>) -> R) -> R {
        // A table of certificates is whole between any two of its functions.
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, names: &Names) -> Option<Arc<CertifiedKey>> {
        let now = daemun_event::now();
        let is_over = |since: Millis, limit: Duration| {
            Duration::from_millis(now.saturating_sub(since)) >= limit
        };
        self.with(|known| {
            let found = known.get_mut(names)?;
            if is_over(found.read, self.limits.valid) || is_over(found.used, self.limits.inactive) {
                known.pop(names);
                return None;
            }
            found.used = now;
            Some(Arc::clone(&found.identity))
        })
    }

    fn keep(&self, names: Names, identity: &Arc<CertifiedKey>) {
        let now = daemun_event::now();
        let known = Known { identity: Arc::clone(identity), read: now, used: now };
        self.with(|all| all.put(names, known));
    }
}

/// A server's certificates, some of which are computed.
pub struct Computed {
    /// Certificate and key.
    pub pairs: Vec<(Source, Source)>,
    /// Where relative names lead.
    pub folder: PathBuf,
    pub passwords: Vec<Box<[u8]>>,
    pub cache: Option<Arc<Cache>>,
}

impl Computed {
    /// The certificates for this request; the error is for the log.
    pub fn identities(&self, request: &mut Request) -> Result<Vec<Arc<CertifiedKey>>, String> {
        let mut identities = Vec::new();
        for (certificate, key) in &self.pairs {
            let names: Names =
                (certificate.script.value(request).into(), key.script.value(request).into());
            if names.0.is_empty() {
                continue;
            }
            let cache = self.cache.as_ref();
            if let Some(known) = cache.and_then(|cache| cache.find(&names)) {
                replace_kind(&mut identities, known);
                continue;
            }
            let (identity, is_secret) = self.read(&names)?;
            if let Some(cache) = cache
                && !is_secret
            {
                cache.keep(names, &identity);
            }
            replace_kind(&mut identities, identity);
        }
        Ok(identities)
    }

    /// Also whether the key needs a passphrase: then nobody may have it who does not know that.
    fn read(&self, (certificate, key): &Names) -> Result<(Arc<CertifiedKey>, bool), String> {
        let content = |name: &[u8], what: &str| {
            files::read(&self.folder, name)
                .map_err(|why| format!("cannot load {what} \"{}\": {why}", Text(name)))
        };
        let chain = content(certificate, "certificate")?;
        let private = content(key, "certificate key")?;
        files::identity(certificate, &chain, key, &private, &self.passwords)
            .map(|identity| (Arc::new(identity), is_encrypted(&private)))
            .map_err(|(message, _)| message)
    }
}

fn is_encrypted(key: &[u8]) -> bool {
    memchr::memmem::find(key, b"ENCRYPTED").is_some()
}
