//! The smallest server that shows everything the processes do: it answers each line with its text
//! and process number, keeps connections open, and hands them over.
//!
//! Its configuration is one `name value` a line: `listen ADDRESS [reuseport]`, `workers N`, `text
//! WORD`, `daemon off`, `master_process off`, `user NAME`, `nofile N`, `priority N`,
//! `shutdown_timeout MILLISECONDS`, `max_connections N`, `dies` (workers end before they serve).

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use daemun_core::connection::{Connection, Outcome, Partial, Protocol, Wait};
use daemun_core::listen::ListenSpec;
use daemun_core::log::{self, Level, Log, OpenFiles, Target, Threshold};
use daemun_core::settings::{Identity, ProcessSettings};
use daemun_event::{Deadline, Reactor};
use daemun_process::engines::{Engine, Limits, Local, Notice, Parts};
use daemun_process::serve::Life;
use daemun_process::{Cycle, Program, WorkerContext};
use daemun_sys::credentials;

/// `toy FOLDER`: serves what `FOLDER/toy.conf` says, and returns the exit code.
pub fn run(arguments: Vec<std::ffi::OsString>) -> i32 {
    log::name_program("toy");
    Log::stderr(Level::Notice).make_current();
    let folder = PathBuf::from(arguments.last().expect("a folder"));
    daemun_process::run(&Toy { folder }, arguments)
}

struct Toy {
    folder: PathBuf,
}

#[derive(Default)]
struct Answers {
    text: String,
    dies: bool,
}

impl Program for Toy {
    type Configuration = Answers;

    fn load(&self) -> Result<Cycle<Answers>, String> {
        let text =
            fs::read_to_string(self.folder.join("toy.conf")).map_err(|error| error.to_string())?;
        let mut settings =
            ProcessSettings { pid: self.folder.join("toy.pid"), ..ProcessSettings::default() };
        let mut listen = Vec::new();
        let mut configuration = Answers::default();
        for line in text.lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["listen", address] => listen.push(ListenSpec::new(address.parse().unwrap())),
                ["listen", address, "reuseport"] => {
                    listen.push(ListenSpec {
                        reuseport: true,
                        ..ListenSpec::new(address.parse().unwrap())
                    });
                }
                ["workers", count] => settings.worker_processes = count.parse().unwrap(),
                ["text", word] => configuration.text = word.to_owned(),
                ["daemon", "off"] => settings.daemon = false,
                ["master_process", "off"] => settings.master_process = false,
                ["user", name] => {
                    let (uid, gid) = credentials::user(name).unwrap().expect("a user");
                    settings.user = Some(Identity { name: name.to_owned(), uid, gid });
                }
                ["nofile", count] => settings.worker_rlimit_nofile = count.parse().ok(),
                ["priority", nice] => settings.worker_priority = nice.parse().unwrap(),
                ["shutdown_timeout", millis] => {
                    settings.worker_shutdown_timeout =
                        millis.parse().ok().map(Duration::from_millis);
                }
                ["max_connections", count] => {
                    settings.mpm.max_connections_per_child = count.parse().unwrap();
                }
                ["dies"] => configuration.dies = true,
                _ => return Err(format!("unknown directive \"{line}\"")),
            }
        }
        let files = Arc::new(OpenFiles::default());
        let file = Target::File(files.register(&self.folder.join("toy.log")));
        let log = Log::new(vec![(file, Threshold::of(Level::Info))]);
        Ok(Cycle { settings, listen, log, files, configuration })
    }

    fn work(&self, cycle: &Cycle<Answers>, context: WorkerContext) -> i32 {
        if cycle.configuration.dies {
            return 1;
        }
        serve(cycle, context)
    }
}

/// Answers each line.
struct Lines {
    text: String,
    closing: Arc<AtomicBool>,
}

impl Protocol for Lines {
    type Rest = Infallible;

    async fn finish(self: Rc<Self>, rest: Infallible) -> Outcome<Infallible> {
        match rest {}
    }

    async fn serve(self: Rc<Self>, mut connection: Connection) -> Outcome<Infallible> {
        let mut bytes = [0; 512];
        loop {
            match connection.stream.try_recv(&mut bytes) {
                Ok(0) => return Outcome::Close(connection),
                Ok(length) => self.answer(&mut connection, &bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Outcome::Close(connection),
            }
        }
        if self.closing.load(Ordering::Relaxed) && connection.partial().is_none() {
            return Outcome::Close(connection);
        }
        let wait = wait_of(&connection);
        Outcome::Park { connection, wait }
    }

    fn first_wait(&self, _: &Connection) -> Wait {
        Wait::first_byte(Duration::from_secs(60))
    }

    fn timed_out(&self, connection: Connection) -> Outcome<Infallible> {
        Outcome::Close(connection)
    }

    fn shed(&self, _: Connection) {}
}

impl Lines {
    fn answer(&self, connection: &mut Connection, bytes: &[u8]) {
        let mut held = connection.take_partial().map(|partial| partial.bytes).unwrap_or_default();
        held.extend(bytes);
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            held.drain(..=end);
            connection.requests += 1;
            let reply = format!("{} {} {}\n", self.text, std::process::id(), connection.requests);
            connection.stream.try_send(reply.as_bytes(), false).expect("room for a line");
        }
        let until = Deadline::after(PATIENCE);
        if !held.is_empty() {
            connection.keep_partial(Partial {
                bytes: held,
                until: Some(until),
                ..Partial::default()
            });
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

fn wait_of(connection: &Connection) -> Wait {
    match connection.partial().and_then(|partial| partial.until) {
        Some(until) => Wait::head(until),
        None => Wait::keep_alive(PATIENCE),
    }
}

fn serve(cycle: &Cycle<Answers>, context: WorkerContext) -> i32 {
    let reactor = Reactor::open(None).unwrap();
    let closing = Arc::<AtomicBool>::default();
    let text = cycle.configuration.text.clone();
    let protocol = Rc::new(Lines { text, closing: Arc::clone(&closing) });
    let runner = Local::new(Rc::clone(&protocol));
    let parts = Parts {
        protocol,
        sockets: context.sockets(),
        limits: Limits { connections: 4096, multi_accept: false, sheds: true },
        counters: context.counters.clone(),
        report: Arc::new(|_: Notice| panic!("a notice")),
    };
    let engine = Engine::new(&reactor, parts, runner).unwrap();
    let (files, log) = (Arc::clone(&cycle.files), cycle.log.clone());
    let life = Life {
        engine,
        wait: Box::new(wait_of),
        flush: || {},
        reopen: Arc::new(move || files.reopen(None, &log)),
        release_relays: || {},
        closing,
        shutdown_timeout: cycle.settings.worker_shutdown_timeout,
        max_connections: cycle.settings.mpm.max_connections_per_child,
        log: cycle.log.clone(),
    };
    daemun_process::serve::serve(reactor, life, context)
}
