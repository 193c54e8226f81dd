//! `$upstream_cache_status` and its like.

use crate::module::Variable;
use crate::request::Request;
use crate::response::LastModified;

use super::caching::Caching;
use super::{seconds, status};

pub static VARIABLES: &[Variable] = &[
    Variable::new("upstream_cache_status", |r, _, out| {
        let outcome = caching(r).and_then(|caching| caching.outcome);
        outcome.is_some_and(|outcome| append(outcome.name().as_bytes(), out))
    }),
    Variable::new("upstream_cache_last_modified", |r, _, out| append_last_modified(r, out)),
    Variable::new("upstream_cache_etag", |r, _, out| append_etag(r, out)),
    Variable::new("cache_status", |r, _, out| {
        caching(r).is_some_and(|caching| append(status::text(Some(caching)).as_bytes(), out))
    }),
    Variable::new("upstream_cache_key", |r, _, out| {
        caching(r).is_some_and(|caching| append(&caching.key.text, out))
    }),
    Variable::new("upstream_cache_age", |r, _, out| {
        let date = caching(r).and_then(|caching| caching.served_date);
        date.is_some_and(|date| append((seconds() - date).max(0).to_string().as_bytes(), out))
    }),
];

/// When the response that an upstream may confirm was modified last.
pub fn append_last_modified(request: &Request, out: &mut Vec<u8>) -> bool {
    let head = caching(request).and_then(Caching::stale_head);
    let modified = head.map(|head| head.last_modified).filter(|modified| *modified != -1);
    modified.is_some_and(|modified| append(&LastModified::new(modified).text, out))
}

/// Its entity tag.
pub fn append_etag(request: &Request, out: &mut Vec<u8>) -> bool {
    let head = caching(request).and_then(Caching::stale_head);
    let etag = head.map(|head| &head.etag).filter(|etag| !etag.is_empty());
    etag.is_some_and(|etag| append(etag, out))
}

fn caching(request: &Request) -> Option<&Caching> {
    request.upstream.as_ref()?.caching.as_deref()
}

fn append(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    true
}
