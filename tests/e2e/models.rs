//! What each process model does that the others do not.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use daemun_tests::{Client, PATIENCE, Server, Setup, children, eventually, signals};

const ANSWERS: &str = "
    server {
        listen 127.0.0.1:{port};
        keepalive_timeout 60s;
        access_log {dir}/access.log;
        location / { return 200 $pid; }
        location /file { root {dir}; }
    }";

fn server(mpm: &'static str) -> Server {
    Setup::new().mpm(mpm).file("file", vec![b'x'; LARGE]).http(ANSWERS)
}

/// More than the buffers between a server and a client that does not read.
const LARGE: usize = 32 << 20;

fn kept(server: &Server) -> (Client, i32) {
    let mut client = server.client();
    let pid = client.get("/").text().parse().unwrap();
    (client, pid)
}

fn threads(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// An end would be there to read.
fn is_open(client: &Client) -> bool {
    client.stream().set_nonblocking(true).unwrap();
    let peeked = client.stream().peek(&mut [0]);
    client.stream().set_nonblocking(false).unwrap();
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn start_of_download(server: &Server) -> Client {
    let mut client = server.client();
    client.send("GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 200);
    client
}

#[test]
fn children_and_threads_are_as_many_as_configured() {
    for (mpm, processes, each) in [
        ("mpm prefork { start_servers 3; min_spare_servers 3; }", 3, 1),
        ("mpm worker { start_servers 2; threads_per_child 4; min_spare_threads 4; }", 2, 5),
        ("mpm event { start_servers 2; threads_per_child 4; min_spare_threads 4; }", 2, 5),
    ] {
        let server = server(mpm);
        eventually(mpm, || {
            let children = children(server.pid());
            children.len() == processes && children.iter().all(|pid| threads(*pid) == each)
        });
    }
}

#[test]
fn prefork_has_a_process_for_each_connection_and_some_in_reserve() {
    let server =
        server("mpm prefork { start_servers 2; min_spare_servers 2; max_spare_servers 4; }");
    let clients: Vec<(Client, i32)> = (0..12).map(|_| kept(&server)).collect();
    let mut pids: Vec<i32> = clients.iter().map(|(_, pid)| *pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 12, "each in a process of its own");
    eventually("two more wait", || children(server.pid()).len() >= 14);
    drop(clients);
    eventually("no more than four wait", || children(server.pid()).len() <= 4);
}

#[test]
fn prefork_grows_to_its_limit_and_says_so() {
    let server = server("mpm prefork { start_servers 1; max_request_workers 3; }");
    let _busy: Vec<(Client, i32)> = (0..3).map(|_| kept(&server)).collect();
    server.logs("server reached max_request_workers setting");
    assert_eq!(children(server.pid()).len(), 3);
}

#[test]
fn a_worker_thread_serves_one_connection_until_it_is_closed() {
    let server =
        server("mpm worker { start_servers 1; threads_per_child 2; max_request_workers 2; }");
    let first = kept(&server);
    let _second = kept(&server);
    let mut third = server.client();
    third.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    third.stream().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut byte = [0];
    let peeked = third.stream().peek(&mut byte);
    assert!(peeked.is_err(), "no thread is free, yet it was answered");
    third.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    drop(first);
    assert_eq!(third.answer().status, 200);
}

/// How often the threads of a process have gone to sleep so far.
fn sleeps(pid: i32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let counts = tasks.filter_map(|task| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let count =
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        count.trim().parse::<u64>().ok()
    });
    counts.sum()
}

#[test]
fn idle_children_sleep_whatever_connections_are_open() {
    for mpm in [
        "mpm prefork { start_servers 1; }",
        "mpm worker { start_servers 1; threads_per_child 3; }",
        "mpm event { start_servers 1; threads_per_child 3; }",
    ] {
        let server = server(mpm);
        let (_idle, child) = kept(&server);
        // One that a thread of either model is busy with: its client does not read.
        let _slow = start_of_download(&server);
        eventually(mpm, || {
            let before = sleeps(child);
            std::thread::sleep(Duration::from_millis(300));
            sleeps(child) - before <= 1
        });
    }
}

#[test]
fn a_request_on_a_thread_that_slept_is_answered() {
    for mpm in ["mpm worker { start_servers 1; }", "mpm event { start_servers 1; }"] {
        let server = server(mpm);
        let (mut client, _) = kept(&server);
        for _ in 0..3 {
            // Longer than the engine looks for what comes back by itself.
            std::thread::sleep(Duration::from_millis(120));
            assert_eq!(client.get("/").status, 200, "{mpm}");
        }
    }
}

const TWO_THREADS: &str =
    "mpm event { start_servers 1; threads_per_child 2; max_request_workers 2; }";

#[test]
fn event_keeps_idle_connections_without_threads() {
    let server = server(TWO_THREADS);
    let mut clients: Vec<(Client, i32)> = (0..100).map(|_| kept(&server)).collect();
    for (client, _) in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(children(server.pid()).len(), 1);
}

#[test]
fn event_sends_to_slow_clients_without_threads() {
    let server = server(
        "mpm event { start_servers 1; threads_per_child 2; max_request_workers 2; async_request_worker_factor 4; }",
    );
    let mut slow: Vec<Client> = (0..6).map(|_| start_of_download(&server)).collect();
    for _ in 0..20 {
        assert_eq!(server.get("/").status, 200, "two threads have six slow clients");
    }
    for client in &mut slow {
        assert_eq!(client.exactly(LARGE).len(), LARGE);
        assert_eq!(client.get("/").status, 200, "the connection goes on");
    }
    let log = server.folder().read("access.log");
    let whole = log.lines().filter(|line| line.contains(&format!(" 200 {LARGE} "))).count();
    assert_eq!(whole, 6, "each was logged once, with all its bytes:\n{log}");
}

#[test]
fn event_answers_what_is_pipelined_behind_a_slow_response() {
    let server = server(TWO_THREADS);
    let mut client = server.client();
    client.send(
        "GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n\
         GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT",
    );
    assert_eq!(client.answer().body.len(), LARGE);
    assert_eq!(client.answer().status, 200);
    client.send("TP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn event_makes_room_by_closing_what_is_idle() {
    let server = Setup::new().mpm(TWO_THREADS).start(
        "daemon off;
         pid {dir}/server.pid;
         error_log {dir}/error.log info;
         events { {events} worker_connections 20; }
         http {
             access_log off;
             keepalive_timeout 60s;
             server { listen 127.0.0.1:{port}; return 200 x; }
         }",
    );
    let idle = || {
        let mut client = server.client();
        assert_eq!(client.get("/").status, 200);
        client
    };
    let mut clients: Vec<Client> = (0..26).map(|_| idle()).collect();
    // Which ones go depends on when the threads gave them back; the newest stays.
    eventually("eighteen are left", || {
        clients.iter().filter(|client| is_open(client)).count() == 18
    });
    assert_eq!(clients.last_mut().unwrap().get("/").status, 200);
    server.logs("worker_connections are not enough");
}

#[test]
fn a_child_is_replaced_after_its_connections_without_losing_one() {
    for mpm in [
        "mpm native { max_connections_per_child 5; }",
        "mpm prefork { max_connections_per_child 5; start_servers 1; max_request_workers 2; }",
        "mpm worker { max_connections_per_child 5; start_servers 1; max_request_workers 25; }",
        "mpm event { max_connections_per_child 5; start_servers 1; max_request_workers 25; }",
    ] {
        let server = server(mpm);
        let (mut client, _) = kept(&server);
        let mut pids = std::collections::BTreeSet::new();
        eventually("three children served", || {
            pids.insert(server.get("/").text().to_owned());
            pids.len() >= 3
        });
        assert_eq!(client.get("/").status, 200, "{mpm}: the kept connection goes on");
    }
}

#[test]
fn idle_connections_are_kept_for_five_seconds_unless_configured() {
    let server =
        Setup::new().mpm("mpm event;").http("server { listen 127.0.0.1:{port}; return 200 x; }");
    let mut client = server.client();
    let start = Instant::now();
    assert_eq!(client.get("/").status, 200);
    // With nginx's 75 seconds this would not happen in time.
    assert!(client.is_closed());
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(4500), "{waited:?}");
}

#[test]
fn what_a_new_model_has_no_room_for_is_closed_and_said() {
    let server = server("mpm event;");
    let clients: Vec<(Client, i32)> = (0..20).map(|_| kept(&server)).collect();
    let configuration = server
        .folder()
        .read("server.conf")
        .replace("mpm event;", "mpm prefork { start_servers 2; max_request_workers 4; }");
    server.folder().write("server.conf", configuration);
    let output = server.run(&["-s", "reload"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    server.logs("idle connections were closed: no successor has room for them");
    drop(clients);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_graceful_stop_may_be_bounded() {
    let mut server = server("mpm event { graceful_shutdown_timeout 1s; }");
    let _slow = start_of_download(&server);
    let start = Instant::now();
    server.signal(signals::SIGQUIT);
    server.expect("exited on signal 9");
    server.wait();
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
}

#[test]
fn contradictions_are_corrected_with_both_numbers() {
    let setup = Setup::new();
    let output = setup.run("mpm event { max_request_workers 60; } events {} http {}", &["-t"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let warning = "[warn] max_request_workers of 60 is not an integer multiple of threads_per_child of \
                   25, decreasing to nearest multiple 50 in ";
    assert!(output.stderr.contains(warning), "{}", output.stderr);
}

#[test]
fn the_status_page_names_the_model_and_its_workers() {
    let server = Setup::new().mpm("mpm worker { start_servers 2; threads_per_child 3; }").http(
        "server {
             listen 127.0.0.1:{port};
             location /status { server_status; }
             location / { return 200 x; }
         }",
    );
    let _idle = {
        let mut client = server.client();
        client.get("/");
        client
    };
    let mut text = String::new();
    eventually("all threads are shown", || {
        text = server.get("/status?auto").text().to_owned();
        let board = text.lines().find_map(|line| line.strip_prefix("Scoreboard: ")).unwrap();
        let count = |letter| board.matches(letter).count();
        (count('K'), count('W'), count('_')) == (1, 1, 4)
    });
    for line in ["ServerMPM: worker\n", "BusyWorkers: 2\n", "IdleWorkers: 4\n"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn the_command_shows_and_changes_the_model() {
    let server = server("mpm prefork { start_servers 2; min_spare_servers 1; }");
    let (_kept, _) = kept(&server);
    let shown = server.run_command(&["mpm"]);
    assert!(shown.stdout.starts_with("mpm prefork (generation 1)\n"), "{}", shown.stdout);
    // the second child may still be starting
    let one_of_each = || server.run_command(&["mpm"]).stdout.contains("busy: 1, idle: 1\n");
    eventually("one child is busy, one idle", one_of_each);

    let wrong = server.run_command(&["mpm", "set", "itk"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("native, event, worker, prefork"), "{}", wrong.stderr);

    let set = server.run_command(&["mpm", "set", "event"]);
    assert!(set.stdout.contains("\"mpm prefork\" is now \"mpm event\"\n"), "{}", set.stdout);
    assert!(set.stdout.ends_with("apply it with: daemun -s reload\n"), "{}", set.stdout);
    assert!(server.run_command(&["mpm"]).stdout.contains("the configuration says mpm event"));

    let applied = server.run_command(&["mpm", "set", "worker", "--apply"]);
    assert!(applied.stdout.contains("mpm worker (generation 2)\n"), "{}", applied.stdout);
    let file = server.folder().read("server.conf");
    assert!(file.contains("mpm worker { start_servers 2;"), "{file}");
}

#[test]
fn too_many_idle_threads_end_a_child() {
    let server = server(
        "mpm event { start_servers 4; threads_per_child 4; min_spare_threads 4; max_spare_threads 8; }",
    );
    eventually("two children are enough", || children(server.pid()).len() == 2);
}

#[test]
fn processors_may_have_listening_sockets_of_their_own() {
    let server = server(
        "mpm prefork { listen_cores_buckets_ratio 1; start_servers 4; min_spare_servers 4; }",
    );
    let wanted = format!(":{:04X}", server.port());
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let listening = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&wanted) && fields[3] == "0A"
    };
    let count = sockets.lines().skip(1).filter(listening).count();
    assert_eq!(count, daemun_sys::limits::processors());
    for _ in 0..20 {
        assert_eq!(server.get("/").status, 200);
    }
}

#[test]
fn threads_have_a_limit_of_their_own() {
    let output = Setup::new()
        .run("mpm worker { threads_per_child 100; thread_limit 80; } events {} http {}", &["-t"]);
    let warning = "threads_per_child of 100 exceeds thread_limit of 80, decreasing to 80";
    assert!(output.stderr.contains(warning), "{}", output.stderr);
}
