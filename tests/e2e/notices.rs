//! What the error log tells of a start and of a reload.

use std::fs;

use daemun_tests::{Engine, Server, Setup, signals};

const CONFIGURATION: &str = "
    daemon off;
    pid {dir}/server.pid;
    error_log {dir}/error.log notice;
    events { {events} }
    http {
        access_log off;
        client_body_temp_path {dir}/body;
        server { listen 127.0.0.1:{port}; return 204; }
    }";

/// Which method runs, as the log says it. For want of io_uring it is epoll: a system, a container, or the memory that a
/// plain user may lock can forbid it.
fn using_the_method(log: &str) -> String {
    let sentence = |method| format!("using the \"{method}\" event method\n");
    let wanted = sentence(Engine::current().method());
    match wanted == sentence("io_uring") && !log.contains(&wanted) && !must_have_io_uring() {
        true => sentence("epoll"),
        false => wanted,
    }
}

fn must_have_io_uring() -> bool {
    let says = |file: &str, text: &str| fs::read_to_string(file).is_ok_and(|is| is.contains(text));
    daemun_sys::identity::effective_uid() == 0
        && says("/proc/sys/kernel/io_uring_disabled", "0")
        && says("/proc/self/status", "Seccomp:\t0")
}

#[test]
fn a_start_says_what_runs_on_what() {
    let server = Setup::new().called("nginx").start(CONFIGURATION);
    server.logs("start worker process ");
    let log = server.error_log();
    let mut rest = log.as_str();
    for sentence in [
        &using_the_method(&log),
        ": nginx/1.31.5\n",
        ": OS: Linux ",
        ": getrlimit(RLIMIT_NOFILE): ",
        ": start worker processes\n",
        ": start worker process ",
    ] {
        let place = rest.find(sentence);
        let place = place.unwrap_or_else(|| panic!("{sentence:?} is missing:\n{log}"));
        rest = &rest[place + sentence.len()..];
    }
}

#[test]
fn a_reload_names_the_event_method_again_and_nothing_else() {
    let server = Server::start(CONFIGURATION);
    server.logs("start worker process ");
    server.signal(signals::SIGHUP);
    server.logs("gracefully shutting down");
    let log = server.error_log();
    assert_eq!(log.matches(&using_the_method(&log)).count(), 2);
    assert_eq!(log.matches("getrlimit(RLIMIT_NOFILE)").count(), 1);
}

#[test]
fn a_reload_by_command_reads_as_one_by_signal() {
    let server = Setup::new().called("nginx").start(CONFIGURATION);
    server.logs("start worker process ");
    let reload = server.run(&["-s", "reload"]);
    assert_eq!(reload.code, Some(0), "{}", reload.stderr);
    let log = server.error_log();
    let mut rest = log.as_str();
    for sentence in [
        ": signal process started\n",
        ": signal 1 (SIGHUP) received from ",
        ", reconfiguring\n",
        ": reconfiguring\n",
    ] {
        let place = rest.find(sentence);
        let place = place.unwrap_or_else(|| panic!("{sentence:?} is missing:\n{log}"));
        rest = &rest[place + sentence.len()..];
    }
}

/// A worker that may not have what was asked for has another one (`RLIMIT_MEMLOCK` counts the rings of all
/// workers of a user on some kernels).
#[test]
fn the_program_says_what_each_worker_waits_with() {
    let server = Server::start(CONFIGURATION);
    assert_eq!(server.get("/").status, 204);
    let shown = server.run_command(&["mpm"]).stdout;
    let log = server.error_log();
    let method = using_the_method(&log);
    let method = method.split('"').nth(1).unwrap();
    assert!(shown.contains(&format!("\nevent method: {method}\n")), "{shown}");
}
