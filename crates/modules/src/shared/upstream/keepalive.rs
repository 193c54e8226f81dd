//! `keepalive`, `keepalive_requests`, `keepalive_time` and `keepalive_timeout` of an `upstream` block.

use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::values;
use daemun_upstream::KeepaliveSpec;

use super::draft;

pub fn keepalive(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let spec = spec(loader);
    if spec.connections.is_some() {
        return Err("is duplicate".into());
    }
    let (number, rest) = directive.args.split_first().ok_or("invalid value")?;
    let invalid = || format!("invalid value \"{number}\" in \"keepalive\" directive");
    let connections = units::integer(&number.text).and_then(|value| usize::try_from(value).ok());
    let connections = connections.ok_or_else(|| Fault::from(invalid()).at(number.span))?;
    let is_local = match rest {
        [] => false,
        [word, ..] if word == "local" => true,
        [word, ..] => {
            return Err(Fault::from(format!("invalid parameter \"{word}\"")).at(word.span));
        }
    };
    spec.connections = Some((connections, is_local));
    Ok(())
}

pub fn requests(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let requests = values::integer(directive)?;
    set_once(&mut spec(loader).requests, requests)
}

pub fn time(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let time: Duration = values::milliseconds(directive)?;
    set_once(&mut spec(loader).time, time)
}

pub fn timeout(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let timeout: Duration = values::milliseconds(directive)?;
    set_once(&mut spec(loader).timeout, timeout)
}

fn spec<'l>(loader: &'l mut Loader<'_>) -> &'l mut KeepaliveSpec {
    &mut draft(loader).definition.keepalive
}

fn set_once<T>(place: &mut Option<T>, value: T) -> Result<(), Fault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("is duplicate".into()),
    }
}
