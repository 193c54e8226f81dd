//! `zone` and `queue` of an `upstream` block.

use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::zones::{self, Purpose};
use daemun_upstream::Queue;

use super::draft;

/// Groups get new memory with each configuration, as their servers may be others.
const PURPOSE: Purpose = Purpose { user: "upstream", fresh: true };

pub fn zone(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let (word, size) = directive.args.split_first().ok_or("invalid value")?;
    let name = word.to_str_lossy();
    if name.is_empty() {
        return Err(Fault::from(format!("invalid zone name \"{name}\"")).at(word.span));
    }
    let size = size.first().map(|size| zones::size(&name, &size.text)).transpose()?;
    let zone = zones::declare(loader, &name, word.span, size, PURPOSE)?;
    draft(loader).definition.zone = Some(zone);
    Ok(())
}

pub fn queue(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let (number, rest) = directive.args.split_first().ok_or("invalid value")?;
    let invalid = |word: &conf::Word| {
        Fault::from(format!("invalid value \"{word}\" in \"queue\" directive")).at(word.span)
    };
    let length = units::integer(&number.text).and_then(|value| usize::try_from(value).ok());
    let mut queue = Queue {
        length: length.filter(|length| *length > 0).ok_or_else(|| invalid(number))?,
        timeout: Duration::from_secs(60),
    };
    if let Some(word) = rest.first() {
        let time = word.text.strip_prefix(b"timeout=").and_then(units::milliseconds);
        let invalid = || Fault::from(format!("invalid parameter \"{word}\"")).at(word.span);
        queue.timeout = Duration::from_millis(time.ok_or_else(invalid)?);
    }
    match draft(loader).definition.queue.replace(queue) {
        None => Ok(()),
        Some(_) => Err("is duplicate".into()),
    }
}
