//! `access_log` and `log_format`: a line for each request.
//!
//! ```nginx
//! log_format timed '$remote_addr "$request" $status $request_time';
//! access_log logs/access.log timed buffer=64k flush=5s;
//! access_log logs/$host.log combined if=$is_interesting;
//! access_log syslog:server=127.0.0.1 combined;
//! open_log_file_cache max=100 inactive=20s valid=1m min_uses=2;
//! ```
//!
//! Lines are collected while a turn of the event loop lasts, and written by one write(2) a file at its end.

mod directives;
mod format;
mod paths;
mod pending;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use daemun_core::load::Block;
use daemun_core::log::{OpenFiles, Syslog};
use daemun_core::module::{Contexts, Module, SettingsKey, SettingsSet};
use daemun_core::script::Script;
use daemun_core::{directives, log, set, settings};
use daemun_http::files;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::{Request, Text};

use format::Format;
use paths::FileCache;
use pending::LogFile;

pub use pending::flush;

/// One `access_log`.
struct AccessLog {
    target: Target,
    format: Arc<Format>,
    /// `if=`: a line is written unless this is empty or 0.
    condition: Option<Script>,
}

enum Target {
    File(Arc<LogFile>),
    /// A path with variables.
    Path(Script),
    Syslog(Syslog),
}

/// The logs of a block.
#[derive(Clone, Default)]
struct Logs {
    is_off: bool,
    list: Vec<Arc<AccessLog>>,
}

settings! {
    pub struct Settings {
        logs: Logs = Logs::default(),
        file_cache: Option<FileCache> = None,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_log_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "log_format" in HTTP, AtLeast(2), "", Action::Set(directives::log_format),
                "Names a format of lines, with escape=default, json or none for the values in it.";
            "access_log" in HTTP_TO_IF | LIMIT_EXCEPT, AtLeast(1), "logs/access.log combined",
                Action::Set(directives::access_log),
                "Where a line for each request goes, in which format and under which condition.";
            "open_log_file_cache" in HTTP_SERVER_LOCATION, Between(1, 4), "off",
                set!(SETTINGS.file_cache, directives::open_log_file_cache),
                "How many logs with variables in their paths stay open.";
        },
    },
    handlers: &[PhaseHandler { phase: Phase::Log, applies, handler: Handler::Now(write) }],
    ..HttpModule::EMPTY
};

/// Gives the `http` block its default log, where a server has none of its own; `http` is the block as it was read,
/// before settings were inherited.
pub fn add_default_log(http: &mut Block, files: &OpenFiles, path: &Path) {
    let has_logs = |block: &Block| block.settings.of(&SETTINGS).logs.is_set();
    let servers = http.children.iter().filter(|block| block.context == Contexts::SERVER);
    if has_logs(http) || servers.into_iter().all(has_logs) {
        return;
    }
    let log = AccessLog {
        target: Target::File(Arc::new(LogFile::new(files.register(path)))),
        format: Arc::new(Format::combined()),
        condition: None,
    };
    let settings = http.settings.of_mut(&SETTINGS);
    settings.logs.modify().list.push(Arc::new(log));
}

fn applies(settings: &SettingsSet) -> bool {
    let logs = &settings.of(&SETTINGS).logs;
    !logs.is_off && !logs.list.is_empty()
}

fn write(request: &mut Request) -> Step {
    for log in &request.settings(&SETTINGS).logs.list {
        if log.condition.as_ref().is_none_or(|condition| holds(request, condition)) {
            write_to(request, log);
        }
    }
    Step::Declined
}

thread_local! {
    /// Values that are looked at and not kept.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn with_scratch<R>(use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        use_it(scratch)
    })
}

fn holds(request: &mut Request, condition: &Script) -> bool {
    with_scratch(|value| {
        condition.append(request, value);
        !matches!(&**value, b"" | b"0")
    })
}

fn write_to(request: &mut Request, log: &AccessLog) {
    match &log.target {
        Target::File(file) => pending::append(file, |line| log.format.append(request, line)),
        Target::Syslog(server) => with_scratch(|line| {
            log.format.append(request, line);
            server.send_plain(line);
        }),
        Target::Path(path) => with_scratch(|name| {
            path.append(request, name);
            write_to_path(request, log, name);
        }),
    }
}

fn write_to_path(request: &mut Request, log: &AccessLog, path: &[u8]) {
    if !request.root_tested && !root_exists(request) {
        return;
    }
    let cache = *request.settings(&SETTINGS).file_cache;
    let result = pending::append_to_path(path, cache, |line| log.format.append(request, line));
    if let Err(error) = result {
        log!(request.log(), Crit, *request, "open() \"{}\" failed", Text(path); error);
    }
}

/// Nobody makes logs appear by asking for hosts that are not served: the folder of the site has to exist.
fn root_exists(request: &mut Request) -> bool {
    let mut path = Vec::new();
    let length = files::map_uri(request, &mut path);
    path.truncate(length);
    match files::test_folder(request, &path) {
        Ok(()) => true,
        Err(error) => {
            log!(request.log(), Error, *request, "testing \"{}\" existence failed", Text(&path); error);
            false
        }
    }
}
