//! Binary upgrade: the same sockets under a new executable, and the way back.

use std::ffi::OsString;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;

use daemun_core::log;
use daemun_core::log::Log;
use daemun_core::settings::ProcessSettings;
use daemun_sys::process;

use crate::handover::Channel;
use crate::listening::{Sockets, variable_for};
use crate::{environment, pid_file};

/// nginx's variable for sockets that pass over exec.
pub(crate) const SOCKETS: &str = "NGINX";
/// Ours, for the channel that parked connections pass through.
pub(crate) const CHANNEL: &str = "DAEMUN_HANDOVER";

/// Executes the first argument with the rest, and returns the new master's number. The pid file is
/// renamed before, and back where that fails. What failed is logged.
pub(crate) fn execute(
    arguments: &[OsString],
    settings: &ProcessSettings,
    sockets: &Sockets,
    channel: Option<&Channel>,
    log: &Log,
) -> Option<i32> {
    let path = arguments.first()?;
    let mut inherit = sockets.descriptors();
    let mut variables = environment::variables(settings);
    variables.push((SOCKETS.into(), variable_for(&inherit).into()));
    if let Some(channel) = channel {
        variables.push((CHANNEL.into(), channel.variable().into()));
        inherit.extend(channel.descriptors());
    }
    let old = pid_file::old_binary(&settings.pid);
    let shown = path.display();
    if let Err(error) = fs::rename(&settings.pid, &old) {
        let (from, to) = (settings.pid.display(), old.display());
        log!(
            log,
            Alert,
            (),
            "rename() {} to {} failed before executing new binary process \"{}\"",
            from,
            to,
            shown;
            error
        );
        return None;
    }
    match process::execute(path, arguments, &pairs(variables), &inherit as &[BorrowedFd<'_>]) {
        Ok(pid) => {
            log!(log, Notice, (), "start new binary process {}", pid);
            Some(pid)
        }
        Err(error) => {
            log!(log, Alert, (), "execve() failed while executing new binary process \"{}\"", shown; error);
            rename_back(&settings.pid, path, log);
            None
        }
    }
}

/// Gives the pid file its name back: there is one binary again.
pub(crate) fn rename_back(pid_path: &Path, binary: &OsString, log: &Log) {
    let old = pid_file::old_binary(pid_path);
    if let Err(error) = fs::rename(&old, pid_path) {
        let (from, to, binary) = (old.display(), pid_path.display(), binary.display());
        log!(
            log,
            Alert,
            (),
            "rename() {} back to {} failed after the new binary process \"{}\" exited",
            from,
            to,
            binary;
            error
        );
    }
}

fn pairs(variables: Vec<(OsString, OsString)>) -> Vec<OsString> {
    let joined = variables.into_iter().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    });
    joined.collect()
}
