//! Servers that are measured.

use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use daemun_tests::{eventually, is_running, signals};

/// A server that runs until it is dropped.
pub struct Running(Child);

impl Running {
    /// Returns once it listens.
    pub fn start(command: &mut Command, port: u16) -> Running {
        // Apache ends its whole process group.
        let process = command.process_group(0).stdin(Stdio::null()).spawn().expect("a server");
        eventually("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Running(process)
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.pid();
        signals::send(pid, signals::SIGTERM).expect("a server that runs");
        eventually("the server ends", || !is_running(pid));
        let _ = self.0.wait();
    }
}
