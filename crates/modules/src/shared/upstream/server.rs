//! `server ADDRESS PARAMETERS` of an `upstream` block.

use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_upstream::{Availability, Resolve, ServerSpec, Url};

use super::{Draft, draft};

/// The longest `route=`, which is how long a hash of an address is.
const LONGEST_ROUTE: usize = 32;

pub fn server(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if draft(loader).has_state {
        return Err("cannot be used along with \"state\"".into());
    }
    read_server(loader, directive)
}

pub(super) fn read_server(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<(), Fault> {
    let (address, parameters) = directive.args.split_first().ok_or("invalid value")?;
    let draft = draft(loader);
    let mut spec = ServerSpec::new(address.to_str_lossy(), Vec::new());
    spec.span = Some(address.span);
    let mut found = LookedUp::default();
    for parameter in parameters {
        read(&mut spec, &mut found, draft, parameter).map_err(|fault| fault.at(parameter.span))?;
    }
    let fault =
        |reason: &str| Fault::from(format!("{reason} in upstream \"{address}\"")).at(address.span);
    if found.service.is_some() && !found.resolve {
        return Err(about_service(address, "requires \"resolve\" parameter"));
    }
    let url = Url::parse_server(&address.text, Some(80)).map_err(fault)?;
    if found.service.is_some() && url.has_port {
        return Err(about_service(address, "may not have port"));
    }
    if found.service.is_some() && url.address.is_some() {
        return Err(about_service(address, "requires domain name"));
    }
    match url.address.is_none() && found.resolve {
        true => {
            let port = url.port.unwrap_or(80);
            spec.resolve = Some(Resolve { host: url.host, service: found.service, port });
        }
        false => spec.addresses = url.resolve().map_err(fault)?,
    }
    draft.definition.servers.push(spec);
    Ok(())
}

/// `resolve` and `service=`.
#[derive(Default)]
struct LookedUp {
    resolve: bool,
    service: Option<String>,
}

fn about_service(address: &conf::Word, complaint: &str) -> Fault {
    Fault::from(format!("service upstream \"{address}\" {complaint}")).at(address.span)
}

fn read(
    spec: &mut ServerSpec,
    found: &mut LookedUp,
    draft: &Draft,
    parameter: &conf::Word,
) -> Result<(), Fault> {
    let invalid = || Fault::from(format!("invalid parameter \"{parameter}\""));
    let unsupported =
        || format!("balancing method does not support parameter \"{parameter}\"").into();
    let text = &*parameter.text;
    let Some(equals) = text.iter().position(|byte| *byte == b'=') else {
        match text {
            b"backup" if draft.refuses_backups => return Err(unsupported()),
            b"backup" => spec.backup = true,
            b"down" => spec.availability = Availability::Down,
            b"resolve" => found.resolve = true,
            b"drain" => spec.availability = Availability::Draining,
            _ => return Err(invalid()),
        }
        return Ok(());
    };
    let (name, value) = (&text[..equals], &text[equals + 1..]);
    match name {
        b"weight" => {
            spec.weight = number(value).filter(|weight| *weight > 0).ok_or_else(invalid)?
        }
        b"max_conns" => spec.max_conns = number(value).ok_or_else(invalid)?,
        b"max_fails" => spec.max_fails = number(value).ok_or_else(invalid)?,
        b"fail_timeout" => spec.fail_timeout = units::seconds(value).ok_or_else(invalid)?,
        b"slow_start" if draft.refuses_backups => return Err(unsupported()),
        b"slow_start" => {
            let time = units::milliseconds(value).ok_or_else(invalid)?;
            spec.slow_start = Duration::from_millis(time);
        }
        b"service" if value.is_empty() => {
            return Err(Fault::from("service is empty".to_owned()));
        }
        b"service" => found.service = Some(String::from_utf8_lossy(value).into_owned()),
        b"route" => spec.route = Some(route(value)?),
        _ => return Err(invalid()),
    }
    Ok(())
}

fn number(text: &[u8]) -> Option<u32> {
    units::integer(text)?.try_into().ok()
}

fn route(text: &[u8]) -> Result<String, Fault> {
    match text.len() {
        0 => Err(Fault::from("route is empty".to_owned())),
        1..=LONGEST_ROUTE => Ok(String::from_utf8_lossy(text).into_owned()),
        _ => Err(Fault::from(format!("route is longer than {LONGEST_ROUTE}"))),
    }
}
