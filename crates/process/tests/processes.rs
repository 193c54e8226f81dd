//! The processes, with real ones: start, reload, respawn, upgrade, reopen, the end.
//!
//! This program is the server under test, too: `processes toy FOLDER`. `processes soak` runs the
//! long tests; any other argument picks tests by name.

#[path = "processes/server.rs"]
mod server;
#[path = "processes/soak.rs"]
mod soak;
#[path = "processes/toy.rs"]
mod toy;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use daemun_core::log::Log;
use daemun_process::signaller::{self, Request};
use daemun_sys::signals;

use server::{Server, begin_upgrade, children, eventually, is_running, title, under_load};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.next().unwrap_or_default();
    if wanted == "toy" {
        let arguments = daemun_sys::title::claim().unwrap();
        std::process::exit(toy::run(arguments));
    }
    let (tests, wanted) = match &*wanted {
        "soak" => (&soak::TESTS[..], ""),
        wanted => (&TESTS[..], wanted),
    };
    for (name, test) in tests {
        if wanted.starts_with('-') || name.contains(wanted) {
            let start = Instant::now();
            test();
            println!("test {name} ... ok ({} ms)", start.elapsed().as_millis());
        }
    }
}

const TESTS: [(&str, fn()); 15] = [
    ("a_start_is_over_when_the_pid_file_stands", a_start_is_over_when_the_pid_file_stands),
    (
        "an_address_in_use_is_tried_again_and_then_given_up",
        an_address_in_use_is_tried_again_and_then_given_up,
    ),
    ("reloads_under_load_lose_nothing", reloads_under_load_lose_nothing),
    (
        "reuseport_sockets_survive_fewer_and_more_workers",
        reuseport_sockets_survive_fewer_and_more_workers,
    ),
    (
        "a_reload_that_fails_says_why_and_changes_nothing",
        a_reload_that_fails_says_why_and_changes_nothing,
    ),
    (
        "workers_that_cannot_start_leave_the_old_ones_serving",
        workers_that_cannot_start_leave_the_old_ones_serving,
    ),
    ("a_killed_worker_is_replaced_at_once", a_killed_worker_is_replaced_at_once),
    (
        "an_upgrade_and_the_way_back_cut_no_connection",
        an_upgrade_and_the_way_back_cut_no_connection,
    ),
    ("logs_are_reopened_by_master_and_workers", logs_are_reopened_by_master_and_workers),
    ("a_graceful_end_removes_socket_paths", a_graceful_end_removes_socket_paths),
    ("a_single_process_reloads_in_place", a_single_process_reloads_in_place),
    ("a_thousand_idle_connections_pass_on", a_thousand_idle_connections_pass_on),
    (
        "an_old_worker_leaves_with_its_shutdown_timeout",
        an_old_worker_leaves_with_its_shutdown_timeout,
    ),
    ("root_gives_workers_a_user_and_limits", root_gives_workers_a_user_and_limits),
    ("an_nginx_is_upgraded_and_taken_back", an_nginx_is_upgraded_and_taken_back),
];

fn a_start_is_over_when_the_pid_file_stands() {
    let server = Server::start("start", "listen 127.0.0.1:PORT\nworkers 2\ntext one\n");
    let pid = server.pid();
    assert_eq!(server.client().ask().unwrap().0, "one");
    assert!(title(pid).starts_with("toy: master process /"), "{}", title(pid));
    eventually("both workers run", || children(pid).len() == 2);
    let titles = || children(pid).into_iter().all(|worker| title(worker) == "toy: worker process");
    eventually("both workers have their title", titles);
    server.stop();
}

fn an_address_in_use_is_tried_again_and_then_given_up() {
    let server = Server::prepare("in-use", "listen 127.0.0.1:PORT\n");
    let _holder = std::net::TcpListener::bind(("127.0.0.1", server.port)).unwrap();
    let output = server.command().output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    let sentence =
        format!("bind() to 127.0.0.1:{} failed (98: Address already in use)", server.port);
    assert_eq!(text.matches(&sentence).count(), 5, "{text}");
    assert!(text.contains("still could not bind()"));
    assert!(!server.folder.join("toy.pid").exists());
    fs::remove_dir_all(&server.folder).unwrap();
}

fn reloads_under_load_lose_nothing() {
    let configuration = |text: usize| format!("listen 127.0.0.1:PORT\nworkers 3\ntext {text}\n");
    let server = Server::start("reload", &configuration(0));
    let pid = server.pid();
    let mut idle = server.client();
    idle.ask().unwrap();
    idle.send(b"half a li").unwrap();
    let answers = under_load(&server, || {
        for round in 1..=30 {
            server.configure(&configuration(round));
            server.reload().unwrap();
        }
    });
    assert!(answers > 100, "{answers}");
    eventually("only the last generation is left", || children(pid).len() == 3);
    idle.send(b"ne\n").unwrap();
    let (text, worker, count) = idle.answer().unwrap();
    assert_eq!((&*text, count), ("30", 2));
    eventually("its number stands in the titles", || {
        title(worker) == "toy: worker process (generation 31)"
    });
    server.stop();
}

fn reuseport_sockets_survive_fewer_and_more_workers() {
    let configuration =
        |workers: usize| format!("listen 127.0.0.1:PORT reuseport\nworkers {workers}\ntext t\n");
    let server = Server::start("reuseport", &configuration(4));
    under_load(&server, || {
        for workers in [2, 4, 1, 3, 4] {
            server.configure(&configuration(workers));
            server.reload().unwrap();
        }
    });
    server.stop();
}

fn a_reload_that_fails_says_why_and_changes_nothing() {
    let server = Server::start("failed-reload", "listen 127.0.0.1:PORT\ntext one\n");
    let mut client = server.client();
    let (_, worker, _) = client.ask().unwrap();
    server.configure("lisen 127.0.0.1:PORT\n");
    assert_eq!(
        server.reload(),
        Err(format!("unknown directive \"lisen 127.0.0.1:{}\"", server.port))
    );

    let path = server.folder.join("new.sock");
    server.configure("listen unix:FOLDER/new.sock\nlisten 1.2.3.4:80\n");
    assert_eq!(
        server.reload(),
        Err("bind() to 1.2.3.4:80 failed (99: Cannot assign requested address)".to_owned())
    );
    assert!(!path.exists(), "what was bound before the failure is gone");
    assert_eq!(client.ask().unwrap(), ("one".to_owned(), worker, 2));
    server.stop();
}

fn workers_that_cannot_start_leave_the_old_ones_serving() {
    let server = Server::start("dies", "listen 127.0.0.1:PORT\ntext one\n");
    let mut client = server.client();
    let (_, worker, _) = client.ask().unwrap();
    server.configure("listen 127.0.0.1:PORT\ndies\n");
    server.signal(signals::SIGHUP);
    eventually("the new worker fails twice", || {
        server.log().matches("exited with code 1").count() >= 2
    });
    assert_eq!(client.ask().unwrap(), ("one".to_owned(), worker, 2));

    server.configure("listen 127.0.0.1:PORT\ntext three\n");
    server.reload().unwrap();
    eventually("the new worker has the connection", || client.ask().unwrap().0 == "three");
    server.stop();
}

fn a_killed_worker_is_replaced_at_once() {
    let server = Server::start("killed", "listen 127.0.0.1:PORT\ntext one\n");
    let pid = server.pid();
    let replaced = |_| {
        let (_, worker, _) = server.client().ask().unwrap();
        let start = Instant::now();
        signals::send(worker, signals::SIGKILL).unwrap();
        eventually("another worker", || children(pid).iter().any(|child| *child != worker));
        start.elapsed()
    };
    // One that is held back takes a second; a busy machine does not make all of these slow.
    let quickest = (0..10).map(replaced).min().unwrap();
    assert!(quickest < Duration::from_millis(500), "{quickest:?}");
    assert!(server.log().contains(" [alert] "));
    assert!(server.log().contains("exited on signal 9"));
    server.stop();
}

fn an_upgrade_and_the_way_back_cut_no_connection() {
    let server = Server::start(
        "upgrade",
        "listen 127.0.0.1:PORT\nlisten unix:FOLDER/toy.sock\nworkers 2\ntext one\n",
    );
    let old = server.pid();
    let path = server.folder.join("toy.sock");
    let mut kept = server.client();
    kept.ask().unwrap();
    under_load(&server, || {
        for _ in 0..3 {
            let new = begin_upgrade(&server, old);
            signals::send(old, signals::SIGWINCH).unwrap();
            eventually("the old workers end", || children(old) == [new]);
            assert!(children(new).contains(&kept.ask().unwrap().1));

            signals::send(old, signals::SIGHUP).unwrap();
            eventually("the old binary has workers again", || children(old).len() == 3);
            signals::send(new, signals::SIGQUIT).unwrap();
            eventually("the new binary ends", || !is_running(new));
            eventually("the pid file is back", || server.pid_in("toy.pid") == Some(old));
            assert!(children(old).contains(&kept.ask().unwrap().1));
        }
        let new = begin_upgrade(&server, old);
        signals::send(old, signals::SIGQUIT).unwrap();
        eventually("the old binary ends", || !is_running(old));
        assert!(children(new).contains(&kept.ask().unwrap().1));
    });
    assert!(UnixStream::connect(&path).is_ok(), "the path belongs to the binary that stayed");
    server.stop();
    assert!(!path.exists());
}

fn logs_are_reopened_by_master_and_workers() {
    let server = Server::start("reopen", "listen 127.0.0.1:PORT\nworkers 2\ntext one\n");
    eventually("both workers run", || children(server.pid()).len() == 2);
    server.client().ask().unwrap();
    let (log, moved) = (server.folder.join("toy.log"), server.folder.join("toy.log.1"));
    fs::rename(&log, &moved).unwrap();
    server.signal(signals::SIGUSR1);
    eventually("the workers say so in the old file or the new", || {
        let both = fs::read_to_string(&moved).unwrap() + &server.log();
        both.matches("] ").count() > 0 && both.matches(": reopening logs").count() == 3
    });
    let length = fs::metadata(&moved).unwrap().len();
    server.signal(signals::SIGHUP);
    eventually("lines go to the new file", || server.log().contains("start worker processes"));
    eventually("old workers end into the new file", || {
        server.log().matches("exited with code 0").count() == 2
    });
    assert_eq!(
        fs::metadata(&moved).unwrap().len(),
        length,
        "nobody writes to the old file any more"
    );
    server.stop();
}

fn a_graceful_end_removes_socket_paths() {
    let server = Server::start("quit", "listen unix:FOLDER/toy.sock\ntext one\n");
    let (pid, path) = (server.pid(), server.folder.join("toy.sock"));
    assert!(UnixStream::connect(&path).is_ok());
    server.signal(signals::SIGQUIT);
    eventually("the server ends", || !is_running(pid));
    assert!(!path.exists());
    let log = server.log();
    for sentence in
        ["(SIGQUIT) received from", "gracefully shutting down", "exited with code 0", ": exit"]
    {
        assert!(log.contains(sentence), "{sentence}: {log}");
    }
    fs::remove_dir_all(&server.folder).unwrap();
}

fn a_single_process_reloads_in_place() {
    let configuration =
        |text: &str| format!("listen 127.0.0.1:PORT\nmaster_process off\ntext {text}\n");
    let server = Server::start("single", &configuration("one"));
    let pid = server.pid();
    let mut kept = server.client();
    assert_eq!(kept.ask().unwrap(), ("one".to_owned(), pid, 1));
    under_load(&server, || {
        for round in 2..6 {
            server.configure(&configuration(&round.to_string()));
            server.reload().unwrap();
        }
    });
    // Until the new thread has it, the old one serves it.
    let mut asked = 1;
    eventually("the kept connection is the new thread's", || {
        asked += 1;
        let (text, process, requests) = kept.ask().unwrap();
        assert_eq!((process, requests), (pid, asked));
        text == "5"
    });
    server.stop();
}

fn a_thousand_idle_connections_pass_on() {
    let server = Server::start("idle", "listen 127.0.0.1:PORT\nworkers 4\ntext one\n");
    let pid = server.pid();
    let mut clients: Vec<_> = (0..1000).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.ask().unwrap().2, 1));
    for round in 2..6 {
        server.reload().unwrap();
        eventually("the old workers end", || children(pid).len() == 4);
        clients.iter_mut().for_each(|client| assert_eq!(client.ask().unwrap().2, round));
    }
    server.stop();
}

fn an_old_worker_leaves_with_its_shutdown_timeout() {
    let server =
        Server::start("timeout", "listen 127.0.0.1:PORT\ntext one\nshutdown_timeout 100\n");
    let pid = server.pid();
    let mut client = server.client();
    client.ask().unwrap();
    client.send(b"half").unwrap();
    eventually("the half line is there", || server.client().ask().is_ok());
    server.signal(signals::SIGQUIT);
    eventually("the server ends in spite of it", || !is_running(pid));
    fs::remove_dir_all(&server.folder).unwrap();
}

fn root_gives_workers_a_user_and_limits() {
    if daemun_sys::identity::effective_uid() != 0 {
        println!("  (needs root: nothing was checked)");
        return;
    }
    let server = Server::start(
        "user",
        "listen 127.0.0.1:PORT\ntext one\nuser nobody\nnofile 777\npriority 5\n",
    );
    let (_, worker, _) = server.client().ask().unwrap();
    let (uid, gid) = daemun_sys::credentials::user("nobody").unwrap().unwrap();
    let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    assert!(status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n")), "{status}");
    assert!(status.contains(&format!("Gid:\t{gid}\t{gid}\t{gid}\t{gid}\n")), "{status}");
    let limits = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().filter(|word| *word == "777").count(), 2, "{files}");
    let stat = fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
    assert_eq!(stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16), Some("5"), "{stat}");

    let log = server.folder.join("toy.log");
    fs::rename(&log, server.folder.join("toy.log.1")).unwrap();
    server.signal(signals::SIGUSR1);
    eventually("the log is the workers' to reopen", || {
        fs::metadata(&log)
            .is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == uid)
    });
    server.stop();
}

/// nginx executes its own path: there stands a script by then, which becomes the toy with all that
/// it inherited.
fn an_nginx_is_upgraded_and_taken_back() {
    let server = Server::prepare("nginx", "listen 127.0.0.1:PORT\ntext toy\n");
    let folder = server.folder.display();
    let binary = server.folder.join("server");
    let nginx = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"]
        .into_iter()
        .find(|path| fs::exists(path).unwrap());
    fs::copy(nginx.expect("the Debian package nginx-light"), &binary).unwrap();
    let port = server.port;
    let configuration = format!(
        "pid {folder}/toy.pid; error_log {folder}/nginx.log notice; events {{}}
         http {{ access_log off; server {{ listen 127.0.0.1:{port}; return 200 nginx; }} }}"
    );
    fs::write(server.folder.join("nginx.conf"), configuration).unwrap();
    let start = Command::new(&binary)
        .arg("-c")
        .arg(server.folder.join("nginx.conf"))
        .arg("-e")
        .arg("stderr")
        .status();
    assert!(start.unwrap().success());
    let old = server.pid();
    eventually("nginx listens to signals", || !children(old).is_empty());

    let script = server.folder.join("script");
    let toy = std::env::current_exe().unwrap();
    fs::write(&script, format!("#!/bin/sh\nexec {} toy {folder}\n", toy.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&script, &binary).unwrap();
    signals::send(old, signals::SIGUSR2).unwrap();
    eventually("daemun stands", || server.pid_in("toy.pid").is_some_and(|pid| pid != old));
    let new = server.pid();
    signals::send(old, signals::SIGWINCH).unwrap();
    eventually("nginx has no worker left", || children(old) == [new]);
    assert_eq!(server.client().ask().unwrap().0, "toy");

    signals::send(old, signals::SIGHUP).unwrap();
    eventually("nginx has workers again", || children(old).len() > 1);
    signals::send(new, signals::SIGQUIT).unwrap();
    eventually("nginx is alone", || server.pid_in("toy.pid") == Some(old));
    let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("nginx"), "{answer}");

    let reload = signaller::signal(Request::Reload, &server.folder.join("toy.pid"), &Log::silent());
    assert_eq!(reload, 0, "a server that cannot tell the outcome gets the signal");
    eventually("nginx reloads", || {
        fs::read_to_string(server.folder.join("nginx.log")).unwrap().contains("reconfiguring")
    });
    server.stop();
}
