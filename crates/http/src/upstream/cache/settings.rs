//! What a location says of its cache: the same for every protocol.

use std::ops::BitOr;
use std::sync::Arc;
use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::script::Script;
use daemun_core::{settings, values};
use daemun_proto::http1::Method;

use super::super::settings::{Failures, Settings as Common};
use super::place::{self, Place, Registry, Slot};
use super::purge::Rule;
use crate::request::Request;

settings! {
    #[derive(Clone)]
    pub struct Settings {
        zone: Zone = Zone::Off,
        key: Option<Script> = None,
        /// The cache is not asked where one of these has a value other than "0".
        bypass: Vec<Script> = Vec::new(),
        /// Which requests purge.
        purge: Option<Rule> = None,
        /// The same for what is stored.
        no_cache: Vec<Script> = Vec::new(),
        valid: Vec<Valid> = Vec::new(),
        use_stale: Failures = Failures::OFF,
        methods: Methods = Methods::default(),
        min_uses: usize = 1,
        max_range_offset: Option<u64> = None,
        convert_head: bool = true,
        revalidate: bool = false,
        background_update: bool = false,
        /// How long nobody tries again after a failure, where a stale response stands in.
        error_ttl: Duration = Duration::ZERO,
        lock: bool = false,
        /// Whoever waits is sent what has come while it is still being stored.
        follow: bool = false,
        lock_timeout: Duration = Duration::from_secs(5),
        lock_age: Duration = Duration::from_secs(5),
    }
}

/// Which cache is used.
#[derive(Clone, Debug, Default)]
pub enum Zone {
    #[default]
    Off,
    Named(Arc<Slot>),
    Computed {
        name: Script,
        registry: Registry,
        user: &'static str,
    },
}

/// How long responses of a status are fresh that do not say so themselves; 0 stands for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Valid {
    pub status: u16,
    pub seconds: i64,
}

/// The methods whose responses are stored; GET and HEAD are always among them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Methods {
    pub post: bool,
}

impl BitOr for Methods {
    type Output = Methods;

    fn bitor(self, other: Methods) -> Methods {
        Methods { post: self.post | other.post }
    }
}

impl Methods {
    pub fn has(self, method: Method) -> bool {
        matches!(method, Method::Get | Method::Head) || self.post && method == Method::Post
    }
}

impl Settings {
    pub fn is_on(&self) -> bool {
        !matches!(*self.zone, Zone::Off)
    }

    /// Seconds that a response of this status is fresh; 0 where it is not to be stored.
    pub fn valid(&self, status: u16) -> i64 {
        let found = self.valid.iter().find(|valid| valid.status == 0 || valid.status == status);
        found.map_or(0, |valid| valid.seconds)
    }

    /// Whether a stale response may be served after such a failure.
    pub fn serves_stale(&self, failure: Failures) -> bool {
        self.use_stale.contains(failure) && !failure.is_empty()
    }

    /// The cache for this request, if there is one. The error is the text that names none.
    pub fn place(&'static self, request: &mut Request) -> Result<Option<&'static Place>, Vec<u8>> {
        match &*self.zone {
            Zone::Off => Ok(None),
            Zone::Named(slot) => Ok(slot.place.get()),
            Zone::Computed { name, registry, user } => {
                let name = name.value(request);
                match &*name {
                    b"" | b"off" => Ok(None),
                    _ => registry.find(&name, user).map(Some).ok_or(name),
                }
            }
        }
    }

    /// What does not fit together, in nginx's words.
    pub fn check(&self, prefix: &str) -> Result<(), String> {
        match &*self.zone {
            Zone::Named(slot) if slot.place.get().is_none() => {
                Err(format!("\"{prefix}cache\" zone \"{}\" is unknown", slot.name))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a predicate holds: one of the values is something other than "0".
pub fn holds(request: &mut Request, predicates: &'static [Script]) -> bool {
    predicates.iter().any(|predicate| !matches!(&*predicate.value(request), b"" | b"0"))
}

/// Reads `cache ZONE | off`.
pub fn zone(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    user: &'static str,
) -> Result<Zone, Fault> {
    let word = &directive.args[0];
    if word == "off" {
        return Ok(Zone::Off);
    }
    let name = loader.script(word)?;
    let registry = place::registry(loader);
    Ok(match name.as_literal() {
        Some(_) => Zone::Named(place::slot(loader, word, None, user)?),
        None => Zone::Computed { name, registry, user },
    })
}

/// A response is kept as a file, or in a cache.
pub fn set_zone(common: &mut Common, zone: Zone, prefix: &str) -> Result<(), Fault> {
    let is_on = !matches!(zone, Zone::Off);
    if is_on && common.store.is_set() && common.store.is_some() {
        return Err(format!("is incompatible with \"{prefix}store\"").into());
    }
    common.cache.zone.set(zone)?;
    if is_on {
        common.store.replace(None);
    }
    Ok(())
}

/// Reads `valid [STATUS ...] TIME`.
pub fn valid(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<Vec<Valid>, Fault> {
    let (time, statuses) = directive.args.split_last().ok_or("invalid number of arguments")?;
    let seconds = units::seconds(&time.text).and_then(|seconds| i64::try_from(seconds).ok());
    let seconds = seconds
        .ok_or_else(|| Fault::from(format!("invalid time value \"{time}\"")).at(time.span))?;
    if statuses.is_empty() {
        return Ok([200, 301, 302].map(|status| Valid { status, seconds }).to_vec());
    }
    let read = |word: &conf::Word| {
        if word == "any" {
            return Ok(Valid { status: 0, seconds });
        }
        match word.as_str().ok().and_then(|text| text.parse().ok()) {
            Some(status @ 100..=599) => Ok(Valid { status, seconds }),
            _ => Err(Fault::from(format!("invalid status \"{word}\"")).at(word.span)),
        }
    };
    statuses.iter().map(read).collect()
}

pub fn predicates(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Vec<Script>, Fault> {
    directive.args.iter().map(|word| loader.script(word)).collect()
}

pub fn methods(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<Methods, Fault> {
    let mut methods = Methods::default();
    for word in &directive.args {
        match word.text.to_ascii_uppercase().as_slice() {
            b"GET" | b"HEAD" => {}
            b"POST" => methods.post = true,
            _ => return Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span)),
        }
    }
    Ok(methods)
}

pub fn min_uses(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<usize, Fault> {
    values::integer(directive)
}
