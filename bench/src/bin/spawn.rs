//! What it costs a process to start another, or a thread, by how much memory it has touched:
//! `cargo run --release -p daemun-bench --bin spawn [ROUNDS]`.

use std::ffi::OsStr;
use std::io;
use std::time::{Duration, Instant};

use daemun_sys::{process, spawning};

const PROGRAM: &std::ffi::CStr = c"/bin/true";

/// Megabytes.
const SIZES: [usize; 3] = [10, 100, 1000];

/// Something that was started and can be waited for.
enum Started {
    Process(i32),
    Thread(std::thread::JoinHandle<()>),
}

/// A name and what it does.
type Way = (&'static str, fn() -> io::Result<Started>);

const WAYS: &[Way] = &[
    ("fork", || spawning::fork_and_end().map(Started::Process)),
    ("fork + exec", || spawning::fork_and_execute(PROGRAM).map(Started::Process)),
    ("vfork + exec", || spawning::vfork_and_execute(PROGRAM).map(Started::Process)),
    ("posix_spawn", || {
        let path = OsStr::new("/bin/true");
        process::execute(path, &[path.to_owned()], &[], &[]).map(Started::Process)
    }),
    ("thread", || {
        let builder = std::thread::Builder::new().stack_size(128 << 10);
        builder.spawn(|| {}).map(Started::Thread)
    }),
];

fn main() -> io::Result<()> {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200);
    spawning::without_huge_pages()?;
    println!(
        "Microseconds, median of {rounds}: how long the caller is held, and until the other has ended.\n"
    );
    println!("{:<14}{}", "", SIZES.map(|size| format!("{:>22}", format!("{size} MB"))).concat());
    let mut columns = Vec::new();
    let mut memory = Vec::new();
    for size in SIZES {
        grow(&mut memory, size << 20);
        let column: Result<Vec<_>, _> = WAYS.iter().map(|(_, way)| measure(*way, rounds)).collect();
        columns.push(column?);
    }
    for (row, (name, _)) in WAYS.iter().enumerate() {
        let cells = columns.iter().map(|column| {
            let (held, ended) = column[row];
            format!("{:>11.0}{:>11.0}", micros(held), micros(ended))
        });
        println!("{name:<14}{}", cells.collect::<String>());
    }
    std::hint::black_box(memory);
    Ok(())
}

/// Touches every page.
fn grow(memory: &mut Vec<u8>, size: usize) {
    let more = size - memory.len();
    memory.reserve_exact(more);
    memory.extend((0..more).map(|place| place as u8));
}

fn measure(way: fn() -> io::Result<Started>, rounds: usize) -> io::Result<(Duration, Duration)> {
    let (mut held, mut ended) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begin = Instant::now();
        let started = way()?;
        held.push(begin.elapsed());
        match started {
            Started::Process(pid) => drop(process::wait_for(pid)?),
            Started::Thread(thread) => thread.join().map_err(|_| io::Error::other("a panic"))?,
        }
        ended.push(begin.elapsed());
    }
    Ok((median(held), median(ended)))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
