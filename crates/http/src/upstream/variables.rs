//! `$upstream_addr` and its like: what is known of the tries, one value for each.

use super::record::{Record, Try};
use crate::module::{HttpModule, Variable};
use crate::request::Request;
use crate::variables::{append_joined, names_header};
use daemun_core::module::Module;
use daemun_event::Millis;

/// The variables of every protocol to upstreams.
pub static MODULE: HttpModule = HttpModule {
    base: Module { name: "http_upstream_module", directives: &[], settings: None },
    variables: &[
        Variable::new("upstream_addr", |r, _, out| {
            each(r, out, |one, out| out.extend(one.peer.iter().flat_map(|peer| peer.bytes())))
        }),
        Variable::new("upstream_status", |r, _, out| {
            each(r, out, |one, out| match one.status {
                0 => out.push(b'-'),
                status => append_number(status, out),
            })
        }),
        Variable::new("upstream_connect_time", |r, _, out| {
            each(r, out, |one, out| append_time(one.connect_time, out))
        }),
        Variable::new("upstream_header_time", |r, _, out| {
            each(r, out, |one, out| append_time(one.header_time, out))
        }),
        Variable::new("upstream_response_time", |r, _, out| {
            each(r, out, |one, out| append_time(one.response_time, out))
        }),
        Variable::new("upstream_response_length", |r, _, out| {
            each(r, out, |one, out| append_number(one.response_length, out))
        }),
        Variable::new("upstream_bytes_received", |r, _, out| {
            each(r, out, |one, out| append_number(one.bytes_received, out))
        }),
        Variable::new("upstream_bytes_sent", |r, _, out| {
            each(r, out, |one, out| append_number(one.bytes_sent, out))
        }),
        Variable::new("upstream_http_", |r, name, out| {
            known(r).is_some_and(|record| {
                let named = record.head.values().filter(|(header, _)| names_header(name, header));
                append_joined(named.map(|(_, value)| value), b", ", out)
            })
        }),
        Variable::new("upstream_trailer_", |r, name, out| {
            known(r).is_some_and(|record| {
                let named =
                    record.trailers.iter().filter(|trailer| names_header(name, &trailer.name));
                append_joined(named.map(|trailer| &*trailer.value), b", ", out)
            })
        }),
        Variable::new("upstream_cookie_", cookie),
    ],
    ..HttpModule::EMPTY
};

fn known(request: &Request) -> Option<&Record> {
    request.upstream.as_deref()
}

/// Values of all tries: between those of one group stands a comma, between two groups a colon.
fn each(
    request: &mut Request,
    out: &mut Vec<u8>,
    mut value: impl FnMut(&Try, &mut Vec<u8>),
) -> bool {
    let tries = known(request).map_or(&[][..], |record| &record.tries);
    let mut tries = tries.iter().peekable();
    if tries.peek().is_none() {
        return false;
    }
    while let Some(one) = tries.next() {
        if one.peer.is_none() && tries.peek().is_some() {
            out.extend_from_slice(b" : ");
            continue;
        }
        value(one, out);
        if tries.peek().is_some_and(|next| next.peer.is_some()) {
            out.extend_from_slice(b", ");
        }
    }
    true
}

fn append_time(time: Option<Millis>, out: &mut Vec<u8>) {
    match time {
        None => out.push(b'-'),
        Some(time) => {
            out.extend_from_slice(format!("{}.{:03}", time / 1000, time % 1000).as_bytes())
        }
    }
}

fn append_number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A cookie that the upstream sets, without its attributes. As in nginx, nothing but spaces may stand around the sign.
fn cookie(request: &mut Request, name: &str, out: &mut Vec<u8>) -> bool {
    let Some(record) = known(request) else { return false };
    let mut set =
        record.head.values().filter(|(field, _)| field.eq_ignore_ascii_case(b"set-cookie"));
    let Some(value) = set.find_map(|(_, line)| value_of(line, name.as_bytes())) else {
        return false;
    };
    out.extend_from_slice(value);
    true
}

fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    if !start.eq_ignore_ascii_case(name) {
        return None;
    }
    let value = without_spaces(without_spaces(rest).strip_prefix(b"=")?);
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    Some(&value[..end])
}

fn without_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| **byte == b' ').count();
    &text[spaces..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_told_by_name_and_sign() {
        for (line, value) in [
            ("sid=1; Path=/", Some("1")),
            ("SID = 1", Some("1")),
            ("sid=", Some("")),
            ("sid==a;b", Some("=a")),
            ("sid\t=1", None),
            ("sidx=1", None),
            ("sid", None),
        ] {
            assert_eq!(value_of(line.as_bytes(), b"sid"), value.map(str::as_bytes), "{line}");
        }
    }
}
