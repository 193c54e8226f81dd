//! What a request has to do with the cache, until its response is stored or sent.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;

use super::super::settings::{Failures, Settings as Common};
use super::format::FileHead;
use super::freshness::Verdict;
use super::index::{Count, Located, Remains};
use super::key::{Hash, Key};
use super::memory::Stamp;
use super::place::Place;
use super::seconds;
use super::settings::Settings;
use super::waiting;
use crate::request::Request;

/// Where a response came from, as `$upstream_cache_status` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Miss,
    Bypass,
    Expired,
    Stale,
    Updating,
    Revalidated,
    Hit,
}

impl Outcome {
    pub const ALL: [Outcome; 7] = [
        Outcome::Miss,
        Outcome::Bypass,
        Outcome::Expired,
        Outcome::Stale,
        Outcome::Updating,
        Outcome::Revalidated,
        Outcome::Hit,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Outcome::Miss => "MISS",
            Outcome::Bypass => "BYPASS",
            Outcome::Expired => "EXPIRED",
            Outcome::Stale => "STALE",
            Outcome::Updating => "UPDATING",
            Outcome::Revalidated => "REVALIDATED",
            Outcome::Hit => "HIT",
        }
    }
}

/// A request's dealings with a cache.
pub struct Caching {
    pub common: &'static Common,
    pub place: &'static Place,
    pub key: Key,
    /// Of the entry that the request deals with: the key's, or that of a variant.
    pub hash: Hash,
    pub is_variant: bool,
    pub outcome: Option<Outcome>,
    /// What comes from the upstream may be stored.
    pub is_cacheable: bool,
    /// The client wants a head alone, and the upstream is asked for all.
    pub converts_head: bool,
    /// How many purges there had been before its response was looked for.
    pub(super) epoch: u64,
    /// The request has been counted among the uses of its entry.
    pub(super) is_counted: bool,
    pub(super) held: Option<Held>,
    /// When the response that is served was stored.
    pub(super) served_date: Option<i64>,
    /// Until when that is fresh, in seconds since 1970.
    pub(super) served_until: Option<i64>,
    /// The status that the upstream has answered with.
    pub(super) told_status: Option<u16>,
    /// Where its entry stood before its file was read.
    pub(super) located: Option<Located>,
    /// A response that was found.
    pub(super) stored: Option<Stored>,
    /// It may be served although it is stale, while another is fetched, or where that fails.
    pub(super) stale_updating: bool,
    pub(super) stale_error: bool,
    /// What the upstream's head says.
    pub(super) verdict: Option<Verdict>,
}

/// A response in a file.
#[derive(Clone)]
pub struct Stored {
    /// `None` where all of it is in memory.
    pub file: Option<Arc<File>>,
    pub head: FileHead,
    /// The file's beginning, its end where it is short.
    pub bytes: Bytes,
    pub length: u64,
    pub inode: u64,
    pub stamp: Stamp,
}

/// An entry of the index while its response is fetched: what was claimed is let go of with this.
pub struct Held {
    place: &'static Place,
    hash: Hash,
    claim: Option<u64>,
    remains: Remains,
    /// An entry without a response stays, for it counts its uses.
    keeps: bool,
    is_settled: bool,
}

impl Held {
    pub fn new(place: &'static Place, hash: Hash, claim: Option<u64>, settings: &Settings) -> Held {
        let keeps = *settings.min_uses > 1;
        Held { place, hash, claim, remains: Remains::Nothing, keeps, is_settled: false }
    }

    /// The response has got its place.
    pub fn settle(mut self) {
        self.is_settled = true;
        waiting::wake(&self.hash);
    }

    pub fn hash(&self) -> Hash {
        self.hash
    }

    pub fn claim(&self) -> Option<u64> {
        self.claim
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            self.place.index.release(&self.hash, self.claim, self.remains, self.keeps);
            waiting::wake(&self.hash);
        }
    }
}

impl Caching {
    pub fn settings(&self) -> &'static Settings {
        &self.common.cache
    }

    /// The entry is let go of: nothing is stored.
    pub fn give_up(&mut self) {
        self.held = None;
    }

    /// What has come is not to be stored: whoever waited for it asks the upstream, and nobody waits for the next.
    pub fn pass(&mut self) {
        const PASSES: u64 = 120;
        let waits = *self.settings().lock;
        if let Some(held) = &mut self.held
            && waits
        {
            held.remains = Remains::Passes(seconds().cast_unsigned() + PASSES);
        }
        self.give_up();
    }

    /// Another response could not be fetched: the stale one is served for a while without a try.
    pub fn back_off(&mut self) {
        let pause = self.settings().error_ttl.as_secs();
        if let Some(held) = &mut self.held
            && pause > 0
            && matches!(held.remains, Remains::Nothing)
        {
            held.remains = Remains::Failed(seconds().cast_unsigned() + pause);
        }
    }

    /// The upstream failed with a status that may stand for the response for a while.
    pub fn keep_error(&mut self, status: u16) {
        let valid = match &self.verdict {
            Some(verdict) if verdict.valid_sec != 0 => verdict.valid_sec,
            _ => match self.settings().valid(status) {
                0 => 0,
                valid => seconds().saturating_add(valid),
            },
        };
        let is_cacheable =
            self.is_cacheable && self.verdict.as_ref().is_none_or(|verdict| verdict.is_cacheable);
        if let Some(held) = &mut self.held
            && is_cacheable
            && valid != 0
        {
            held.remains = Remains::Error(status, valid.max(0).cast_unsigned());
        }
        self.give_up();
    }

    /// The upstream could not be asked.
    pub fn fail(&mut self, status: u16) {
        if matches!(status, 502 | 504) {
            self.keep_error(status);
        }
        self.give_up();
    }

    /// Whether a stale response is served in the place of one that failed: `kind` is why, and `is_answer` says that the
    /// upstream has answered.
    pub fn serves_stale(&self, kind: Failures, is_answer: bool) -> bool {
        self.outcome == Some(Outcome::Expired)
            && self.stored.is_some()
            && (self.settings().serves_stale(kind) || !is_answer && self.stale_error)
    }

    /// Whether a response of 304 says that the one that was found is still true.
    pub fn may_revalidate(&self) -> bool {
        self.outcome == Some(Outcome::Expired)
            && *self.settings().revalidate
            && self.stored.is_some()
    }

    /// The head of a response that the upstream may be asked to confirm.
    pub fn stale_head(&self) -> Option<&FileHead> {
        let is_asked = self.outcome == Some(Outcome::Expired) && *self.settings().revalidate;
        self.stored.as_ref().filter(|_| is_asked).map(|stored| &stored.head)
    }
}

impl Drop for Caching {
    /// Where the response came from is settled with the request's end.
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome {
            self.place.index.count_up(Count::Answered(outcome), 1);
        }
    }
}

impl Request {
    /// What it has to do with a cache, if anything.
    pub fn caching(&mut self) -> Option<&mut Caching> {
        self.upstream.as_mut()?.caching.as_deref_mut()
    }

    /// Whether the upstream is asked for a response that may be stored.
    pub fn fetches_for_cache(&self) -> bool {
        let caching = self.upstream.as_ref().and_then(|record| record.caching.as_ref());
        caching.is_some_and(|caching| caching.is_cacheable && caching.served_date.is_none())
    }

    /// The upstream is asked for a body, though the client wants none.
    pub fn converts_head(&self) -> bool {
        let caching = self.upstream.as_ref().and_then(|record| record.caching.as_ref());
        caching.is_some_and(|caching| caching.converts_head)
    }
}
