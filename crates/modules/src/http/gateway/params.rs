//! `fastcgi_param` and its like: the parameters of a request, and the client's fields as `HTTP_*`.

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::script::Script;
use daemun_http::request::Request;
use daemun_http::upstream::cache::variables;
use daemun_http::upstream::payload::Payload;

/// The parameter that stands for `Host`, where the configuration does not name it.
const HOST: &[u8] = b"HTTP_HOST";
const HOST_VALUE: &[u8] = b"$host$is_request_port$request_port";

/// The parameter that frames the body.
const LENGTH: &[u8] = b"CONTENT_LENGTH";

/// The prefix of parameters that are fields of the request.
const FIELD: &[u8] = b"HTTP_";

/// A parameter as it is configured.
#[derive(Clone)]
pub struct Param {
    name: Bytes,
    value: Script,
    if_not_empty: bool,
}

/// Reads `NAME VALUE [if_not_empty]`.
pub fn param(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Param, Fault> {
    let if_not_empty = match directive.args.get(2) {
        None => false,
        Some(word) if word == "if_not_empty" => true,
        Some(word) => {
            return Err(Fault::from(format!("invalid parameter \"{word}\"")).at(word.span));
        }
    };
    let name = Bytes::copy_from_slice(&directive.args[0].text);
    let value = loader.script(&directive.args[1])?;
    Ok(Param { name, value, if_not_empty })
}

/// `HTTP_HOST` as it is where no parameter of that name is configured.
pub fn host(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Param, Fault> {
    let text = conf::Word { text: HOST_VALUE.into(), ..directive.args[0].clone() };
    let value = loader.script(&text)?;
    Ok(Param { name: Bytes::from_static(HOST), value, if_not_empty: true })
}

/// Fields that say that the client does not want all of a response, or has it already: they are left out where it is to
/// be stored.
const PARTS: [&[u8]; 6] = [
    b"HTTP_IF_MODIFIED_SINCE",
    b"HTTP_IF_UNMODIFIED_SINCE",
    b"HTTP_IF_NONE_MATCH",
    b"HTTP_IF_MATCH",
    b"HTTP_RANGE",
    b"HTTP_IF_RANGE",
];

type Append = fn(&Request, &mut Vec<u8>) -> bool;

/// The conditions under which a response that is stored need not come again.
const CONDITIONS: [(&[u8], Append); 2] = [
    (b"HTTP_IF_MODIFIED_SINCE", variables::append_last_modified),
    (b"HTTP_IF_NONE_MATCH", variables::append_etag),
];

/// Where the parameters of a request come from.
#[derive(Clone, Copy)]
pub struct Source {
    pub params: &'static [Param],
    pub host: &'static Param,
    /// The client's fields are parameters, too.
    pub passes_fields: bool,
    /// The body that follows.
    pub payload: Payload,
}

/// Gives each parameter of a request, and each of its fields where those are passed, to `put`.
pub fn each(request: &mut Request, source: Source, mut put: impl FnMut(&[u8], &[u8])) {
    let Source { params, host, passes_fields, payload } = source;
    let has_host = params.iter().any(|param| param.name.eq_ignore_ascii_case(HOST));
    let mut value = Vec::new();
    let whole = request.fetches_for_cache();
    if whole {
        for (name, append) in CONDITIONS {
            value.clear();
            let is_set = params.iter().any(|param| param.name.eq_ignore_ascii_case(name));
            if !is_set && append(request, &mut value) {
                put(name, &value);
            }
        }
    }
    for param in params.iter().chain((!has_host).then_some(host)) {
        if param.is_left_out() {
            continue;
        }
        value.clear();
        param.value.append(request, &mut value);
        if param.name == LENGTH {
            tell_length(payload, &mut value);
        }
        if !value.is_empty() || !param.if_not_empty {
            put(&param.name, &value);
        }
    }
    if passes_fields {
        each_field(request, source, put);
    }
}

/// The length is that of the body that follows, whatever the client's head says: an application reads so many bytes.
fn tell_length(payload: Payload, value: &mut Vec<u8>) {
    let says_something = !value.is_empty();
    value.clear();
    if let Some(length) = payload.length()
        && (length > 0 || says_something)
    {
        value.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    }
}

/// Whether a field tells the length of a body that is not the one that follows.
fn tells_other_length(payload: Payload, name: &[u8], value: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length")
        && payload
            .length()
            .is_none_or(|length| value != itoa::Buffer::new().format(length).as_bytes())
}

/// Fields of one name are one parameter.
fn each_field(request: &Request, source: Source, mut put: impl FnMut(&[u8], &[u8])) {
    let Source { params, payload, .. } = source;
    let whole = request.fetches_for_cache();
    let fields: Vec<(&[u8], &[u8])> = request.head.fields().collect();
    let (mut parameter, mut joined) = (Vec::new(), Vec::new());
    for (index, (name, value)) in fields.iter().enumerate() {
        let same = |other: &&(&[u8], &[u8])| other.0.eq_ignore_ascii_case(name);
        let is_replaced = is_field(HOST, name)
            || whole && PARTS.iter().any(|part| is_field(part, name))
            || params.iter().any(|param| is_field(&param.name, name));
        if is_replaced
            || tells_other_length(payload, name, value)
            || fields[..index].iter().any(|other| same(&other))
        {
            continue;
        }
        parameter.clear();
        parameter.extend_from_slice(FIELD);
        parameter.extend(name.iter().map(|byte| parameter_byte(*byte)));
        let mut others = fields[index + 1..].iter().filter(same).peekable();
        if others.peek().is_none() {
            put(&parameter, value);
            continue;
        }
        let separator = if name.eq_ignore_ascii_case(b"cookie") { b"; " } else { b", " };
        joined.clear();
        joined.extend_from_slice(value);
        for (_, value) in others {
            joined.extend_from_slice(separator);
            joined.extend_from_slice(value);
        }
        put(&parameter, &joined);
    }
}

/// Whether the parameter of that name takes the field's place.
fn is_field(parameter: &[u8], field: &[u8]) -> bool {
    parameter.strip_prefix(FIELD).is_some_and(|name| {
        let same = |(one, other): (&u8, &u8)| one.to_ascii_uppercase() == parameter_byte(*other);
        name.len() == field.len() && name.iter().zip(field).all(same)
    })
}

fn parameter_byte(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }
}

impl Param {
    /// An empty value keeps a field from being passed, and is not passed itself.
    fn is_left_out(&self) -> bool {
        self.name.len() > FIELD.len()
            && self.name.starts_with(FIELD)
            && self.value.as_literal() == Some(b"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_takes_the_place_of_the_field_it_names() {
        assert!(is_field(b"HTTP_X_FORWARDED_FOR", b"X-Forwarded-For"));
        assert!(is_field(b"HTTP_X_Blah", b"x_blah"));
        assert!(!is_field(b"HTTP_X", b"X-Y"));
        assert!(!is_field(b"X_FORWARDED_FOR", b"X-Forwarded-For"));
    }
}
