//! A worker: the native engine over HTTP, with what a generation's configuration says about both.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use daemun_core::connection::{Connection, Reason, Wait};
use daemun_core::log;
use daemun_core::log::Log;
use daemun_event::Reactor;
use daemun_http::config::HttpConfig;
use daemun_http::core::{client, connection};
use daemun_http::h1::Http;
use daemun_modules::http::log as access_log;
use daemun_process::engines::native::{Engine, Limits};
use daemun_process::serve::{Life, serve};
use daemun_process::{Cycle, WorkerContext};

use crate::notices;
use crate::program::Configuration;

/// Serves until ordered to end; returns the exit code.
pub fn run(cycle: &Cycle<Configuration>, context: WorkerContext) -> i32 {
    let log = cycle.log.clone();
    let events = &cycle.settings.events;
    let reactor = match Reactor::open(events.method.as_deref()) {
        Ok(reactor) => reactor,
        Err(error) => {
            log!(log, Emerg, (), "{}", error);
            return daemun_process::FATAL;
        }
    };
    // A worker serves one generation for its whole life, so that requests may borrow from it freely.
    let config: &'static HttpConfig = Box::leak(Box::new(Arc::clone(&cycle.configuration.http)));
    let closing = Rc::new(Cell::new(false));
    let http = Rc::new(Http::new(config, context.counters.clone(), Rc::clone(&closing), false));
    let limits = Limits {
        // As in nginx, listening sockets and the channel to the master count among the connections.
        connections: events.worker_connections.saturating_sub(cycle.listen.len() + 1).max(1),
        multi_accept: events.multi_accept,
    };
    let report = notices::reporter(log.clone());
    let engine =
        Engine::new(&reactor, http, context.sockets(), limits, context.counters.clone(), report);
    let engine = match engine {
        Ok(engine) => engine,
        Err(error) => {
            log!(log, Emerg, (), "listening failed"; error);
            return daemun_process::FATAL;
        }
    };
    let files = Arc::clone(&cycle.files);
    let life = Life {
        engine,
        connections: limits.connections,
        wait: Box::new(move |connection| wait_of(config, connection)),
        reopen: Box::new(move || {
            access_log::flush();
            files.reopen(None, &Log::current());
        }),
        closing,
        shutdown_timeout: cycle.settings.worker_shutdown_timeout,
        log,
    };
    serve(reactor, life, context)
}

/// How long a connection from another generation may wait.
fn wait_of(config: &'static HttpConfig, connection: &Connection) -> Wait {
    let settings = config.default_server(connection).settings();
    let until = connection.partial.as_ref().and_then(|partial| partial.until);
    match (until, connection.waited) {
        (Some(until), Reason::Head) => Wait::head(until),
        (_, Reason::FirstByte) => Wait::first_byte(*settings.of(&client::SETTINGS).header_timeout),
        (_, reason) => Wait {
            reason,
            ..Wait::keep_alive(*settings.of(&connection::SETTINGS).keepalive_timeout)
        },
    }
}
