//! Master and workers.

use daemun_tests::{Server, children, signals, title};

#[test]
fn a_killed_worker_is_replaced() {
    let mut server = Server::http("server { listen 127.0.0.1:{port}; return 200 $pid; }");
    server.expect("exited on signal 9");
    let worker: i32 = server.get("/").text().parse().unwrap();
    assert_eq!(children(server.pid()), [worker]);
    assert_eq!(title(worker), "daemun: worker process");
    signals::send(worker, signals::SIGKILL).unwrap();
    server.logs("exited on signal 9");
    let next: i32 = server.get("/").text().parse().unwrap();
    assert_ne!(next, worker);
}
