//! The server without a configuration file: a folder, for this machine.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use daemun_tests::{Client, Folder, children, eventually, named, signals};

/// A server that was started in a folder.
struct Here {
    process: Child,
    port: u16,
}

impl Here {
    fn start(folder: &Folder, place: &Path) -> Here {
        let mut command = Command::new(named(folder, "daemun"));
        command.current_dir(place).stdin(Stdio::null()).stdout(Stdio::piped());
        let stderr = std::fs::File::create(folder.path("stderr")).unwrap();
        let mut process = command.stderr(stderr).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next());
        let port = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        Here { process, port }
    }

    fn get(&self, uri: &str) -> daemun_tests::Answer {
        Client::connect(self.port).get(uri)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        signals::send(self.process.id() as i32, signals::SIGTERM).unwrap();
        self.process.wait().unwrap();
    }
}

/// There is a configuration of the system's own on machines where daemun is installed.
fn is_installed() -> bool {
    Path::new("/etc/daemun/daemun.conf").exists()
}

#[test]
fn a_folder_is_served_without_what_is_hidden() {
    if is_installed() {
        return;
    }
    let folder = Folder::fresh();
    folder.write("site/a.md", "# \u{c4}");
    folder.write("site/deep/b.txt", "b");
    folder.write("site/.env", "SECRET=1");
    folder.write("site/.git/config", "[core]");
    let server = Here::start(&folder, &folder.path("site"));
    let page = server.get("/a.md");
    assert_eq!(page.header("Content-Type"), Some("text/markdown; charset=utf-8"));
    assert_eq!(server.get("/deep/b.txt").text(), "b");
    assert!(server.get("/deep/").text().contains("b.txt"), "a listing");
    for hidden in ["/.env", "/.git/config", "/%2egit/config", "/deep/../.env"] {
        assert_eq!(server.get(hidden).status, 404, "{hidden}");
    }
    assert!(!std::env::temp_dir().join(format!("daemun-{}.pid", server.port)).exists());
    let mut command = Command::new(named(&folder, "daemun"));
    let output = command.args(["-s", "reload"]).current_dir(folder.path("site")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has no pid file"), "{output:?}");
}

#[test]
fn nobody_reads_with_roots_rights() {
    let is_root = std::fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if is_installed() || !is_root {
        return;
    }
    let folder = Folder::fresh();
    folder.write("site/open.txt", "open");
    folder.write("site/own.txt", "own");
    let own = folder.path("site/own.txt");
    std::fs::set_permissions(&own, PermissionsExt::from_mode(0o600)).unwrap();
    {
        let server = Here::start(&folder, &folder.path("site"));
        assert_eq!(server.get("/open.txt").text(), "open");
        assert_eq!(server.get("/own.txt").status, 403);
    }
    let told = || folder.read("stderr");
    assert!(!told().contains("[warn]"), "{}", told());
    // As in /root, where nothing can be had.
    std::fs::set_permissions(folder.path("site"), PermissionsExt::from_mode(0o700)).unwrap();
    {
        let server = Here::start(&folder, &folder.path("site"));
        assert_eq!(server.get("/open.txt").status, 403);
        assert!(
            told().contains("[warn] user \"nobody\" serves this folder and can't"),
            "{}",
            told()
        );
    }
    // Somebody's folder is served as he sees it.
    for path in [folder.path("site"), own] {
        chown(path, Some(12_345), Some(12_345)).unwrap();
    }
    let server = Here::start(&folder, &folder.path("site"));
    assert_eq!(server.get("/own.txt").text(), "own");
}

#[test]
fn a_reader_that_has_gone_is_no_reason_to_end() {
    if is_installed() {
        return;
    }
    let folder = Folder::fresh();
    let mut command = Command::new(named(&folder, "daemun"));
    command.current_dir(folder.path("")).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(process.stdout.take());
    let master = process.id() as i32;
    eventually("a worker runs", || !children(master).is_empty());
    let worker = children(master);
    signals::send(master, signals::SIGTERM).unwrap();
    let mut told = String::new();
    process.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    process.wait().unwrap();
    assert!(!told.contains("panic"), "{told}");
    assert_eq!(worker.len(), 1);
}
