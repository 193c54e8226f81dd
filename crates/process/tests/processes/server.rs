//! A toy server in a folder of its own, and clients that count what goes wrong.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use daemun_process::control::Reply;
use daemun_sys::signals;

/// Nothing here takes so long unless it never happens.
const PATIENCE: Duration = Duration::from_secs(50);

pub struct Server {
    pub folder: PathBuf,
    pub port: u16,
}

impl Server {
    /// Starts in the background; returns once the starting process ended well.
    pub fn start(name: &str, configuration: &str) -> Server {
        let server = Server::prepare(name, configuration);
        let status = server.command().status().unwrap();
        assert!(status.success(), "{}", server.log());
        server
    }

    pub fn prepare(name: &str, configuration: &str) -> Server {
        let folder = std::env::temp_dir().join(format!("daemun-toy-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let port = daemun_tests::free_port();
        let server = Server { folder, port };
        server.configure(configuration);
        server
    }

    /// `PORT` and `FOLDER` stand for the server's own.
    pub fn configure(&self, configuration: &str) {
        let text = configuration.replace("PORT", &self.port.to_string());
        let text = text.replace("FOLDER", self.folder.to_str().unwrap());
        fs::write(self.folder.join("toy.conf"), text).unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("toy").arg(&self.folder);
        command
    }

    pub fn pid(&self) -> i32 {
        self.pid_in("toy.pid").expect("a pid file")
    }

    pub fn pid_in(&self, file: &str) -> Option<i32> {
        fs::read_to_string(self.folder.join(file)).ok()?.trim().parse().ok()
    }

    pub fn signal(&self, signal: i32) {
        signals::send(self.pid(), signal).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("toy.log")).unwrap_or_default()
    }

    /// Reloads and waits for the outcome.
    pub fn reload(&self) -> Result<(), String> {
        match daemun_process::control::reload(self.pid(), PATIENCE) {
            Reply::Said(outcome) => outcome,
            other => panic!("no control socket: {other:?}"),
        }
    }

    pub fn client(&self) -> Client {
        Client::over(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }

    /// Stops the server, checks that it left nothing behind but its log, and removes the folder.
    pub fn stop(self) {
        let pid = self.pid();
        self.signal(signals::SIGTERM);
        eventually("the server ends", || !is_running(pid));
        assert!(!self.folder.join("toy.pid").exists());
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A connection that is kept.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    /// The server's text, the process that answered, and how many answers this connection got.
    pub fn ask(&mut self) -> io::Result<(String, i32, u32)> {
        self.send(b"hello\n")?;
        self.answer()
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub fn answer(&mut self) -> io::Result<(String, i32, u32)> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [text, pid, count] => {
                Ok((text.to_owned(), pid.parse().unwrap(), count.parse().unwrap()))
            }
            _ => Err(io::Error::other(format!("cut: {line:?}"))),
        }
    }
}

/// Clients of both kinds, kept and new connections, while `work` goes on; returns how many answers
/// they got.
pub fn under_load(server: &Server, work: impl FnOnce()) -> usize {
    let over = AtomicBool::new(false);
    let answers = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for kept in [true, true, false, false] {
            let (over, answers) = (&over, &answers);
            scope.spawn(move || {
                let mut client = server.client();
                let mut count = 0;
                while !over.load(Ordering::Relaxed) {
                    if !kept {
                        client = server.client();
                        count = 0;
                    }
                    let (_, _, counted) = client.ask().expect("a request was lost");
                    count += 1;
                    assert_eq!(counted, count, "the connection's record passes with it");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        work();
        over.store(true, Ordering::Relaxed);
    });
    answers.into_inner()
}

/// USR2: returns the new master's number once it has its workers.
pub fn begin_upgrade(server: &Server, old: i32) -> i32 {
    signals::send(old, signals::SIGUSR2).unwrap();
    eventually("the old pid file is renamed", || server.pid_in("toy.pid.oldbin") == Some(old));
    eventually("the new binary stands", || server.pid_in("toy.pid").is_some_and(|pid| pid != old));
    let new = server.pid();
    eventually("the new binary has workers", || children(new).len() == 2);
    new
}

/// Waits for something that other processes bring about.
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Running, and not merely waiting for its parent to take note of its end.
pub fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

pub fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

pub fn title(pid: i32) -> String {
    let bytes =
        fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
}
