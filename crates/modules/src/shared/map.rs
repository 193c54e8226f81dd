//! `map`: a variable whose value depends on another value.

use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::named_pattern::NamedPattern;
use daemun_core::script::{Definition, Script, Session};

use super::hostnames::Hostnames;
use super::variable_name;

/// From values to values.
struct Map {
    source: Script,
    names: Hostnames<Script>,
    /// In the file's order, after the names.
    patterns: Vec<(Box<NamedPattern>, Script)>,
    default: Script,
    /// Keys are host names: a dot at the end makes no difference.
    has_hostnames: bool,
}

/// Reads a block and defines its variable.
pub fn load(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let [source, name] = &*directive.args else {
        return Err("invalid value".into());
    };
    let source = loader.script(source)?;
    let variable = variable_name(name)?;
    let entries = directive.block.as_ref().map_or(&[][..], |block| &block.directives);
    let mut reader = Reader { map: Map::new(source), default: None, is_volatile: false };
    for entry in entries {
        reader.read(loader, entry)?;
    }
    let Reader { mut map, default, is_volatile } = reader;
    map.default = default.unwrap_or_default();
    let compute = Arc::new(move |session: &mut dyn Session, out: &mut Vec<u8>| {
        map.append(session, out);
        true
    });
    let definition = Definition::Computed { compute, volatile: is_volatile };
    loader.variables.define(variable, definition, name.span);
    Ok(())
}

impl Map {
    fn new(source: Script) -> Map {
        Map {
            source,
            names: Hostnames::default(),
            patterns: Vec::new(),
            default: Script::default(),
            has_hostnames: false,
        }
    }

    fn append(&self, session: &mut dyn Session, out: &mut Vec<u8>) {
        let mut source = self.source.value(session);
        if self.has_hostnames && source.last() == Some(&b'.') {
            source.pop();
        }
        self.find(session, &source).append(session, out);
    }

    fn find(&self, session: &mut dyn Session, source: &[u8]) -> &Script {
        if let Some(value) = self.names.find(&source.to_ascii_lowercase()) {
            return value;
        }
        for (pattern, value) in &self.patterns {
            match session.matches(pattern, source) {
                Ok(true) => return value,
                Ok(false) => {}
                Err(_) => break,
            }
        }
        &self.default
    }
}

struct Reader {
    map: Map,
    default: Option<Script>,
    is_volatile: bool,
}

impl Reader {
    fn read(&mut self, loader: &mut Loader<'_>, entry: &conf::Directive) -> Result<(), Fault> {
        let key = &entry.name;
        let fault = |sentence: String| Fault::from(sentence).at(key.span);
        let value = match &*entry.args {
            [] if key == "hostnames" => {
                self.map.has_hostnames = true;
                return Ok(());
            }
            [] if key == "volatile" => {
                self.is_volatile = true;
                return Ok(());
            }
            [value] => loader.script(value)?,
            _ => return Err(fault("invalid number of the map parameters".to_owned())),
        };
        let text = match &*key.text {
            b"default" if self.default.is_some() => {
                return Err(fault("duplicate default map parameter".to_owned()));
            }
            b"default" => {
                self.default = Some(value);
                return Ok(());
            }
            [b'~', pattern @ ..] => {
                let (pattern, caseless) = match pattern {
                    [b'*', pattern @ ..] => (pattern, true),
                    pattern => (pattern, false),
                };
                let pattern = loader.pattern(key, pattern, caseless)?;
                self.map.patterns.push((pattern, value));
                return Ok(());
            }
            [b'\\', text @ ..] => text,
            text => text,
        };
        let added = match self.map.has_hostnames {
            true => self.map.names.add(text, value),
            false => self.map.names.add_plain(text, value),
        };
        added.map_err(|refusal| fault(refusal.sentence(text)))
    }
}
