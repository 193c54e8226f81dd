//! At the limit of connections and of files.

use daemun_tests::{Client, Server, Setup};

fn configuration(main: &str, connections: u32) -> String {
    format!(
        "daemon off;
         pid {{dir}}/server.pid;
         error_log {{dir}}/error.log info;
         {main}
         events {{ {{events}} worker_connections {connections}; }}
         http {{
             access_log off;
             server {{ listen 127.0.0.1:{{port}}; return 200 x; }}
         }}"
    )
}

fn idle(server: &Server) -> Client {
    let mut client = server.client();
    assert_eq!(client.get("/").status, 200);
    client
}

#[test]
fn at_the_limit_the_oldest_idle_connection_makes_room() {
    let server = Setup::new().mpm("mpm native;").start(&configuration("", 20));
    let mut first = idle(&server);
    let mut others: Vec<Client> = (0..25).map(|_| idle(&server)).collect();
    assert!(first.is_closed(), "the oldest went first");
    assert_eq!(others.last_mut().unwrap().get("/").status, 200);
    server.logs("worker_connections are not enough");
}

#[test]
fn without_descriptors_idle_connections_make_room() {
    let setup = Setup::new().mpm("mpm native;");
    let server = setup.start(&configuration("worker_rlimit_nofile 40;", 1000));
    let mut first = idle(&server);
    let mut others: Vec<Client> = (0..60).map(|_| idle(&server)).collect();
    assert!(first.is_closed(), "the oldest went first");
    assert_eq!(others.last_mut().unwrap().get("/").status, 200);
    server
        .logs("nearly all of 40 open files are in use (worker_rlimit_nofile), reusing connections");
}
