//! Variables: the table that a configuration's names resolve to, and the built-in ones of nginx's core.

use std::io::Write;
use std::net::IpAddr;

use bytes::Bytes;
use daemun_conf::Diagnostics;
use daemun_core::log;
use daemun_core::script::{Compute, Definition, Named, VariableId, Variables};
use daemun_proto::http1::Version;
use daemun_proto::proxy_protocol::{self, TlvFault};

use crate::core::{rewriting, server_name};
use crate::credentials::Credentials;
use crate::date;
use crate::files;
use crate::head::Known;
use crate::module::{HttpModule, Variable, VariableValue};
use crate::request::Request;
use crate::status::Status;

/// What each name of a configuration stands for, by id.
#[derive(Default)]
pub struct Definitions {
    list: Vec<(Box<str>, Resolved)>,
    /// Where names come from that turn up while requests are served.
    modules: Vec<&'static HttpModule>,
}

enum Resolved {
    /// Its value is in the request, where there is one.
    Captured,
    /// The same, and empty where there is none.
    Assigned,
    Computed {
        compute: Compute,
        volatile: bool,
    },
    BuiltIn {
        value: VariableValue,
        member: Box<str>,
    },
}

impl Definitions {
    /// Finds every name among the configuration's definitions, the modules' tables and the core's.
    pub fn resolve(
        variables: &Variables,
        modules: &[&'static HttpModule],
        diagnostics: &mut Diagnostics,
    ) -> Definitions {
        let mut resolve = |named: &Named| {
            let name = &named.name;
            let built_in = built_in(name, modules);
            if named.definition.is_some() && is_fixed(name, built_in) {
                let sentence = format!("the duplicate \"{}\" variable", named.spelling());
                diagnostics.emerg(sentence, named.defined);
            }
            match (named.definition.clone(), built_in) {
                (Some(Definition::Captured), _) => Resolved::Captured,
                (Some(Definition::Computed { compute, volatile }), _) => {
                    Resolved::Computed { compute, volatile }
                }
                (_, Some((variable, member))) => {
                    Resolved::BuiltIn { value: variable.value, member: member.into() }
                }
                (Some(Definition::Assigned), None) => Resolved::Assigned,
                (None, None) => {
                    diagnostics.emerg(format!("unknown \"{name}\" variable"), named.used);
                    if let Some(near) = suggestion(name, variables, modules) {
                        diagnostics.help(format!("did you mean \"${near}\"?"));
                    }
                    Resolved::Captured
                }
            }
        };
        let names = variables.list().iter();
        let list = names.map(|named| (named.name.as_str().into(), resolve(named))).collect();
        Definitions { list, modules: modules.to_vec() }
    }

    /// The variables whose values a request has by now and keeps to its end: what the configuration computes only where that
    /// is done.
    pub(crate) fn lasting(&self, request: &Request) -> Vec<(VariableId, &str)> {
        let ids = (0..=u16::MAX).map(VariableId).zip(&self.list);
        let lasts = |id: VariableId, name: &str, resolved: &Resolved| {
            let is_built_in = matches!(resolved, Resolved::BuiltIn { .. });
            request.stored(id).is_some() || is_built_in && !goes_on(name)
        };
        let lasting = ids.filter(|(id, (name, resolved))| lasts(*id, name, resolved));
        lasting.map(|(id, (name, _))| (id, &**name)).collect()
    }

    /// Whether the configuration names a variable of that family.
    pub(crate) fn has_member_of(&self, family: &str) -> bool {
        self.list.iter().any(|(name, _)| name.starts_with(family))
    }

    pub(crate) fn id_of(&self, name: &str) -> Option<VariableId> {
        let index = self.list.iter().position(|(known, _)| **known == *name)?;
        u16::try_from(index).ok().map(VariableId)
    }

    /// All modules of the configuration.
    pub(crate) fn modules(&self) -> &[&'static HttpModule] {
        &self.modules
    }
}

impl Definitions {
    /// What a name stands for, for a session that is no request: the name, and the function of one that the
    /// configuration computes.
    pub fn apart(&self, id: VariableId) -> (&str, Option<&Compute>) {
        let (name, resolved) = &self.list[usize::from(id.0)];
        match resolved {
            Resolved::Computed { compute, .. } => (name, Some(compute)),
            _ => (name, None),
        }
    }
}

/// The variable that was probably meant.
fn suggestion<'v>(
    name: &str,
    variables: &'v Variables,
    modules: &[&'static HttpModule],
) -> Option<&'v str> {
    let built_in = modules.iter().flat_map(|module| module.variables).chain(CORE);
    let single = built_in.map(|variable| variable.name).filter(|name| !name.ends_with('_'));
    let own = variables.list().iter().filter(|named| named.definition.is_some());
    daemun_conf::suggest(name, single.chain(own.map(|named| named.name.as_str())))
}

/// Whether no configuration may define a variable of that name.
fn is_fixed(name: &str, built_in: Option<(&Variable, &str)>) -> bool {
    let is_single = |(variable, member): (&Variable, &str)| {
        member.is_empty() && !variable.name.ends_with('_') && !variable.is_changeable
    };
    SINGLE.contains(&name) || built_in.is_some_and(is_single)
}

/// nginx's variables that are members of families here, or nothing yet.
const SINGLE: [&str; 24] = [
    "http_cookie",
    "http_host",
    "http_referer",
    "http_user_agent",
    "http_via",
    "http_x_forwarded_for",
    "limit_conn_status",
    "limit_req_status",
    "sent_http_cache_control",
    "sent_http_connection",
    "sent_http_content_length",
    "sent_http_content_type",
    "sent_http_keep_alive",
    "sent_http_last_modified",
    "sent_http_link",
    "sent_http_location",
    "sent_http_transfer_encoding",
    "tcpinfo_rcv_space",
    "tcpinfo_rtt",
    "tcpinfo_rttvar",
    "tcpinfo_snd_cwnd",
    "upstream_cache_etag",
    "upstream_cache_last_modified",
    "upstream_cache_status",
];

/// One of the core's variables, with the member's name where it is one of a family.
pub fn core_variable(name: &str) -> Option<(&'static Variable, &str)> {
    built_in(name, &[])
}

/// A single variable of that name, else the family that it is a member of.
fn built_in<'n>(
    name: &'n str,
    modules: &[&'static HttpModule],
) -> Option<(&'static Variable, &'n str)> {
    let all = || modules.iter().flat_map(|module| module.variables).chain(CORE);
    if let Some(single) = all().find(|variable| variable.name == name) {
        return Some((single, ""));
    }
    all().filter(|variable| variable.name.ends_with('_')).find_map(|family| {
        let member = name.strip_prefix(family.name)?;
        (!member.is_empty()).then_some((family, member))
    })
}

/// Appends a variable's value; `false` where it has none.
pub fn evaluate(request: &mut Request, id: VariableId, out: &mut Vec<u8>) -> bool {
    if let Some(stored) = request.stored(id) {
        return append_option(stored.as_deref(), out);
    }
    let config = request.config;
    let (name, resolved) = &config.variables.list[usize::from(id.0)];
    match resolved {
        Resolved::Captured => false,
        Resolved::Assigned => {
            if *request.settings(&rewriting::SETTINGS).warns_of_uninitialized {
                log!(request.log(), Warn, *request, "using uninitialized \"{}\" variable", name);
            }
            request.store(id, Some(Bytes::new()));
            true
        }
        Resolved::BuiltIn { value, member } => value(request, member, out),
        Resolved::Computed { compute, volatile } => {
            let start = out.len();
            let found = compute_within(request, name, compute, out);
            if !volatile {
                let value = found.then(|| Bytes::copy_from_slice(&out[start..]));
                request.store(id, value);
            }
            found
        }
    }
}

/// As [`evaluate`], for a name that was not known when the configuration was read.
pub fn evaluate_name(request: &mut Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    let config = request.config;
    let Ok(name) = str::from_utf8(name) else {
        return false;
    };
    let name = name.to_ascii_lowercase();
    let defined = config.variables.list.iter().position(|(defined, _)| **defined == name);
    if let Some(id) = defined.and_then(|index| u16::try_from(index).ok()) {
        return evaluate(request, VariableId(id), out);
    }
    match built_in(&name, &config.variables.modules) {
        Some((variable, member)) => (variable.value)(request, member, out),
        None => false,
    }
}

/// Whether a built-in variable has another value at a request's end than before, or one of whoever asks.
fn goes_on(name: &str) -> bool {
    const CHANGING: [&str; 14] = [
        "body_bytes_sent",
        "bytes_sent",
        "connection_time",
        "date_gmt",
        "date_local",
        "msec",
        "pid",
        // asking for it may be an error
        "realpath_root",
        "request_completion",
        "request_time",
        "time_iso8601",
        "time_local",
        "upstream_bytes_received",
        "upstream_bytes_sent",
    ];
    const FAMILIES: [&str; 4] = ["connections_", "sent_trailer_", "tcpinfo_", "upstream_response_"];
    CHANGING.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// How many computed variables may need one another.
const MAX_DEPTH: u8 = 100;

fn compute_within(request: &mut Request, name: &str, compute: &Compute, out: &mut Vec<u8>) -> bool {
    if request.variable_depth == MAX_DEPTH {
        log!(request.log(), Error, *request, "cycle while evaluating variable \"{}\"", name);
        return false;
    }
    request.variable_depth += 1;
    let found = compute(request, out);
    request.variable_depth -= 1;
    found
}

fn append_option(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    match value {
        Some(value) => {
            out.extend_from_slice(value);
            true
        }
        None => false,
    }
}

fn append(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    true
}

fn append_number(number: impl itoa::Integer, out: &mut Vec<u8>) -> bool {
    append(itoa::Buffer::new().format(number).as_bytes(), out)
}

fn append_display(value: impl std::fmt::Display, out: &mut Vec<u8>) -> bool {
    // Writing to memory can't fail.
    let _ = write!(out, "{value}");
    true
}

/// Nothing for a port that is not known.
fn append_port(port: u16, out: &mut Vec<u8>) -> bool {
    port == 0 || append_number(port, out)
}

/// Seconds with milliseconds: `12.345`.
fn append_seconds(milliseconds: u64, out: &mut Vec<u8>) -> bool {
    append_display(format_args!("{}.{:03}", milliseconds / 1000, milliseconds % 1000), out)
}

const fn variable(name: &'static str, value: VariableValue) -> Variable {
    Variable::new(name, value)
}

/// The core's variables, in the order of nginx's documentation of the request's life.
static CORE: &[Variable] = &[
    variable("arg_", |r, name, out| append_option(r.argument(name.as_bytes()), out)),
    Variable::changeable("args", |r, _, out| has_args(r) && append(&r.args, out)),
    variable("binary_remote_addr", binary_remote_addr),
    variable("body_bytes_sent", |r, _, out| append_number(r.sent.saturating_sub(r.sent_head), out)),
    variable("bytes_sent", |r, _, out| append_number(r.sent, out)),
    variable("connection", |r, _, out| append_number(r.connection_number(), out)),
    variable("connection_requests", |r, _, out| append_number(r.connection_requests(), out)),
    variable("connection_time", |r, _, out| {
        append_seconds(daemun_event::now().saturating_sub(r.connection_started()), out)
    }),
    variable("content_length", content_length),
    variable("content_type", |r, _, out| request_header(r, "content_type", out)),
    variable("cookie_", cookie),
    variable("document_root", |r, _, out| files::append_root(r, out)),
    variable("document_uri", |r, _, out| uri(r, out)),
    variable("host", host),
    variable("hostname", |_, _, out| append(&server_name::hostname(), out)),
    variable("http_", request_header),
    variable("https", |r, _, out| r.tls().is_none() || append(b"on", out)),
    variable("is_args", |r, _, out| r.args.is_empty() || append(b"?", out)),
    variable("is_request_port", |r, _, out| r.host_port.is_none() || append(b":", out)),
    Variable::changeable("limit_rate", |r, _, out| append_number(r.limit_rate.unwrap_or(0), out)),
    variable("msec", |_, _, out| {
        append_seconds(date::milliseconds(daemun_event::wall_clock()), out)
    }),
    variable("nginx_version", |r, _, out| {
        let version =
            r.config.surroundings.server_header.version.split('/').nth(1).unwrap_or_default();
        append(version.as_bytes(), out)
    }),
    variable("pid", |_, _, out| append_number(std::process::id(), out)),
    variable("pipe", |r, _, out| append(if r.is_pipelined { b"p" } else { b"." }, out)),
    variable("proxy_protocol_addr", |r, _, out| {
        r.proxy_header().is_some_and(|header| append(&header.source, out))
    }),
    variable("proxy_protocol_port", |r, _, out| {
        r.proxy_header().is_some_and(|header| append_port(header.source_port, out))
    }),
    variable("proxy_protocol_server_addr", |r, _, out| {
        r.proxy_header().is_some_and(|header| append(&header.destination, out))
    }),
    variable("proxy_protocol_server_port", |r, _, out| {
        r.proxy_header().is_some_and(|header| append_port(header.destination_port, out))
    }),
    variable("proxy_protocol_tlv_", proxy_protocol_tlv),
    variable("query_string", |r, _, out| has_args(r) && append(&r.args, out)),
    variable("realpath_root", |r, _, out| files::append_real_root(r, out)),
    variable("remote_addr", |r, _, out| append_display(r.peer(), out)),
    variable("remote_port", |r, _, out| r.peer().port().is_some_and(|port| append_port(port, out))),
    variable("remote_user", remote_user),
    variable("request", |r, _, out| {
        !r.head.request_line().is_empty() && append(r.head.request_line(), out)
    }),
    variable("request_body", |r, _, out| {
        !r.body.memory().is_empty() && append(r.body.memory(), out)
    }),
    variable("request_body_file", |r, _, out| {
        r.body.file().is_some_and(|file| append(file.path.as_os_str().as_encoded_bytes(), out))
    }),
    variable("request_completion", |r, _, out| !r.is_complete || append(b"OK", out)),
    variable("request_filename", |r, _, out| {
        files::map_uri(r, out);
        true
    }),
    variable("request_id", request_id),
    variable("request_length", |r, _, out| append_number(r.length(), out)),
    variable("request_method", |r, _, out| {
        // In a subrequest it is the main request's.
        let name = match r.is_subrequest() {
            true => r.head.sent_method_name(),
            false => r.head.method_name(),
        };
        !name.is_empty() && append(name, out)
    }),
    variable("request_port", |r, _, out| r.host_port.is_none_or(|port| append_number(port, out))),
    variable("request_time", |r, _, out| {
        append_seconds(daemun_event::now().saturating_sub(r.started), out)
    }),
    variable("request_uri", |r, _, out| !r.uri.is_empty() && append_request_uri(r, out)),
    variable("scheme", |r, _, out| append(r.scheme().as_bytes(), out)),
    variable("sent_http_", sent_header),
    variable("sent_trailer_", sent_trailer),
    variable("server_addr", |r, _, out| match r.local_address() {
        Some(address) => append_display(address.ip(), out),
        None => append(r.unix_path().as_bytes(), out),
    }),
    variable("server_name", |r, _, out| append(r.server.name(), out)),
    variable("server_port", |r, _, out| {
        r.local_address().is_none_or(|address| append_number(address.port(), out))
    }),
    variable("server_protocol", server_protocol),
    variable("status", |r, _, out| {
        let status = r.logged_status();
        append_display(format_args!("{:03}", status.0), out)
    }),
    variable("tcpinfo_", tcp_info),
    variable("time_iso8601", |_, _, out| {
        date::with_iso8601(|text| out.extend_from_slice(text));
        true
    }),
    variable("time_local", |_, _, out| {
        date::with_log_date(|text| out.extend_from_slice(text));
        true
    }),
    variable("uri", |r, _, out| uri(r, out)),
];

fn binary_remote_addr(request: &mut Request, _: &str, out: &mut Vec<u8>) -> bool {
    match request.peer().ip() {
        Some(IpAddr::V4(v4)) => append(&v4.octets(), out),
        Some(IpAddr::V6(v6)) => append(&v6.octets(), out),
        None => append(b"unix:", out),
    }
}

fn has_args(request: &Request) -> bool {
    request.has_args || !request.args.is_empty()
}

fn content_length(request: &mut Request, _: &str, out: &mut Vec<u8>) -> bool {
    match request.header(Known::ContentLength) {
        Some(length) => append(length, out),
        None if request.body.is_chunked() && request.body.is_complete() => {
            append_number(request.body.received(), out)
        }
        None => request.body.content_length().is_some_and(|length| append_number(length, out)),
    }
}

fn cookie(request: &mut Request, name: &str, out: &mut Vec<u8>) -> bool {
    let name = name.as_bytes();
    request.head.fields().filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie")).any(
        |(_, value)| {
            value.split(|byte| *byte == b';').any(|pair| {
                let pair = pair.trim_ascii_start();
                match memchr::memchr(b'=', pair) {
                    Some(sign) if pair[..sign].trim_ascii_end().eq_ignore_ascii_case(name) => {
                        append(pair[sign + 1..].trim_ascii_start(), out)
                    }
                    _ => false,
                }
            })
        },
    )
}

fn host(request: &mut Request, _: &str, out: &mut Vec<u8>) -> bool {
    match request.host.is_empty() {
        true => append(request.server.name(), out),
        false => append(&request.host, out),
    }
}

/// Whether a header field is the one that a variable's name means: underscores stand for dashes.
pub(crate) fn names_header(name: &str, header: &[u8]) -> bool {
    name.len() == header.len()
        && name.bytes().zip(header).all(|(wanted, byte)| {
            let byte = if *byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
            wanted == byte
        })
}

/// All values of a request header, joined.
fn request_header(request: &mut Request, name: &str, out: &mut Vec<u8>) -> bool {
    let separator: &[u8] = if name == "cookie" { b"; " } else { b", " };
    let values = request.head.fields().filter(|(header, _)| names_header(name, header));
    append_joined(values.map(|(_, value)| value), separator, out)
}

pub(crate) fn append_joined<'v>(
    values: impl Iterator<Item = &'v [u8]>,
    separator: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let mut found = false;
    for value in values {
        if found {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(value);
        found = true;
    }
    found
}

/// A field behind the response's body, once it is known.
fn sent_trailer(request: &mut Request, name: &str, out: &mut Vec<u8>) -> bool {
    let sent = request.response.sent_trailers.iter();
    let values = sent.filter(|trailer| names_header(name, &trailer.name));
    append_joined(values.map(|trailer| &*trailer.value), b", ", out)
}

/// A response header, those with a place of their own included.
fn sent_header(request: &mut Request, name: &str, out: &mut Vec<u8>) -> bool {
    let response = &request.response;
    match name {
        "content_type" => response.append_type(out),
        "content_length" => {
            response.content_length.is_some_and(|length| append_number(length, out))
        }
        "last_modified" => {
            append_option(response.last_modified.as_ref().map(|time| &*time.text), out)
        }
        "location" if response.location.is_some() => {
            append_option(response.location.as_deref(), out)
        }
        "etag" => append_option(response.etag.as_deref(), out),
        "connection" if response.status == Status::SWITCHING_PROTOCOLS => append(b"upgrade", out),
        "connection" => append(if request.keepalive { b"keep-alive" } else { b"close" }, out),
        "keep_alive" => {
            let header = *request.core().connection.keepalive_header;
            let header = header.filter(|_| request.keepalive);
            header.is_some_and(|timeout| {
                append_display(format_args!("timeout={}", timeout.as_secs()), out)
            })
        }
        "transfer_encoding" => request.is_chunked && append(b"chunked", out),
        _ => {
            let values = response.headers.iter().filter(|header| names_header(name, &header.name));
            append_joined(values.map(|header| &*header.value), b", ", out)
        }
    }
}

fn remote_user(request: &mut Request, _: &str, out: &mut Vec<u8>) -> bool {
    Credentials::of(request).is_some_and(|credentials| append(credentials.user(), out))
}

/// Sixteen random bytes in hexadecimal, the same for the whole request.
fn request_id(request: &mut Request, _: &str, out: &mut Vec<u8>) -> bool {
    let id = *request.id.get_or_insert_with(|| {
        let mut id = [0; 16];
        // Sixteen bytes come whole or, before the kernel's generator is ready, not at all.
        let _ = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty());
        id
    });
    id.iter().all(|byte| append_display(format_args!("{byte:02x}"), out))
}

fn append_request_uri(request: &Request, out: &mut Vec<u8>) -> bool {
    append(request.head.target(), out)
}

fn uri(request: &Request, out: &mut Vec<u8>) -> bool {
    // As in nginx one that could not be made sense of is empty, and that of a broken request line is missing.
    (!request.uri.is_empty() || !request.head.method_name().is_empty()) && append(&request.uri, out)
}

fn server_protocol(request: &mut Request, _: &str, out: &mut Vec<u8>) -> bool {
    if request.head.request_line().is_empty() {
        return false;
    }
    match request.head.version() {
        // nginx has a value only where a valid request line has.
        Version::HTTP_09 => false,
        _ if request.head.method_name().is_empty() => false,
        Version { major, minor } => append_display(format_args!("HTTP/{major}.{minor}"), out),
    }
}

fn proxy_protocol_tlv(request: &mut Request, name: &str, out: &mut Vec<u8>) -> bool {
    let Some(header) = request.proxy_header() else {
        return false;
    };
    let log = request.log();
    match proxy_protocol::tlv(header.tlvs, name) {
        Ok(value) => append_option(value.as_deref(), out),
        Err(fault) => {
            match fault {
                TlvFault::UnknownName => {
                    log!(log, Error, *request, "unknown PROXY protocol TLV \"{}\"", name);
                }
                TlvFault::InvalidNumber => {
                    log!(log, Error, *request, "invalid PROXY protocol TLV \"{}\"", name);
                }
                TlvFault::Broken => log!(log, Error, *request, "broken PROXY protocol TLV"),
            }
            false
        }
    }
}

fn tcp_info(request: &mut Request, member: &str, out: &mut Vec<u8>) -> bool {
    let Some(info) = request.tcp_info() else { return false };
    match member {
        "rtt" => append_number(info.rtt, out),
        "rttvar" => append_number(info.rttvar, out),
        "snd_cwnd" => append_number(info.snd_cwnd, out),
        "rcv_space" => append_number(info.rcv_space, out),
        _ => false,
    }
}
