//! Programs that serve beside the server: applications and caches.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Folder, PATIENCE, eventually, signals};

/// A program that runs as long as its test.
pub struct Backend(Child);

impl Backend {
    /// Starts it, and waits until it listens on the UNIX socket. What it says goes to the file `backend`.
    pub fn start(folder: &Folder, command: &mut Command, socket: &Path) -> Backend {
        let output = File::create(folder.path("backend")).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut backend = Backend(command.spawn().unwrap());
        eventually("a program listens", || {
            if let Some(status) = backend.0.try_wait().unwrap() {
                panic!("{command:?} ended with {status}:\n{}", folder.read("backend"));
            }
            std::os::unix::net::UnixStream::connect(socket).is_ok()
        });
        backend
    }

    /// php-fpm with so many processes, with sessions and uploads in the folder.
    pub fn php(folder: &Folder, processes: usize) -> Backend {
        let socket = folder.path("php.sock");
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout);
        let configuration = include_str!("applications/php-fpm.conf")
            .replace("{dir}", folder.path("").to_str().unwrap().trim_end_matches('/'))
            .replace("{user}", user.unwrap().trim())
            .replace("{processes}", &processes.to_string());
        folder.write("php-fpm.conf", configuration);
        folder.write("app.php", include_str!("applications/app.php"));
        let mut command = Command::new(php_fpm());
        command.args(["-n", "-F", "-R", "-y"]).arg(folder.path("php-fpm.conf"));
        Backend::start(folder, &mut command, &socket)
    }

    /// uWSGI with a Python application.
    pub fn uwsgi(folder: &Folder) -> Backend {
        let socket = folder.path("uwsgi.sock");
        folder.write("wsgi.py", include_str!("applications/wsgi.py"));
        let mut command = Command::new("uwsgi_python3");
        command.arg("--socket").arg(&socket).arg("--wsgi-file").arg(folder.path("wsgi.py"));
        command.args(["--master", "--processes", "2", "--need-app", "--chmod-socket=666"]);
        Backend::start(folder, &mut command, &socket)
    }

    /// A SCGI server in Python.
    pub fn scgi(folder: &Folder) -> Backend {
        Backend::python(folder, "scgi", include_str!("applications/scgi.py"))
    }

    /// A server that sends every message of a WebSocket back.
    pub fn websockets(folder: &Folder) -> Backend {
        Backend::python(folder, "echo", include_str!("applications/echo.py"))
    }

    /// A program in Python that listens on the path it is given.
    fn python(folder: &Folder, name: &str, program: &str) -> Backend {
        let (file, socket) = (format!("{name}.py"), folder.path(format!("{name}.sock")));
        folder.write(&file, program);
        // Debian's, which has Debian's packages.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(folder.path(&file)).arg(&socket);
        Backend::start(folder, &mut command, &socket)
    }

    pub fn memcached(folder: &Folder) -> Backend {
        let socket = folder.path("memcached.sock");
        let mut command = Command::new("memcached");
        command.args(["-u", "root", "-a", "0666", "-s"]).arg(&socket);
        Backend::start(folder, &mut command, &socket)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // A master that is told to end sees to its workers.
        let _ = signals::send(self.0.id() as i32, signals::SIGTERM);
        let until = Instant::now() + PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian has the version in the name.
fn php_fpm() -> PathBuf {
    let programs = std::fs::read_dir("/usr/sbin").unwrap();
    let mut programs = programs.map(|program| program.unwrap().path());
    let is_it = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm"))
    };
    programs.find(is_it).expect("php-fpm is installed")
}
