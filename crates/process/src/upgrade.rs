//! Binary upgrade: the same sockets under a new executable, and the way back.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use daemun_core::log;
use daemun_core::log::Log;
use daemun_core::settings::ProcessSettings;
use daemun_sys::packet::PacketSocket;
use daemun_sys::{process, socket};

use crate::handover::Channel;
use crate::listening::{Sockets, variable_for};
use crate::{environment, pid_file};

/// nginx's variable for sockets that pass over exec.
pub(crate) const SOCKETS: &str = "NGINX";
/// Ours, for the channel that parked connections pass through.
pub(crate) const CHANNEL: &str = "DAEMUN_HANDOVER";
/// Ours, for the descriptor that secrets can be read from, once.
pub(crate) const SECRETS: &str = "DAEMUN_SECRETS";

/// More secrets than these are no secrets of ours.
const MOST_SECRETS: usize = 64 * 1024;

/// The end of a socket that secrets wait in until the new binary takes them.
fn lay_up(secrets: &[u8]) -> io::Result<PacketSocket> {
    let (sender, receiver) = PacketSocket::pair()?;
    sender.send(secrets)?;
    Ok(receiver)
}

/// What the binary before has laid up, if there is something.
pub(crate) fn take_secrets() -> Option<Vec<u8>> {
    let variable = std::env::var(SECRETS).ok()?;
    let socket = PacketSocket::from(socket::adopt(variable.parse().ok()?)?);
    if !socket.is_of_this_kind() {
        return None;
    }
    let mut secrets = vec![0; MOST_SECRETS];
    let (length, _) = socket.receive(&mut secrets).ok()?;
    secrets.truncate(length);
    Some(secrets)
}

/// Executes the first argument with the rest, and returns the new master's number. The pid file is
/// renamed before, and back where that fails. What failed is logged.
pub(crate) fn execute(
    arguments: &[OsString],
    settings: &ProcessSettings,
    sockets: &Sockets,
    channel: Option<&Channel>,
    secrets: &[u8],
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
    // Without them clients make a handshake as with a stranger, and nothing else is lost.
    let secrets = (!secrets.is_empty()).then(|| lay_up(secrets).ok()).flatten();
    if let Some(secrets) = &secrets {
        let number = secrets.as_fd().as_raw_fd();
        variables.push((SECRETS.into(), number.to_string().into()));
        inherit.push(secrets.as_fd());
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
