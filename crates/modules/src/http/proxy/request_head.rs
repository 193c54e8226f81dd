//! The head of a request as an upstream gets it.

use daemun_http::escape;
use daemun_http::head::{Known, RequestHead};
use daemun_http::one_line;
use daemun_http::request::Request;
use daemun_http::upstream::cache::variables;
use daemun_http::upstream::payload::Payload;
use daemun_http::upstream::record::Record;
use daemun_proto::http1::{HeaderLine, Version};

use super::Settings;
use super::pass::Place;

/// Fields of the client's that are the connection's own matter, or written anew.
pub const OWN: [&[u8]; 9] = [
    b"te",
    b"host",
    b"expect",
    b"upgrade",
    b"connection",
    b"keep-alive",
    b"content-length",
    b"proxy-connection",
    b"transfer-encoding",
];

/// What a request's head is made of.
pub struct Writer<'w> {
    pub settings: &'static Settings,
    pub place: &'w Place,
    /// The part of the request's URI that the place's replaces; `None`: the place's is used as it is.
    pub location: Option<&'static [u8]>,
}

/// What a head says.
#[derive(Default)]
pub struct Written {
    pub is_head: bool,
    /// The body behind it is in chunks.
    pub sends_chunks: bool,
    pub asks_to_upgrade: bool,
}

impl Writer<'_> {
    /// Appends request line and fields, and the body of `proxy_set_body`; the client's has the form of `payload`.
    pub fn write(&self, request: &mut Request, payload: Payload, out: &mut Vec<u8>) -> Written {
        let settings = self.settings;
        let start = out.len();
        match &*settings.method {
            Some(method) => {
                method.append(request, out);
                one_line::settle(out, start);
            }
            None if request.converts_head() => out.extend_from_slice(b"GET"),
            None => out.extend_from_slice(request.head.method_name()),
        }
        let is_head = out[start..].eq_ignore_ascii_case(b"HEAD");
        out.push(b' ');
        let uri = out.len();
        append_uri(request, &self.place.uri, self.location, out);
        one_line::settle_uri(out, uri);
        let body = settings.set_body.as_ref().map(|body| body.value(request));
        let payload = body.as_ref().map_or(payload, |body| Payload::written(body.len()));
        note(request, self.place, &out[uri..], payload);
        let is_11 = *settings.http_version == Version::HTTP_11;
        out.extend_from_slice(if is_11 { b" HTTP/1.1\r\n" } else { b" HTTP/1.0\r\n" });
        self.write_host(request, out);
        let asks_to_upgrade = write_set(request, settings, payload, out);
        write_framing(settings, payload, out);
        if *settings.common.pass_request_headers {
            let whole = request.fetches_for_cache();
            pass_fields(&request.head, settings, whole, out);
            if whole {
                conditions(request, settings, |name, value| field(out, name, value));
            }
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body.as_deref().unwrap_or_default());
        Written { is_head, sends_chunks: payload.length().is_none(), asks_to_upgrade }
    }

    fn write_host(&self, request: &mut Request, out: &mut Vec<u8>) {
        let fields = &self.settings.set_headers;
        let set = fields.iter().rfind(|(name, _)| name.eq_ignore_ascii_case(b"host"));
        let start = out.len();
        out.extend_from_slice(b"Host: ");
        let value = out.len();
        if let Some((_, script)) = set {
            script.append(request, out);
            one_line::settle(out, value);
        }
        if out.len() == value {
            if set.is_some() && *self.settings.http_version != Version::HTTP_11 {
                out.truncate(start);
                return;
            }
            out.extend_from_slice(&self.place.host);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The URI as it came, or with `new` in place of the location's name.
pub fn append_uri(request: &Request, new: &[u8], location: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(location) = location else {
        return out.extend_from_slice(new);
    };
    if new.is_empty() && request.has_clients_uri {
        let target = request.head.target();
        // An absolute URI may have arguments and no path.
        if target.first() == Some(&b'?') {
            out.push(b'/');
        }
        return out.extend_from_slice(target);
    }
    let mut skipped = 0;
    if !request.has_left_location {
        out.extend_from_slice(new);
        if !new.is_empty() {
            skipped = location.len().min(request.uri.len());
        }
    }
    let rest = &request.uri[skipped..];
    // What came plain stays plain.
    match request.internal || memchr::memchr(b'%', request.head.target_path()).is_some() {
        true => escape::path(rest, out),
        false => out.extend_from_slice(rest),
    }
    if !request.args.is_empty() {
        out.push(b'?');
        out.extend_from_slice(&request.args);
    }
}

/// The client's addresses as far as they are known, for the next server.
pub fn append_forwarded_for(request: &mut Request, out: &mut Vec<u8>) -> bool {
    if request.header(Known::XForwardedFor).is_some() {
        let fields = request.head.fields();
        for (_, value) in fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-for")) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(request.peer().to_string().as_bytes());
    true
}

/// Remembers what the log and the variables tell.
pub fn note(request: &mut Request, place: &Place, uri: &[u8], payload: Payload) {
    let record: &mut Record = request.upstream_record();
    record.uri.clear();
    record.uri.extend_from_slice(uri);
    record.host.clone_from(&place.host);
    record.port.clone_from(&place.port);
    record.body_length = payload.told_length();
    record.is_chunked = payload.length().is_none();
}

/// The fields of `proxy_set_header`; those without a value are left out. Whether one asks for another protocol.
fn write_set(
    request: &mut Request,
    settings: &'static Settings,
    payload: Payload,
    out: &mut Vec<u8>,
) -> bool {
    // A tunnel needs no line of configuration.
    let is_tunnel = request.is_tunnel() && *settings.http_version == Version::HTTP_11;
    let mut asks_to_upgrade = is_tunnel;
    if is_tunnel {
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    }
    for (name, script) in settings.set_headers.iter() {
        let is_told = is_tunnel
            && (name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"upgrade"));
        if is_told || name.eq_ignore_ascii_case(b"host") {
            continue;
        }
        let start = out.len();
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        let value = out.len();
        script.append(request, out);
        one_line::settle(out, value);
        let is_untrue = is_framing(name) && !says_nothing_follows(name, &out[value..], payload);
        if is_untrue || out.len() == value {
            out.truncate(start);
            continue;
        }
        asks_to_upgrade |= name.eq_ignore_ascii_case(b"upgrade");
        out.extend_from_slice(b"\r\n");
    }
    asks_to_upgrade
}

pub fn is_framing(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

/// Whether a field of the configuration's says that nothing follows, and nothing does. All else about the body is this
/// writer's to say: what is not true would have the upstream take a part of one request for another.
pub fn says_nothing_follows(name: &[u8], value: &[u8], payload: Payload) -> bool {
    payload.length() == Some(0) && name.eq_ignore_ascii_case(b"content-length") && value == b"0"
}

/// The client's fields that are passed on as they are.
fn pass_fields(head: &RequestHead, settings: &Settings, whole: bool, out: &mut Vec<u8>) {
    for line in &head.fields {
        let name = line.name.of(&head.bytes);
        if is_replaced(settings, name) || whole && wants_part(name) {
            continue;
        }
        match as_sent(&head.bytes, line) {
            Some(whole) => out.extend_from_slice(whole),
            None => field(out, name, line.value.of(&head.bytes)),
        }
    }
}

/// Whether a field says that the client does not want all of a response, or has it already.
pub fn wants_part(name: &[u8]) -> bool {
    const FIELDS: [&[u8]; 6] = [
        b"if-modified-since",
        b"if-unmodified-since",
        b"if-none-match",
        b"if-match",
        b"range",
        b"if-range",
    ];
    FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name))
}

/// The conditions under which a response that is stored need not come again.
pub fn conditions(request: &mut Request, settings: &Settings, mut put: impl FnMut(&[u8], &[u8])) {
    let mut value = Vec::new();
    if !is_set(settings, b"if-modified-since")
        && variables::append_last_modified(request, &mut value)
    {
        put(b"If-Modified-Since", &value);
    }
    value.clear();
    if !is_set(settings, b"if-none-match") && variables::append_etag(request, &mut value) {
        put(b"If-None-Match", &value);
    }
}

/// The line with its end, where the client has spelt it as it is passed on.
fn as_sent<'b>(bytes: &'b [u8], line: &HeaderLine) -> Option<&'b [u8]> {
    let [start, colon, value, end] =
        [line.name.start, line.name.end, line.value.start, line.value.end].map(|at| at as usize);
    let whole = bytes.get(start..end + 2)?;
    let is_plain = &bytes[colon..value] == b": " && whole.ends_with(b"\r\n");
    is_plain.then_some(whole)
}

/// How long the body is. Where there is none the configuration may say nothing of it, or say so itself.
fn write_framing(settings: &Settings, payload: Payload, out: &mut Vec<u8>) {
    match payload.told_length() {
        Some(0) if is_set(settings, b"content-length") => {}
        Some(length) => {
            field(out, b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
        }
        None if payload.length().is_none() => field(out, b"Transfer-Encoding", b"chunked"),
        None => {}
    }
}

fn is_set(settings: &Settings, name: &[u8]) -> bool {
    settings.set_headers.iter().any(|(set, _)| set.eq_ignore_ascii_case(name))
}

/// A field of the client's that is not passed on as it is.
fn is_replaced(settings: &Settings, name: &[u8]) -> bool {
    OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) || is_set(settings, name)
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemun_proto::http1::Parsed;
    use daemun_proto::http1::header::{Line, parse_header_line};

    fn passed(lines: &str) -> String {
        let mut head = RequestHead::default();
        head.bytes.extend_from_slice(lines.as_bytes());
        let mut at = 0;
        while let Ok(Parsed::Done(Line::Header(line), end)) =
            parse_header_line(&head.bytes, at, true)
        {
            assert!(head.add(line).is_ok());
            at = end;
        }
        let mut out = Vec::new();
        pass_fields(&head, &Settings::default(), false, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_have_one_spelling_behind_the_server() {
        assert_eq!(passed("A: b\r\nC: d e\r\n"), "A: b\r\nC: d e\r\n");
        assert_eq!(passed("A:b\r\n"), "A: b\r\n");
        assert_eq!(passed("A:  b \r\n"), "A: b\r\n");
        assert_eq!(passed("A: b\nC: d\r\n"), "A: b\r\nC: d\r\n");
        assert_eq!(passed("A:\r\nB\r\n"), "A: \r\nB: \r\n");
    }

    #[test]
    fn what_concerns_the_connection_stays() {
        assert_eq!(passed("Host: a\r\nKeep-Alive: 1\r\nTE: x\r\nTea: y\r\n"), "Tea: y\r\n");
    }
}
