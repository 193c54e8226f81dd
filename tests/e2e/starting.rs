//! Starts, tests and signals that have to fail say why, where a user sees it; and nothing of a stranger's is touched.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use daemun_tests::{Server, Setup, children, eventually, signals};

/// What stands around a test's lines.
fn configuration(main: &str, http: &str) -> String {
    format!(
        "daemon off;
         {main}
         error_log {{dir}}/error.log info;
         events {{ {{events}} }}
         http {{
             access_log {{dir}}/access.log;
             {http}
             server {{ listen 127.0.0.1:{{port}}; return 200 $pid; }}
         }}"
    )
}

const PID: &str = "pid {dir}/server.pid;";

#[test]
fn a_temporary_folder_that_cannot_be_made_is_told_of_by_every_way_to_start() {
    for (folder, sentence) in [
        ("client_body_temp_path {dir}/missing/body;", "missing/body\" failed (2: No such file"),
        ("proxy_temp_path {dir}/missing/proxy;", "missing/proxy\" failed (2: No such file"),
        ("fastcgi_temp_path {dir}/a-file;", "a-file\" failed (20: Not a directory)"),
        ("client_body_temp_path {dir}/a-file/body;", "a-file/body\" failed (20: Not a directory)"),
    ] {
        let setup = Setup::new().file("a-file", "x");
        let wrong = configuration(PID, folder);
        for arguments in [&[][..], &["-t"]] {
            let output = setup.run(&wrong, arguments);
            assert_eq!(output.code, Some(1), "{folder} {arguments:?}: {}", output.stderr);
            assert!(output.stderr.contains(sentence), "{folder} {arguments:?}: {}", output.stderr);
            assert!(output.stderr.contains("[emerg]"), "{}", output.stderr);
            assert!(!output.stderr.contains("is successful"), "{}", output.stderr);
        }
    }
}

#[test]
fn a_reload_that_cannot_make_a_folder_says_why() {
    let mut server = Server::start(&configuration(PID, "client_body_temp_path {dir}/body;"));
    server.expect("missing/body");
    server.configure(&configuration(PID, "client_body_temp_path {dir}/missing/body;"));
    let output = server.run(&["-s", "reload"]);
    assert_eq!(output.code, Some(1));
    let sentence = "missing/body\" failed (2: No such file or directory)";
    assert!(output.stderr.contains(sentence), "{}", output.stderr);
    server.logs(sentence);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_folder_that_is_right_already_is_left_alone() {
    let setup = Setup::new();
    fs::create_dir(setup.folder.path("body")).unwrap();
    let server = setup.start(&configuration(PID, "client_body_temp_path {dir}/body;"));
    let before = fs::metadata(server.folder().path("body")).unwrap();
    assert_eq!(server.run(&["-s", "reload"]).code, Some(0));
    let after = fs::metadata(server.folder().path("body")).unwrap();
    assert_eq!((after.ctime(), after.ctime_nsec()), (before.ctime(), before.ctime_nsec()));
}

#[test]
fn no_signal_goes_to_a_process_that_is_no_master() {
    let setup = Setup::new();
    // Not a child of the test alone: it must be there to be asked.
    let mut stranger = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let pid = stranger.id();
    eventually("it sleeps", || {
        fs::read(format!("/proc/{pid}/cmdline")).unwrap().starts_with(b"sleep")
    });
    setup.folder.write("server.pid", format!("{pid}\n"));
    let configuration = configuration(PID, "client_body_temp_path {dir}/body;");
    for word in ["reload", "reopen", "quit", "stop"] {
        let output = setup.run(&configuration, &["-s", word]);
        assert_eq!(output.code, Some(1), "{word}: {}", output.stderr);
        let sentence = format!("process {pid}, named in \"");
        assert!(output.stderr.contains(&sentence), "{word}: {}", output.stderr);
        assert!(
            output.stderr.contains("is not a master process but \"sleep 60\""),
            "{}",
            output.stderr
        );
    }
    assert!(stranger.try_wait().unwrap().is_none(), "it was told to end");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

fn standard_error(pid: i32) -> String {
    let link = fs::read_link(format!("/proc/{pid}/fd/2")).unwrap_or_default();
    link.display().to_string()
}

#[test]
fn the_standard_error_follows_a_log_that_is_reopened() {
    let server = Server::start(&configuration(PID, "client_body_temp_path {dir}/body;"));
    assert_eq!(server.get("/").status, 200);
    let log = server.folder().path("error.log");
    let rotated = server.folder().path("error.log.1");
    let all = |path: &Path| {
        let processes = children(server.pid()).into_iter().chain([server.pid()]);
        processes.map(standard_error).all(|target| Path::new(&target) == path)
    };
    eventually("it is the log", || all(&log.canonicalize().unwrap()));
    fs::rename(&log, &rotated).unwrap();
    assert_eq!(server.run(&["-s", "reopen"]).code, Some(0));
    eventually("it is the new log", || log.exists() && all(&log.canonicalize().unwrap()));
}

/// A user that is not root; nothing of these tests is true for anybody but root.
const STRANGER: u32 = 65_534;

fn is_root() -> bool {
    daemun_sys::identity::effective_uid() == 0
}

/// A folder of the stranger's, and a file of root's outside.
fn with_strangers_folder() -> Setup {
    let setup = Setup::new().file("secret", "kept\n");
    fs::create_dir(setup.folder.path("theirs")).unwrap();
    lchown(setup.folder.path("theirs"), Some(STRANGER), None).unwrap();
    setup
}

fn strangers_link(setup: &Setup, target: &str, link: &str) {
    let link = setup.folder.path(link);
    symlink(target, &link).unwrap();
    lchown(&link, Some(STRANGER), None).unwrap();
}

#[test]
fn a_pid_file_is_not_written_through_a_strangers_link() {
    if !is_root() {
        return;
    }
    let body = "client_body_temp_path {dir}/body;";
    for (target, link, pid) in [
        ("../secret", "theirs/server.pid", "theirs/server.pid"),
        ("..", "theirs/way", "theirs/way/secret"),
    ] {
        let setup = with_strangers_folder();
        strangers_link(&setup, target, link);
        let wrong = configuration(&format!("pid {{dir}}/{pid};"), body);
        for arguments in [&[][..], &["-t"]] {
            let output = setup.run(&wrong, arguments);
            assert_eq!(output.code, Some(1), "{arguments:?}: {}", output.stderr);
            let sentence = "failed (40: Too many levels of symbolic links)";
            assert!(output.stderr.contains(sentence), "{arguments:?}: {}", output.stderr);
        }
        assert_eq!(setup.folder.read("secret"), "kept\n");
    }
}

#[test]
fn a_reopened_log_gives_nobody_what_a_link_leads_to() {
    if !is_root() {
        return;
    }
    let setup = with_strangers_folder();
    let logs = "client_body_temp_path {dir}/body; access_log {dir}/theirs/access.log;";
    let mut server = setup.start(&configuration(PID, logs));
    server.expect("Too many levels of symbolic links");
    server.expect("Permission denied");
    assert_eq!(server.get("/").status, 200);
    let (log, secret) = (server.folder().path("theirs/access.log"), server.folder().path("secret"));
    fs::remove_file(&log).unwrap();
    symlink(&secret, &log).unwrap();
    lchown(&log, Some(STRANGER), None).unwrap();
    assert_eq!(server.run(&["-s", "reopen"]).code, Some(0));
    server.logs("Too many levels of symbolic links");
    // A second name of the file is no way to it either.
    fs::remove_file(&log).unwrap();
    fs::hard_link(&secret, &log).unwrap();
    server.signal(signals::SIGUSR1);
    let reopened = |log: &str| log.matches("reopening logs").count() >= 4;
    eventually("master and worker reopened twice", || reopened(&server.error_log()));
    let secret = fs::metadata(secret).unwrap();
    assert_eq!((secret.uid(), secret.mode() & 0o777), (0, 0o644));
}

#[test]
fn links_that_root_made_lead_to_logs() {
    let setup = Setup::new();
    fs::create_dir(setup.folder.path("elsewhere")).unwrap();
    symlink("elsewhere", setup.folder.path("logs")).unwrap();
    symlink("../elsewhere/a.log", setup.folder.path("elsewhere/access.log")).unwrap();
    let logs = "client_body_temp_path {dir}/body; access_log {dir}/logs/access.log;";
    let server = setup.start(&configuration("pid {dir}/server.pid;", logs));
    assert_eq!(server.get("/first").status, 200);
    server.file_has("elsewhere/a.log", "GET /first");
    fs::rename(server.folder().path("elsewhere/a.log"), server.folder().path("old")).unwrap();
    assert_eq!(server.run(&["-s", "reopen"]).code, Some(0));
    let next = server.folder().path("elsewhere/a.log");
    eventually("the log is there again", || {
        server.get("/second");
        fs::metadata(&next).is_ok_and(|file| file.len() > 0)
    });
}
