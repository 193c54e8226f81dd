//! The servers that are compared, with one configuration.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use daemun_bench::running::Running;
use daemun_tests::{Folder, binary, eventually, free_port, memory_of_all};

const CONFIGURATION: &str = "\
    daemon off;
    pid {dir}/server.pid;
    error_log {dir}/error.log;
    worker_processes 1;
    worker_cpu_affinity 1;
    worker_rlimit_nofile 20000;
    events { worker_connections 12000; }
    http {
        access_log off;
        client_header_timeout 300s;
        keepalive_timeout 300s;
        client_body_temp_path {dir}/body;
        server { listen 127.0.0.1:{port} backlog=4096; root {dir}; }
    }";

#[derive(Clone, Copy)]
pub enum Kind {
    Nginx,
    Daemun,
}

impl Kind {
    pub const BOTH: [Kind; 2] = [Kind::Nginx, Kind::Daemun];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx",
            Kind::Daemun => "daemun",
        }
    }

    fn program(self) -> PathBuf {
        match self {
            Kind::Nginx => Path::new("/usr/sbin/nginx").to_owned(),
            Kind::Daemun => binary().to_owned(),
        }
    }
}

/// Runs until it is dropped.
pub struct Server {
    process: Running,
    port: u16,
    _folder: Folder,
}

impl Server {
    /// Returns once it has answered a request.
    pub fn start(kind: Kind) -> Server {
        let folder = Folder::fresh();
        let port = free_port();
        let text = CONFIGURATION.replace("{dir}", &folder.path("").display().to_string());
        folder.write("server.conf", text.replace("{port}", &port.to_string()));
        folder.write("index.html", [b'x'; 1024]);
        let stderr = File::create(folder.path("stderr")).expect("a file");
        let mut command = Command::new(kind.program());
        command.arg("-p").arg(folder.path("")).args(["-c", "server.conf", "-e", "error.log"]);
        let process = Running::start(command.stderr(stderr), port);
        eventually("the server answers", || answers(port));
        Server { process, port, _folder: folder }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kilobytes of all its processes.
    pub fn memory(&self) -> usize {
        memory_of_all(self.process.pid())
    }
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let sent = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
    let mut answer = Vec::new();
    sent.is_ok() && stream.read_to_end(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 200 ")
}
