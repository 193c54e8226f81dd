//! A server in the background, as upgrades need it: its master changes.

use std::os::unix::fs::symlink;
use std::path::Path;

use daemun_tests::{
    Backend, Load, Output, Setup, Tally, children, eventually, is_running, signals,
};

/// Answers name their worker, as [`Load`] wants it.
pub const CONFIGURATION: &str = "\
    pid {dir}/server.pid;
    error_log {dir}/error.log notice;
    worker_processes %WORKERS%;
    worker_rlimit_nofile 16384;
    events { {events} worker_connections 6144; }
    http {
        log_format relay '$uri $status $body_bytes_sent $upstream_bytes_received $upstream_addr $request_time';
        access_log off;
        client_body_temp_path {dir}/body;
        keepalive_requests 1000000;
        keepalive_timeout 300s;
        client_header_timeout 300s;
        add_header X-Worker $pid;
        server {
            listen 127.0.0.1:{port} %LISTEN%;
            location = / { return 200 hello; }
            location = /file { root {dir}; }
            location /echo/ {
                proxy_pass http://unix:{dir}/echo.sock;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection upgrade;
                # However long the test takes to open the others.
                proxy_read_timeout 1h;
                proxy_send_timeout 1h;
                access_log {dir}/relays.log relay;
            }
        }
    }";

pub struct Daemon {
    setup: Setup,
    /// With places for the number of workers and the rest of a `listen`.
    template: &'static str,
}

impl Daemon {
    pub fn start(workers: usize, listen: &str) -> Daemon {
        Daemon::start_with(Setup::new().mpm("mpm native;"), workers, listen)
    }

    pub fn start_with(setup: Setup, workers: usize, listen: &str) -> Daemon {
        Daemon::start_from(CONFIGURATION, setup, workers, listen)
    }

    /// With another configuration.
    pub fn start_from(
        template: &'static str,
        setup: Setup,
        workers: usize,
        listen: &str,
    ) -> Daemon {
        setup.folder.write("file", [b'x'; 20_000]);
        let output = setup.run(&configuration(template, workers, listen), &[]);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        let daemon = Daemon { setup, template };
        daemon.has_workers(daemon.pid(), workers);
        daemon
    }

    /// With a process model that the test chooses.
    pub fn start_as(setup: Setup, model: &str, workers: usize) -> Daemon {
        setup.folder.write("file", [b'x'; 20_000]);
        let output = setup.run(&format!("{model}\n{}", configuration(CONFIGURATION, 2, "")), &[]);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        let daemon = Daemon { setup, template: CONFIGURATION };
        daemon.has_workers(daemon.pid(), workers);
        daemon
    }

    /// Reloads with another process model.
    pub fn switch(&self, model: &str) {
        self.setup.configure(&format!("{model}\n{}", configuration(self.template, 2, "")));
        let output = Output::of(&mut self.setup.command(&["-s", "reload"]));
        assert_eq!(output.code, Some(0), "{}", output.stderr);
    }

    pub fn load(&self, kept: usize) -> Load {
        Load::start(self.port(), kept)
    }

    /// What answers WebSockets below `/echo/`.
    pub fn echo(&self) -> Backend {
        Backend::websockets(&self.setup.folder)
    }

    pub fn port(&self) -> u16 {
        self.setup.filled("{port}").parse().unwrap()
    }

    /// A line for each WebSocket that ended.
    pub fn relay_lines(&self) -> Vec<String> {
        self.setup.folder.read("relays.log").lines().map(str::to_owned).collect()
    }

    /// The master that the pid file names.
    pub fn pid(&self) -> i32 {
        self.pid_in("server.pid").expect("a pid file")
    }

    pub fn workers(&self) -> Vec<i32> {
        children(self.pid())
    }

    pub fn log(&self) -> String {
        self.setup.folder.read("error.log")
    }

    /// Reloads and waits for the outcome.
    pub fn reload(&self, workers: usize, listen: &str) {
        self.setup.configure(&configuration(self.template, workers, listen));
        let output = Output::of(&mut self.setup.command(&["-s", "reload"]));
        assert_eq!(output.code, Some(0), "{}", output.stderr);
    }

    /// USR2 to the master; returns the new one's number once it has its workers.
    pub fn begin_upgrade(&self, workers: usize) -> i32 {
        let old = self.pid();
        signals::send(old, signals::SIGUSR2).unwrap();
        eventually("the old pid file is renamed", || self.pid_in("server.pid.oldbin") == Some(old));
        eventually("the new binary stands", || {
            self.pid_in("server.pid").is_some_and(|pid| pid != old)
        });
        let new = self.pid();
        self.has_workers(new, workers);
        new
    }

    /// USR2, and QUIT to the old master once the new one serves.
    pub fn upgrade(&self, workers: usize) {
        let old = self.pid();
        self.begin_upgrade(workers);
        signals::send(old, signals::SIGQUIT).unwrap();
        eventually("the old binary ends", || !is_running(old));
    }

    /// USR2 and WINCH, then HUP to the old master and QUIT to the new one.
    pub fn upgrade_and_go_back(&self, workers: usize) {
        let old = self.pid();
        let new = self.begin_upgrade(workers);
        signals::send(old, signals::SIGWINCH).unwrap();
        eventually("the old workers end", || children(old) == [new]);
        signals::send(old, signals::SIGHUP).unwrap();
        eventually("the old binary has workers again", || children(old).len() == workers + 1);
        signals::send(new, signals::SIGQUIT).unwrap();
        eventually("the pid file is back", || {
            !is_running(new) && self.pid_in("server.pid") == Some(old)
        });
    }

    /// What `bin/NAME` leads to from now on.
    pub fn install(&self, name: &str, program: &Path) {
        install(&self.setup, name, program);
    }

    /// Waits until exactly the workers of the present configuration run.
    pub fn has_workers(&self, master: i32, workers: usize) {
        eventually("all workers run, and no others", || children(master).len() == workers);
    }

    fn pid_in(&self, file: &str) -> Option<i32> {
        self.setup.folder.read(file).trim().parse().ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let log = self.log();
        for pid in ["server.pid", "server.pid.oldbin"] {
            let Some(pid) = self.pid_in(pid) else {
                continue;
            };
            let _ = signals::send(pid, signals::SIGTERM);
            if !std::thread::panicking() {
                eventually("the server ends", || !is_running(pid));
            }
        }
        if std::thread::panicking() {
            eprintln!("--- last messages of the server:");
            let lines: Vec<_> = log.lines().collect();
            lines[lines.len().saturating_sub(40)..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Replaces the link at one stroke, as a package manager does.
pub fn install(setup: &Setup, name: &str, program: &Path) {
    let link = setup.folder.path("bin").join(name);
    std::fs::create_dir_all(setup.folder.path("bin")).unwrap();
    let new = link.with_extension("new");
    symlink(program, &new).unwrap();
    std::fs::rename(&new, &link).unwrap();
}

/// Prints what clients met, and fails where anything was lost.
pub fn nothing_lost((kept, fresh): (Tally, Tally)) {
    println!("  kept connections: {}", kept.line());
    println!("  new connections:  {}", fresh.line());
    assert!(kept.answered > 0 && fresh.answered > 0, "there was no load");
    assert_eq!(kept.losses, [], "kept connections");
    assert_eq!(fresh.losses, [], "new connections");
}

fn configuration(template: &str, workers: usize, listen: &str) -> String {
    template.replace("%WORKERS%", &workers.to_string()).replace("%LISTEN%", listen)
}
