//! `split_clients`: a variable that has each of its values for a share of all clients.

use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::script::{Definition, Session};

use super::variable_name;

struct Part {
    /// Hashes below it are this part's; `None`: all that are left.
    below: Option<u32>,
    value: Box<[u8]>,
}

/// Reads a block and defines its variable.
pub fn load(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let [source, name] = &*directive.args else {
        return Err("invalid value".into());
    };
    let source = loader.script(source)?;
    let variable = variable_name(name)?;
    let entries = directive.block.as_ref().map_or(&[][..], |block| &block.directives);
    let parts = read_parts(entries)?;
    let compute = Arc::new(move |session: &mut dyn Session, out: &mut Vec<u8>| {
        let hash = murmur2(&source.value(session));
        if let Some(part) = parts.iter().find(|part| part.below.is_none_or(|end| hash < end)) {
            out.extend_from_slice(&part.value);
        }
        true
    });
    let definition = Definition::Computed { compute, volatile: false };
    loader.variables.define(variable, definition, name.span);
    Ok(())
}

fn read_parts(entries: &[conf::Directive]) -> Result<Vec<Part>, Fault> {
    let (mut total, mut end) = (0, 0u32);
    let mut parts = Vec::with_capacity(entries.len());
    for entry in entries {
        let key = &entry.name;
        let fault = |sentence: String| Fault::from(sentence).at(key.span);
        let [value] = &*entry.args else {
            return Err(fault("invalid number of the split_clients parameters".to_owned()));
        };
        let share = match &*key.text {
            b"*" => WHOLE.saturating_sub(total),
            text => share(text).ok_or_else(|| fault(format!("invalid percent value \"{key}\"")))?,
        };
        total += share;
        if total > WHOLE {
            return Err(fault("percent total is greater than 100%".to_owned()));
        }
        end += (u64::from(share) * u64::from(u32::MAX) / u64::from(WHOLE)) as u32;
        let below = (total < WHOLE).then_some(end);
        parts.push(Part { below, value: value.text.clone() });
    }
    Ok(parts)
}

/// 100 % in hundredths of a percent.
const WHOLE: u32 = 10_000;

/// Hundredths of a percent: `12.5%`.
fn share(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text.strip_suffix(b"%")?).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || fraction.len() > 2 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let hundredths: u32 = format!("{whole}{fraction:0<2}").parse().ok()?;
    (hundredths > 0).then_some(hundredths)
}

/// MurmurHash2 of Austin Appleby, with seed 0.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_hundredths_of_a_percent() {
        for (text, expected) in [
            ("50%", Some(5000)),
            ("0.5%", Some(50)),
            (".25%", Some(25)),
            ("100%", Some(10_000)),
            ("0%", None),
            ("1.234%", None),
            ("50", None),
            ("%", None),
            ("-1%", None),
        ] {
            assert_eq!(share(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_hash_is_murmur2() {
        assert_eq!(murmur2(b""), 0);
        assert_eq!(murmur2(b"a"), 0x9268_5f5e);
        assert_eq!(murmur2(b"abcd"), 0x2687_3021);
        assert_eq!(murmur2(b"abcde"), 0x5f09_a8de);
    }
}
