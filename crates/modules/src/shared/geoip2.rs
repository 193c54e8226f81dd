//! MaxMind DB files (`.mmdb`): variables from the record of an address.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::address;
use daemun_core::cidr::Cidr;
use daemun_core::load::{Fault, Loader};
use daemun_core::script::{Compute, Definition, Script, Session};
use daemun_event::Millis;
use maxminddb::{PathElement, Reader};
use serde::de::{self, Deserialize, Deserializer};

use super::{forwarded, variable_name};

/// Proxies that are trusted to name their clients; known once the whole configuration is read.
pub type Trusted = Arc<OnceLock<(Vec<Cidr>, bool)>>;

/// Reads a block and defines its variables.
pub fn load(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    trusted: &Trusted,
) -> Result<(), Fault> {
    let word = &directive.args[0];
    let entries = directive.block.as_ref().map_or(&[][..], |block| &block.directives);
    let mut reload = None;
    for entry in entries.iter().filter(|entry| entry.name == "auto_reload") {
        let interval = entry.args.first().and_then(|word| units::seconds(&word.text));
        let invalid = || Fault::from("invalid value".to_owned()).at(entry.name.span);
        reload = Some(Duration::from_secs(interval.ok_or_else(invalid)?));
    }
    let database = Arc::new(Database::open(loader, word, reload)?);
    for entry in entries.iter().filter(|entry| entry.name != "auto_reload") {
        define(loader, entry, &database, trusted)?;
    }
    Ok(())
}

type Source = Reader<Vec<u8>>;

struct Database {
    path: PathBuf,
    /// How often to look for a newer file.
    reload: Option<Duration>,
    first: Source,
    modified: Option<SystemTime>,
}

/// What a thread has read since the configuration was.
struct Newer {
    checked: Millis,
    modified: Option<SystemTime>,
    source: Option<Rc<Source>>,
}

thread_local! {
    static NEWER: RefCell<HashMap<PathBuf, Newer>> = RefCell::default();
}

impl Database {
    fn open(
        loader: &Loader<'_>,
        word: &conf::Word,
        reload: Option<Duration>,
    ) -> Result<Database, Fault> {
        let fault = |reason: String| {
            let sentence = format!("MMDB_open(\"{word}\") failed - {reason}");
            Fault::from(sentence).at(word.span)
        };
        let path = loader.paths.in_conf(word.as_str().map_err(|error| fault(error.to_string()))?);
        let first = Reader::open_readfile(&path).map_err(|error| fault(error.to_string()))?;
        let modified = modified(&path);
        Ok(Database { path, reload, first, modified })
    }

    fn with<R>(&self, look: impl FnOnce(&Source) -> R) -> R {
        match self.reload.and_then(|interval| self.newer(interval)) {
            Some(source) => look(&source),
            None => look(&self.first),
        }
    }

    /// A file that is newer than what was read first. One that cannot be read is left alone.
    fn newer(&self, interval: Duration) -> Option<Rc<Source>> {
        let now = daemun_event::now();
        NEWER.with_borrow_mut(|newer| {
            let newer = newer.entry(self.path.clone()).or_insert_with(|| Newer {
                checked: now,
                modified: self.modified,
                source: None,
            });
            if u128::from(now.saturating_sub(newer.checked)) >= interval.as_millis() {
                newer.checked = now;
                let modified = modified(&self.path);
                if modified.is_some() && modified != newer.modified {
                    newer.modified = modified;
                    let source = Reader::open_readfile(&self.path).ok().map(Rc::new);
                    newer.source = source.or_else(|| newer.source.take());
                }
            }
            newer.source.clone()
        })
    }
}

fn modified(path: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

/// `$name [default=TEXT] [source=$variable] key ...`, or `$name metadata FIELD`.
fn define(
    loader: &mut Loader<'_>,
    entry: &conf::Directive,
    database: &Arc<Database>,
    trusted: &Trusted,
) -> Result<(), Fault> {
    let name = variable_name(&entry.name)?;
    let database = Arc::clone(database);
    if let [kind, field] = &*entry.args
        && kind == "metadata"
    {
        let field = Metadata::named(field)?;
        let compute: Compute = Arc::new(move |_, out| {
            out.extend_from_slice(database.with(|source| field.of(source)).as_bytes());
            true
        });
        let definition = Definition::Computed { compute, volatile: false };
        loader.variables.define(name, definition, entry.name.span);
        return Ok(());
    }
    let mut lookup = Lookup {
        source: None,
        default: Box::default(),
        path: Vec::new(),
        trusted: Arc::clone(trusted),
    };
    for word in &entry.args {
        lookup.read(loader, word)?;
    }
    let compute: Compute = Arc::new(move |session, out| {
        let client = lookup.client(session);
        let value = client.and_then(|ip| database.with(|source| lookup.value(source, ip)));
        match value {
            Some(Value(text)) => out.extend_from_slice(&text),
            None if lookup.default.is_empty() => return false,
            None => out.extend_from_slice(&lookup.default),
        }
        true
    });
    let definition = Definition::Computed { compute, volatile: false };
    loader.variables.define(name, definition, entry.name.span);
    Ok(())
}

/// How a variable's value is found.
struct Lookup {
    /// Where the address stands; `None` is the client.
    source: Option<Script>,
    default: Box<[u8]>,
    path: Vec<String>,
    trusted: Trusted,
}

impl Lookup {
    fn read(&mut self, loader: &mut Loader<'_>, word: &conf::Word) -> Result<(), Fault> {
        if let Some(default) = word.text.strip_prefix(b"default=") {
            self.default = default.into();
        } else if let Some(source) = word.text.strip_prefix(b"source=") {
            let source = conf::Word { text: source.into(), ..word.clone() };
            self.source = Some(loader.script(&source)?);
        } else {
            let invalid = |_| Fault::from(format!("invalid parameter \"{word}\"")).at(word.span);
            self.path.push(word.as_str().map_err(invalid)?.to_owned());
        }
        Ok(())
    }

    fn client(&self, session: &mut dyn Session) -> Option<IpAddr> {
        if let Some(source) = &self.source {
            let text = source.value(session);
            return address::ip(std::str::from_utf8(&text).ok()?);
        }
        let peer = session.client();
        let behind = self.trusted.get().and_then(|(proxies, is_recursive)| {
            forwarded::client_behind(peer, &session.forwarded_for(), proxies, *is_recursive)
        });
        behind.unwrap_or(peer).ip()
    }

    /// Numbers in the path are places in a list.
    fn value(&self, source: &Source, ip: IpAddr) -> Option<Value> {
        let path: Vec<PathElement<'_>> = self
            .path
            .iter()
            .map(|step| match step.parse() {
                Ok(place) => PathElement::Index(place),
                Err(_) => PathElement::Key(step),
            })
            .collect();
        source.lookup(ip).ok()?.decode_path(&path).ok()?
    }
}

/// A single value as text.
struct Value(Vec<u8>);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

macro_rules! visit {
    ($($name:ident: $type:ty = $format:literal,)*) => {
        $(fn $name<E: de::Error>(self, value: $type) -> Result<Value, E> {
            Ok(Value(format!($format, value).into_bytes()))
        })*
    };
}

impl de::Visitor<'_> for Visitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    visit! {
        visit_i32: i32 = "{}",
        visit_u16: u16 = "{}",
        visit_u32: u32 = "{}",
        visit_u64: u64 = "{}",
        visit_u128: u128 = "{:#034x}",
        visit_f32: f32 = "{:.5}",
        visit_f64: f64 = "{:.5}",
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value(vec![if value { b'1' } else { b'0' }]))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value(value.as_bytes().to_vec()))
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value(value.to_vec()))
    }
}

/// What a database tells about itself.
#[derive(Clone, Copy)]
enum Metadata {
    BuildEpoch,
    DatabaseType,
    IpVersion,
    NodeCount,
    RecordSize,
    BinaryFormat { is_minor: bool },
}

impl Metadata {
    fn named(word: &conf::Word) -> Result<Metadata, Fault> {
        Ok(match &*word.text {
            b"build_epoch" => Metadata::BuildEpoch,
            b"database_type" => Metadata::DatabaseType,
            b"ip_version" => Metadata::IpVersion,
            b"node_count" => Metadata::NodeCount,
            b"record_size" => Metadata::RecordSize,
            b"binary_format_major_version" => Metadata::BinaryFormat { is_minor: false },
            b"binary_format_minor_version" => Metadata::BinaryFormat { is_minor: true },
            _ => return Err(Fault::from(format!("invalid parameter \"{word}\"")).at(word.span)),
        })
    }

    fn of(self, source: &Source) -> String {
        let metadata = source.metadata();
        match self {
            Metadata::BuildEpoch => metadata.build_epoch.to_string(),
            Metadata::DatabaseType => metadata.database_type.clone(),
            Metadata::IpVersion => metadata.ip_version.to_string(),
            Metadata::NodeCount => metadata.node_count.to_string(),
            Metadata::RecordSize => metadata.record_size.to_string(),
            Metadata::BinaryFormat { is_minor: false } => {
                metadata.binary_format_major_version.to_string()
            }
            Metadata::BinaryFormat { is_minor: true } => {
                metadata.binary_format_minor_version.to_string()
            }
        }
    }
}
