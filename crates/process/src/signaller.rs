//! `-s stop|quit|reopen|reload`: a signal to the master whose number the pid file holds.

use std::path::Path;
use std::time::Duration;

use daemun_core::log;
use daemun_core::log::Log;
use daemun_sys::signals;

use crate::{control, pid_file};

/// What `-s` asks of the running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Stop,
    Quit,
    Reopen,
    Reload,
}

impl Request {
    pub fn from_name(name: &str) -> Option<Request> {
        Some(match name {
            "stop" => Request::Stop,
            "quit" => Request::Quit,
            "reopen" => Request::Reopen,
            "reload" => Request::Reload,
            _ => return None,
        })
    }

    fn signal(self) -> i32 {
        match self {
            Request::Stop => signals::SIGTERM,
            Request::Quit => signals::SIGQUIT,
            Request::Reopen => signals::SIGUSR1,
            Request::Reload => signals::SIGHUP,
        }
    }
}

/// How long a reload may take to come to something.
const RELOAD_LIMIT: Duration = Duration::from_secs(60);

/// The running master's number, or nginx's sentence where there is none.
pub fn master(pid_path: &Path) -> Result<i32, String> {
    pid_file::read(pid_path)
}

/// A pid file outlives a server that was killed, and its number goes to another program. What cannot be looked at is
/// taken for the server.
fn is_stranger(pid: i32) -> bool {
    let folder = Path::new("/proc").join(pid.to_string());
    let Ok(title) = std::fs::read(folder.join("cmdline")) else { return false };
    let title = String::from_utf8_lossy(&title).into_owned();
    let program = title.split(['\0', ' ', ':']).next().unwrap_or_default();
    let name = Path::new(program).file_name().unwrap_or_default();
    let is_named = ["nginx", "daemun", log::program()].iter().any(|known| name == *known);
    let is_same = || {
        let own = std::env::current_exe();
        own.is_ok_and(|own| std::fs::read_link(folder.join("exe")).is_ok_and(|exe| exe == own))
    };
    !(title.is_empty() || title.contains(": master process") || is_named || is_same())
}

/// Sends the request and returns the exit code. A reload is waited for, where the master can tell.
pub fn signal(request: Request, pid_path: &Path, log: &Log) -> i32 {
    log!(log, Notice, (), "signal process started");
    let pid = match pid_file::read(pid_path) {
        Ok(pid) => pid,
        Err(sentence) => {
            log!(log, Error, (), "{}", sentence);
            return 1;
        }
    };
    if is_stranger(pid) {
        let path = pid_path.display();
        log!(log, Error, (), "process {} of \"{}\" is no server: it gets no signal", pid, path);
        return 1;
    }
    if request == Request::Reload
        && let Some(outcome) = control::reload(pid, RELOAD_LIMIT)
    {
        return match outcome {
            Ok(()) => 0,
            Err(reason) => {
                log::write_stderr(format_args!("reload failed: {reason}"));
                1
            }
        };
    }
    let number = request.signal();
    if let Err(error) = signals::send(pid, number) {
        log!(log, Alert, (), "kill({}, {}) failed", pid, number; error);
        return 1;
    }
    0
}
