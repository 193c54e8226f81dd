//! What `log_format`, `access_log` and `open_log_file_cache` say.

use std::sync::Arc;
use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::log::Syslog;

use super::format::{Escape, Format};
use super::paths::FileCache;
use super::pending::{Buffering, LogFile};
use super::{AccessLog, SETTINGS, Target};

/// The formats of a configuration, `combined` among them from the start.
struct Formats(Vec<Arc<Format>>);

impl Default for Formats {
    fn default() -> Formats {
        Formats(vec![Arc::new(Format::combined())])
    }
}

/// The files of a configuration: one value a path, for a buffer is shared.
#[derive(Default)]
struct LogFiles(Vec<Arc<LogFile>>);

pub(super) fn log_format(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<(), Fault> {
    let (name, mut parts) = directive.args.split_first().expect("two arguments at least");
    let formats = &loader.notes::<Formats>().0;
    if formats.iter().any(|format| format.name == *name.text) {
        return Err(format!("duplicate \"log_format\" name \"{name}\"").into());
    }
    let mut escape = Escape::Default;
    if let Some((first, rest)) = parts.split_first()
        && let Some(kind) = first.text.strip_prefix(b"escape=")
    {
        escape = read_escape(first, kind)?;
        parts = rest;
    }
    let mut format = Format::new(&name.text, escape);
    for word in parts {
        let variables = &mut loader.variables;
        let refer = |name: &str| variables.refer(name, word.span);
        format
            .compile(&word.text, refer)
            .map_err(|sentence| Fault::from(sentence).at(word.span))?;
    }
    loader.notes::<Formats>().0.push(Arc::new(format));
    Ok(())
}

fn read_escape(word: &conf::Word, kind: &[u8]) -> Result<Escape, Fault> {
    match kind {
        b"default" => Ok(Escape::Default),
        b"json" => Ok(Escape::Json),
        b"none" => Ok(Escape::None),
        _ => {
            let kind = String::from_utf8_lossy(kind);
            Err(Fault::from(format!("unknown log format escaping \"{kind}\"")).at(word.span))
        }
    }
}

pub(super) fn access_log(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<(), Fault> {
    let word = &directive.args[0];
    if word == "off" {
        return turn_off(loader, directive);
    }
    let target = read_target(loader, word)?;
    let format = find_format(loader, directive.args.get(1))?;
    let parameters = Parameters::read(loader, directive.args.get(2..).unwrap_or_default())?;
    parameters.check(word, &target)?;
    if let (Target::File(file), Some(buffering)) = (&target, parameters.buffering())
        && !file.buffer(buffering)
    {
        let sentence = format!("access_log \"{word}\" already defined with conflicting parameters");
        return Err(Fault::from(sentence).at(word.span));
    }
    let log = AccessLog { target, format, condition: parameters.condition };
    let settings = loader.settings(&SETTINGS);
    settings.logs.modify().list.push(Arc::new(log));
    Ok(())
}

fn turn_off(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if let Some(word) = directive.args.get(1) {
        return Err(Fault::from(format!("invalid parameter \"{word}\"")).at(word.span));
    }
    loader.settings(&SETTINGS).logs.modify().is_off = true;
    Ok(())
}

fn read_target(loader: &mut Loader<'_>, word: &conf::Word) -> Result<Target, Fault> {
    if let Some(parameters) = word.text.strip_prefix(b"syslog:") {
        let parameters = String::from_utf8_lossy(parameters);
        let syslog =
            Syslog::parse(&parameters).map_err(|sentence| Fault::from(sentence).at(word.span))?;
        return Ok(Target::Syslog(syslog));
    }
    let path = loader.paths.in_prefix(daemun_http::files::as_path(&word.text));
    if word.text.contains(&b'$') {
        let text = path.as_os_str().as_encoded_bytes().into();
        return loader.script(&conf::Word { text, ..word.clone() }).map(Target::Path);
    }
    let file = loader.log_files.register(&path);
    let files = &mut loader.notes::<LogFiles>().0;
    let known = files.iter().find(|known| known.is(&file)).cloned();
    Ok(Target::File(known.unwrap_or_else(|| {
        let file = Arc::new(LogFile::new(file));
        files.push(Arc::clone(&file));
        file
    })))
}

fn find_format(loader: &mut Loader<'_>, word: Option<&conf::Word>) -> Result<Arc<Format>, Fault> {
    let name = word.map_or(&b"combined"[..], |word| &word.text);
    let formats = &loader.notes::<Formats>().0;
    let format = formats.iter().find(|format| format.name.eq_ignore_ascii_case(name));
    format.cloned().ok_or_else(|| {
        let fault =
            Fault::from(format!("unknown log format \"{}\"", String::from_utf8_lossy(name)));
        match word {
            Some(word) => fault.at(word.span),
            None => fault,
        }
    })
}

/// What stands behind the format.
#[derive(Default)]
struct Parameters {
    size: Option<usize>,
    flush: Option<Duration>,
    gzip: Option<u32>,
    condition: Option<daemun_core::script::Script>,
}

/// The buffer of a log that is compressed and says no size.
const GZIP_BUFFER: usize = 64 * 1024;

impl Parameters {
    fn read(loader: &mut Loader<'_>, words: &[conf::Word]) -> Result<Parameters, Fault> {
        let mut parameters = Parameters::default();
        for word in words {
            let invalid = |what: &str, value: &[u8]| {
                let value = String::from_utf8_lossy(value);
                Fault::from(format!("invalid {what} \"{value}\"")).at(word.span)
            };
            let (key, value) = match memchr::memchr(b'=', &word.text) {
                Some(sign) => (&word.text[..sign], Some(&word.text[sign + 1..])),
                None => (&*word.text, None),
            };
            match (key, value) {
                (b"buffer", Some(value)) => {
                    let size = units::size(value).filter(|size| *size > 0);
                    parameters.size = Some(size.ok_or_else(|| invalid("buffer size", value))?);
                }
                (b"flush", Some(value)) => {
                    let time = units::milliseconds(value).filter(|time| *time > 0);
                    let time = time.ok_or_else(|| invalid("flush time", value))?;
                    parameters.flush = Some(Duration::from_millis(time));
                }
                (b"gzip", None) => parameters.gzip = Some(1),
                (b"gzip", Some(value)) => {
                    let level = units::integer(value).and_then(|level| u32::try_from(level).ok());
                    let level = level.filter(|level| (1..=9).contains(level));
                    parameters.gzip =
                        Some(level.ok_or_else(|| invalid("compression level", value))?);
                }
                (b"if", Some(value)) => {
                    let value = conf::Word { text: value.into(), ..word.clone() };
                    parameters.condition = Some(loader.script(&value)?);
                }
                _ => return Err(invalid("parameter", &word.text)),
            }
        }
        Ok(parameters)
    }

    fn check(&self, word: &conf::Word, target: &Target) -> Result<(), Fault> {
        let sentence = match (self.buffering(), target) {
            (None, _) if self.flush.is_some() => {
                format!("no buffer is defined for access_log \"{word}\"")
            }
            (Some(_), Target::Path(_)) => "buffered logs cannot have variables in name".to_owned(),
            (Some(_), Target::Syslog(_)) => "logs to syslog cannot be buffered".to_owned(),
            _ => return Ok(()),
        };
        Err(Fault::from(sentence).at(word.span))
    }

    fn buffering(&self) -> Option<Buffering> {
        let size = self.size.or(self.gzip.map(|_| GZIP_BUFFER))?;
        Some(Buffering { size, flush: self.flush, gzip: self.gzip })
    }
}

pub(super) fn open_log_file_cache(directive: &conf::Directive) -> Result<Option<FileCache>, Fault> {
    let mut cache = FileCache {
        max: 0,
        inactive: Duration::from_secs(10),
        valid: Duration::from_secs(60),
        min_uses: 1,
    };
    for word in &directive.args {
        let number = |value| units::integer(value).and_then(|number| usize::try_from(number).ok());
        let seconds = |value| units::seconds(value).map(Duration::from_secs);
        let text = &*word.text;
        let read = if text == b"off" {
            return Ok(None);
        } else if let Some(value) = text.strip_prefix(b"max=") {
            number(value).map(|max| cache.max = max)
        } else if let Some(value) = text.strip_prefix(b"inactive=") {
            seconds(value).map(|inactive| cache.inactive = inactive)
        } else if let Some(value) = text.strip_prefix(b"valid=") {
            seconds(value).map(|valid| cache.valid = valid)
        } else if let Some(value) = text.strip_prefix(b"min_uses=") {
            number(value).map(|uses| cache.min_uses = uses)
        } else {
            None
        };
        read.ok_or_else(|| {
            let sentence = format!("invalid \"open_log_file_cache\" parameter \"{word}\"");
            Fault::from(sentence).at(word.span)
        })?;
    }
    match cache.max {
        0 => Err("\"open_log_file_cache\" must have \"max\" parameter".to_owned().into()),
        _ => Ok(Some(cache)),
    }
}
