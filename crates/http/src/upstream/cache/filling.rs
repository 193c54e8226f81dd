//! Storing a response: what goes in front of its body, and how it gets its place.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use daemun_core::log;
use daemun_proto::http1::Method;

use super::super::field::Field;
use super::super::protocol::Protocol;
use super::caching::{Caching, Held};
use super::follow::Unfinished;
use super::format::{self, FileHead, KEY_MARK};
use super::index::Filed;
use super::place::Place;
use super::settings::holds;
use super::{look, seconds, vary};
use crate::date;
use crate::moving;
use crate::request::Request;
use crate::request_body::{BodyFile, create_at, create_temporary};
use crate::status::Status;

/// A response on its way into the cache.
pub struct Filling {
    held: Option<Held>,
    place: &'static Place,
    path: PathBuf,
    body_start: u16,
    epoch: u64,
    /// For whoever waits for it.
    unfinished: Option<Rc<Unfinished>>,
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished {
            unfinished.give_up();
        }
    }
}

impl Filling {
    /// So many bytes of the body are in the file.
    pub fn advance(&self, written: u64) {
        if let Some(unfinished) = &self.unfinished {
            unfinished.advance(written);
        }
    }

    /// Begins a file for the response whose head has come, where it is to be stored: with the file, and where in it the
    /// body begins.
    pub fn begin(
        request: &mut Request,
        protocol: &dyn Protocol,
    ) -> Option<(Box<Filling>, BodyFile, u64)> {
        let mut caching = request.upstream_record().caching.take()?;
        let begun = begin(request, &mut caching, protocol);
        if begun.is_none() {
            caching.is_cacheable = false;
            caching.pass();
        }
        request.upstream_record().caching = Some(caching);
        begun
    }

    /// The response is whole: the file gets its name, and the index knows of it.
    pub fn settle(mut self, request: &Request, file: &BodyFile) {
        let (place, body_start, epoch) = (self.place, self.body_start, self.epoch);
        let path = std::mem::take(&mut self.path);
        if let Some(unfinished) = &self.unfinished {
            unfinished.complete();
        }
        let Some(held) = self.held.take() else { return };
        let renamed = moving::rename(&file.path, &path, Some(0o700));
        let info = renamed.and_then(|()| file.file.metadata());
        let info = match info {
            Ok(info) => info,
            Err(error) => {
                place.failed.store(seconds().cast_unsigned(), Relaxed);
                let (from, to) = (file.path.display(), path.display());
                log!(
                    request.log(),
                    Crit,
                    *request,
                    "rename() \"{}\" to \"{}\" failed",
                    from,
                    to;
                    error
                );
                return;
            }
        };
        let filed = Filed { inode: info.ino(), size: disk_size(&info), body_start, epoch };
        let now = seconds().cast_unsigned();
        let victims = place.index.publish(&held.hash(), filed, place.max_size, now);
        held.settle();
        look::remove(request, place, &victims);
    }
}

/// Bytes that a file takes, in blocks.
pub fn disk_size(info: &Metadata) -> u64 {
    const BLOCK: u64 = 4096;
    let (length, blocks) = (info.len(), info.blocks() * 512);
    let is_sound = blocks > length && blocks < length + 8 * info.blksize();
    (if is_sound { blocks } else { length }).next_multiple_of(BLOCK)
}

fn begin(
    request: &mut Request,
    caching: &mut Caching,
    protocol: &dyn Protocol,
) -> Option<(Box<Filling>, BodyFile, u64)> {
    if !caching.is_cacheable || holds(request, &caching.settings().no_cache) {
        return None;
    }
    let verdict = caching.verdict.take()?;
    let head = &request.upstream_record().head;
    let status = head.status;
    let now = seconds();
    let valid_sec = match verdict.valid_sec {
        0 => match caching.settings().valid(status) {
            0 => return None,
            valid => now.saturating_add(valid),
        },
        valid => valid,
    };
    let is_entity = matches!(Status(status), Status::OK | Status::PARTIAL_CONTENT);
    let entity = |field| head.single(field).filter(|_| is_entity);
    let last_modified = entity(Field::LastModified).and_then(|date| date::parse(&date));
    let etag = entity(Field::Etag).map_or_else(Vec::new, |etag| etag.to_vec());
    let variant = match verdict.vary.is_empty() {
        true => [0; 16],
        false => vary::variant(&caching.key.main, &verdict.vary, &request.head),
    };
    // The response may vary with other fields than the one before.
    let is_same_variant = !verdict.vary.is_empty() && variant == caching.hash;
    if caching.is_variant && !is_same_variant {
        caching.give_up();
        caching.hash = caching.key.main;
        caching.is_variant = false;
    }
    let upstream = &request.upstream_record().head;
    let expected = upstream.content_length.filter(|_| !upstream.is_chunked);
    let mut raw = Vec::new();
    protocol.store_head(&request.upstream_record().head, &mut raw);
    let header_start = format::header_start(caching.key.text.len());
    let body_start = u16::try_from(header_start + raw.len()).ok()?;
    if raw.is_empty() || usize::from(body_start) > *caching.common.buffer_size {
        return None;
    }
    // Variants and what is stale at once are looked for when they are whole.
    let settings = caching.settings();
    let is_plain = verdict.vary.is_empty() && valid_sec >= now;
    let has_body = request.head.method() != Method::Head || caching.converts_head;
    let may_be_followed = is_plain && has_body && *settings.lock && *settings.follow;
    let head = FileHead {
        valid_sec,
        updating_sec: verdict.updating_sec,
        error_sec: verdict.error_sec,
        last_modified: last_modified.unwrap_or(-1),
        date: now,
        crc32: caching.key.crc32,
        valid_msec: 0,
        header_start: header_start as u16,
        body_start,
        etag,
        vary: verdict.vary,
        variant,
    };
    let mut prefix = Vec::with_capacity(body_start.into());
    head.write(&mut prefix);
    prefix.extend_from_slice(KEY_MARK);
    prefix.extend_from_slice(&caching.key.text);
    prefix.push(b'\n');
    prefix.extend_from_slice(&raw);
    if !caching.place.has_room(now.cast_unsigned()) {
        return None;
    }
    let path = caching.place.file(&caching.hash);
    let file = match create(request, caching, &path, &prefix) {
        Ok(file) => file,
        Err(error) => {
            caching.place.failed.store(now.cast_unsigned(), Relaxed);
            let path = path.display();
            log!(request.log(), Crit, *request, "creating a file for \"{}\" failed", path; error);
            return None;
        }
    };
    let held = caching.held.take();
    let held =
        held.unwrap_or_else(|| Held::new(caching.place, caching.hash, None, caching.settings()));
    let unfinished = may_be_followed.then(|| {
        let (place, hash, file) = (caching.place, caching.hash, Arc::clone(&file.file));
        Unfinished::begin(place, hash, file, head, prefix, expected, caching.epoch)
    });
    let filling = Filling {
        held: Some(held),
        place: caching.place,
        path,
        body_start,
        epoch: caching.epoch,
        unfinished,
    };
    Some((Box::new(filling), file, body_start.into()))
}

fn create(
    request: &Request,
    caching: &Caching,
    path: &std::path::Path,
    prefix: &[u8],
) -> io::Result<BodyFile> {
    let file = match caching.place.uses_temp_path {
        true => create_temporary(caching.common.temporary_folder(request), false)?,
        false => create_at(path)?,
    };
    use std::os::unix::fs::PermissionsExt;
    file.file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.file.write_all_at(prefix, 0)?;
    Ok(file)
}

impl Place {
    /// Whether the disk has more room than is to be left (`min_free`), as of this second.
    pub(super) fn has_room(&self, now: u64) -> bool {
        if self.failed.load(Relaxed) == now {
            return false;
        }
        if self.min_free == 0 {
            return true;
        }
        let last = self.room.load(Relaxed);
        if last >> 1 == now {
            return last & 1 == 1;
        }
        let has_room = self.free().is_none_or(|free| free > self.min_free);
        self.room.store(now << 1 | u64::from(has_room), Relaxed);
        has_room
    }

    /// Bytes that are free where the cache is.
    pub fn free(&self) -> Option<u64> {
        let folder = File::open(&self.folder).ok()?;
        let info = rustix::fs::fstatvfs(folder).ok()?;
        Some(info.f_bavail.saturating_mul(info.f_frsize))
    }
}
