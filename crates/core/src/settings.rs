//! The main and `events` contexts as values: what the processes need to know.

use std::path::PathBuf;
use std::time::Duration;

pub use daemun_shm::Mpm;

use crate::cidr::Cidr;

/// `user`: the identity that workers take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// `worker_cpu_affinity`: bit masks as lists of CPU numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CpuAffinity {
    #[default]
    Unset,
    /// One worker a CPU, in turn, among these (`auto`, with an optional mask; empty is all).
    Auto(Vec<usize>),
    /// One mask a worker; the last one serves the rest.
    Masks(Vec<Vec<usize>>),
}

/// The main context.
#[derive(Clone, Debug)]
pub struct ProcessSettings {
    pub daemon: bool,
    pub master_process: bool,
    pub worker_processes: usize,
    pub worker_cpu_affinity: CpuAffinity,
    pub worker_priority: i32,
    pub worker_rlimit_nofile: Option<u64>,
    pub worker_rlimit_core: Option<u64>,
    pub worker_shutdown_timeout: Option<Duration>,
    pub working_directory: Option<PathBuf>,
    /// `None` where the master does not run as root.
    pub user: Option<Identity>,
    pub pid: PathBuf,
    /// `env NAME` (kept from the environment) and `env NAME=VALUE`.
    pub environment: Vec<(String, Option<String>)>,
    pub events: EventSettings,
    pub mpm: MpmSettings,
}

/// The `events` block.
#[derive(Clone, Debug)]
pub struct EventSettings {
    pub worker_connections: usize,
    /// `use`; `None` is the best that the system has.
    pub method: Option<String>,
    pub multi_accept: bool,
    /// `debug_connection`: the clients whose lines all go to the error log.
    pub debug_connections: Vec<Cidr>,
}

/// The `mpm` block, consistent. The numbers of children mean nothing to the native engine, which
/// has `worker_processes`.
#[derive(Clone, Debug)]
pub struct MpmSettings {
    pub mpm: Mpm,
    /// Child processes at the start.
    pub start: usize,
    /// The bounds of what is idle: child processes of prefork, threads in all children elsewhere.
    pub min_spare: usize,
    pub max_spare: usize,
    /// The most child processes at a time.
    pub most_children: usize,
    pub threads_per_child: usize,
    /// 0: no bound.
    pub max_connections_per_child: u64,
    pub async_request_worker_factor: f64,
    /// Bytes.
    pub thread_stack_size: usize,
    /// Processors for each set of listening sockets; 0: one set in all.
    pub listen_cores_buckets_ratio: usize,
    pub graceful_shutdown_timeout: Option<Duration>,
}

impl Default for MpmSettings {
    fn default() -> MpmSettings {
        MpmSettings {
            mpm: Mpm::Native,
            start: 1,
            min_spare: 0,
            max_spare: 0,
            most_children: 1,
            threads_per_child: 1,
            max_connections_per_child: 0,
            async_request_worker_factor: 2.0,
            thread_stack_size: 256 * 1024,
            listen_cores_buckets_ratio: 0,
            graceful_shutdown_timeout: None,
        }
    }
}

impl Default for ProcessSettings {
    /// nginx's defaults, except for the paths, which the program's identity decides.
    fn default() -> ProcessSettings {
        ProcessSettings {
            daemon: true,
            master_process: true,
            worker_processes: 1,
            worker_cpu_affinity: CpuAffinity::Unset,
            worker_priority: 0,
            worker_rlimit_nofile: None,
            worker_rlimit_core: None,
            worker_shutdown_timeout: None,
            working_directory: None,
            user: None,
            pid: PathBuf::new(),
            environment: Vec::new(),
            events: EventSettings::default(),
            mpm: MpmSettings::default(),
        }
    }
}

impl Default for EventSettings {
    fn default() -> EventSettings {
        EventSettings {
            worker_connections: 512,
            method: None,
            multi_accept: false,
            debug_connections: Vec::new(),
        }
    }
}
