//! Limits that all workers keep together: of requests by their rate, of connections by their
//! number. Each counts by a key, in a zone.

pub mod connections;
pub mod rate;
pub mod requests;

use std::any::Any;
use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::log::{Log, Origin};
use daemun_core::script::{Script, Session};
use daemun_core::zones::{self, Content, Purpose, ZoneRef};
use daemun_shm::{Record, Table, Zone};

/// What is kept for each value of a key.
pub trait Counted: Record + 'static {
    /// What the zone's directive says besides the key.
    type Terms: Send + Sync;
    /// The longest value of a key, bytes.
    const LONGEST: usize;
    /// What nginx calls the zone where it refuses another key.
    const REFUSED_AS: &'static str;
}

/// A zone of a limit: a key, and what is kept for each of its values.
pub struct LimitZone<R: Counted> {
    terms: OnceLock<(Key, R::Terms)>,
    /// `None` where the zone has no room for any.
    table: OnceLock<Option<Table<R>>>,
}

/// A limit's zone, as the directives of limits name it.
pub struct Limiting<R: Counted> {
    zone: ZoneRef,
    content: Arc<LimitZone<R>>,
}

/// By what a zone counts.
pub struct Key {
    script: Script,
    /// As it is written.
    text: String,
}

/// Whoever is limited: it has variables, and the error log can tell of it.
pub trait Limited: Session + Origin {}

impl<T: Session + Origin> Limited for T {}

impl<R: Counted> LimitZone<R> {
    /// The zone's key; without one the configuration is refused before anybody asks.
    fn key(&self) -> Option<&Key> {
        self.terms.get().map(|(key, _)| key)
    }
}

impl<R: Counted> Default for LimitZone<R> {
    fn default() -> Self {
        LimitZone { terms: OnceLock::new(), table: OnceLock::new() }
    }
}

impl<R: Counted> Content for LimitZone<R> {
    fn may_follow(&self, former: &dyn Content, zone: &str) -> Result<(), String> {
        let former: &dyn Any = former;
        let former = former.downcast_ref::<Self>().and_then(|former| former.key());
        let (Some(key), Some(former)) = (self.key(), former) else { return Ok(()) };
        if key.text == former.text {
            return Ok(());
        }
        let (user, key, former) = (R::REFUSED_AS, &key.text, &former.text);
        Err(format!(
            "{user} \"{zone}\" uses the \"{key}\" key while previously it used the \"{former}\" key"
        ))
    }
}

impl<R: Counted> Limiting<R> {
    /// The zone that a limit names, wherever it is declared.
    pub fn named(
        loader: &mut Loader<'_>,
        name: &[u8],
        span: conf::Span,
        purpose: Purpose,
    ) -> Result<Limiting<R>, Fault> {
        Limiting::declare(loader, &String::from_utf8_lossy(name), span, None, purpose)
    }

    fn declare(
        loader: &mut Loader<'_>,
        name: &str,
        span: conf::Span,
        size: Option<usize>,
        purpose: Purpose,
    ) -> Result<Limiting<R>, Fault> {
        let zone = zones::declare(loader, name, span, size, purpose)?;
        Ok(Limiting { content: zone.content(), zone })
    }

    pub fn name(&self) -> &str {
        self.zone.name()
    }

    pub fn is_same(&self, other: &Limiting<R>) -> bool {
        Arc::ptr_eq(&self.content, &other.content)
    }

    /// What is kept; `None` while the configuration is only tested.
    fn table(&self) -> Option<&Table<R>> {
        let zone = self.zone.zone()?;
        self.content.table.get_or_init(|| Table::open(zone, 0)).as_ref()
    }

    /// Calls `work` with the value of the key, unless it is empty or too long, which is logged.
    fn with_value<V: Limited, T>(
        &self,
        visitor: &mut V,
        log: &Log,
        work: impl FnOnce(&V, &[u8]) -> T,
    ) -> Option<T> {
        thread_local! {
            /// Values are made here, so that none takes memory of its own.
            static VALUE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        let key = self.content.key()?;
        let mut value = VALUE.take();
        value.clear();
        key.script.append(visitor, &mut value);
        let result = match value.len() {
            0 => None,
            length if length > R::LONGEST => {
                let (text, value) = (&key.text, String::from_utf8_lossy(&value));
                log!(
                    log,
                    Error,
                    *visitor,
                    "the value of the \"{}\" key is more than {} bytes: \"{}\"",
                    text,
                    R::LONGEST,
                    value
                );
                None
            }
            _ => Some(work(visitor, &value)),
        };
        VALUE.set(value);
        result
    }
}

impl<R: Counted> Clone for Limiting<R> {
    fn clone(&self) -> Self {
        Limiting { zone: self.zone.clone(), content: Arc::clone(&self.content) }
    }
}

/// Reads `KEY zone=NAME:SIZE`, and leaves further words to `other`, which says whether it knows
/// one; `terms` are what they come to.
pub fn read_zone<R: Counted>(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    purpose: Purpose,
    mut other: impl FnMut(&conf::Word) -> Result<bool, Fault>,
    terms: impl FnOnce() -> R::Terms,
) -> Result<(), Fault> {
    let (key, words) = directive.args.split_first().ok_or("invalid value")?;
    let script = loader.script(key)?;
    let mut named = None;
    for word in words {
        if let Some(text) = word.text.strip_prefix(b"zone=") {
            named = Some(name_and_size(text, word).map_err(|fault| fault.at(word.span))?);
        } else if !other(word)? {
            return Err(invalid_parameter(word));
        }
    }
    let named = named.filter(|(name, _)| !name.is_empty());
    let (name, size) = named.ok_or_else(|| needs_zone(directive))?;
    let span = directive.name.span;
    let limiting = Limiting::<R>::declare(loader, &name, span, Some(size), purpose)?;
    let key = Key { script, text: key.to_str_lossy().into_owned() };
    if let Some(former) = limiting.content.key() {
        let (directive, former) = (&directive.name, &former.text);
        return Err(format!("{directive} \"{name}\" is already bound to key \"{former}\"").into());
    }
    let _ = limiting.content.terms.set((key, terms()));
    Ok(())
}

/// The error names the whole word, as nginx's does.
fn name_and_size(text: &[u8], word: &conf::Word) -> Result<(String, usize), Fault> {
    let invalid = || Fault::from(format!("invalid zone size \"{word}\""));
    let colon = text.iter().position(|byte| *byte == b':').ok_or_else(invalid)?;
    let size = units::size(&text[colon + 1..]).ok_or_else(invalid)?;
    if size < Zone::LEAST {
        return Err(Fault::from(format!("zone \"{word}\" is too small")));
    }
    Ok((String::from_utf8_lossy(&text[..colon]).into_owned(), size))
}

pub fn invalid_parameter(word: &conf::Word) -> Fault {
    Fault::from(format!("invalid parameter \"{word}\"")).at(word.span)
}

pub fn needs_zone(directive: &conf::Directive) -> Fault {
    Fault::from(format!("\"{}\" must have \"zone\" parameter", directive.name))
}

/// Levels of `limit_req_log_level` and `limit_conn_log_level`.
pub const LEVELS: &[(&str, log::Level)] = &[
    ("info", log::Level::Info),
    ("notice", log::Level::Notice),
    ("warn", log::Level::Warn),
    ("error", log::Level::Error),
];

/// Logs at a level that the configuration names.
pub fn tell(log: &Log, level: log::Level, origin: &dyn Origin, message: std::fmt::Arguments<'_>) {
    if log.takes(level) {
        log.write(level, origin, message, None);
    }
}
