//! Answering with a response from the cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::rc::Rc;
use std::sync::Arc;

use daemun_core::log;
use daemun_proto::http1::Method;

use super::super::Call;
use super::super::exchange::Exchange;
use super::super::headers::{self, Origin};
use super::super::next;
use super::super::protocol::{HeadStep, Protocol};
use super::super::settings::Settings as Common;
use super::caching::{Caching, Outcome, Stored};
use super::follow::{Following, Unfinished};
use super::format::{FileHead, HEAD};
use super::index::Count;
use super::memory::{Remembered, Stamp};
use super::{freshness, seconds, status};
use crate::body::{Body, Chunk, FileRange};
use crate::module::Step;
use crate::request::Request;
use crate::status::Status;

/// What is stored as an upstream's head is none, which has been logged.
pub struct Invalid;

/// Answers with a response that was found.
pub fn stored(
    request: &mut Request,
    settings: &'static Common,
    protocol: &mut dyn Protocol,
    stored: &Stored,
) -> Result<Step, Invalid> {
    read_head(request, protocol, stored)?;
    Ok(answer(request, settings, protocol, stored))
}

/// Answers with a response that this thread has in memory.
pub fn remembered(request: &mut Request, call: &mut Call, remembered: &Remembered) -> Step {
    request.upstream_record().head.clone_from(&remembered.head);
    answer(request, call.settings, &*call.protocol, &remembered.stored)
}

/// Answers with a response that is still on its way into the cache.
pub fn unfinished(
    request: &mut Request,
    call: &mut Call,
    unfinished: Rc<Unfinished>,
) -> Result<Step, Invalid> {
    let stored = Stored {
        file: Some(Arc::clone(&unfinished.file)),
        head: unfinished.head.clone(),
        bytes: unfinished.prefix.clone(),
        length: unfinished.prefix.len() as u64 + unfinished.expected.unwrap_or(0),
        inode: 0,
        stamp: Stamp::default(),
    };
    read_head(request, &mut *call.protocol, &stored)?;
    if let Err(step) = take_over(request, call.settings, &*call.protocol, &stored) {
        return Ok(step);
    }
    count_served(request, unfinished.expected.unwrap_or(0));
    Ok(Step::Respond(match request.head.method() {
        Method::Head => Body::Empty,
        _ => Body::stream(Following::new(unfinished)),
    }))
}

/// Answers with a response whose head stands in the request's record.
fn answer(
    request: &mut Request,
    settings: &'static Common,
    protocol: &dyn Protocol,
    stored: &Stored,
) -> Step {
    if let Err(step) = take_over(request, settings, protocol, stored) {
        return step;
    }
    let start = u64::from(stored.head.body_start);
    let length = stored.length.saturating_sub(start);
    count_served(request, length);
    match request.response.content_length {
        None => request.response.content_length = Some(length),
        // What it announces does not come.
        Some(told) if told != length && request.head.method() != Method::Head => {
            request.keepalive = false;
        }
        Some(_) => {}
    }
    Step::Respond(match &stored.file {
        _ if length == 0 => Body::Empty,
        Some(file) if (stored.bytes.len() as u64) < stored.length => {
            let file = Arc::clone(file);
            Body::One(Chunk::File(FileRange { file, offset: start, length }))
        }
        _ => Body::One(Chunk::Bytes(stored.bytes.slice(usize::from(stored.head.body_start)..))),
    })
}

/// The stored head becomes the response's.
fn take_over(
    request: &mut Request,
    settings: &'static Common,
    protocol: &dyn Protocol,
    stored: &Stored,
) -> Result<(), Step> {
    if let Some(caching) = request.caching() {
        caching.served_date = Some(stored.head.date);
        caching.served_until = Some(stored.head.valid_sec);
    }
    headers::apply(request, settings, protocol, Origin::Stored)?;
    status::add(request);
    Ok(())
}

fn count_served(request: &mut Request, length: u64) {
    if let Some(caching) = request.caching() {
        caching.place.index.count_up(Count::Served, length);
    }
}

/// Reads the upstream's head, as the protocol has it, into the request's record.
fn read_head(
    request: &mut Request,
    protocol: &mut dyn Protocol,
    stored: &Stored,
) -> Result<(), Invalid> {
    let range = usize::from(stored.head.header_start)..usize::from(stored.head.body_start);
    let bytes = stored.bytes.slice(range);
    let mut head = std::mem::take(&mut request.upstream_record().head);
    head.clear();
    protocol.begin_again();
    let read = protocol.read_head(request, &bytes, &mut head);
    let told = head.content_length.filter(|_| !head.is_chunked);
    let length = stored.length.saturating_sub(stored.head.body_start.into());
    // A response to HEAD is stored without a body where it was asked for as it is.
    let is_sound = length == 0 || told.is_none_or(|told| told == length);
    let is_whole = matches!(read, Ok(HeadStep::Done { consumed }) if consumed <= bytes.len());
    let is_whole = is_whole && is_sound;
    head.bytes = protocol.take_head_bytes().unwrap_or(bytes);
    if !is_whole {
        head.clear();
    }
    request.upstream_record().head = head;
    if is_whole {
        return Ok(());
    }
    if let Some(caching) = request.caching() {
        let path = caching.place.file(&caching.hash);
        let path = path.display();
        log!(request.log(), Crit, *request, "cache file \"{}\" contains invalid header", path);
    }
    Err(Invalid)
}

/// A stale response in the place of one that could not be had, where the configuration or the response itself allows
/// that. A failure may stand for the response for a while, too.
pub fn answer_failed(
    request: &mut Request,
    exchange: &mut Exchange,
    status: Status,
) -> Option<Step> {
    let kind = exchange.failure.map(next::Failure::kind);
    let is_answer = matches!(exchange.failure, Some(next::Failure::Answered(_)));
    let caching = request.caching()?;
    if let Some(kind) = kind
        && caching.serves_stale(kind, is_answer)
    {
        return Some(answer_stale(request, exchange));
    }
    caching.back_off();
    if matches!(status, Status::BAD_GATEWAY | Status::GATEWAY_TIMEOUT) {
        caching.keep_error(status.0);
    }
    caching.give_up();
    None
}

/// A response from the cache in the place of the upstream's, whose head has come.
pub fn answer_instead(request: &mut Request, exchange: &mut Exchange) -> Option<Step> {
    let ignored = *exchange.settings.ignore_headers;
    let head = &request.upstream_record().head;
    let status = head.status;
    let verdict = freshness::judge(head, ignored, seconds());
    let caching = request.caching()?;
    caching.told_status = Some(status);
    let kind = next::of_status(status);
    if kind.is_some_and(|kind| caching.serves_stale(kind, true)) {
        leave(request, exchange);
        return Some(answer_stale(request, exchange));
    }
    if status == Status::NOT_MODIFIED.0 && caching.may_revalidate() {
        leave(request, exchange);
        return Some(answer_confirmed(request, exchange, verdict));
    }
    caching.is_cacheable &= verdict.is_cacheable;
    if !verdict.is_cacheable {
        caching.pass();
    }
    caching.verdict = Some(verdict);
    None
}

/// The upstream's response is not passed on.
fn leave(request: &mut Request, exchange: &mut Exchange) {
    exchange.begin_body(request);
    let keeps = exchange.protocol.keeps_connection()
        && exchange.protocol.expected() == Some(0)
        && exchange.input.is_empty();
    exchange.finish(request, keeps);
}

fn answer_stale(request: &mut Request, exchange: &mut Exchange) -> Step {
    let Some(caching) = request.caching() else { return error() };
    caching.outcome = Some(Outcome::Stale);
    caching.back_off();
    let found = caching.stored.take();
    caching.give_up();
    let Some(found) = found else { return error() };
    let answer = stored(request, exchange.settings, &mut *exchange.protocol, &found);
    answer.unwrap_or_else(|Invalid| error())
}

/// The upstream says that what is stored is still true: it is fresh again.
fn answer_confirmed(
    request: &mut Request,
    exchange: &mut Exchange,
    mut verdict: freshness::Verdict,
) -> Step {
    let Some(caching) = request.caching() else { return error() };
    caching.outcome = Some(Outcome::Revalidated);
    let Some(found) = caching.stored.take() else { return error() };
    let answer = stored(request, exchange.settings, &mut *exchange.protocol, &found);
    let now = seconds();
    if verdict.valid_sec == 0 {
        let ignored = *exchange.settings.ignore_headers;
        verdict = freshness::judge(&request.upstream_record().head, ignored, now);
    }
    // What is stored is fresh for as long as its own status says.
    let status = request.upstream_record().head.status;
    let Some(caching) = request.caching() else { return error() };
    if verdict.valid_sec == 0 {
        let valid = caching.settings().valid(status);
        verdict.valid_sec = if valid == 0 { 0 } else { now.saturating_add(valid) };
    }
    if verdict.valid_sec != 0 {
        let head = FileHead {
            valid_sec: verdict.valid_sec,
            updating_sec: verdict.updating_sec,
            error_sec: verdict.error_sec,
            date: now,
            ..found.head.clone()
        };
        caching.place.index.outlives(&caching.hash, caching.epoch);
        if let Err(error) = rewrite(caching, &found, &head) {
            let path = caching.place.file(&caching.hash);
            let path = path.display();
            log!(request.log(), Crit, *request, "writing to cache file \"{}\" failed", path; error);
        }
    }
    if let Some(caching) = request.caching() {
        caching.give_up();
    }
    answer.unwrap_or_else(|Invalid| error())
}

/// Writes another head in front of a file, where it is still the one that was found.
fn rewrite(caching: &Caching, found: &Stored, head: &FileHead) -> io::Result<()> {
    let path = caching.place.file(&caching.hash);
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let info = file.metadata()?;
    let mut bytes = [0; HEAD];
    if info.ino() != found.inode
        || info.len() != found.length
        || file.read_exact_at(&mut bytes, 0).is_err()
    {
        return Ok(());
    }
    let is_same = FileHead::read(&bytes).is_ok_and(|now| {
        now.last_modified == found.head.last_modified
            && now.crc32 == found.head.crc32
            && now.header_start == found.head.header_start
            && now.body_start == found.head.body_start
    });
    if !is_same {
        return Ok(());
    }
    let mut out = Vec::with_capacity(HEAD);
    head.write(&mut out);
    file.write_all_at(&out, 0)
}

fn error() -> Step {
    Step::Status(Status::INTERNAL_SERVER_ERROR)
}
