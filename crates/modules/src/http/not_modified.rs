//! Answers 304 or 412 where the client's copy, or its condition, makes the body superfluous (RFC 9110, section 13).
//!
//! ```nginx
//! if_modified_since before;
//! ```

use daemun_core::module::Module;
use daemun_http::body::Body;
use daemun_http::core::sending::IfModifiedSince;
use daemun_http::head::Known;
use daemun_http::module::{Apply, Filter, HttpModule, always};
use daemun_http::request::Request;
use daemun_http::status::Status;

pub static MODULE: HttpModule = HttpModule {
    base: Module { name: "http_not_modified_filter_module", directives: &[], settings: None },
    filters: &[Filter { applies: always, apply: Apply::Now(filter) }],
    ..HttpModule::EMPTY
};

fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    if request.response.status != Status::OK
        || request.response.is_foreign
        || request.is_subrequest()
    {
        return Ok(body);
    }
    if let Some(since) = request.header(Known::IfUnmodifiedSince)
        && !is_unmodified_since(request, since)
    {
        return Err(Status::PRECONDITION_FAILED);
    }
    if let Some(tags) = request.header(Known::IfMatch)
        && !matches_etag(request, tags, Comparison::Strong)
    {
        return Err(Status::PRECONDITION_FAILED);
    }
    let since = request.header(Known::IfModifiedSince);
    let tags = request.header(Known::IfNoneMatch);
    if since.is_none() && tags.is_none() {
        return Ok(body);
    }
    if since.is_some_and(|since| is_modified_since(request, since))
        || tags.is_some_and(|tags| !matches_etag(request, tags, Comparison::Weak))
    {
        return Ok(body);
    }
    let response = &mut request.response;
    response.status = Status::NOT_MODIFIED;
    response.content_type = None;
    response.content_length = None;
    response.allows_ranges = false;
    response.clear_encoding();
    Ok(Body::Empty)
}

fn is_unmodified_since(request: &Request, since: &[u8]) -> bool {
    match &request.response.last_modified {
        None => false,
        Some(modified) => modified.read(since).is_some_and(|since| since >= modified.seconds()),
    }
}

fn is_modified_since(request: &Request, since: &[u8]) -> bool {
    let Some(modified) = &request.response.last_modified else {
        return true;
    };
    let mode = *request.core().sending.if_modified_since;
    if mode == IfModifiedSince::Off {
        return true;
    }
    match modified.read(since) {
        Some(since) if since == modified.seconds() => false,
        Some(since) => mode == IfModifiedSince::Exact || since < modified.seconds(),
        None => true,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    /// `W/"x"` and `"x"` are the same.
    Weak,
}

/// Whether a list of entity tags has the response's, or is `*`.
fn matches_etag(request: &Request, list: &[u8], comparison: Comparison) -> bool {
    if list == b"*" {
        return true;
    }
    let Some(etag) = &request.response.etag else {
        return false;
    };
    let etag = match comparison {
        Comparison::Weak => opaque(etag),
        Comparison::Strong => etag,
    };
    let mut rest = list;
    while !rest.is_empty() {
        if comparison == Comparison::Weak {
            rest = opaque(rest);
        }
        if let Some(after) = rest.strip_prefix(etag) {
            let after = trim_blank(after);
            if after.is_empty() || after.starts_with(b",") {
                return true;
            }
        }
        let Some(comma) = memchr::memchr(b',', rest) else {
            return false;
        };
        rest = rest[comma..].trim_ascii_start();
        while let Some(after) = rest.strip_prefix(b",") {
            rest = trim_blank(after);
        }
    }
    false
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn trim_blank(text: &[u8]) -> &[u8] {
    let blank = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blank..]
}
