//! A configuration in force, with its sockets; and how the next one comes about without harm to it.

use std::sync::Arc;

use daemun_core::log;
use daemun_core::log::Log;

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
        let cycle = open_files(program.load()?, &log)?;
        program.prepare(&cycle, None)?;
        let sockets =
            Sockets::open(&cycle.listen, &inherited, cycle.settings.worker_processes, &log)?;
        inherited.retire(&sockets, &log);
        Ok(Generation { number: 1, cycle: Arc::new(cycle), sockets })
    }

    /// Loads and opens everything that the next generation needs. On failure nothing has changed,
    /// and the reason is logged and returned.
    pub fn next<P: Program<Configuration = C>>(&self, program: &P) -> Result<Self, String> {
        let log = &self.cycle.log;
        let cycle = open_files(program.load()?, log)?;
        program.prepare(&cycle, Some(&self.cycle))?;
        let sockets =
            Sockets::open(&cycle.listen, &self.sockets, cycle.settings.worker_processes, log)?;
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
        if let Err(error) = self.cycle.log.redirect_stderr() {
            log!(self.cycle.log, Alert, (), "dup2(STDERR) failed"; error);
        }
        old.sockets.retire(&self.sockets, &self.cycle.log);
    }

    /// USR1, in a process that may give the files to the workers' user.
    pub fn reopen_logs(&self) {
        log!(self.cycle.log, Notice, (), "reopening logs");
        let owner = self.cycle.settings.user.as_ref().map(|user| user.uid);
        self.cycle.files.reopen(owner, &self.cycle.log);
    }
}

fn open_files<C>(cycle: Cycle<C>, log: &Log) -> Result<Cycle<C>, String> {
    match cycle.files.open() {
        Ok(()) => Ok(cycle),
        Err(failure) => Err(say(failure.to_string(), log)),
    }
}

fn say(sentence: String, log: &Log) -> String {
    log!(log, Emerg, (), "{}", sentence);
    sentence
}
