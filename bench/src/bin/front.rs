//! nginx's classic place, in front of Apache: ten thousand clients, nearly all idle or slow, before a
//! prefork Apache with 32 processes.
//!
//! `cargo run --release -p daemun-bench --bin front` takes about a minute and needs Debian's
//! apache2-bin. It fails unless every dynamic request is answered, Apache never has more than 32
//! connections, and it is never asked for a static file.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use daemun_bench::running::Running;
use daemun_sys::limits::{self, Resource};
use daemun_tests::{Folder, binary, free_port};

/// Processes of Apache, and so requests that it works on at a time.
const PROCESSES: usize = 32;
/// Connections that ask for one file and then say nothing for long.
const IDLE: usize = 4500;
/// Connections that take their time to send a request.
const SLOW: usize = 4500;
/// Connections that ask again and again, so many for each thread.
const BUSY_THREADS: usize = 250;
const BUSY_PER_THREAD: usize = 4;
const ROUNDS: usize = 5;

const APACHE: &str = "\
    ServerRoot {dir}
    ServerName localhost
    PidFile {dir}/apache.pid
    ErrorLog {dir}/apache.log
    User www-data
    Group www-data
    Listen 127.0.0.1:{apache}
    LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
    LoadModule authz_core_module {modules}/mod_authz_core.so
    LoadModule include_module {modules}/mod_include.so
    StartServers {processes}
    ServerLimit {processes}
    MaxRequestWorkers {processes}
    KeepAliveTimeout 60
    MaxKeepAliveRequests 0
    DocumentRoot {dir}/site
    CustomLog {dir}/asked.log %U
    <Files page.shtml>
        Options +Includes
        SetOutputFilter INCLUDES
    </Files>
";

const MODULES: &str = "/usr/lib/apache2/modules";

/// `max_conns` and `queue` are what keeps Apache from being asked too much at a time.
const DAEMUN: &str = "\
    daemon off;
    pid {dir}/daemun.pid;
    error_log {dir}/error.log;
    worker_rlimit_nofile 30000;
    events { worker_connections 20000; }
    http {
        access_log off;
        client_body_temp_path {dir}/body;
        proxy_temp_path {dir}/proxy;
        client_header_timeout 300s;
        keepalive_timeout 300s;
        upstream apache {
            zone apache 256k;
            server 127.0.0.1:{apache} max_conns={processes};
            queue 20000 timeout=120s;
            keepalive {processes};
        }
        server {
            listen 127.0.0.1:{port} backlog=4096;
            location / { root {dir}/site; }
            location ~ \\.shtml$ { proxy_pass http://apache; }
        }
    }";

const STATIC: &str = "GET /file.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";
const DYNAMIC: &str = "GET /page.shtml HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn main() -> ExitCode {
    let (_, most) = limits::limit(Resource::Descriptors).expect("a limit of descriptors");
    limits::set_limit(Resource::Descriptors, most).expect("the hard limit");
    let folder = Folder::fresh();
    folder.write("site/file.txt", "static");
    folder.write("site/page.shtml", "dynamic <!--#echo var=\"REQUEST_URI\" -->");
    let (port, apache_port) = (free_port(), free_port());
    let fill = |text: &str| {
        text.replace("{dir}", folder.path("").to_str().expect("a path").trim_end_matches('/'))
            .replace("{port}", &port.to_string())
            .replace("{apache}", &apache_port.to_string())
            .replace("{processes}", &PROCESSES.to_string())
            .replace("{modules}", MODULES)
    };
    folder.write("apache.conf", fill(APACHE));
    folder.write("daemun.conf", fill(DAEMUN));
    let mut command = Command::new("/usr/sbin/apache2");
    command.arg("-f").arg(folder.path("apache.conf")).args(["-D", "FOREGROUND"]);
    let apache = Running::start(&mut command, apache_port);
    let mut command = Command::new(binary());
    command.arg("-p").arg(folder.path("")).args(["-c", "daemun.conf", "-e", "error.log"]);
    let daemun = Running::start(&mut command, port);

    let watch = Watch::start(apache_port);
    let begin = Instant::now();
    let idle: Vec<Client> = (0..IDLE).map(|_| Client::connect(port)).collect();
    let mut slow: Vec<Client> = (0..SLOW).map(|_| Client::connect(port)).collect();
    let (mut files, mut pages) = (0, 0);
    let mut idle: Vec<Client> =
        idle.into_iter().map(|mut client| client.counted(STATIC, "static", &mut files)).collect();
    for (place, client) in slow.iter_mut().enumerate() {
        client.send(&DYNAMIC[..1 + place % 20]);
    }
    println!("{} idle and slow clients after {:.1?}", idle.len() + slow.len(), begin.elapsed());

    let busy = (0..BUSY_THREADS).map(|_| thread::spawn(move || be_busy(port)));
    let busy: Vec<_> = busy.collect();
    for (place, client) in slow.iter_mut().enumerate() {
        client.send(&DYNAMIC[1 + place % 20..30]);
    }
    for thread in busy {
        let (asked_files, asked_pages) = thread.join().expect("a busy client");
        files += asked_files;
        pages += asked_pages;
    }
    println!(
        "{} busy clients are done after {:.1?}",
        BUSY_THREADS * BUSY_PER_THREAD,
        begin.elapsed()
    );
    for client in &mut slow {
        client.send(&DYNAMIC[30..]);
    }
    for client in &mut slow {
        client.expect("/page.shtml");
        pages += 1;
    }
    for client in &mut idle {
        client.send(DYNAMIC);
    }
    for client in &mut idle {
        client.expect("/page.shtml");
        pages += 1;
    }
    let most = watch.finish();
    drop(daemun);
    drop(apache);

    // A connection without a request is logged as a dash: this program looked whether Apache listens.
    let asked = folder.read("asked.log");
    let lines = || asked.lines().filter(|uri| *uri != "-");
    let strays = lines().filter(|uri| *uri != "/page.shtml").count();
    let answered = lines().count() - strays;
    println!("{files} files, {pages} pages answered in {:.1?}", begin.elapsed());
    println!("connections to Apache: at most {most} (bound {PROCESSES})");
    println!("requests that reached Apache: {answered} for pages, {strays} for anything else");
    let met = most <= PROCESSES && strays == 0 && answered == pages;
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Asks for files and pages in turn; how many of each were answered.
fn be_busy(port: u16) -> (usize, usize) {
    let (mut files, mut pages) = (0, 0);
    let mut clients: Vec<Client> = (0..BUSY_PER_THREAD).map(|_| Client::connect(port)).collect();
    for _ in 0..ROUNDS {
        clients = clients
            .into_iter()
            .map(|mut client| client.counted(STATIC, "static", &mut files))
            .map(|mut client| client.counted(DYNAMIC, "/page.shtml", &mut pages))
            .collect();
    }
    (files, pages)
}

/// A connection that is kept.
struct Client(TcpStream);

impl Client {
    fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Client(stream)
    }

    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("room to send");
    }

    /// Sends a request, waits for its answer, and counts that.
    fn counted(&mut self, request: &str, body: &str, count: &mut usize) -> Client {
        self.send(request);
        self.expect(body);
        *count += 1;
        Client(self.0.try_clone().expect("a descriptor"))
    }

    /// Waits for a whole answer with status 200, in chunks or with a length, that has this text in a chunk.
    fn expect(&mut self, body: &str) {
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        let is_whole = |answer: &[u8]| {
            let text = String::from_utf8_lossy(answer);
            text.contains(body) && (!text.contains("chunked") || text.ends_with("\r\n0\r\n\r\n"))
        };
        while !is_whole(&answer) {
            let count = self.0.read(&mut part).expect("an answer in time");
            assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&part[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&answer));
    }
}

/// Looks again and again how many connections Apache has.
struct Watch {
    is_over: Arc<AtomicBool>,
    most: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

impl Watch {
    fn start(port: u16) -> Watch {
        let is_over = Arc::new(AtomicBool::new(false));
        let most = Arc::new(AtomicUsize::new(0));
        let thread = {
            let (is_over, most) = (Arc::clone(&is_over), Arc::clone(&most));
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    most.fetch_max(established(port), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(500));
                }
            })
        };
        Watch { is_over, most, thread }
    }

    fn finish(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("a watch");
        self.most.load(Ordering::Relaxed)
    }
}

/// Connections that the system has established with this port as their own end, accepted or not.
fn established(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    let own = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let is_one = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _, state) = (words.next(), words.next(), words.next());
        local.is_some_and(|local| local.ends_with(&own)) && state == Some(ESTABLISHED)
    };
    table.lines().filter(is_one).count()
}
