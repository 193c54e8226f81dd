//! Looking for a response: nginx's decisions, in its order.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daemun_core::log;
use daemun_proto::http1::Method;

use super::super::Call;
use super::super::settings::Failures;
use super::caching::{Caching, Held, Outcome, Stored};
use super::filling::disk_size;
use super::follow::Unfinished;
use super::format::{self, FileHead, KEY_MARK, Misfit};
use super::index::{Claim, Filed, Known, Victim, monotonic};
use super::key::Key;
use super::memory::Stamp;
use super::place::Place;
use super::settings::holds;
use super::{follow, memory, purge, seconds, serve, vary, waiting};
use crate::head::Known as Field;
use crate::module::Step;
use crate::request::{Request, Text};
use crate::status::Status;
use crate::subrequest::Subrequest;

/// What a look came to.
pub enum Looked {
    /// The upstream is asked.
    Upstream,
    /// There is an answer.
    Answer(Step),
}

/// What there is for a key.
enum Found {
    Fresh,
    /// It is stale, and this request is the one to fetch another.
    Stale,
    /// It is stale, and somebody fetches another.
    Updating,
    /// It is stale, and the last try to fetch another has just failed.
    Resting,
    Nothing {
        /// Requests do not wait for each other.
        passes: bool,
    },
    /// It may not be stored.
    Scarce,
    Error(u16),
    /// There is a variant, under a key of its own.
    Variant,
}

/// Looks for the response to a request.
pub async fn look(request: &mut Request, call: &mut Call) -> Looked {
    let mut caching = match begin(request, call) {
        Ok(Begun::Caching(caching)) => caching,
        Ok(Begun::Uncached) => return Looked::Upstream,
        Ok(Begun::Purged(step)) => return Looked::Answer(step),
        Err(status) => return Looked::Answer(Step::Status(status)),
    };
    let settings = caching.settings();
    if holds(request, &settings.bypass) {
        caching.settle_key();
        caching.outcome = Some(Outcome::Bypass);
        return to_upstream(request, caching);
    }
    let remembered = memory::find(caching.place, &caching.key.text, seconds());
    if let Some(remembered) = remembered {
        caching.outcome = Some(Outcome::Hit);
        request.upstream_record().caching = Some(caching);
        return Looked::Answer(serve::remembered(request, call, &remembered));
    }
    caching.settle_key();
    caching.outcome = Some(Outcome::Miss);
    let inherited = request.upstream_record().claim.take();
    let is_background = inherited.is_some();
    if let Some(held) = inherited {
        caching.held = Some(held);
    }
    let mut patience = Patience::new(*settings.lock_timeout);
    loop {
        match caching.open(request) {
            Found::Variant => continue,
            Found::Fresh => {
                caching.outcome = Some(Outcome::Hit);
                return answer(request, call, caching);
            }
            Found::Error(status) => {
                caching.outcome = Some(Outcome::Hit);
                caching.give_up();
                request.upstream_record().caching = Some(caching);
                return Looked::Answer(Step::Status(Status(status)));
            }
            Found::Resting => {
                caching.outcome = Some(Outcome::Stale);
                return answer(request, call, caching);
            }
            found @ (Found::Stale | Found::Updating) => {
                let is_update = matches!(found, Found::Updating);
                let may_serve = !is_background
                    && (settings.serves_stale(Failures::UPDATING) || caching.stale_updating);
                if is_update && may_serve {
                    caching.outcome = Some(Outcome::Updating);
                    return answer(request, call, caching);
                }
                if may_serve && *settings.background_update {
                    let held = caching.held.take();
                    if Subrequest::update(request, call.handler, held).is_err() {
                        let status = Status::INTERNAL_SERVER_ERROR;
                        return Looked::Answer(Step::Status(status));
                    }
                    caching.outcome = Some(Outcome::Stale);
                    return answer(request, call, caching);
                }
                caching.outcome = Some(Outcome::Expired);
                return to_upstream(request, caching);
            }
            Found::Scarce => {
                caching.is_cacheable = false;
                return to_upstream(request, caching);
            }
            Found::Nothing { passes } if passes || !*settings.lock || caching.has_claim() => {
                caching.hold(None);
                return to_upstream(request, caching);
            }
            Found::Nothing { .. } => {
                let age = settings.lock_age.as_millis() as u64;
                let (hash, now) = (caching.hash, seconds().cast_unsigned());
                let index = &caching.place.index;
                match index.claim(&hash, request.scoreboard(), age, now) {
                    Claim::Mine(claim) => {
                        caching.hold(Some(claim));
                        return to_upstream(request, caching);
                    }
                    Claim::Others if caching.unfinished().is_some() => {
                        return serve_unfinished(request, call, caching);
                    }
                    Claim::Others if patience.is_over() => {
                        caching.is_cacheable = false;
                        return to_upstream(request, caching);
                    }
                    Claim::Others => patience.wait(request, &caching).await,
                }
            }
        }
    }
}

/// How long a request waits for others.
struct Patience {
    timeout: Duration,
    /// Milliseconds of the system's clock.
    until: Option<u64>,
}

impl Patience {
    fn new(timeout: Duration) -> Patience {
        Patience { timeout, until: None }
    }

    fn is_over(&self) -> bool {
        self.timeout.is_zero() || self.until.is_some_and(|until| until <= monotonic())
    }

    /// Waits until nobody fetches the response any more, or for too long.
    async fn wait(&mut self, request: &Request, caching: &Caching) {
        let timeout = self.timeout.as_millis() as u64;
        let until = *self.until.get_or_insert_with(|| monotonic() + timeout);
        let index = &caching.place.index;
        while index.is_claimed(&caching.hash, request.scoreboard())
            && caching.unfinished().is_none()
        {
            let now = monotonic();
            if until <= now {
                log!(request.log(), Info, *request, "cache lock timeout");
                return;
            }
            waiting::wait(&caching.hash, Duration::from_millis(until - now)).await;
        }
        // Others on this thread may rely on this one to look.
        waiting::wake(&caching.hash);
    }
}

/// What a request wants of a cache.
enum Begun {
    Caching(Box<Caching>),
    Uncached,
    Purged(Step),
}

fn key_of(request: &mut Request, call: &Call) -> Vec<u8> {
    let mut text = Vec::new();
    match &*call.settings.cache.key {
        Some(script) => script.append(request, &mut text),
        None => call.protocol.cache_key(request, &mut text),
    }
    text
}

/// The request's dealings with its cache, where it has one. The error is the client's answer.
fn begin(request: &mut Request, call: &Call) -> Result<Begun, Status> {
    let settings = &call.settings.cache;
    let method = request.head.method();
    if settings.purge.is_none() && !settings.methods.has(method) {
        return Ok(Begun::Uncached);
    }
    let place = match settings.place(request) {
        Ok(Some(place)) => place,
        Ok(None) => return Ok(Begun::Uncached),
        Err(name) => {
            log!(request.log(), Error, *request, "cache \"{}\" not found", Text(&name));
            return Err(Status::INTERNAL_SERVER_ERROR);
        }
    };
    if let Some(rule) = &*settings.purge {
        let key = |request: &mut Request| key_of(request, call);
        if let Some(step) = purge::answer(request, rule, place, key) {
            return Ok(Begun::Purged(step));
        }
        if !settings.methods.has(method) {
            return Ok(Begun::Uncached);
        }
    }
    let text = key_of(request, call);
    let key = Key { text, ..Key::default() };
    let needed = format::header_start(key.text.len()) + 256;
    if needed > *call.settings.buffer_size {
        let least = needed.next_multiple_of(1024);
        log!(
            request.log(),
            Error,
            *request,
            "{}_buffer_size {} is not enough for cache key, it should be increased to at least {}",
            call.protocol.name(),
            *call.settings.buffer_size,
            least
        );
        return Ok(Begun::Uncached);
    }
    Ok(Begun::Caching(Box::new(Caching {
        common: call.settings,
        place,
        hash: key.main,
        key,
        is_variant: false,
        outcome: None,
        is_cacheable: true,
        converts_head: method == Method::Head && *settings.convert_head,
        is_counted: false,
        held: None,
        served_date: None,
        served_until: None,
        told_status: None,
        epoch: place.index.epoch(),
        located: None,
        stored: None,
        stale_updating: false,
        stale_error: false,
        verdict: None,
    })))
}

fn answer(request: &mut Request, call: &mut Call, mut caching: Box<Caching>) -> Looked {
    let Some(stored) = caching.stored.take() else { return to_upstream(request, caching) };
    caching.give_up();
    request.upstream_record().caching = Some(caching);
    match serve::stored(request, call.settings, &mut *call.protocol, &stored) {
        Ok(step) => {
            remember(request, &stored);
            Looked::Answer(step)
        }
        Err(serve::Invalid) => {
            if let Some(caching) = request.caching() {
                caching.outcome = Some(Outcome::Miss);
            }
            call.protocol.begin_again();
            Looked::Upstream
        }
    }
}

/// Answers with a response that is still being stored.
fn serve_unfinished(request: &mut Request, call: &mut Call, mut caching: Box<Caching>) -> Looked {
    let Some(unfinished) = caching.unfinished() else { return to_upstream(request, caching) };
    caching.outcome = Some(Outcome::Hit);
    request.upstream_record().caching = Some(caching);
    match serve::unfinished(request, call, unfinished) {
        Ok(step) => Looked::Answer(step),
        Err(serve::Invalid) => {
            if let Some(caching) = request.caching() {
                caching.outcome = Some(Outcome::Miss);
                caching.is_cacheable = false;
            }
            call.protocol.begin_again();
            Looked::Upstream
        }
    }
}

/// Keeps a fresh response for those who ask next.
fn remember(request: &mut Request, stored: &Stored) {
    let Some(mut caching) = request.upstream_record().caching.take() else { return };
    if let Some(located) = caching.located.take()
        && caching.outcome == Some(Outcome::Hit)
        && !caching.is_variant
    {
        let path = caching.place.file(&caching.hash);
        let epoch = caching.epoch;
        memory::keep(request, caching.place, &caching.key.text, stored, located, epoch, path);
    }
    request.upstream_record().caching = Some(caching);
}

fn to_upstream(request: &mut Request, mut caching: Box<Caching>) -> Looked {
    caching.is_cacheable &= !reaches_too_far(request, &caching);
    request.upstream_record().caching = Some(caching);
    Looked::Upstream
}

/// Whether the client wants a range behind what is fetched for it (`cache_max_range_offset`).
fn reaches_too_far(request: &Request, caching: &Caching) -> bool {
    let (Some(most), Some(range)) =
        (*caching.settings().max_range_offset, request.header(Field::Range))
    else {
        return false;
    };
    if most == 0 {
        return true;
    }
    let Some((unit, ranges)) = range.split_at_checked(6) else { return false };
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return false;
    }
    let ranges = ranges.trim_ascii_start();
    let digits = ranges.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match daemun_proto::decimal::decimal(&ranges[..digits]) {
        Some(offset) => offset >= most,
        None => ranges.first() == Some(&b'-'),
    }
}

impl Caching {
    /// Makes the hash of the key's text, which a response in memory does not need.
    fn settle_key(&mut self) {
        self.key = Key::new(std::mem::take(&mut self.key.text));
        self.hash = self.key.main;
    }

    /// The response that another request on this thread is storing, where it can be sent on.
    fn unfinished(&self) -> Option<Rc<Unfinished>> {
        if !*self.settings().follow || self.is_variant {
            return None;
        }
        let found = follow::find(self.place, &self.hash)?;
        let start = format::header_start(self.key.text.len());
        let key = found.prefix.get(format::HEAD + KEY_MARK.len()..start - 1);
        let is_mine = key == Some(&self.key.text) && found.epoch == self.place.index.epoch();
        is_mine.then_some(found)
    }

    fn has_claim(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.claim().is_some())
    }

    /// The entry is this request's to fill.
    fn hold(&mut self, claim: Option<u64>) {
        if self.held.is_none() {
            self.held = Some(Held::new(self.place, self.hash, claim, self.settings()));
        }
    }

    /// Looks at the entry, and opens its file.
    fn open(&mut self, request: &Request) -> Found {
        let now = seconds().cast_unsigned();
        let min_uses = *self.settings().min_uses;
        let index = &self.place.index;
        let (known, victims) = index.touch(&self.hash, min_uses, !self.is_counted, now);
        remove(request, self.place, &victims);
        self.is_counted = true;
        let rests = matches!(known, Known::Asked { rests: true, .. });
        let (may_exist, is_known, otherwise) = match known {
            Known::Error(status) => return Found::Error(status),
            Known::Scarce => return Found::Scarce,
            Known::Full => {
                if index.may_complain(now) {
                    let name = index.name();
                    log!(
                        request.log(),
                        Alert,
                        *request,
                        "could not allocate node in cache keys zone \"{}\"",
                        name
                    );
                }
                return Found::Scarce;
            }
            Known::Asked { exists, passes, .. } => (exists, exists, Found::Nothing { passes }),
            Known::New if min_uses > 1 => (index.is_cold(), false, Found::Scarce),
            Known::New => (index.is_cold(), false, Found::Nothing { passes: false }),
        };
        if !may_exist {
            return otherwise;
        }
        match self.read(request, is_known, rests) {
            Some(found) => found,
            None => otherwise,
        }
    }

    /// Opens the file, and reads its head; `None` where it is no use.
    fn read(&mut self, request: &Request, is_known: bool, rests: bool) -> Option<Found> {
        let path = self.place.file(&self.hash);
        self.located = self.place.index.locate(&self.hash);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                    let path = path.display();
                    log!(request.log(), Crit, *request, "open() \"{}\" failed", path; error);
                }
                if is_known {
                    self.place.index.lose(&self.hash);
                }
                return None;
            }
        };
        let read = read_beginning(&file, *self.common.buffer_size);
        let Beginning { bytes, length, inode, size, stamp } = match read {
            Ok(read) => read,
            Err(error) => {
                let path = path.display();
                log!(request.log(), Crit, *request, "pread() \"{}\" failed", path; error);
                return None;
            }
        };
        let head = match self.judge_file(&bytes) {
            Ok(head) => head,
            Err(Flaw { is_crit, text }) => {
                let path = path.display();
                match is_crit {
                    true => log!(request.log(), Crit, *request, "cache file \"{}\" {}", path, text),
                    false => {
                        log!(request.log(), Info, *request, "cache file \"{}\" {}", path, text)
                    }
                }
                return None;
            }
        };
        if !head.vary.is_empty() {
            let variant = vary::variant(&self.key.main, &head.vary, &request.head);
            if variant != head.variant {
                if self.is_variant {
                    let path = path.display();
                    let text = "has incorrect vary hash";
                    log!(request.log(), Crit, *request, "cache file \"{}\" {}", path, text);
                    return None;
                }
                self.hash = variant;
                self.is_variant = true;
                self.is_counted = false;
                return Some(Found::Variant);
            }
        }
        let now = seconds();
        let filed = Filed { inode, size, body_start: head.body_start, epoch: 0 };
        if !is_known {
            self.place.index.add(&self.hash, filed, now.cast_unsigned());
        }
        let verdict = self.place.index.judge(
            &self.hash,
            &purge::Subject {
                key: &self.key.text,
                main: &self.key.main,
                head: &bytes[head.header_start.into()..head.body_start.into()],
                date: head.date,
            },
        );
        if verdict == purge::Verdict::Gone {
            self.place.index.lose(&self.hash);
            remove(request, self.place, &[Victim { key: self.hash, has_file: true }]);
            return None;
        }
        let is_fresh = head.valid_sec >= now && verdict == purge::Verdict::Stays;
        self.stale_updating = head.valid_sec.saturating_add(head.updating_sec) >= now;
        self.stale_error = head.valid_sec.saturating_add(head.error_sec) >= now;
        self.stored =
            Some(Stored { file: Some(Arc::new(file)), head, bytes, length, inode, stamp });
        if is_fresh {
            return Some(Found::Fresh);
        }
        if self.held.is_some() {
            return Some(Found::Stale);
        }
        let serves_stale = !self.settings().use_stale.difference(Failures::OFF).is_empty();
        if rests && (serves_stale || self.stale_error) {
            return Some(Found::Resting);
        }
        let age = self.settings().lock_age.as_millis() as u64;
        let index = &self.place.index;
        Some(match index.claim(&self.hash, request.scoreboard(), age, now.cast_unsigned()) {
            Claim::Mine(claim) => {
                self.hold(Some(claim));
                Found::Stale
            }
            Claim::Others => Found::Updating,
        })
    }

    /// Whether a file is what its name says, and can be read here.
    fn judge_file(&self, bytes: &[u8]) -> Result<FileHead, Flaw> {
        let crit = |text| Flaw { is_crit: true, text };
        let head = FileHead::read(bytes).map_err(|misfit| match misfit {
            Misfit::TooSmall => crit("is too small"),
            Misfit::Version => Flaw { is_crit: false, text: "version mismatch" },
            Misfit::VaryLength => crit("has incorrect vary length"),
        })?;
        let start = format::header_start(self.key.text.len());
        if head.crc32 != self.key.crc32 || usize::from(head.header_start) != start {
            return Err(crit("has md5 collision"));
        }
        let Some(named) = bytes.get(format::HEAD..start) else { return Err(crit("is too small")) };
        let key = named.strip_prefix(KEY_MARK).and_then(|rest| rest.strip_suffix(b"\n"));
        if key != Some(&self.key.text) {
            return Err(crit("has md5 collision"));
        }
        let body_start = usize::from(head.body_start);
        if body_start > bytes.len() || body_start > *self.common.buffer_size || body_start < start {
            return Err(crit("has too long header"));
        }
        Ok(head)
    }
}

/// What is wrong with a file, in nginx's words.
struct Flaw {
    is_crit: bool,
    text: &'static str,
}

struct Beginning {
    bytes: Bytes,
    /// Of the whole file.
    length: u64,
    inode: u64,
    /// Bytes on the disk.
    size: u64,
    stamp: Stamp,
}

/// Reads a short file whole, and the beginning of another.
fn read_beginning(file: &File, most: usize) -> io::Result<Beginning> {
    let info = file.metadata()?;
    let stamp = Stamp::of(&info);
    let length = info.len();
    let most = if length <= memory::LARGEST { memory::LARGEST as usize } else { most };
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(most)];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(read);
    let (inode, size) = (info.ino(), disk_size(&info));
    Ok(Beginning { bytes: bytes.into(), length, inode, size, stamp })
}

/// Removes the files of entries that were taken out of the index.
pub(super) fn remove(request: &Request, place: &Place, victims: &[Victim]) {
    for victim in victims.iter().filter(|victim| victim.has_file) {
        let path = place.file(&victim.key);
        if let Err(error) = std::fs::remove_file(&path)
            // Whoever looks after a cache may have removed it.
            && error.kind() != ErrorKind::NotFound
        {
            let path = path.display();
            log!(request.log(), Crit, *request, "unlink() \"{}\" failed", path; error);
        }
    }
}
