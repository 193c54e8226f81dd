//! `-s stop|quit|reopen|reload`: a signal to the master whose number the pid file holds.

use std::path::Path;
use std::time::Duration;

use daemun_core::log;
use daemun_core::log::Log;
use daemun_sys::signals;

use crate::control::{self, Reply};
use crate::pid_file;

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

/// The running master's number, or nginx's sentence where there is none. A number that has passed to
/// a process of another kind is none.
pub fn master(pid_path: &Path) -> Result<i32, String> {
    let pid = pid_file::read(pid_path)?;
    match servants::stranger(pid) {
        None => Ok(pid),
        Some(command) => Err(format!(
            "process {pid}, named in \"{}\", is not a master process but \"{}\"",
            pid_path.display(),
            control::printable(&command)
        )),
    }
}

/// Sends the request and returns the exit code. A reload is waited for, where the master can tell.
pub fn signal(request: Request, pid_path: &Path, log: &Log) -> i32 {
    log!(log, Notice, (), "signal process started");
    let pid = match master(pid_path) {
        Ok(pid) => pid,
        Err(sentence) => {
            log!(log, Error, (), "{}", sentence);
            return 1;
        }
    };
    if request == Request::Reload {
        match control::reload(pid, RELOAD_LIMIT) {
            Reply::Said(Ok(())) => return 0,
            Reply::Said(Err(reason)) => {
                log::write_stderr(format_args!("reload failed: {reason}"));
                return 1;
            }
            Reply::Stranger(sentence) => {
                log!(log, Warn, (), "{}: the signal alone is sent, not waited for", sentence);
            }
            Reply::Nobody => {}
        }
    }
    let number = request.signal();
    if let Err(error) = signals::send(pid, number) {
        log!(log, Alert, (), "kill({}, {}) failed", pid, number; error);
        return 1;
    }
    0
}

/// Telling a server from the process that has its number now.
mod servants {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    /// The command of a process that is certainly no master of nginx's or daemun's. Who is not there,
    /// or cannot be looked at, may be one.
    pub fn stranger(pid: i32) -> Option<String> {
        let folder = Path::new("/proc").join(pid.to_string());
        let command = fs::read(folder.join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(&command).replace('\0', " ");
        let text = text.trim_end();
        let title = text.split_once(" process").map_or("", |(title, _)| title);
        let is_titled = |kind: &str| title.ends_with(kind);
        let is_known = is_titled(": master")
            || (!is_titled(": worker") && (is_named(text) || executes_this(&folder)));
        (!is_known).then(|| text.chars().take(LONGEST).collect())
    }

    const LONGEST: usize = 80;

    /// Without a master process there is no title.
    fn is_named(command: &str) -> bool {
        let first = command.split(' ').next().unwrap_or_default();
        let name = first.rsplit('/').next().unwrap_or_default();
        name.contains("nginx") || name.contains("daemun")
    }

    fn executes_this(folder: &Path) -> bool {
        let file = |link: &Path| fs::metadata(link).map(|file| (file.dev(), file.ino())).ok();
        let own = file(Path::new("/proc/self/exe"));
        own.is_some() && own == file(&folder.join("exe"))
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::os::unix::process::CommandExt;
        use std::process::Command;

        fn verdict(name: &str) -> Option<String> {
            let mut sleep = Command::new("/bin/sleep").arg0(name).arg("60").spawn().unwrap();
            // Until it executes, it is this program.
            let pid = sleep.id() as i32;
            let path = format!("/proc/{pid}/cmdline");
            while !fs::read(&path).unwrap().starts_with(name.as_bytes()) {
                std::thread::yield_now();
            }
            let verdict = stranger(pid);
            sleep.kill().unwrap();
            sleep.wait().unwrap();
            verdict
        }

        #[test]
        fn only_masters_are_taken_for_masters() {
            for name in [
                "nginx: master process /usr/sbin/nginx",
                "daemun: master process daemun -c x",
                "/usr/sbin/nginx",
                "target/debug/daemun",
                "nginx-debug",
            ] {
                assert_eq!(verdict(name), None, "{name}");
            }
            for name in ["sleep", "vim", "nginx: worker process", "/opt/nginx/bin/tool"] {
                assert_eq!(verdict(name), Some(format!("{name} 60")), "{name}");
            }
            assert_eq!(stranger(i32::MAX - 7), None, "nobody is no stranger");
        }
    }
}
