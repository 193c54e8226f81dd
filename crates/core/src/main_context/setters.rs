//! What the main context's directives say.

use std::time::Duration;

use daemun_conf as conf;
use daemun_sys::{credentials, identity, limits};

use super::SETTINGS;
use crate::load::{Fault, Loader};
use crate::log::Errno;
use crate::settings::{CpuAffinity, Identity};
use crate::values;

pub(super) fn worker_processes(directive: &conf::Directive) -> Result<usize, Fault> {
    let word = &directive.args[0];
    if word == "auto" {
        return Ok(limits::processors());
    }
    values::integer(directive).map_err(|_| Fault::from("invalid value").at(word.span))
}

pub(super) fn worker_cpu_affinity(directive: &conf::Directive) -> Result<CpuAffinity, Fault> {
    if directive.args[0] != "auto" {
        let masks: Result<_, _> = directive.args.iter().map(cpu_mask).collect();
        return masks.map(CpuAffinity::Masks);
    }
    match &directive.args[1..] {
        [] => Ok(CpuAffinity::Auto(Vec::new())),
        [mask] => match cpu_mask(mask)? {
            cpus if cpus.is_empty() => Ok(CpuAffinity::Unset),
            cpus => Ok(CpuAffinity::Auto(cpus)),
        },
        _ => {
            let sentence = "invalid number of arguments in \"worker_cpu_affinity\" directive";
            Err(sentence.to_owned().into())
        }
    }
}

/// `0101` names the processors 0 and 2: the last digit is processor 0.
fn cpu_mask(word: &conf::Word) -> Result<Vec<usize>, Fault> {
    if word.text.len() > limits::CPU_LIMIT {
        let sentence =
            format!("\"worker_cpu_affinity\" supports up to {} CPUs only", limits::CPU_LIMIT);
        return Err(Fault::from(sentence).at(word.span));
    }
    let digits = word.text.iter().rev().filter(|byte| **byte != b' ');
    let mut cpus = Vec::new();
    for (cpu, digit) in digits.enumerate() {
        match digit {
            b'0' => {}
            b'1' => cpus.push(cpu),
            other => {
                let other = char::from(*other);
                let sentence = format!("invalid character \"{other}\" in \"worker_cpu_affinity\"");
                return Err(Fault::from(sentence).at(word.span));
            }
        }
    }
    Ok(cpus)
}

pub(super) fn worker_priority(directive: &conf::Directive) -> Result<i32, Fault> {
    let word = &directive.args[0];
    let (sign, digits) = match &*word.text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    conf::units::integer(digits)
        .and_then(|number| i32::try_from(number).ok())
        .map(|number| sign * number)
        .ok_or_else(|| Fault::from("invalid number").at(word.span))
}

/// 0 is no limit, as nginx has it.
pub(super) fn shutdown_timeout(directive: &conf::Directive) -> Result<Option<Duration>, Fault> {
    let timeout = values::milliseconds(directive)?;
    Ok(Some(timeout).filter(|timeout| !timeout.is_zero()))
}

pub(super) fn user(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if identity::effective_uid() != 0 {
        let message = "the \"user\" directive makes sense only if the master process runs with \
                       super-user privileges, ignored";
        loader.warn(directive.name.span, message.to_owned());
        return Ok(());
    }
    let name = values::text(directive)?;
    let group = directive.args.last().expect("one argument at least");
    let identity = look_up(&name, &group.to_str_lossy())?;
    let settings = loader.settings(&SETTINGS);
    settings.user.set(Some(identity))?;
    Ok(())
}

/// The error is nginx's sentence, with the system's reason where it gave one.
pub(super) fn look_up(user: &str, group: &str) -> Result<Identity, String> {
    let failed = |call: &str, name: &str, error: Option<&std::io::Error>| match error {
        Some(error) => format!("{call}(\"{name}\") failed{}", Errno(error)),
        None => format!("{call}(\"{name}\") failed"),
    };
    let (uid, _) = match credentials::user(user) {
        Ok(Some(found)) => found,
        Ok(None) => return Err(failed("getpwnam", user, None)),
        Err(error) => return Err(failed("getpwnam", user, Some(&error))),
    };
    let gid = match credentials::group(group) {
        Ok(Some(found)) => found,
        Ok(None) => return Err(failed("getgrnam", group, None)),
        Err(error) => return Err(failed("getgrnam", group, Some(&error))),
    };
    Ok(Identity { name: user.to_owned(), uid, gid })
}

pub(super) fn pid(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let path = loader.paths.in_prefix(values::text(directive)?);
    loader.settings(&SETTINGS).pid.set(Some(path))?;
    Ok(())
}

pub(super) fn env(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let text = values::text(directive)?;
    let variable = match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text, None),
    };
    let settings = loader.settings(&SETTINGS);
    settings.environment.0.push(variable);
    Ok(())
}

pub(super) fn load_module(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<(), Fault> {
    if !loader.block().children.is_empty() {
        return Err("is specified too late".into());
    }
    let path = loader.paths.in_prefix(values::text(directive)?);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let name = file.strip_prefix("ngx_").and_then(|file| file.strip_suffix(".so"));
    if name.is_some_and(|name| loader.has_module(name)) {
        return Ok(());
    }
    let exists = path.exists();
    let path = path.display();
    let reason = match exists {
        true => "daemun loads no modules",
        false => "cannot open shared object file: No such file or directory",
    };
    let help = match name {
        Some(name) => {
            format!("daemun has no module {name}, and loads none: its modules are built in")
        }
        None => "daemun loads no modules: its own are built in".to_owned(),
    };
    Err(Fault::from(format!("dlopen() \"{path}\" failed ({path}: {reason})")).help(help))
}
