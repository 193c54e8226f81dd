//! The servers that are compared, in the same shape: as many processes and threads, and no more of
//! them while they are measured.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use daemun_bench::cpu;
use daemun_bench::running::Running;
use daemun_tests::{Folder, binary, children, eventually, free_port, memory_of_all};

pub const FILE_SIZE: usize = 1024;

const SERVER_PROCESSOR: &str = "0";

const DAEMUN: &str = "\
    daemon off;
    pid {dir}/server.pid;
    error_log {dir}/error.log;
    {mpm}
    events { worker_connections 4096; }
    http {
        access_log off;
        keepalive_timeout 300s;
        keepalive_requests 100000000;
        client_body_temp_path {dir}/body;
        server { listen 127.0.0.1:{port} backlog=4096; root {dir}; }
    }";

const APACHE: &str = "\
    ServerRoot {dir}
    ServerName localhost
    PidFile {dir}/server.pid
    ErrorLog {dir}/error.log
    User www-data
    Group www-data
    Listen 127.0.0.1:{port}
    ListenBacklog 4096
    LoadModule mpm_{model}_module {modules}/mod_mpm_{model}.so
    LoadModule authz_core_module {modules}/mod_authz_core.so
    KeepAliveTimeout 300
    MaxKeepAliveRequests 0
    DocumentRoot {dir}
    {mpm}
";

const MODULES: &str = "/usr/lib/apache2/modules";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Apache,
    Daemun,
}

impl Kind {
    pub const BOTH: [Kind; 2] = [Kind::Apache, Kind::Daemun];
}

/// What a server has to have room for.
#[derive(Clone, Copy)]
pub struct Shape {
    pub model: &'static str,
    pub connections: usize,
}

/// Threads of a child that has any.
const THREADS: usize = 25;
const CHILDREN: usize = 3;

impl Shape {
    fn children(self) -> usize {
        if self.model == "prefork" { self.connections + 6 } else { CHILDREN }
    }

    /// Settings by name, and values: fixed numbers of everything.
    fn settings(self) -> Vec<(&'static str, &'static str, String)> {
        let children = self.children().to_string();
        let text = |name, ours, value: &str| (name, ours, value.to_owned());
        let mut settings = vec![
            text("StartServers", "start_servers", &children),
            text("ServerLimit", "server_limit", &children),
        ];
        if self.model == "prefork" {
            settings.extend([
                text("MinSpareServers", "min_spare_servers", "1"),
                text("MaxSpareServers", "max_spare_servers", "1000"),
                text("MaxRequestWorkers", "max_request_workers", &children),
            ]);
            return settings;
        }
        let workers = (THREADS * CHILDREN).to_string();
        settings.extend([
            text("ThreadsPerChild", "threads_per_child", &THREADS.to_string()),
            text("MinSpareThreads", "min_spare_threads", "1"),
            text("MaxSpareThreads", "max_spare_threads", "1000"),
            text("MaxRequestWorkers", "max_request_workers", &workers),
        ]);
        if self.model == "event" {
            settings.push(text("AsyncRequestWorkerFactor", "async_request_worker_factor", "40"));
        }
        settings
    }

    fn of_daemun(self) -> String {
        let lines = self.settings().into_iter().map(|(_, name, value)| format!("{name} {value}; "));
        format!("mpm {} {{ {}}}", self.model, lines.collect::<String>())
    }

    fn of_apache(self) -> String {
        self.settings().into_iter().map(|(name, _, value)| format!("{name} {value}\n")).collect()
    }
}

/// Runs until it is dropped.
pub struct Server {
    process: Running,
    port: u16,
    folder: Folder,
}

impl Server {
    /// Returns once all its processes and threads are there.
    pub fn start(kind: Kind, shape: Shape) -> Server {
        let folder = Folder::fresh();
        let port = free_port();
        let (text, mpm) = match kind {
            Kind::Apache => (APACHE, shape.of_apache()),
            Kind::Daemun => (DAEMUN, shape.of_daemun()),
        };
        let dir = folder.path("").display().to_string();
        let text = text.replace("{dir}", dir.trim_end_matches('/')).replace("{mpm}", &mpm);
        let text = text.replace("{model}", shape.model).replace("{modules}", MODULES);
        folder.write("server.conf", text.replace("{port}", &port.to_string()));
        folder.write("file", [b'x'; FILE_SIZE]);
        let stderr = File::create(folder.path("stderr")).expect("a file");
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_PROCESSOR]);
        match kind {
            Kind::Apache => {
                command.arg("/usr/sbin/apache2").arg("-f").arg(folder.path("server.conf"));
                command.args(["-D", "FOREGROUND"]);
            }
            Kind::Daemun => {
                command.arg(binary()).arg("-p").arg(folder.path(""));
                command.args(["-c", "server.conf", "-e", "error.log"]);
            }
        }
        let process = Running::start(command.stderr(stderr), port);
        let server = Server { process, port, folder };
        let file = server.folder.path("file");
        eventually("the file is old enough to be remembered", || age(&file) > SETTLED);
        eventually("all children run", || children(server.pid()).len() == shape.children());
        server.rest();
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kilobytes of all its processes.
    pub fn memory(&self) -> usize {
        self.rest();
        memory_of_all(self.pid())
    }

    /// What all its processes have used.
    pub fn cpu_time(&self) -> Duration {
        cpu::time_of_all(self.pid())
    }

    fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Waits until nothing moves any more.
    fn rest(&self) {
        let mut before = self.cpu_time();
        eventually("the server rests", || {
            std::thread::sleep(Duration::from_millis(300));
            let now = self.cpu_time();
            std::mem::replace(&mut before, now) == now
        });
    }
}

/// What was written a moment ago is not remembered: it may be about to change again.
const SETTLED: Duration = Duration::from_secs(4);

fn age(path: &Path) -> Duration {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).expect("a file");
    modified.elapsed().unwrap_or_default()
}
