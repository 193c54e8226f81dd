//! A worker process: the engine that `mpm` names over HTTP, with what a generation's configuration says about both.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use daemun_core::connection::{Connection, Reason, Wait};
use daemun_core::log;
use daemun_core::log::Log;
use daemun_core::settings::{Mpm, ProcessSettings};
use daemun_event::{Reactor, backends};
use daemun_http::config::HttpConfig;
use daemun_http::core::{client, connection};
use daemun_http::file_cache;
use daemun_http::h1::Http;
use daemun_http::h2;
use daemun_http::tls;
use daemun_http::upstream::{self, cache};
use daemun_modules::http::{health_check, log as access_log};
use daemun_process::engines::{Crew, Engine, Limits, Local, Parts, Report, Runner, Threads};
use daemun_process::serve::{Life, serve};
use daemun_process::{Cycle, WorkerContext};
use daemun_sys::allocator;
use daemun_upstream::Caretaker;

use crate::notices;
use crate::program::Configuration;

/// Serves until ordered to end; returns the exit code.
pub fn run(cycle: &Cycle<Configuration>, context: WorkerContext) -> i32 {
    // Without ballast the first small allocation that fails ends the process, as it would anywhere.
    allocator::arm();
    let reactor = match notices::open_reactor(event_method(&cycle.settings), &cycle.log) {
        Ok(reactor) => reactor,
        Err(error) => {
            log!(cycle.log, Emerg, (), "{}", error);
            return daemun_process::FATAL;
        }
    };
    let method = backends::NAMES.iter().position(|name| *name == daemun_event::method());
    context.counters.set_method(method.unwrap_or_default() as u8);
    // A worker serves one generation for its whole life, so that requests may borrow from it freely.
    let config: &'static HttpConfig = Box::leak(Box::new(Arc::clone(&cycle.configuration.http)));
    cache::index::serve_as(context.counters.owner());
    let closing = Arc::<AtomicBool>::default();
    let me = Caretaker::new(Arc::clone(&closing));
    config.upstreams.maintain(&me);
    health_check::maintain(config, &me);
    let worker = Worker {
        cycle,
        context,
        reactor,
        config,
        closing,
        report: notices::reporter(cycle.log.clone()),
    };
    match cycle.settings.mpm.mpm {
        Mpm::Native => worker.run_alone(),
        Mpm::Prefork => {
            file_cache::share_out(cycle.settings.mpm.most_children);
            worker.run_alone()
        }
        Mpm::Worker | Mpm::Event => {
            file_cache::share_out(cycle.settings.mpm.threads_per_child);
            worker.run_with_threads()
        }
    }
}

struct Worker<'c> {
    cycle: &'c Cycle<Configuration>,
    context: WorkerContext,
    reactor: Reactor,
    config: &'static HttpConfig,
    closing: Arc<AtomicBool>,
    report: Report,
}

impl Worker<'_> {
    fn run_alone(self) -> i32 {
        let counters = self.context.counters.clone();
        let http = Rc::new(Http::new(self.config, counters, Arc::clone(&self.closing), false));
        let runner = Local::new(Rc::clone(&http));
        self.serve(http, Ok(runner))
    }

    fn run_with_threads(self) -> i32 {
        allocator::share_arena();
        let mpm = &self.cycle.settings.mpm;
        let drains = mpm.mpm == Mpm::Event;
        let (config, closing) = (self.config, Arc::clone(&self.closing));
        let crew = Crew {
            threads: mpm.threads_per_child,
            stack: mpm.thread_stack_size,
            method: event_method(&self.cycle.settings).to_owned(),
            keeps: mpm.mpm == Mpm::Worker,
            factor: mpm.async_request_worker_factor,
            make: Arc::new(move |counters| {
                Rc::new(Http::new(config, counters, Arc::clone(&closing), drains))
            }),
            counters: self.context.counters.clone(),
            report: Arc::clone(&self.report),
        };
        let http = (crew.make)(self.context.counters.clone());
        let runner = Threads::start(&crew, Rc::clone(&http));
        self.serve(http, runner)
    }

    fn serve<R: Runner<Http>>(self, http: Rc<Http>, runner: io::Result<R>) -> i32 {
        let Worker { cycle, context, reactor, config, closing, report } = self;
        let parts = Parts {
            protocol: http,
            sockets: context.sockets(),
            limits: limits_of(&cycle.settings, cycle.listen.len()),
            counters: context.counters.clone(),
            report,
        };
        let engine = match runner.and_then(|runner| Engine::new(&reactor, parts, runner)) {
            Ok(engine) => engine,
            Err(error) => {
                log!(cycle.log, Emerg, (), "the worker could not start"; error);
                return daemun_process::FATAL;
            }
        };
        tls::rehearse(config);
        let files = Arc::clone(&cycle.files);
        let life = Life {
            engine,
            wait: Box::new(move |connection| wait_of(config, connection)),
            flush: access_log::flush,
            reopen: Arc::new(move || files.reopen(None, &Log::current())),
            release_relays: || {
                upstream::release_relays();
                h2::take_leave();
            },
            closing,
            shutdown_timeout: cycle.settings.worker_shutdown_timeout,
            max_connections: cycle.settings.mpm.max_connections_per_child,
            log: cycle.log.clone(),
        };
        serve(reactor, life, context)
    }
}

/// How workers learn about events. What is received ahead cannot be passed to another thread, so threads are told of
/// readiness; and a process with one connection at a time is not worth a ring, unless one is asked for.
pub fn event_method(settings: &ProcessSettings) -> &str {
    let named = settings.events.method.as_deref();
    match settings.mpm.mpm {
        Mpm::Native => named.unwrap_or(backends::NAMES[0]),
        Mpm::Prefork => named.unwrap_or(backends::READINESS),
        Mpm::Worker | Mpm::Event => {
            named.filter(|method| *method != "io_uring").unwrap_or(backends::READINESS)
        }
    }
}

/// As in nginx, listening sockets and the channel to the master count among the connections.
fn limits_of(settings: &ProcessSettings, listening: usize) -> Limits {
    let most = settings.events.worker_connections.saturating_sub(listening + 1).max(1);
    let mpm = &settings.mpm;
    let (connections, sheds) = match mpm.mpm {
        Mpm::Native | Mpm::Event => (most, true),
        Mpm::Worker => (most.min(mpm.threads_per_child), false),
        Mpm::Prefork => (1, false),
    };
    Limits { connections, multi_accept: settings.events.multi_accept, sheds }
}

/// How long a connection from another generation may wait.
fn wait_of(config: &'static HttpConfig, connection: &Connection) -> Wait {
    let settings = config.default_server(connection).settings();
    let until = connection.partial().and_then(|partial| partial.until);
    match (until, connection.waited) {
        (Some(until), Reason::Head) => Wait::head(until),
        (_, Reason::FirstByte) => Wait::first_byte(*settings.of(&client::SETTINGS).header_timeout),
        (_, reason) => Wait {
            reason,
            ..Wait::keep_alive(*settings.of(&connection::SETTINGS).keepalive_timeout)
        },
    }
}
