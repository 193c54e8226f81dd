//! What the server has to say of itself and its engines, in nginx's words.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use daemun_core::log;
use daemun_core::log::Log;
use daemun_event::Reactor;
use daemun_event::backends::{self, OpenError};
use daemun_process::engines::{Notice, Report};
use daemun_sys::identity;
use daemun_sys::limits::{self, Resource};

use crate::identity::Identity;

/// The event method of a configuration that is about to be in force.
pub fn log_method(method: &str, log: &Log) {
    let (used, reason) = usable(method);
    if let Some(reason) = reason {
        log_fallback(method, &reason, log);
    }
    log!(log, Notice, (), "using the \"{}\" event method", used);
}

/// The same for whoever looks at a configuration.
pub fn tell_method(method: &str) {
    let (used, reason) = usable(method);
    let why = reason.map(|reason| format!(": \"{method}\" is not available here ({reason})"));
    let why = why.unwrap_or_default();
    log::write_stderr(format_args!("[notice] workers use the \"{used}\" event method{why}"));
}

/// What workers use where the method is asked for, and why it is another one.
fn usable(method: &str) -> (&str, Option<String>) {
    match backends::probe(method) {
        Err(OpenError::Unsupported { reason }) => (backends::READINESS, Some(reason)),
        _ => (method, None),
    }
}

/// The thread's reactor with this method, or with the best one that works here.
pub fn open_reactor(method: &str, log: &Log) -> Result<Reactor, OpenError> {
    match Reactor::open(Some(method)) {
        Err(OpenError::Unsupported { reason }) => {
            log_fallback(method, &reason, log);
            Reactor::open(None)
        }
        opened => opened,
    }
}

fn log_fallback(wanted: &str, reason: &str, log: &Log) {
    let method = backends::READINESS;
    log!(
        log,
        Notice,
        (),
        "\"{}\" is not available here ({}), using \"{}\"",
        wanted,
        reason,
        method
    );
}

/// What starts, and on what: once, when the server starts.
pub fn log_start(server: &str, log: &Log) {
    log!(log, Notice, (), "{}", server);
    if let Ok((name, release)) = identity::system() {
        log!(log, Notice, (), "OS: {} {}", name, release);
    }
    if let Ok((soft, hard)) = limits::limit(Resource::Descriptors) {
        // nginx shows no limit as -1.
        let (soft, hard) = (soft.cast_signed(), hard.cast_signed());
        log!(log, Notice, (), "getrlimit(RLIMIT_NOFILE): {}:{}", soft, hard);
    }
}

/// Says that nothing is logged, where there is no folder for it and the configuration names no other place.
pub fn tell_of_missing_logs(identity: &Identity) {
    if let Some(folder) = Path::new(identity.error_log).parent() {
        let folder = folder.display();
        log::write_stderr(format_args!(
            "[warn] there is no folder \"{folder}\": errors go to the standard error, and requests are logged only \
             where access_log says so"
        ));
    }
}

/// Sends notices to the log.
pub fn reporter(log: Log) -> Report {
    Arc::new(move |notice| match notice {
        Notice::ConnectionsExhausted { limit } => {
            log!(log, Warn, (), "{} worker_connections are not enough, reusing connections", limit);
        }
        Notice::MemoryLow { closed } => {
            log!(log, Alert, (), "memory ran out, {} idle connections were closed", closed);
        }
        Notice::DescriptorsScarce { limit } => {
            log!(
                log,
                Error,
                (),
                "nearly all of {} open files are in use (worker_rlimit_nofile), reusing connections",
                limit
            );
        }
        Notice::AcceptFailed { error, .. } if error.kind() == ErrorKind::ConnectionAborted => {
            log!(log, Error, (), "accept4() failed"; error);
        }
        Notice::AcceptFailed { error, .. } => log!(log, Crit, (), "accept4() failed"; error),
        Notice::WatchFailed { error } if error.raw_os_error().is_none() => {
            log!(log, Error, (), "{}", error);
        }
        Notice::WatchFailed { error } => {
            log!(log, Alert, (), "{}() failed", watching_call(daemun_event::method()); error);
        }
        Notice::ThreadsMissing { wanted, running, error } => {
            log!(log, Alert, (), "only {} of {} threads could be started", running, wanted; error);
        }
        Notice::Panicked(_) => log!(log, Alert, (), "a connection was closed by a panic"),
    })
}

/// The system call by which a method begins to watch a descriptor, where it has one of its own.
fn watching_call(method: &str) -> &str {
    match method {
        "epoll" => "epoll_ctl",
        "kqueue" => "kevent",
        "io_uring" => "io_uring_enter",
        method => method,
    }
}

/// Has panics say in the error log where they happened.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("without a message");
        log!(Log::current(), Alert, (), "panic at {}: {}", place, text);
    }));
}
