//! What an engine has to say, in nginx's words.

use daemun_core::log;
use daemun_core::log::Log;
use daemun_process::engines::{Notice, Report};

/// Sends notices to the log.
pub fn reporter(log: Log) -> Report {
    Box::new(move |notice| match notice {
        Notice::ConnectionsExhausted { limit } => {
            log!(
                log,
                Warn,
                (),
                "{} worker_connections are not enough, reusing connections",
                limit
            );
        }
        Notice::AcceptFailed { error, .. } => log!(log, Crit, (), "accept4() failed"; error),
        Notice::WatchFailed { error } => log!(log, Alert, (), "epoll_ctl() failed"; error),
        Notice::Panicked(_) => log!(log, Alert, (), "a connection was closed by a panic"),
    })
}

/// Has panics say in the error log where they happened.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("without a message");
        log!(Log::current(), Alert, (), "panic at {}: {}", place, text);
    }));
}
