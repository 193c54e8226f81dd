//! A configuration in force, with its sockets; and how the next one comes about without harm to it.

use std::sync::Arc;

use daemun_core::listen::{Address, ListenSpec};
use daemun_core::log;
use daemun_core::log::Log;
use daemun_core::settings::{Mpm, ProcessSettings};
use daemun_sys::limits;

use crate::listening::Sockets;
use crate::{Cycle, Program, pid_file};

pub(crate) struct Generation<C> {
    /// From 1.
    pub number: u64,
    pub cycle: Arc<Cycle<C>>,
    pub sockets: Sockets,
}

impl<C> Generation<C> {
    /// The first one of this process. What failed is logged.
    pub fn first<P: Program<Configuration = C>>(
        program: &P,
        inherited: Sockets,
    ) -> Result<Self, String> {
        let log = Log::current();
        let cycle = open_files(load(program)?, &log)?;
        program.prepare(&cycle, None).map_err(|sentence| say(sentence, &log))?;
        let sockets = Sockets::open(&cycle.listen, &inherited, shares(&cycle.settings), &log)?;
        inherited.retire(&sockets, &log);
        Ok(Generation { number: 1, cycle: Arc::new(cycle), sockets })
    }

    /// Loads and opens everything that the next generation needs. On failure nothing has changed,
    /// and the reason is logged and returned.
    pub fn next<P: Program<Configuration = C>>(&self, program: &P) -> Result<Self, String> {
        let log = &self.cycle.log;
        let cycle = open_files(load(program)?, log)?;
        program.prepare(&cycle, Some(&self.cycle)).map_err(|sentence| say(sentence, log))?;
        let sockets = Sockets::open(&cycle.listen, &self.sockets, shares(&cycle.settings), log)?;
        let (old, new) = (&self.cycle.settings.pid, &cycle.settings.pid);
        if old != new {
            pid_file::create(new).map_err(|failure| say(failure.to_string(), log))?;
            pid_file::remove(old, log);
        }
        Ok(Generation { number: self.number + 1, cycle: Arc::new(cycle), sockets })
    }

    /// Takes the place of `self`: logs go to the new targets, and what is not needed any more is
    /// let go.
    pub fn give_way_to(&mut self, next: Self) {
        let old = std::mem::replace(self, next);
        self.cycle.log.make_current();
        redirect_stderr(&self.cycle.log);
        old.sockets.retire(&self.sockets, &self.cycle.log);
    }

    /// USR1, in a process that may give the files to the workers' user.
    pub fn reopen_logs(&self) {
        log!(self.cycle.log, Notice, (), "reopening logs");
        let owner = self.cycle.settings.user.as_ref().map(|user| user.uid);
        self.cycle.files.reopen(owner, &self.cycle.log);
        redirect_stderr(&self.cycle.log);
    }
}

/// Has the standard error follow the log: what a panic says, and what other programs write there.
pub(crate) fn redirect_stderr(log: &Log) {
    if let Err(error) = log.redirect_stderr() {
        log!(log, Alert, (), "dup2(STDERR) failed"; error);
    }
}

/// Into how many shares the sockets are divided: one a worker, or under Apache's models one for
/// each of `listen_cores_buckets_ratio`'s buckets.
pub(crate) fn shares(settings: &ProcessSettings) -> usize {
    let ratio = settings.mpm.listen_cores_buckets_ratio;
    match settings.mpm.mpm {
        Mpm::Native => settings.worker_processes,
        _ if ratio == 0 => 1,
        _ => (limits::processors() / ratio).max(1),
    }
}

/// Loads a configuration. Buckets are sockets of one address.
fn load<P: Program>(program: &P) -> Result<Cycle<P::Configuration>, String> {
    let mut cycle = program.load()?;
    if cycle.settings.mpm.mpm != Mpm::Native && shares(&cycle.settings) > 1 {
        let tcp = |spec: &&mut ListenSpec| matches!(spec.address, Address::Ip(_));
        cycle.listen.iter_mut().filter(tcp).for_each(|spec| spec.reuseport = true);
    }
    Ok(cycle)
}

fn open_files<C>(cycle: Cycle<C>, log: &Log) -> Result<Cycle<C>, String> {
    match cycle.files.open() {
        Ok(()) => Ok(cycle),
        Err(failure) => Err(say(failure.to_string(), log)),
    }
}

/// Logs why a configuration cannot be in force, and hands the sentence on.
pub(crate) fn say(sentence: String, log: &Log) -> String {
    log!(log, Emerg, (), "{}", sentence);
    sentence
}
