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
        Notice::Panicked(payload) => {
            log!(log, Alert, (), "a request panicked: {}", text_of(&*payload));
        }
    })
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> &str {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => text,
        None => payload
            .downcast_ref::<String>()
            .map_or("without a message", String::as_str),
    }
}
