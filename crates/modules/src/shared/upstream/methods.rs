//! `least_conn`, `least_time`, `ip_hash`, `hash` and `random` of an `upstream` block.

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::values;
use daemun_upstream::{Better, LeastTime, Method, Until};

use super::draft;

pub fn least_conn(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    choose(loader, directive, Method::LeastConn);
    Ok(())
}

pub fn least_time(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let inflight = match &directive.args[1..] {
        [] => false,
        [word, ..] if word == "inflight" => true,
        [word, ..] => return Err(invalid(word)),
    };
    let until = values::choice(directive, &UNTIL)?;
    choose(loader, directive, Method::LeastTime(LeastTime { until, inflight }));
    Ok(())
}

pub fn ip_hash(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    choose(loader, directive, Method::IpHash);
    Ok(())
}

pub fn hash(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let key = loader.script(&directive.args[0])?;
    let consistent = match &directive.args[1..] {
        [] => false,
        [word, ..] if word == "consistent" => true,
        [word, ..] => return Err(invalid(word)),
    };
    choose(loader, directive, Method::Hash { key, consistent });
    Ok(())
}

pub fn random(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let two = match &*directive.args {
        [] => None,
        [word, ..] if word != "two" => return Err(invalid(word)),
        [_, word, ..] => Some(better(word).ok_or_else(|| invalid(word))?),
        [_] => Some(Better::LeastConn),
    };
    choose(loader, directive, Method::Random { two });
    Ok(())
}

const UNTIL: [(&str, Until); 2] = [("header", Until::Header), ("last_byte", Until::LastByte)];

fn better(word: &conf::Word) -> Option<Better> {
    match &*word.text {
        b"least_conn" => Some(Better::LeastConn),
        b"least_time=header" => Some(Better::LeastTime(Until::Header)),
        b"least_time=last_byte" => Some(Better::LeastTime(Until::LastByte)),
        _ => None,
    }
}

fn choose(loader: &mut Loader<'_>, directive: &conf::Directive, method: Method) {
    let definition = &mut draft(loader).definition;
    // a method takes the place of whatever stands above it
    let is_second = definition.method.is_some() | definition.sticky.take().is_some();
    if is_second {
        loader.warn(directive.name.span, "load balancing method redefined".to_owned());
    }
    let draft = draft(loader);
    draft.refuses_backups = !method.has_backups();
    draft.definition.method = Some(method);
}

fn invalid(word: &conf::Word) -> Fault {
    Fault::from(format!("invalid parameter \"{word}\"")).at(word.span)
}
