//! What the processes run: the seam to the program crate.

use std::sync::Arc;

use daemun_core::listen::ListenSpec;
use daemun_core::log::{Log, OpenFiles};
use daemun_core::settings::ProcessSettings;

use crate::{Errand, Helper, WorkerContext};

/// A configuration, and what the processes need to know of it.
pub struct Cycle<C> {
    pub settings: ProcessSettings,
    /// Every address once.
    pub listen: Vec<ListenSpec>,
    pub log: Log,
    pub files: Arc<OpenFiles>,
    pub configuration: C,
}

/// A server as the processes see it.
pub trait Program: Sync {
    type Configuration: Send + Sync;

    /// Reads and checks the configuration; opens and changes nothing. Whoever fails has logged
    /// every error to the current log, and returns the first, for `-s reload` to print.
    fn load(&self) -> Result<Cycle<Self::Configuration>, String>;

    /// Says whether [`prepare`](Self::prepare) would succeed, as far as that can be told without
    /// leaving a trace: `-t`. The caller logs the error.
    fn check(&self, _cycle: &Cycle<Self::Configuration>) -> Result<(), String> {
        Ok(())
    }

    /// Makes what `cycle` needs besides files and sockets: folders, shared zones. In the master,
    /// before its workers. The caller logs the error.
    fn prepare(
        &self,
        _cycle: &Cycle<Self::Configuration>,
        _previous: Option<&Cycle<Self::Configuration>>,
    ) -> Result<(), String> {
        Ok(())
    }

    /// Secrets that a new binary goes on with; they pass to it through memory alone.
    fn bequeath(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes over what the binary before has bequeathed, before anything is [loaded](Self::load).
    fn inherit(&self, _secrets: Vec<u8>) {}

    /// The processes that this configuration needs besides its workers. There are none with a single process.
    fn helpers(&self, _cycle: &Cycle<Self::Configuration>) -> Vec<Helper> {
        Vec::new()
    }

    /// Does a helper's work until that is done, or it is told to end, and returns the exit code. In a process of its own,
    /// with the workers' user.
    fn help(&self, _cycle: &Cycle<Self::Configuration>, _helper: Helper, _errand: Errand) -> i32 {
        0
    }

    /// Serves until ordered to stop, and returns the exit code. In a worker process, with its user
    /// and limits; in a thread of its own where there is a single process.
    fn work(&self, cycle: &Cycle<Self::Configuration>, context: WorkerContext) -> i32;
}
