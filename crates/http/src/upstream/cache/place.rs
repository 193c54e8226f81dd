//! `proxy_cache_path` and its like: where a cache has its files, how much of them, and the zone that its index is in.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::{Inherit, Own};
use daemun_core::zones::{self, Purpose, ZoneRef};
use daemun_core::{directives, set, settings};
use daemun_shm::Zone;

use super::caching::Outcome;
use super::index::{Count, Index};
use super::key::{self, Hash};
use super::purge::{self, Separate};
use super::status;
use crate::module::{Handler, HttpModule, Phase, PhaseHandler};

settings! {
    pub struct Settings {
        registry: Registry,
        /// What the cache is called in `Cache-Status`.
        status_name: Option<Box<str>> = None,
        /// The location is for purging.
        purges: Own<Option<Separate>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_cache",
        settings: Some(&SETTINGS),
        directives: directives! {
            "cache_status_header" in HTTP_SERVER_LOCATION | LOCATION_IF, Exactly(1), "off",
                set!(SETTINGS.status_name, status::read),
                "Tells in Cache-Status, by that name, how a cache has handled the request.";
        },
    },
    variables: super::variables::VARIABLES,
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).purges.0.is_some(),
        handler: Handler::Now(purge::separate),
    }],
    ..HttpModule::EMPTY
};

/// The caches of a configuration: one list for all its blocks.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Slots>);

#[derive(Debug, Default)]
struct Slots {
    /// While the configuration is read.
    named: Mutex<Vec<Arc<Slot>>>,
    /// Once somebody asks.
    settled: OnceLock<Vec<Arc<Slot>>>,
}

/// The name of a cache, which may be used before the cache is declared.
#[derive(Debug)]
pub struct Slot {
    pub name: String,
    /// The module whose cache it is.
    user: &'static str,
    zone: ZoneRef,
    pub place: OnceLock<Place>,
}

/// A cache.
#[derive(Debug)]
pub struct Place {
    pub folder: PathBuf,
    pub levels: Vec<usize>,
    /// Temporary files are made where responses wait otherwise, too.
    pub uses_temp_path: bool,
    pub inactive: Duration,
    /// Bytes.
    pub max_size: u64,
    pub min_free: u64,
    pub loader: Pace,
    pub manager: Pace,
    pub index: Index,
    /// The last second in which the disk's room was looked at, and whether there was enough.
    pub(super) room: AtomicU64,
    /// The last second in which something could not be stored: nothing else is stored in it.
    pub(super) failed: AtomicU64,
}

/// How much work is done at a time, and how long the pause is behind it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub files: usize,
    pub sleep: Duration,
    pub threshold: Duration,
}

impl Pace {
    const USUAL: Pace = Pace {
        files: 100,
        sleep: Duration::from_millis(50),
        threshold: Duration::from_millis(200),
    };
}

impl Inherit for Registry {
    fn inherit(&mut self, outer: &Self) {
        self.clone_from(outer);
    }
}

impl Registry {
    fn slots(&self) -> &[Arc<Slot>] {
        let named = || self.0.named.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.0.settled.get_or_init(named)
    }

    /// The caches, in the order in which they were named; for a configuration that is read.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.slots().iter().filter_map(|slot| slot.place.get())
    }

    /// A cache that a request names.
    pub(super) fn find(&self, name: &[u8], user: &str) -> Option<&Place> {
        let is_it = |slot: &&Arc<Slot>| slot.name.as_bytes() == name && slot.user == user;
        self.slots().iter().find(is_it)?.place.get()
    }

    /// Whether a configuration may come after `former`: a zone that is kept belongs to the same files. The error is
    /// nginx's sentence.
    pub fn check_against(&self, former: &Registry) -> Result<(), String> {
        for slot in self.slots() {
            let same = |other: &&Arc<Slot>| {
                other.name == slot.name
                    && other.user == slot.user
                    && other.zone.size() == slot.zone.size()
            };
            let (Some(old), Some(place)) = (former.slots().iter().find(same), slot.place.get())
            else {
                continue;
            };
            let Some(old) = old.place.get() else { continue };
            let (name, path) = (&slot.name, place.folder.display());
            if old.folder != place.folder {
                let old = old.folder.display();
                return Err(format!(
                    "cache \"{name}\" uses the \"{path}\" cache path while previously it used the \"{old}\" cache path"
                ));
            }
            if old.levels != place.levels {
                return Err(format!("cache \"{name}\" had previously different levels"));
            }
        }
        Ok(())
    }
}

/// What is told of a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub name: String,
    /// Bytes on the disk, and how many there may be; `None` where that is not bounded.
    pub size: u64,
    pub max_size: Option<u64>,
    pub entries: usize,
    /// The loader has not gone through its folders yet.
    pub is_cold: bool,
    /// How many requests were answered, by `$upstream_cache_status`.
    pub answers: [(&'static str, u64); 7],
    /// Bytes of bodies that came from the cache.
    pub served: u64,
    /// Responses that were stored, and the bytes they took.
    pub stored: u64,
    pub written: u64,
    /// Entries that had to go.
    pub removed: u64,
}

impl Place {
    /// What is to be told of the cache.
    pub fn tell(&self) -> Told {
        let index = &self.index;
        let answers = |outcome: Outcome| (outcome.name(), index.counted(Count::Answered(outcome)));
        Told {
            name: index.name().to_owned(),
            size: index.size(),
            max_size: Some(self.max_size).filter(|size| *size != u64::MAX),
            entries: index.count().0,
            is_cold: index.is_cold(),
            answers: Outcome::ALL.map(answers),
            served: index.counted(Count::Served),
            stored: index.counted(Count::Stored),
            written: index.counted(Count::Written),
            removed: index.counted(Count::Removed),
        }
    }

    /// The file of a hash.
    pub fn file(&self, hash: &Hash) -> PathBuf {
        key::file(&self.folder, &self.levels, hash)
    }
}

/// The list of the configuration that is being read.
pub fn registry(loader: &mut Loader<'_>) -> Registry {
    loader.main_settings(&SETTINGS).registry.clone()
}

/// The cache of that name, declared here or elsewhere.
pub fn slot(
    loader: &mut Loader<'_>,
    word: &conf::Word,
    named: Option<(&str, usize)>,
    user: &'static str,
) -> Result<Arc<Slot>, Fault> {
    let text = word.to_string();
    let (name, size) = match named {
        Some((name, size)) => (name, Some(size)),
        None => (&*text, None),
    };
    let zone = zones::declare(loader, name, word.span, size, Purpose { user, fresh: false })?;
    let registry = registry(loader);
    let mut slots = registry.0.named.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = slots.iter().find(|slot| slot.name == name && slot.user == user) {
        return Ok(Arc::clone(known));
    }
    let slot = Arc::new(Slot { name: name.to_owned(), user, zone, place: OnceLock::new() });
    slots.push(Arc::clone(&slot));
    Ok(slot)
}

/// Reads `PATH keys_zone=NAME:SIZE ...`.
pub fn declare(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    user: &'static str,
) -> Result<(), Fault> {
    let folder = loader.paths.in_prefix(folder_name(&directive.args[0])?);
    let mut levels = Vec::new();
    let mut uses_temp_path = true;
    let mut inactive = Duration::from_secs(600);
    let (mut max_size, mut min_free) = (u64::MAX, 0);
    let (mut loading, mut managing) = (Pace::USUAL, Pace::USUAL);
    let mut zone = None;
    for word in &directive.args[1..] {
        let invalid = |sentence: String| Fault::from(sentence).at(word.span);
        let unknown = || invalid(format!("invalid parameter \"{word}\""));
        let sign = memchr::memchr(b'=', &word.text).ok_or_else(unknown)?;
        let (name, value) = (&word.text[..sign], &word.text[sign + 1..]);
        let value_of = |name: &str| invalid(format!("invalid {name} value \"{word}\""));
        let time = |name: &str| {
            units::milliseconds(value).map(Duration::from_millis).ok_or_else(|| value_of(name))
        };
        let bytes = |name: &str| units::offset(value).ok_or_else(|| value_of(name));
        let files = |name: &str| {
            let number = units::integer(value).and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| value_of(name))
        };
        match name {
            b"levels" => {
                levels = read_levels(value)
                    .ok_or_else(|| invalid(format!("invalid \"levels\" \"{word}\"")))?;
            }
            b"use_temp_path" => {
                uses_temp_path = units::flag(value).ok_or_else(|| {
                    let end = "it must be \"on\" or \"off\"";
                    invalid(format!("invalid use_temp_path value \"{word}\", {end}"))
                })?;
            }
            b"keys_zone" => zone = Some((word, read_zone(word, value).map_err(invalid)?)),
            b"inactive" => {
                let seconds = units::seconds(value).ok_or_else(|| value_of("inactive"))?;
                inactive = Duration::from_secs(seconds);
            }
            b"max_size" => max_size = bytes("max_size")?,
            b"min_free" => min_free = bytes("min_free")?,
            b"loader_files" => loading.files = files("loader_files")?,
            b"loader_sleep" => loading.sleep = time("loader_sleep")?,
            b"loader_threshold" => loading.threshold = time("loader_threshold")?,
            b"manager_files" => managing.files = files("manager_files")?,
            b"manager_sleep" => managing.sleep = time("manager_sleep")?,
            b"manager_threshold" => managing.threshold = time("manager_threshold")?,
            _ => return Err(unknown()),
        }
    }
    let Some((word, (name, size))) = zone else {
        let name = &directive.name;
        return Err(format!("\"{name}\" must have \"keys_zone\" parameter").into());
    };
    let slot = slot(loader, word, Some((&name, size)), user)?;
    let index = Index::new(slot.zone.clone(), inactive, folder.clone());
    let place = Place {
        folder,
        levels,
        uses_temp_path,
        inactive,
        max_size,
        min_free,
        loader: loading,
        manager: managing,
        index,
        room: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    };
    slot.place.set(place).map_err(|_| Fault::from(format!("duplicate zone \"{name}\"")))
}

fn folder_name(word: &conf::Word) -> Result<&str, Fault> {
    let text = word.as_str().map_err(|_| format!("invalid value \"{word}\""))?;
    Ok(text.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(text))
}

/// `1:2`: up to three levels of one or two characters.
fn read_levels(value: &[u8]) -> Option<Vec<usize>> {
    let levels: Option<Vec<usize>> = value
        .split(|byte| *byte == b':')
        .map(|level| match level {
            b"1" => Some(1),
            b"2" => Some(2),
            _ => None,
        })
        .collect();
    levels.filter(|levels| levels.len() <= 3)
}

fn read_zone(word: &conf::Word, value: &[u8]) -> Result<(String, usize), String> {
    let invalid = || format!("invalid keys zone size \"{word}\"");
    let colon = memchr::memchr(b':', value).ok_or_else(invalid)?;
    let name = str::from_utf8(&value[..colon]).map_err(|_| invalid())?.to_owned();
    let size = units::size(&value[colon + 1..]).ok_or_else(invalid)?;
    if size < Zone::MINIMUM {
        return Err(format!("keys zone \"{name}\" is too small"));
    }
    if name.is_empty() {
        return Err(invalid());
    }
    Ok((name, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_one_to_three_of_one_or_two() {
        assert_eq!(read_levels(b"1:2"), Some(vec![1, 2]));
        assert_eq!(read_levels(b"2:2:2"), Some(vec![2, 2, 2]));
        for bad in ["", "3", "0", "1:", "1:2:1:2", "x"] {
            assert_eq!(read_levels(bad.as_bytes()), None, "{bad}");
        }
    }
}
