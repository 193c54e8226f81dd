//! What the error log tells of a start and of a reload.

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

fn using_the_method() -> String {
    format!("using the \"{}\" event method\n", Engine::current().method())
}

#[test]
fn a_start_says_what_runs_on_what() {
    let server = Setup::new().called("nginx").start(CONFIGURATION);
    server.logs("start worker process ");
    let log = server.error_log();
    let mut rest = log.as_str();
    for sentence in [
        &using_the_method(),
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
    assert_eq!(log.matches(&using_the_method()).count(), 2);
    assert_eq!(log.matches("getrlimit(RLIMIT_NOFILE)").count(), 1);
}
