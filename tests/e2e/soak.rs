//! The long tests, with the real server: what may not be lost in reloads, upgrades and deaths. `cargo xtask test --all`
//! runs them.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use daemun_tests::{Client, Server, Setup, children, eventually, is_running, signals};

fn configuration(listen: &str, workers: usize) -> String {
    format!(
        "daemon on;
         worker_processes {workers};
         pid {{dir}}/server.pid;
         error_log {{dir}}/error.log notice;
         events {{ {{events}} worker_connections 4096; }}
         http {{
             access_log off;
             client_body_temp_path {{dir}}/body;
             keepalive_requests 1000000000;
             server {{ listen 127.0.0.1:{{port}} {listen}; return 200 $pid; }}
         }}"
    )
}

/// A server in the background, known by its pid file alone: an upgrade changes its first process.
struct Gate {
    setup: Setup,
}

impl Gate {
    fn start(configuration: &str) -> Gate {
        let gate = Gate {
            setup: Setup::new(),
        };
        let output = gate.setup.run(configuration, &[]);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        gate
    }

    fn pid(&self) -> i32 {
        self.pid_in("server.pid").expect("a pid file")
    }

    fn pid_in(&self, file: &str) -> Option<i32> {
        self.setup.folder.read(file).trim().parse().ok()
    }

    fn reload(&self, configuration: &str) {
        let output = self.setup.run(configuration, &["-s", "reload"]);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
    }

    fn client(&self) -> Client {
        Client::connect(self.setup.port())
    }

    /// A thousand clients that send a request now and then.
    fn idle(&self) -> Vec<Client> {
        (0..1000).map(|_| self.client()).collect()
    }

    /// Requests on new and on kept connections while `work` goes on; none may be lost. Returns their number.
    fn under_load(&self, work: impl FnOnce()) -> usize {
        let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for is_kept in [true, false] {
                let (over, answers) = (&over, &answers);
                scope.spawn(move || {
                    let mut client = self.client();
                    while !over.load(Ordering::Relaxed) {
                        if !is_kept {
                            client = self.client();
                        }
                        assert_eq!(client.get("/").status, 200);
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let ended = End(&over);
            work();
            drop(ended);
        });
        answers.into_inner()
    }
}

/// Ends the load, also where the work fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let Some(pid) = self.pid_in("server.pid") else {
            return;
        };
        let _ = signals::send(pid, signals::SIGTERM);
        eventually("the server ends", || !is_running(pid));
    }
}

fn ask_all(clients: &mut [Client]) {
    for client in clients {
        assert_eq!(client.get("/").status, 200);
    }
}

/// Kilobytes of a process in memory.
fn resident(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap()
}

#[test]
#[ignore = "a soak"]
fn soak_a_hundred_reloads_of_a_shared_socket() {
    reload_a_hundred_times(|_| configuration("", 4));
}

#[test]
#[ignore = "a soak"]
fn soak_a_hundred_reloads_of_reuseport_sockets() {
    let workers = |round: usize| if round.is_multiple_of(2) { 4 } else { 2 };
    reload_a_hundred_times(|round| configuration("reuseport", workers(round)));
}

fn reload_a_hundred_times(configuration: impl Fn(usize) -> String) {
    let gate = Gate::start(&configuration(0));
    let pid = gate.pid();
    let mut idle = gate.idle();
    let mut memory = Vec::new();
    let answers = gate.under_load(|| {
        for round in 1..=100 {
            gate.reload(&configuration(round));
            idle.iter_mut()
                .skip(round % 10)
                .step_by(10)
                .for_each(|client| assert_eq!(client.get("/").status, 200));
            memory.push(resident(pid));
        }
    });
    ask_all(&mut idle);
    println!(
        "{answers} answers, the master has {} to {} KB",
        memory[9], memory[99]
    );
    assert!(
        memory[99] < memory[9] + 1024,
        "the master grows: {memory:?}"
    );
}

#[test]
#[ignore = "a soak"]
fn soak_twenty_upgrades_there_and_back() {
    let gate = Gate::start(&configuration("", 4));
    let old = gate.pid();
    let mut idle = gate.idle();
    let answers = gate.under_load(|| {
        for _ in 0..20 {
            signals::send(old, signals::SIGUSR2).unwrap();
            eventually("the new binary stands", || {
                gate.pid_in("server.pid.oldbin") == Some(old)
                    && gate.pid_in("server.pid").is_some_and(|pid| pid != old)
            });
            let new = gate.pid();
            eventually("it has workers", || children(new).len() == 4);
            signals::send(old, signals::SIGWINCH).unwrap();
            eventually("the old workers end", || children(old) == [new]);
            ask_all(&mut idle[..100]);
            signals::send(old, signals::SIGHUP).unwrap();
            eventually("the old binary has workers again", || {
                children(old).len() == 5
            });
            signals::send(new, signals::SIGQUIT).unwrap();
            eventually("the pid file is back", || {
                gate.pid_in("server.pid") == Some(old)
            });
            eventually("the new binary is gone", || !is_running(new));
        }
    });
    ask_all(&mut idle);
    println!("{answers} answers");
}

#[test]
#[ignore = "a soak"]
fn soak_from_nginx_up_and_back() {
    let setup = Setup::new();
    let program = setup.folder.path("nginx");
    fs::copy("/usr/sbin/nginx", &program).unwrap();
    let gate = Gate { setup };
    gate.setup.configure(&configuration("", 2));
    let started = Command::new(&program)
        .arg("-p")
        .arg(gate.setup.folder.path(""))
        .args(["-c", "server.conf"])
        .status();
    assert!(started.unwrap().success());
    let old = gate.pid();
    let refused = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let connected = TcpStream::connect(("127.0.0.1", gate.setup.port()));
                if connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let _ended = End(&over);
        fs::remove_file(&program).unwrap();
        fs::copy(daemun_tests::binary(), &program).unwrap();
        signals::send(old, signals::SIGUSR2).unwrap();
        eventually("daemun stands beside nginx", || {
            gate.pid_in("server.pid").is_some_and(|pid| pid != old)
        });
        let new = gate.pid();
        eventually("it has workers", || children(new).len() == 2);
        signals::send(old, signals::SIGWINCH).unwrap();
        eventually("nginx's workers end", || children(old) == [new]);
        let server = gate.client().get("/").header("Server").map(str::to_owned);
        assert_eq!(server.as_deref(), Some("nginx/1.31.5"));
        signals::send(old, signals::SIGHUP).unwrap();
        eventually("nginx has workers again", || children(old).len() == 3);
        signals::send(new, signals::SIGQUIT).unwrap();
        eventually("daemun is gone", || !is_running(new));
        eventually("nginx answers", || {
            gate.client()
                .get("/")
                .header("Server")
                .is_some_and(|server| server != "nginx/1.31.5")
        });
    });
    assert_eq!(refused.into_inner(), 0, "connections were refused");
}

#[test]
#[ignore = "a soak"]
fn soak_a_worker_killed_every_100_ms_for_10_s() {
    let mut server = Server::start(&configuration("", 4).replace("daemon on", "daemon off"));
    server.expect("exited on signal 9");
    // One connection each; those of a killed worker are lost with it, and nobody else's.
    let ask = |client: &mut Client| client.get("/").text().parse::<i32>().unwrap();
    let mut idle: Vec<Client> = (0..200).map(|_| server.client()).collect();
    for _ in 0..100 {
        let holders: Vec<i32> = idle.iter_mut().map(ask).collect();
        let victim = holders[0];
        signals::send(victim, signals::SIGKILL).unwrap();
        eventually("it is gone", || !children(server.pid()).contains(&victim));
        let mut holders = holders.into_iter();
        idle.retain(|_| holders.next() != Some(victim));
        idle.extend((idle.len()..200).map(|_| server.client()));
        std::thread::sleep(Duration::from_millis(80));
    }
}
