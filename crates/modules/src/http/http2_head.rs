//! What the heads of requests over HTTP/2 have in common, whoever passes them on.

use bytes::Bytes;
use daemun_core::script::Script;
use daemun_http::head::RequestHead;
use daemun_http::one_line;
use daemun_http::request::Request;
use daemun_http::upstream::http2::Block;
use daemun_http::upstream::payload::Payload;

use super::proxy::request_head::{OWN, is_framing, says_nothing_follows};

/// `proxy_set_header` and its like.
type Fields = [(Bytes, Script)];

/// Whom the request is for: what the configuration says of `Host`, or where the request goes.
pub fn authority(request: &mut Request, set: &'static Fields, host: &[u8]) -> Vec<u8> {
    let mut authority = Vec::new();
    if let Some((_, script)) = set.iter().rfind(|(name, _)| name.eq_ignore_ascii_case(b"host")) {
        script.append(request, &mut authority);
        one_line::settle(&mut authority, 0);
    }
    if authority.is_empty() {
        authority.extend_from_slice(host);
    }
    authority
}

/// The fields of the configuration's; those without a value are left out.
pub fn set_fields(
    request: &mut Request,
    set: &'static Fields,
    payload: Payload,
    block: &mut Block,
) {
    let mut value = Vec::new();
    for (name, script) in set {
        if name.eq_ignore_ascii_case(b"host") {
            continue;
        }
        value.clear();
        script.append(request, &mut value);
        one_line::settle(&mut value, 0);
        let is_untrue = is_framing(name) && !says_nothing_follows(name, &value, payload);
        if !is_untrue && !value.is_empty() {
            block.field(name, &value);
        }
    }
}

/// How long the body is, as far as that is known.
pub fn length(set: &Fields, payload: Payload, block: &mut Block) {
    match payload.told_length() {
        Some(0) if is_set(set, b"content-length") => {}
        Some(length) => {
            block.field(b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        None => {}
    }
}

/// The client's fields that are passed on as they are, without those that `leaves` says so of.
pub fn pass_fields(
    head: &RequestHead,
    set: &Fields,
    leaves: impl Fn(&[u8]) -> bool,
    block: &mut Block,
) {
    for (name, value) in head.fields() {
        let is_own = OWN.iter().any(|own| own.eq_ignore_ascii_case(name));
        if !is_own && !is_set(set, name) && !leaves(name) {
            block.field(name, value);
        }
    }
}

pub fn is_set(set: &Fields, name: &[u8]) -> bool {
    set.iter().any(|(set, _)| set.eq_ignore_ascii_case(name))
}
