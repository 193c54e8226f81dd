//! The real server, started from a configuration as a user would write it.

use std::fs::File;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::places::with_places;
use crate::{
    Answer, Client, Engine, Folder, Output, PATIENCE, children, eventually, free_port, named,
    signals,
};

/// What stands around an `http` block's content where a test shows no more.
const AROUND_HTTP: &str = "\
    daemon off;
    pid {dir}/server.pid;
    error_log {dir}/error.log info;
    events { {events} }
    http {
        access_log off;
        client_body_temp_path {dir}/body;
        %%
    }";

/// A folder with files and a configuration, before the server starts.
pub struct Setup {
    pub folder: Folder,
    ports: [u16; 3],
    program: &'static str,
    engine: Option<Engine>,
    arguments: Vec<String>,
    environment: Vec<(&'static str, &'static str)>,
    model: Option<&'static str>,
}

impl Setup {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Setup {
        Setup {
            folder: Folder::fresh(),
            ports: [free_port(), free_port(), free_port()],
            program: "daemun",
            engine: Some(Engine::current()),
            arguments: Vec::new(),
            environment: Vec::new(),
            model: None,
        }
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Setup {
        self.folder.write(path, content);
        self
    }

    /// Another name of the program: called `nginx` it is nginx. A path is another program.
    pub fn called(mut self, program: &'static str) -> Setup {
        self.program = program;
        if program.starts_with('/') { self.with_any_engine() } else { self }
    }

    /// With a configuration that another program understands, too.
    pub fn with_any_engine(mut self) -> Setup {
        self.engine = None;
        self
    }

    /// For tests of one process model: the directive that chooses it.
    pub fn mpm(mut self, directive: &'static str) -> Setup {
        self.model = Some(directive);
        self
    }

    pub fn argument(mut self, argument: &str) -> Setup {
        self.arguments.push(argument.to_owned());
        self
    }

    pub fn environment(mut self, name: &'static str, value: &'static str) -> Setup {
        self.environment.push((name, value));
        self
    }

    /// `{port}`.
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// Writes the configuration and starts with it; its `{dir}`, `{port}`, `{port2}`, `{port3}` and `{events}`
    /// are filled in.
    pub fn start(self, configuration: &str) -> Server {
        self.configure(configuration);
        let mut command = self.command(&[]);
        let stderr = File::create(self.folder.path("stderr")).unwrap();
        // A server that outlives a failed test must not keep anybody's pipe open.
        let stdout = File::create(self.folder.path("stdout")).unwrap();
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let process = command.spawn().unwrap();
        let mut server = Server { setup: self, process, expected: Vec::new() };
        server.wait_until_ready();
        server
    }

    /// The same for the content of an `http` block.
    pub fn http(self, content: &str) -> Server {
        self.start(&AROUND_HTTP.replace("%%", content))
    }

    /// Runs the program with this configuration and these arguments to its end.
    pub fn run(&self, configuration: &str, arguments: &[&str]) -> Output {
        self.configure(configuration);
        Output::of(&mut self.command(arguments))
    }

    /// What the configuration does not place gets a place in the test's folder.
    pub fn configure(&self, configuration: &str) {
        self.folder.write("server.conf", self.filled(&with_places(configuration)));
    }

    /// A text with the placeholders filled in.
    pub fn filled(&self, text: &str) -> String {
        let [port, port2, port3] = self.ports.map(|port| port.to_string());
        let model = self.model.or(self.engine.map(|engine| engine.mpm));
        let mpm = model.filter(|_| text.contains("{events}")).unwrap_or_default();
        format!("{mpm}{text}")
            .replace("{dir}", self.folder.path("").to_str().unwrap().trim_end_matches('/'))
            .replace("{port}", &port)
            .replace("{port2}", &port2)
            .replace("{port3}", &port3)
            .replace("{events}", self.engine.map_or("", |engine| engine.events))
    }

    /// The program with the test's configuration, and messages to standard error until it is read.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = match self.program.starts_with('/') {
            true => self.program.into(),
            false => named(&self.folder, self.program),
        };
        let mut command = Command::new(program);
        command.arg("-p").arg(self.folder.path(""));
        command.args(["-c", "server.conf", "-e", "error.log"]);
        command.args(&self.arguments).args(arguments);
        command.envs(self.environment.iter().copied());
        command
    }
}

pub struct Server {
    setup: Setup,
    process: Child,
    /// Parts of lines of the error log that a test provokes.
    expected: Vec<&'static str>,
}

impl Server {
    pub fn http(content: &str) -> Server {
        Setup::new().http(content)
    }

    pub fn start(configuration: &str) -> Server {
        Setup::new().start(configuration)
    }

    /// An `[alert]` or `[emerg]` line with this text is part of the test.
    pub fn expect(&mut self, text: &'static str) {
        self.expected.push(text);
    }

    pub fn folder(&self) -> &Folder {
        &self.setup.folder
    }

    pub fn port(&self) -> u16 {
        self.setup.port()
    }

    /// `{port2}`.
    pub fn port2(&self) -> u16 {
        self.setup.ports[1]
    }

    pub fn filled(&self, text: &str) -> String {
        self.setup.filled(text)
    }

    pub fn client(&self) -> Client {
        Client::connect(self.port())
    }

    /// One request on a connection of its own.
    pub fn get(&self, uri: &str) -> Answer {
        self.request("GET", uri, &[])
    }

    /// The same with header fields.
    pub fn get_with(&self, uri: &str, fields: &[&str]) -> Answer {
        self.request("GET", uri, fields)
    }

    /// The same with the name of a host.
    pub fn get_from(&self, host: &str, uri: &str) -> Answer {
        let mut client = self.client();
        client.send(format!("GET {uri} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        client.answer()
    }

    pub fn request(&self, method: &str, uri: &str, fields: &[&str]) -> Answer {
        let mut request = format!("{method} {uri} HTTP/1.1\r\nHost: localhost\r\n");
        for field in fields {
            request += &format!("{field}\r\n");
        }
        let mut client = self.client();
        client.send(request + "Connection: close\r\n\r\n");
        match method {
            "HEAD" => client.head(),
            _ => client.answer(),
        }
    }

    /// Raw bytes on a connection of their own, and everything that comes back.
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> String {
        let answer = self.client().send(bytes).rest();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The first process: the master, or the only one.
    pub fn pid(&self) -> i32 {
        self.process.id() as i32
    }

    pub fn signal(&self, signal: i32) {
        signals::send(self.pid(), signal).unwrap();
    }

    /// Writes the configuration anew, without telling the server; the content of an `http` block.
    pub fn configure_http(&self, content: &str) {
        self.setup.configure(&AROUND_HTTP.replace("%%", content));
    }

    pub fn configure(&self, configuration: &str) {
        self.setup.configure(configuration);
    }

    /// Runs the program beside the server: `-s reload` and its like.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Output::of(&mut self.setup.command(arguments))
    }

    /// Runs one of the program's commands, with the options of the server.
    pub fn run_command(&self, words: &[&str]) -> Output {
        let options = self.setup.command(&[]);
        let mut command = Command::new(options.get_program());
        Output::of(command.args(words).args(options.get_args()))
    }

    pub fn error_log(&self) -> String {
        self.folder().read("error.log")
    }

    /// Waits until the error log has this text.
    pub fn logs(&self, text: &str) {
        self.file_has("error.log", text);
    }

    /// Waits until a file in the test's folder has this text.
    pub fn file_has(&self, file: &str, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.folder().read(file).contains(text) {
            assert!(
                Instant::now() < until,
                "{file} never says {text:?}:\n{}",
                self.folder().read(file)
            );
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Waits for the end of a server that was told to stop; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the server ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// The pid file stands once the sockets are open, and then connections are accepted.
    fn wait_until_ready(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", self.messages());
            }
            if self.has_pid_file() && TcpStream::connect(("127.0.0.1", self.port())).is_ok() {
                return;
            }
            assert!(Instant::now() < until, "never ready:\n{}", self.messages());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    pub fn pid_file(&self) -> PathBuf {
        self.folder().path("server.pid")
    }

    fn has_pid_file(&self) -> bool {
        std::fs::metadata(self.pid_file()).is_ok_and(|file| file.len() > 0)
    }

    fn messages(&self) -> String {
        self.folder().read("stderr") + &self.error_log()
    }

    fn stop(&mut self) -> Result<(), String> {
        if self.process.try_wait().unwrap().is_none() {
            self.signal(signals::SIGTERM);
        }
        match self.wait() {
            Some(0) => {}
            code => return Err(format!("it ended with {code:?}")),
        }
        let log = self.messages();
        let loud = ["[alert]", "[emerg]", "panic"];
        let unexpected = log.lines().find(|line| {
            loud.iter().any(|word| line.contains(word))
                && !self.expected.iter().any(|text| line.contains(text))
        });
        match unexpected {
            Some(line) => Err(format!("its log says: {line}")),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- messages of the server:\n{}", self.messages());
            let workers = children(self.pid());
            let _ = self.process.kill();
            let _ = self.process.wait();
            for worker in workers {
                // It may have ended with its master.
                let _ = signals::send(worker, signals::SIGKILL);
            }
            return;
        }
        if let Err(complaint) = self.stop() {
            panic!("{complaint}\n{}", self.messages());
        }
    }
}
