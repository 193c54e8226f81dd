//! `$ssl_*`.

use daemun_proto::tls::client_hello::pairs;
use daemun_tls::facts::Facts;
use daemun_tls::suite::{Suite, group_name, signature_name};

use crate::module::Variable;
use crate::request::Request;

pub(super) const VARIABLES: &[Variable] = &[
    Variable::changeable("ssl_protocol", |r, _, out| {
        with(r, |facts| add(facts.version().name().as_bytes(), out))
    }),
    Variable::changeable("ssl_cipher", |r, _, out| {
        with(r, |facts| add(facts.suite.name.as_bytes(), out))
    }),
    Variable::changeable("ssl_ciphers", |r, _, out| with(r, |facts| suites(facts, out))),
    Variable::changeable("ssl_curve", |r, _, out| {
        with(r, |facts| facts.group != 0 && group(facts.group, out))
    }),
    Variable::changeable("ssl_curves", |r, _, out| with(r, |facts| groups(facts, out))),
    Variable::changeable("ssl_sigalg", |r, _, out| {
        with(r, |facts| signature(facts.signature, out))
    }),
    Variable::changeable("ssl_client_sigalg", |r, _, out| {
        with(r, |facts| signature(facts.client_signature, out))
    }),
    Variable::changeable("ssl_server_name", |r, _, out| {
        with(r, |facts| facts.server_name.as_deref().is_some_and(|name| add(name, out)))
    }),
    Variable::changeable("ssl_alpn_protocol", |r, _, out| {
        with(r, |facts| facts.protocol.as_deref().is_some_and(|name| add(name, out)))
    }),
    Variable::changeable("ssl_session_reused", |r, _, out| {
        with(r, |facts| add(if facts.reused { b"r" } else { b"." }, out))
    }),
    Variable::changeable("ssl_session_id", |r, _, out| {
        with(r, |facts| {
            facts.session_id.iter().for_each(|byte| out.extend(format!("{byte:02x}").bytes()));
            !facts.session_id.is_empty()
        })
    }),
    Variable::changeable("ssl_early_data", |r, _, out| {
        let is_first = r.connection_requests() == 1;
        with(r, |facts| facts.early_data && is_first && add(b"1", out))
    }),
];

fn with(request: &Request, value: impl FnOnce(&Facts) -> bool) -> bool {
    request.tls().is_some_and(|facts| value(facts))
}

fn add(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    true
}

fn signature(number: u16, out: &mut Vec<u8>) -> bool {
    match signature_name(number) {
        Some(name) => add(name.as_bytes(), out),
        None => number != 0 && add(format!("0x{number:04x}").as_bytes(), out),
    }
}

fn group(number: u16, out: &mut Vec<u8>) -> bool {
    match group_name(number) {
        Some(name) => add(name.as_bytes(), out),
        None => add(format!("0x{number:04x}").as_bytes(), out),
    }
}

fn groups(facts: &Facts, out: &mut Vec<u8>) -> bool {
    for (index, number) in
        pairs(&facts.offered_groups).filter(|group| !is_grease(*group)).enumerate()
    {
        if index > 0 {
            out.push(b':');
        }
        group(number, out);
    }
    !facts.offered_groups.is_empty()
}

fn suites(facts: &Facts, out: &mut Vec<u8>) -> bool {
    for (index, number) in
        pairs(&facts.offered_suites).filter(|suite| !is_grease(*suite)).enumerate()
    {
        if index > 0 {
            out.push(b':');
        }
        match Suite::by_id(number) {
            Some(suite) => add(suite.name.as_bytes(), out),
            None => add(format!("0x{number:04x}").as_bytes(), out),
        };
    }
    !facts.offered_suites.is_empty()
}

/// RFC 8701.
fn is_grease(number: u16) -> bool {
    number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff
}
