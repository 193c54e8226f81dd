//! A worker's first steps: its identity, limits and place, then the program's own work.

use std::io::{self, PipeWriter, Write};
use std::sync::Arc;

use daemun_core::log;
use daemun_core::log::Log;
use daemun_core::settings::{Identity, ProcessSettings};
use daemun_shm::WorkerSlot;
use daemun_sys::limits::Resource;
use daemun_sys::{credentials, identity, limits};

use crate::engines::Socket;
use crate::handover::Channel;
use crate::{Listening, Orders, affinity, environment};

/// What a worker starts with, besides its configuration.
pub struct WorkerContext {
    /// Its place among the workers of its generation, from 0.
    pub index: usize,
    pub generation: u64,
    /// Its place in the scoreboard.
    pub counters: WorkerSlot,
    /// In the order of the cycle's specifications.
    pub listening: Vec<Listening>,
    pub orders: Orders,
    /// The way to other generations for parked connections.
    pub channel: Option<Arc<Channel>>,
    pub ready: Ready,
}

impl WorkerContext {
    /// Every socket to accept from.
    pub fn sockets(&self) -> Vec<Socket> {
        let each = self.listening.iter().zip(0u16..);
        let sockets = each.flat_map(|(entry, listener)| {
            let shared = entry.shared;
            let descriptors = entry.sockets.iter().cloned();
            descriptors.map(move |descriptor| Socket { descriptor, listener, shared })
        });
        sockets.collect()
    }
}

/// Tells the master that this worker serves now: older generations may end. Dropped, it tells that
/// the worker ended.
pub struct Ready {
    pipe: PipeWriter,
}

impl Ready {
    pub(crate) fn new(pipe: PipeWriter) -> Ready {
        Ready { pipe }
    }

    pub fn tell(&self) {
        // A master that is gone does not wait.
        let _ = (&self.pipe).write_all(SERVES);
    }

    /// Asks for a successor in this worker's place: until that serves, this one does.
    pub(crate) fn retire(&self) {
        let _ = (&self.pipe).write_all(RETIRES);
    }
}

/// What workers say to the master.
pub(crate) const SERVES: &[u8; 1] = b"+";
pub(crate) const RETIRES: &[u8; 1] = b"-";

/// Why a worker cannot start, logged already; starting it again would not help.
pub(crate) struct Unfit;

/// Makes this process a worker, or a helper, which has no index: in nginx's order, since each step
/// may need the rights that the next one drops.
pub(crate) fn become_worker(
    settings: &ProcessSettings,
    index: Option<usize>,
    log: &Log,
) -> Result<(), Unfit> {
    if let Err(error) = daemun_sys::environment::replace(&environment::variables(settings)) {
        log!(log, Emerg, (), "setenv() failed"; error);
        return Err(Unfit);
    }
    apply_limits(settings, log);
    if identity::effective_uid() == 0
        && let Some(user) = &settings.user
    {
        become_user(user, log)?;
    }
    if let Some(index) = index
        && let Some(cpus) =
            affinity::for_worker(&settings.worker_cpu_affinity, index, limits::processors())
    {
        report(limits::set_affinity(&cpus), "sched_setaffinity()", log);
    }
    report(credentials::allow_core_dump(), "prctl(PR_SET_DUMPABLE)", log);
    if let Some(folder) = &settings.working_directory
        && let Err(error) = std::env::set_current_dir(folder)
    {
        log!(log, Alert, (), "chdir(\"{}\") failed", folder.display(); error);
        return Err(Unfit);
    }
    Ok(())
}

/// `nginx: worker process`, and from the second generation on which one it is.
pub(crate) fn set_title(text: &str, generation: u64) {
    let program = log::program();
    match generation {
        0 | 1 => daemun_sys::title::set(&format!("{program}: {text}")),
        _ => daemun_sys::title::set(&format!("{program}: {text} (generation {generation})")),
    }
}

fn apply_limits(settings: &ProcessSettings, log: &Log) {
    let nice = settings.worker_priority;
    if nice != 0 {
        report(limits::set_priority(nice), &format!("setpriority({nice})"), log);
    }
    if let Some(count) = settings.worker_rlimit_nofile {
        let call = format!("setrlimit(RLIMIT_NOFILE, {count})");
        report(limits::set_limit(Resource::Descriptors, count), &call, log);
    }
    if settings.events.method.as_deref().is_none_or(|method| method == "io_uring") {
        // On some kernels (6.16 to 7.0) the rings of all workers count together against it. Where it
        // cannot be raised, those that do not fit use another method, and say so.
        let _ = limits::lift(Resource::LockedMemory);
    }
    if let Some(size) = settings.worker_rlimit_core {
        let call = format!("setrlimit(RLIMIT_CORE, {size})");
        report(limits::set_limit(Resource::Core, size), &call, log);
    }
}

fn become_user(user: &Identity, log: &Log) -> Result<(), Unfit> {
    let Identity { name, uid, gid } = user;
    if let Err(error) = credentials::set_group(*gid) {
        log!(log, Emerg, (), "setgid({}) failed", gid; error);
        return Err(Unfit);
    }
    if let Err(error) = credentials::set_supplementary_groups(name, *gid) {
        log!(log, Emerg, (), "initgroups({}, {}) failed", name, gid; error);
    }
    if let Err(error) = credentials::set_user(*uid) {
        log!(log, Emerg, (), "setuid({}) failed", uid; error);
        return Err(Unfit);
    }
    Ok(())
}

fn report(result: io::Result<()>, call: &str, log: &Log) {
    if let Err(error) = result {
        log!(log, Alert, (), "{} failed", call; error);
    }
}
