//! Named zones of shared memory: what directives declare, and what the master makes of it before its workers start.
//!
//! A module declares a zone while its directive is read, and keeps the [`ZoneRef`]; the zone behind it is there once
//! the configuration is in force, the same one as before where name, size and purpose are the same.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use daemun_conf as conf;
use daemun_conf::units;
use daemun_shm::Zone;

use crate::load::{Fault, Loader};
use crate::log::Errno;
use crate::module::{Module, SettingsKey};
use crate::setting::Own;
use crate::settings;

/// What a zone is for: its memory is read by one kind of user only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// The module's name.
    pub user: &'static str,
    /// Each configuration gets new memory, and takes over what it wants of the former one's.
    pub fresh: bool,
}

/// What a zone's user knows of it.
pub trait Content: Any + Send + Sync {
    /// Whether the memory of `former`, a content of the same purpose in the configuration before,
    /// can be kept under this one. The error is nginx's sentence, and refuses the configuration.
    fn may_follow(&self, former: &dyn Content, zone: &str) -> Result<(), String>;
}

/// A zone that some directive named.
#[derive(Clone, Debug)]
pub struct ZoneRef(Arc<Declared>);

struct Declared {
    name: String,
    purpose: Purpose,
    /// Bytes; set by the first directive that gives one.
    size: OnceLock<usize>,
    zone: OnceLock<Arc<Zone>>,
    content: OnceLock<Arc<dyn Content>>,
}

/// The zones of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Zones(Vec<(ZoneRef, conf::Span)>);

settings! {
    pub struct Settings {
        /// In the main block alone.
        zones: Own<Zones>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: Module = Module { name: "zones", settings: Some(&SETTINGS), directives: &[] };

/// The zone of that name, declared here or elsewhere. The errors are nginx's sentences.
pub fn declare(
    loader: &mut Loader<'_>,
    name: &str,
    span: conf::Span,
    size: Option<usize>,
    purpose: Purpose,
) -> Result<ZoneRef, Fault> {
    let zones = &mut loader.main_settings(&SETTINGS).zones.0.0;
    let known = zones.iter().map(|(zone, _)| zone).find(|zone| zone.0.name == name);
    let Some(known) = known else {
        let zone = ZoneRef(Arc::new(Declared {
            name: name.to_owned(),
            purpose,
            size: size.map_or_else(OnceLock::new, OnceLock::from),
            zone: OnceLock::new(),
            content: OnceLock::new(),
        }));
        zones.push((zone.clone(), span));
        return Ok(zone);
    };
    if known.0.purpose != purpose {
        let sentence = "is already declared for a different use";
        return Err(format!("the shared memory zone \"{name}\" {sentence}").into());
    }
    let former = size.map(|size| *known.0.size.get_or_init(|| size));
    match (size, former) {
        (Some(size), Some(former)) if size != former => Err(Fault::from(format!(
            "the size {size} of shared memory zone \"{name}\" conflicts with already declared size {former}"
        ))),
        _ => Ok(known.clone()),
    }
}

/// The size of a zone as it is written; what is too small for a zone is refused.
pub fn size(name: &str, word: &[u8]) -> Result<usize, String> {
    match units::size(word) {
        None => Err(format!("invalid zone size \"{}\"", String::from_utf8_lossy(word))),
        Some(size) if size < Zone::LEAST => Err(format!("zone \"{name}\" is too small")),
        Some(size) => Ok(size),
    }
}

/// Complains about zones that no directive gives a size.
pub fn check(zones: &Zones, diagnostics: &mut conf::Diagnostics) {
    for (zone, span) in &zones.0 {
        if zone.0.size.get().is_none() {
            let name = &zone.0.name;
            diagnostics.emerg(format!("zero size shared memory zone \"{name}\""), *span);
        }
    }
}

impl Zones {
    /// Makes the zones that the former configuration has not. The error is a sentence for the log.
    pub fn make(&self, former: Option<&Zones>) -> Result<(), String> {
        for (declared, _) in &self.0 {
            let kept = former.and_then(|former| former.same(declared));
            let zone = match kept {
                Some(former) => {
                    declared.0.check(former)?;
                    former.zone.get().expect("a zone that is kept is there").clone()
                }
                None => declared.0.make().map_err(|error| {
                    format!("mmap() of zone \"{}\" failed{}", declared.0.name, Errno(&error))
                })?,
            };
            let _ = declared.0.zone.set(zone);
        }
        Ok(())
    }

    fn same(&self, declared: &ZoneRef) -> Option<&Declared> {
        let mut zones = self.0.iter().map(|(zone, _)| &zone.0);
        let same = zones.find(|zone| zone.name == declared.0.name)?;
        let is_same = same.purpose == declared.0.purpose && same.size == declared.0.size;
        (is_same && !same.purpose.fresh && same.zone.get().is_some()).then_some(&**same)
    }
}

impl Declared {
    fn make(&self) -> io::Result<Arc<Zone>> {
        let size = self.size.get().copied().unwrap_or(Zone::LEAST);
        Zone::new(&self.name, size).map(Arc::new)
    }

    /// Whether this zone's user can go on with the former one's memory.
    fn check(&self, former: &Declared) -> Result<(), String> {
        match (self.content.get(), former.content.get()) {
            (Some(content), Some(former)) => content.may_follow(&**former, &self.name),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Declared { name, purpose, size, .. } = self;
        f.debug_struct("Declared")
            .field("name", name)
            .field("purpose", purpose)
            .field("size", size)
            .finish_non_exhaustive()
    }
}

impl ZoneRef {
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Bytes; `None` where no directive says so.
    pub fn size(&self) -> Option<usize> {
        self.0.size.get().copied()
    }

    /// What the zone's user knows of it, made by whichever directive names the zone first.
    ///
    /// # Panics
    /// Where users with one purpose have contents of several types.
    pub fn content<T: Content + Default>(&self) -> Arc<T> {
        let content = self.0.content.get_or_init(|| Arc::new(T::default()));
        let content: Arc<dyn Any + Send + Sync> = Arc::clone(content) as _;
        content.downcast().expect("a purpose has one type of content")
    }

    /// The zone, once the configuration is in force; `None` while it is only tested.
    pub fn zone(&self) -> Option<&Arc<Zone>> {
        self.0.zone.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str, size: usize, fresh: bool) -> (ZoneRef, Zones) {
        let zone = ZoneRef(Arc::new(Declared {
            name: name.to_owned(),
            purpose: Purpose { user: "test", fresh },
            size: OnceLock::from(size),
            zone: OnceLock::new(),
            content: OnceLock::new(),
        }));
        (zone.clone(), Zones(vec![(zone, some_span())]))
    }

    fn some_span() -> conf::Span {
        let (mut files, mut diagnostics) = (conf::Files::default(), conf::Diagnostics::default());
        let root = conf::Root::Embedded { name: "test.conf".into(), text: b"zone a;".to_vec() };
        let folder = std::path::Path::new("/nowhere");
        conf::parse(root, folder, &mut files, &mut diagnostics).directives[0].span
    }

    #[test]
    fn a_zone_outlives_its_configuration_where_it_is_the_same() {
        for (name, size, fresh, is_kept) in [
            ("a", Zone::LEAST, false, true),
            ("a", Zone::LEAST * 2, false, false),
            ("b", Zone::LEAST, false, false),
            ("a", Zone::LEAST, true, false),
        ] {
            let (first, zones) = declared("a", Zone::LEAST, fresh);
            zones.make(None).unwrap();
            first.zone().unwrap().root().set(7);
            let (second, next) = declared(name, size, fresh);
            next.make(Some(&zones)).unwrap();
            assert_eq!(second.zone().unwrap().root().get() == 7, is_kept, "{name} {size} {fresh}");
        }
    }

    #[derive(Default)]
    struct Key(OnceLock<u32>);

    impl Content for Key {
        fn may_follow(&self, former: &dyn Content, zone: &str) -> Result<(), String> {
            let former: &dyn Any = former;
            match former.downcast_ref::<Key>().unwrap().0 == self.0 {
                true => Ok(()),
                false => Err(format!("\"{zone}\" has another key")),
            }
        }
    }

    #[test]
    fn a_zone_is_kept_only_by_a_content_that_may_follow() {
        let (first, zones) = declared("a", Zone::LEAST, false);
        first.content::<Key>().0.set(1).unwrap();
        zones.make(None).unwrap();
        for (key, size, result) in [
            (1, Zone::LEAST, Ok(())),
            (2, Zone::LEAST, Err("\"a\" has another key".to_owned())),
            (2, Zone::LEAST * 2, Ok(())),
        ] {
            let (second, next) = declared("a", size, false);
            second.content::<Key>().0.set(key).unwrap();
            assert_eq!(next.make(Some(&zones)), result, "{key} {size}");
        }
    }

    #[test]
    fn sizes_are_read_in_nginx_words() {
        assert_eq!(size("z", b"64k"), Ok(65536));
        assert_eq!(size("z", b"4k"), Err("zone \"z\" is too small".to_owned()));
        assert_eq!(size("z", b"x"), Err("invalid zone size \"x\"".to_owned()));
    }
}
