//! From an upstream's head to the response's: what passes, what is hidden, what the server itself obeys.

use bytes::Bytes;
use daemun_core::debug;
use daemun_proto::decimal::decimal;
use daemun_proto::http1::{HeaderLine, Method};

use super::field::Field;
use super::head::{Head, contains};
use super::protocol::Protocol;
use super::settings::{Ignored, Settings};
use crate::module::Step;
use crate::request::{Request, Text};
use crate::response::{Header, LastModified, split_charset};
use crate::status::Status;
use crate::uri;

/// Where a response comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An upstream, which has seen the request's conditions.
    Upstream,
    /// An upstream, which was asked for all of it, so that it can be stored.
    Fetched,
    /// A cache.
    Stored,
}

/// Takes an upstream's head over into the response, or leads elsewhere (`X-Accel-Redirect`).
pub fn apply(
    request: &mut Request,
    settings: &'static Settings,
    protocol: &dyn Protocol,
    origin: Origin,
) -> Result<(), Step> {
    let head = std::mem::take(&mut request.upstream_record().head);
    obey(request, settings, &head);
    request.response.is_foreign = origin == Origin::Upstream;
    let target = head
        .single(Field::AccelRedirect)
        .filter(|_| !settings.ignore_headers.contains(Ignored::ACCEL_REDIRECT));
    let result = match target {
        Some(target) => {
            for (field, line) in &head.fields {
                if field.survives_redirect() {
                    copy(request, settings, protocol, &head, *field, *line);
                }
            }
            Err(lead(request, &target))
        }
        None => {
            pass(request, settings, protocol, &head);
            Ok(())
        }
    };
    request.upstream_record().head = head;
    result
}

/// Whether the response is buffered, as `X-Accel-Buffering` has it where that counts.
pub fn is_buffered(request: &mut Request, settings: &Settings) -> bool {
    if settings.ignore_headers.contains(Ignored::ACCEL_BUFFERING) || !*settings.change_buffering {
        return *settings.buffering;
    }
    let head = &request.upstream_record().head;
    let fields = head.fields.iter().filter(|(field, _)| *field == Field::AccelBuffering);
    let told = fields.filter_map(|(_, line)| {
        match line.value.of(&head.bytes).to_ascii_lowercase().as_slice() {
            b"no" => Some(false),
            b"yes" => Some(true),
            _ => None,
        }
    });
    told.last().unwrap_or(*settings.buffering)
}

/// Fields that are passed to the client, in their order.
pub fn passed<'h>(
    settings: &'h Settings,
    head: &'h Head,
) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
    let lines = head.fields.iter().filter(|(field, line)| {
        *field != Field::Ignored
            && !is_hidden(settings, field.is_hidden(), line.name.of(&head.bytes))
    });
    lines.map(|(_, line)| (line.name.of(&head.bytes), line.value.of(&head.bytes)))
}

/// Whether a field stays with the server; `usually` says so where the configuration does not.
#[inline]
pub fn is_hidden(settings: &Settings, usually: bool, name: &[u8]) -> bool {
    let names = |list: &[Bytes]| list.iter().any(|one| one.eq_ignore_ascii_case(name));
    (usually || names(&settings.hide_headers)) && !names(&settings.pass_headers)
}

/// What the upstream tells the server itself.
fn obey(request: &mut Request, settings: &Settings, head: &Head) {
    if let Some(rate) = head.single(Field::AccelLimitRate)
        && !settings.ignore_headers.contains(Ignored::ACCEL_LIMIT_RATE)
        && let Some(rate) = decimal(&rate)
    {
        request.limit_rate = Some(rate);
    }
}

/// Another URI of the server answers in the upstream's place. As in nginx, the log has it that a named
/// location works on the upstream's head.
fn lead(request: &mut Request, target: &Bytes) -> Step {
    request.doing = "reading response header from upstream";
    if target.starts_with(b"@") {
        return Step::Named(target.to_vec());
    }
    let split = uri::split_unsafe(request, target);
    request.doing = "";
    let Ok((uri, args)) = split else {
        return Step::Status(Status::NOT_FOUND);
    };
    request.get_instead();
    request.redirect(&uri, &args)
}

fn pass(request: &mut Request, settings: &Settings, protocol: &dyn Protocol, head: &Head) {
    for (field, line) in &head.fields {
        if field.is_for_server_alone()
            || is_hidden(settings, protocol.hides(*field), line.name.of(&head.bytes))
        {
            continue;
        }
        copy(request, settings, protocol, head, *field, *line);
    }
    let response = &mut request.response;
    response.status = Status(head.status);
    response.status_text = head.status_text.map(|text| head.slice(text));
    response.content_length = head.content_length.filter(|_| !head.is_chunked);
    let leaves = |field, name: &[u8]| protocol.hides(field) && !is_hidden(settings, true, name);
    response.leaves_server |= leaves(Field::Server, b"Server");
    response.leaves_date |= leaves(Field::Date, b"Date");
    response.allows_ranges |= *settings.force_ranges;
    let charset = head.fields.iter().rfind(|(field, _)| *field == Field::AccelCharset);
    if let Some((_, line)) = charset
        && !settings.ignore_headers.contains(Ignored::ACCEL_CHARSET)
    {
        request.upstream_record().charset = Some(head.slice(line.value));
    }
}

fn copy(
    request: &mut Request,
    settings: &Settings,
    protocol: &dyn Protocol,
    head: &Head,
    field: Field,
    line: HeaderLine,
) {
    let name = head.slice(line.name);
    let mut value = head.slice(line.value);
    match field {
        Field::AcceptRanges if *settings.force_ranges => return,
        // What is there whole is cut here.
        Field::AcceptRanges if !request.response.is_foreign => {
            request.response.allows_ranges = true;
            request.response.is_cut_once |= request.fetches_for_cache();
            return;
        }
        Field::ContentType => return set_type(request, value),
        Field::LastModified => {
            request.response.last_modified = Some(LastModified::spelt(value));
            return request.response.headers.push(Header::stand_in(name));
        }
        Field::Etag => {
            request.response.etag = Some(value);
            return request.response.headers.push(Header::stand_in(name));
        }
        Field::ContentEncoding => request.response.encoding = Some(value.clone()),
        Field::Server => request.response.leaves_server = true,
        Field::Date => request.response.leaves_date = true,
        Field::Location => {
            if let Some(rewritten) = protocol.rewrite_location(request, &value, 0) {
                debug!(
                    request.log(),
                    Http,
                    *request,
                    "rewritten location: \"{}\"",
                    Text(&rewritten)
                );
                request.response.location = Some(rewritten);
                return request.response.headers.push(Header::stand_in(name));
            }
        }
        Field::Refresh => {
            let url = position(&value, b"url=").map(|at| at + 4);
            let rewritten = url.and_then(|at| protocol.rewrite_location(request, &value, at));
            value = rewritten.unwrap_or(value);
        }
        Field::SetCookie => {
            value = protocol.rewrite_cookie(request, &value).unwrap_or(value);
        }
        _ => {}
    }
    request.response.headers.push(Header { name, value });
}

fn position(text: &[u8], word: &[u8]) -> Option<usize> {
    if !contains(text, word) {
        return None;
    }
    text.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))
}

/// Takes the media type and the character set out of their field, which passes as it came unless one of them changes.
fn set_type(request: &mut Request, value: Bytes) {
    let response = &mut request.response;
    let split = split_charset(&value);
    let split = split.map(|(kind, charset)| (value.slice_ref(kind), value.slice_ref(charset)));
    let Some((kind, charset)) = split else {
        response.charset = None;
        response.content_type = Some(value);
        return;
    };
    response.content_type = Some(kind);
    response.charset = Some(charset);
    response.spelt_type = Some(value);
}

/// Whether a response to the request has no body, whatever its head says.
pub fn has_no_body(method: Method, status: u16) -> bool {
    method == Method::Head || matches!(status, 204 | 304)
}
