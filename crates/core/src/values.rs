//! Arguments as values: what most rows of a directive table need to record a typed setting.
//!
//! Each function reads a directive's first argument; the errors are nginx's sentences and reasons.

use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;

use crate::load::Fault;

/// Records a directive's first argument in a field of the block's settings:
/// `set!(SETTINGS.autoindex, values::flag)`.
#[macro_export]
macro_rules! set {
    ($key:ident . $field:ident, $value:expr) => {
        $crate::module::Action::Set(|loader, directive| {
            let value = $value(directive)?;
            loader.settings(&$key).$field.set(value)?;
            Ok(())
        })
    };
}

pub fn flag(directive: &conf::Directive) -> Result<bool, Fault> {
    let word = &directive.args[0];
    units::flag(&word.text).ok_or_else(|| {
        let name = &directive.name;
        Fault::from(format!(
            "invalid value \"{word}\" in \"{name}\" directive, it must be \"on\" or \"off\""
        ))
        .at(word.span)
    })
}

pub fn integer<T: TryFrom<i64>>(directive: &conf::Directive) -> Result<T, Fault> {
    let word = &directive.args[0];
    units::integer(&word.text)
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| Fault::from("invalid number").at(word.span))
}

/// A number between two others.
pub fn integer_in(directive: &conf::Directive, least: u32, most: u32) -> Result<u32, Fault> {
    let number: i64 = integer(directive)?;
    match u32::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => {
            let sentence = format!("value must be between {least} and {most}");
            Err(Fault::from(sentence).at(directive.args[0].span))
        }
    }
}

/// Bytes in memory: `8k`, `1m`.
pub fn size(directive: &conf::Directive) -> Result<usize, Fault> {
    let word = &directive.args[0];
    units::size(&word.text).ok_or_else(|| Fault::from("invalid value").at(word.span))
}

/// Bytes in files and on the wire: as sizes, and `1g`.
pub fn offset(directive: &conf::Directive) -> Result<u64, Fault> {
    let word = &directive.args[0];
    units::offset(&word.text).ok_or_else(|| Fault::from("invalid value").at(word.span))
}

pub fn milliseconds(directive: &conf::Directive) -> Result<Duration, Fault> {
    duration_of(&directive.args[0], units::milliseconds, Duration::from_millis)
}

pub fn seconds(directive: &conf::Directive) -> Result<Duration, Fault> {
    duration_of(&directive.args[0], units::seconds, Duration::from_secs)
}

fn duration_of(
    word: &conf::Word,
    read: fn(&[u8]) -> Option<u64>,
    make: fn(u64) -> Duration,
) -> Result<Duration, Fault> {
    read(&word.text).map(make).ok_or_else(|| Fault::from("invalid value").at(word.span))
}

pub fn text(directive: &conf::Directive) -> Result<String, Fault> {
    let word = &directive.args[0];
    match word.as_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span)),
    }
}

pub fn bytes(directive: &conf::Directive) -> Result<Vec<u8>, Fault> {
    Ok(directive.args[0].text.to_vec())
}

/// One of a few words.
pub fn choice<T: Copy>(directive: &conf::Directive, choices: &[(&str, T)]) -> Result<T, Fault> {
    let word = &directive.args[0];
    if let Some((_, value)) = choices.iter().find(|(name, _)| word == name) {
        return Ok(*value);
    }
    let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    Err(Fault::from(format!("invalid value \"{word}\""))
        .at(word.span)
        .help(format!("it must be {}", names.join(" or "))))
}

/// Bits of files: `user:rw group:r all:r`. Their user may read and write them unless it is named.
pub fn access(directive: &conf::Directive) -> Result<u32, Fault> {
    let mut access = 0;
    let mut user = 0o600;
    for word in &directive.args {
        let invalid = || Fault::from(format!("invalid value \"{word}\"")).at(word.span);
        let colon = word.text.iter().position(|byte| *byte == b':').ok_or_else(invalid)?;
        let rights = match &word.text[colon + 1..] {
            b"rw" => 6,
            b"r" => 4,
            _ => return Err(invalid()),
        };
        let shift = match &word.text[..colon] {
            b"user" => {
                user = 0;
                6
            }
            b"group" => 3,
            b"all" => 0,
            _ => return Err(invalid()),
        };
        access |= rights << shift;
    }
    Ok(access | user)
}

/// `number size`: how many buffers of how many bytes.
pub fn buffers(directive: &conf::Directive) -> Result<(usize, usize), Fault> {
    let [number, size] = &*directive.args else {
        return Err(Fault::from("invalid value"));
    };
    let number = units::integer(&number.text).and_then(|number| usize::try_from(number).ok());
    match (number, units::size(&size.text)) {
        (Some(number @ 1..), Some(size @ 1..)) => Ok((number, size)),
        _ => Err(Fault::from("invalid value")),
    }
}
