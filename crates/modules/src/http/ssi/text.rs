//! Values with variables, as commands have them: computed while a response is made.

use daemun_core::log;
use daemun_http::request::{Request, Text};
use daemun_http::variables;

use super::{SETTINGS, Shared};

/// A value can't be computed; it has been logged.
pub(super) struct Invalid;

/// A variable's value: a group of the last match, what `set` set, or a variable of the server's.
pub(super) fn variable(request: &mut Request, name: &[u8]) -> Option<Vec<u8>> {
    let own = request.with_shared(&SETTINGS, |shared: &mut Shared| shared.value(name));
    own.or_else(|| {
        let mut value = Vec::new();
        variables::evaluate_name(request, name, &mut value).then_some(value)
    })
}

/// The text with its variables' values. A backslash before a quote, a dollar sign or itself is left out.
pub(super) fn evaluate(request: &mut Request, text: &[u8]) -> Result<Vec<u8>, Invalid> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'\\', [escaped, tail @ ..]) => {
                if !matches!(escaped, b'\\' | b'\'' | b'"' | b'$') {
                    out.push(b'\\');
                }
                out.push(*escaped);
                tail
            }
            (b'\\', []) => tail,
            (b'$', tail) => {
                let (name, tail) = reference(request, text, tail)?;
                out.append(&mut variable(request, name).unwrap_or_default());
                tail
            }
            (byte, tail) => {
                out.push(byte);
                tail
            }
        };
    }
    Ok(out)
}

/// The name behind a dollar sign, and what follows.
fn reference<'t>(
    request: &Request,
    text: &[u8],
    tail: &'t [u8],
) -> Result<(&'t [u8], &'t [u8]), Invalid> {
    let (inner, is_braced) = match tail.strip_prefix(b"{") {
        Some(inner) => (inner, true),
        None => (tail, false),
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = inner.iter().take_while(|byte| is_name(byte)).count();
    let (name, mut rest) = inner.split_at(length);
    if is_braced {
        let Some(behind) = rest.strip_prefix(b"}") else {
            let name = Text(name);
            log!(
                request.log(),
                Error,
                *request,
                "the closing bracket in \"{}\" variable is missing",
                name
            );
            return Err(Invalid);
        };
        rest = behind;
    }
    if name.is_empty() {
        log!(request.log(), Error, *request, "invalid variable name in \"{}\"", Text(text));
        return Err(Invalid);
    }
    Ok((name, rest))
}

/// The same as a URI, which is relative to the request's.
pub(super) fn evaluate_uri(request: &mut Request, text: &[u8]) -> Result<Vec<u8>, Invalid> {
    let uri = evaluate(request, text)?;
    if uri.first() == Some(&b'/') || (uri.is_empty() && text.contains(&b'$')) {
        return Ok(uri);
    }
    let folder = memchr::memrchr(b'/', &request.uri).map_or(0, |slash| slash + 1);
    Ok([&request.uri[..folder], &uri].concat())
}
