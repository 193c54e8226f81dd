//! What configurations of many servers cost, beside nginx: memory of master and worker, after reloads too, and the CPU time
//! of `-t`, of the start and of a reload.
//!
//! `cargo run --release -p daemun-bench --bin scale [NGINX [RELOADS]]` needs nginx (`/usr/sbin/nginx` unless another is named) and
//! `cargo build --release -p daemun`. It fails where a bar is missed.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use daemun_bench::running::Running;
use daemun_tests::{Folder, binary, children, eventually, free_port, memory_of_all, signals};

/// Of nginx's memory, of its CPU time, and of the memory after the first reload.
const BARS: (f64, f64, f64) = (0.4, 0.5, 1.1);

const SHAPES: [(usize, bool); 4] = [(1000, false), (1000, true), (10_000, false), (10_000, true)];

/// Megabytes and seconds.
#[derive(Clone, Copy, Debug)]
struct Cost {
    memory: f64,
    after_first: f64,
    after_last: f64,
    test: f64,
    start: f64,
    reload: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let nginx = arguments.first().map_or("/usr/sbin/nginx", String::as_str);
    let reloads = arguments.get(1).map_or(10, |text| text.parse().expect("a number"));
    if !Path::new(nginx).exists() {
        eprintln!("there is no {nginx}: sudo apt-get install nginx-light, or name another");
        return ExitCode::FAILURE;
    }
    println!("Megabytes of master and worker; seconds of CPU. {reloads} reloads.\n");
    println!(
        "{:<22}{:>8}{:>10}{:>10}{:>8}{:>8}{:>8}",
        "", "memory", "1 reload", "all", "-t", "start", "reload"
    );
    let mut missed = 0;
    for (servers, has_locations) in SHAPES {
        let [theirs, ours] = [nginx.to_owned(), binary().display().to_string()]
            .map(|program| measure(&program, servers, has_locations, reloads));
        let shape = format!("{servers}{}", if has_locations { " with locations" } else { "" });
        show(&format!("{shape}: nginx"), theirs);
        show(&format!("{}: daemun", " ".repeat(shape.len())), ours);
        for (what, is_met) in [
            ("memory", ours.memory <= BARS.0 * theirs.memory),
            ("CPU of -t", ours.test <= BARS.1 * theirs.test),
            ("CPU of the start", ours.start <= BARS.1 * theirs.start),
            ("CPU of a reload", ours.reload <= BARS.1 * theirs.reload),
            ("memory after reloads", ours.after_last <= BARS.2 * ours.after_first),
        ] {
            if !is_met {
                println!("    missed: {what}");
                missed += 1;
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(what: &str, cost: Cost) {
    let Cost { memory, after_first, after_last, test, start, reload } = cost;
    println!(
        "{what:<22}{memory:>8.1}{after_first:>10.1}{after_last:>10.1}{test:>8.2}{start:>8.2}{reload:>8.2}"
    );
}

fn measure(program: &str, servers: usize, has_locations: bool, reloads: usize) -> Cost {
    let folder = Folder::fresh();
    let port = free_port();
    folder.write("server.conf", configuration(&folder, port, servers, has_locations));
    let command = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path("")).args(["-c", "server.conf", "-e", "error.log"]);
        command.args(arguments).stderr(Stdio::null());
        command
    };
    let before = ended_children();
    assert!(command(&["-t", "-q"]).status().expect("the program").success(), "{program} -t");
    let test = ended_children() - before;
    let server = Running::start(&mut command(&[]), port);
    let pid = server.pid();
    settle();
    let start = spent(pid);
    let memory = megabytes(pid);
    let after: Vec<f64> = (0..reloads)
        .map(|_| {
            reload(pid);
            megabytes(pid)
        })
        .collect();
    let reload = (spent(pid) - start) / reloads.max(1) as f64;
    let (first, last) = (after.first(), after.last());
    Cost {
        memory,
        after_first: first.copied().unwrap_or(memory),
        after_last: last.copied().unwrap_or(memory),
        test,
        start,
        reload,
    }
}

/// Each server has its root; with locations one for files, one for a pattern and one that passes on.
fn configuration(folder: &Folder, port: u16, servers: usize, has_locations: bool) -> String {
    let dir = folder.path("").display().to_string();
    let locations = match has_locations {
        true => {
            "location /static/ { expires 1d; } location ~ \\.php$ { return 403; }
             location /api/ { proxy_pass http://127.0.0.1:9; }"
        }
        false => "",
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
        .concat();
    let mut text = format!(
        "daemon off; pid {dir}/pid; error_log {dir}/error.log; worker_processes 1;
         events {{ worker_connections 1024; }}
         http {{
             access_log off; server_names_hash_max_size 65536; server_names_hash_bucket_size 128;
             {temporary}"
    );
    for number in 0..servers {
        text.push_str(&format!(
            "server {{ listen 127.0.0.1:{port}; root {dir}/html/{number};
             server_name host{number}.example.com www.host{number}.example.com; {locations} }}\n"
        ));
    }
    text + "}\n"
}

/// Waits until the worker is another one, and alone.
fn reload(pid: i32) {
    let before = children(pid);
    signals::send(pid, signals::SIGHUP).expect("a server that runs");
    eventually("the worker is another one", || {
        let now = children(pid);
        now.len() == before.len() && !now.iter().any(|worker| before.contains(worker))
    });
    settle();
}

/// What a process has begun when it listens goes on for a moment; the clock of proc(5) has a hundredth.
fn settle() {
    sleep(Duration::from_millis(500));
}

fn megabytes(pid: i32) -> f64 {
    memory_of_all(pid) as f64 / 1024.0
}

/// CPU time of a process, of those that it has waited for, and of its children.
fn spent(pid: i32) -> f64 {
    let own = times(&format!("/proc/{pid}/stat"), 4);
    own + children(pid).iter().map(|child| times(&format!("/proc/{child}/stat"), 2)).sum::<f64>()
}

/// CPU time of this process's children that have ended.
fn ended_children() -> f64 {
    times("/proc/self/stat", 4) - times("/proc/self/stat", 2)
}

/// The first so many of utime, stime, cutime and cstime (proc(5), stat), in seconds.
fn times(path: &str, count: usize) -> f64 {
    let stat = fs::read_to_string(path).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(count);
    ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
