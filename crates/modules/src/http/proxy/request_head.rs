//! The head of a request as an upstream gets it.

use daemun_http::escape;
use daemun_http::head::{Known, RequestHead};
use daemun_http::one_line;
use daemun_http::request::Request;
use daemun_http::upstream::record::Record;
use daemun_proto::http1::{HeaderLine, Version};

use super::Settings;
use super::pass::Place;

/// Fields of the client's that are the connection's own matter, or written anew.
const OWN: [&[u8]; 9] = [
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

impl Writer<'_> {
    /// Appends request line and fields, and the body of `proxy_set_body`. Whether the method is HEAD.
    pub fn write(&self, request: &mut Request, out: &mut Vec<u8>) -> bool {
        let settings = self.settings;
        let start = out.len();
        match &*settings.method {
            Some(method) => {
                method.append(request, out);
                one_line::settle(out, start);
            }
            None => out.extend_from_slice(request.head.method_name()),
        }
        let is_head = out[start..].eq_ignore_ascii_case(b"HEAD");
        out.push(b' ');
        let uri = out.len();
        self.append_uri(request, out);
        one_line::settle_uri(out, uri);
        let body = settings.set_body.as_ref().map(|body| body.value(request));
        note(request, self.place, &out[uri..], body.as_deref());
        let is_11 = *settings.http_version == Version::HTTP_11;
        out.extend_from_slice(if is_11 { b" HTTP/1.1\r\n" } else { b" HTTP/1.0\r\n" });
        self.write_host(request, out);
        write_set(request, settings, out);
        write_framing(request, settings, out);
        if *settings.common.pass_request_headers {
            pass_fields(&request.head, settings, out);
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body.as_deref().unwrap_or_default());
        is_head
    }

    /// The URI as it came, or with the location's name replaced.
    fn append_uri(&self, request: &Request, out: &mut Vec<u8>) {
        let new = &self.place.uri;
        let Some(location) = self.location else {
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
fn note(request: &mut Request, place: &Place, uri: &[u8], set_body: Option<&[u8]>) {
    // What is still to come of a body in chunks has no length yet.
    let is_chunked = set_body.is_none() && request.body.is_chunked() && !request.body.is_complete();
    let length = match set_body {
        Some(body) => Some(body.len() as u64),
        None if is_chunked => None,
        None => body_length(request),
    };
    let record: &mut Record = request.upstream_record();
    record.uri.clear();
    record.uri.extend_from_slice(uri);
    record.host.clone_from(&place.host);
    record.port.clone_from(&place.port);
    record.body_length = length;
    record.is_chunked = is_chunked;
}

/// The length of the client's body; `None` where it sends none.
fn body_length(request: &Request) -> Option<u64> {
    let length = request.body.content_length();
    length.or_else(|| request.body.is_chunked().then(|| request.body.received()))
}

/// The fields of `proxy_set_header`; those without a value are left out.
fn write_set(request: &mut Request, settings: &'static Settings, out: &mut Vec<u8>) {
    for (name, script) in settings.set_headers.iter() {
        if name.eq_ignore_ascii_case(b"host") {
            continue;
        }
        let start = out.len();
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        let value = out.len();
        script.append(request, out);
        one_line::settle(out, value);
        match out.len() > value {
            true => out.extend_from_slice(b"\r\n"),
            false => out.truncate(start),
        }
    }
}

/// The client's fields that are passed on as they are.
fn pass_fields(head: &RequestHead, settings: &Settings, out: &mut Vec<u8>) {
    for line in &head.fields {
        let name = line.name.of(&head.bytes);
        if is_replaced(settings, name) {
            continue;
        }
        match as_sent(&head.bytes, line) {
            Some(whole) => out.extend_from_slice(whole),
            None => field(out, name, line.value.of(&head.bytes)),
        }
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

/// How long the body is, unless the configuration says it.
fn write_framing(request: &mut Request, settings: &Settings, out: &mut Vec<u8>) {
    let record = request.upstream_record();
    let (length, is_chunked) = (record.body_length, record.is_chunked);
    if let Some(length) = length
        && !is_set(settings, b"content-length")
    {
        field(out, b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
    }
    if is_chunked && !is_set(settings, b"transfer-encoding") {
        field(out, b"Transfer-Encoding", b"chunked");
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
        pass_fields(&head, &Settings::default(), &mut out);
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
