//! From the command line to a running server, in nginx's order: load, bind and listen, detach, pid
//! file, workers.

use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use daemun_core::listen::ListenSpec;
use daemun_core::log;
use daemun_core::log::Log;
use daemun_shm::Scoreboard;
use daemun_sys::process::{self, Exit, Fork};
use daemun_sys::signals::{self, SignalQueue};
use daemun_sys::{identity, title};

use crate::control::Control;
use crate::generation::{self, Generation};
use crate::handover::Channel;
use crate::listening::Sockets;
use crate::{Cycle, Program, master, pid_file, single, upgrade};

/// Starts the server and, in the process that stays, runs it to its end; returns the exit code.
///
/// `arguments` are those that an upgrade executes. The current log is where errors go until the
/// configuration's own stands; [`log::echo_to_stderr`] may be on, and is turned off here once the
/// server has started.
pub fn run<P: Program>(program: &P, arguments: Vec<OsString>) -> i32 {
    match start(program, arguments) {
        Ok(started) if started.generation.cycle.settings.master_process => master::run(started),
        Ok(started) => single::run(started),
        Err(Refused) => 1,
    }
}

/// `-t`: everything that a start would do which could fail, leaving no trace. Errors are logged,
/// the first returned.
pub fn test<P: Program>(program: &P) -> Result<Cycle<P::Configuration>, String> {
    let cycle = program.load()?;
    match check(program, &cycle, |_| {}).first() {
        None => Ok(cycle),
        Some(first) => Err(first.clone()),
    }
}

/// What a start needs that it cannot have.
pub enum Missing<'m> {
    File(&'m Path),
    Address(&'m ListenSpec),
}

/// What a configuration that was read asks of the system: logs, addresses and the pid file. Each error is logged, and `tell`
/// hears of what it was about behind it.
pub fn check<P: Program>(
    program: &P,
    cycle: &Cycle<P::Configuration>,
    mut tell: impl FnMut(Missing<'_>),
) -> Vec<String> {
    let log = Log::current();
    let mut sentences = Vec::new();
    if let Err(sentence) = program.check(cycle) {
        sentences.push(generation::say(sentence, &log));
    }
    let mut failures = cycle.files.check_all();
    failures.extend(pid_file::check(&cycle.settings.pid).err());
    for failure in failures {
        log!(log, Emerg, (), "{}", failure);
        tell(Missing::File(failure.path()));
        sentences.push(failure.to_string());
    }
    for spec in &cycle.listen {
        if let Err(sentence) = Sockets::test(std::slice::from_ref(spec), &log) {
            tell(Missing::Address(spec));
            sentences.push(sentence);
        }
    }
    sentences
}

/// A server that stands and has no workers yet.
pub(crate) struct Started<'p, P: Program> {
    pub program: &'p P,
    pub arguments: Vec<OsString>,
    pub generation: Generation<P::Configuration>,
    pub signals: SignalQueue,
    pub channel: Option<Arc<Channel>>,
    pub control: Option<Control>,
    pub scoreboard: Arc<Scoreboard>,
    pub origin: Origin,
}

/// Where this process comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// It runs in the background, by its own doing or by that of the binary that executed it.
    pub daemonised: bool,
    /// Another binary passed its sockets on.
    pub inherited: bool,
    /// The process that started this one.
    parent: i32,
}

impl Origin {
    /// Whether the process that started this one still runs: for a new binary, the old master.
    pub fn has_parent(&self) -> bool {
        identity::parent_pid() == self.parent
    }
}

/// The server did not start; the reason is logged.
struct Refused;

fn start<P: Program>(program: &P, arguments: Vec<OsString>) -> Result<Started<'_, P>, Refused> {
    signals::ignore_harmless();
    let parent = identity::parent_pid();
    let variable = std::env::var_os(upgrade::SOCKETS);
    let inherited = variable.is_some();
    let sockets =
        variable.map(|variable| Sockets::inherit(&variable, &Log::current())).unwrap_or_default();
    if let Some(secrets) = upgrade::take_secrets() {
        program.inherit(secrets);
    }
    let generation = Generation::first(program, sockets).map_err(|_| Refused)?;
    let cycle = &generation.cycle;
    let log = cycle.log.clone();
    let channel = open_channel(&log);
    let scoreboard = Scoreboard::new().map_err(|error| fail(&log, "mmap()", error))?;

    // From here on signals wait: none that comes while the process detaches is lost.
    let signals =
        SignalQueue::of(&MASTER_SIGNALS).map_err(|error| fail(&log, "signalfd()", error))?;
    let mut origin = Origin { daemonised: inherited, inherited, parent };
    let mut starter = None;
    if cycle.settings.daemon && !inherited {
        starter = Some(detach(&log)?);
        // The starter ends, which is how `has_parent` knows it from a binary that upgraded.
        origin = Origin { daemonised: true, inherited, parent: 0 };
    }
    pid_file::create(&cycle.settings.pid).map_err(|failure| {
        log!(log, Emerg, (), "{}", failure);
        Refused
    })?;
    // While whoever starts the server still sees it.
    let control = Control::open().inspect_err(|error| {
        log!(log, Warn, (), "the control socket could not be opened, \"-s reload\" will not wait"; error);
    });
    log.make_current();
    log.redirect_stderr().map_err(|error| fail(&log, "dup2(STDERR)", error))?;
    log::echo_to_stderr(false);
    entitle(&arguments, cycle.settings.master_process);
    if let Some(starter) = starter {
        starter.release();
    }
    Ok(Started {
        program,
        arguments,
        generation,
        signals,
        channel,
        control: control.ok(),
        scoreboard,
        origin,
    })
}

const MASTER_SIGNALS: [i32; 10] = [
    signals::SIGCHLD,
    signals::SIGALRM,
    signals::SIGIO,
    signals::SIGINT,
    signals::SIGHUP,
    signals::SIGUSR1,
    signals::SIGUSR2,
    signals::SIGWINCH,
    signals::SIGTERM,
    signals::SIGQUIT,
];

/// The process that waits on the command line until the server stands.
struct Starter {
    pipe: PipeWriter,
}

impl Starter {
    /// Lets it end with success. Dropped instead, it ends with failure.
    fn release(mut self) {
        let _ = self.pipe.write_all(b"+");
    }
}

/// Goes on in a child without a terminal; the process that was started waits for the child's word,
/// and ends.
fn detach(log: &Log) -> Result<Starter, Refused> {
    let (reader, pipe) = io::pipe().map_err(|error| fail(log, "pipe()", error))?;
    match process::fork().map_err(|error| fail(log, "fork()", error))? {
        Fork::Parent(pid) => {
            drop(pipe);
            std::process::exit(wait_for(reader, pid))
        }
        Fork::Child => {
            drop(reader);
            process::detach().map_err(|error| fail(log, "setsid()", error))?;
            Ok(Starter { pipe })
        }
    }
}

/// A child that gave up has said why, one that was killed has not.
fn wait_for(mut reader: PipeReader, pid: i32) -> i32 {
    if let Ok(1) = reader.read(&mut [0]) {
        return 0;
    }
    if let Ok(Exit::Signal { number, .. }) = process::wait_for(pid) {
        log::write_stderr(format_args!(
            "[emerg] the master process exited on signal {number} before the server had started"
        ));
    }
    1
}

/// The one that came with the environment, or a new one. Without, parked connections are closed as
/// nginx does.
fn open_channel(log: &Log) -> Option<Arc<Channel>> {
    let variable = std::env::var(upgrade::CHANNEL).ok();
    let inherited = variable.and_then(|variable| Channel::inherit(&variable));
    let channel = inherited.map_or_else(Channel::open, Ok);
    match channel {
        Ok(channel) => Some(Arc::new(channel)),
        Err(error) => {
            log!(log, Warn, (), "connections cannot be handed over"; error);
            None
        }
    }
}

fn entitle(arguments: &[OsString], has_workers: bool) {
    if !has_workers {
        return;
    }
    let mut text = format!("{}: master process", log::program());
    for argument in arguments {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    title::set(&text);
}

fn fail(log: &Log, call: &str, error: io::Error) -> Refused {
    log!(log, Emerg, (), "{} failed", call; error);
    Refused
}
