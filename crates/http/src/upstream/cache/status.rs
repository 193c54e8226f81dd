//! `cache_status_header` and `$cache_status`: how the cache has handled a request, for people who
//! look for the reason of a miss (RFC 9211).

use daemun_conf as conf;
use daemun_core::load::Fault;

use super::caching::{Caching, Outcome};
use super::place::SETTINGS;
use super::seconds;
use crate::request::Request;

/// Reads `NAME | off`. The name is a token of RFC 9110: what a list of caches tells them apart by.
pub fn read(directive: &conf::Directive) -> Result<Option<Box<str>>, Fault> {
    let word = &directive.args[0];
    if word == "off" {
        return Ok(None);
    }
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(byte);
    match word.as_str() {
        // Tokens of structured fields begin so (RFC 9651, section 3.3.4).
        Ok(name)
            if name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*')
                && name.bytes().all(|byte| is_token(&byte)) =>
        {
            Ok(Some(name.into()))
        }
        _ => Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span)),
    }
}

/// Adds the field to the response, behind those of the caches that it came through.
pub fn add(request: &mut Request) {
    let name = (*request.settings(&SETTINGS).status_name).as_deref();
    let Some(name) = name else { return };
    let caching = request.upstream.as_ref().and_then(|record| record.caching.as_deref());
    let value = format!("{name}; {}", text(caching));
    request.response.add("Cache-Status", value);
}

/// What became of a request, without the cache's name. What was not to be looked for at all has
/// another method than those that are cached.
pub fn text(caching: Option<&Caching>) -> String {
    let Some(caching) = caching else { return "fwd=method".to_owned() };
    let ttl = caching.served_until.map(|until| until - seconds());
    let told = caching.told_status;
    let told = told.map_or_else(String::new, |status| format!("; fwd-status={status}"));
    match caching.outcome {
        Some(Outcome::Hit | Outcome::Stale | Outcome::Updating) => {
            ttl.map_or_else(|| "hit".to_owned(), |ttl| format!("hit; ttl={ttl}"))
        }
        Some(Outcome::Revalidated) => "fwd=stale; fwd-status=304".to_owned(),
        Some(Outcome::Expired) => format!("fwd=stale{told}"),
        Some(Outcome::Bypass) => format!("fwd=bypass{told}"),
        _ if caching.is_variant => format!("fwd=vary-miss{told}"),
        _ => format!("fwd=uri-miss{told}"),
    }
}
