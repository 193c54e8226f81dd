//! All that the page tells, read once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemun_http::core::resolving;
use daemun_http::request::{Request, Text};
use daemun_http::upstream::cache::place;
use daemun_resolver::Counts;
use daemun_shm::{CurrentRequest, Mpm, ProcessView, Stage, Totals, WorkerState, WorkerView};
use daemun_sys::clock::{self, MONTHS};
use daemun_sys::usage::{self, ProcessorTime};

pub(super) struct Snapshot {
    /// The name that the client called the server by.
    pub host: String,
    pub version: String,
    pub mpm: Mpm,
    pub generation: u64,
    /// Seconds since 1970.
    pub started: i64,
    pub now: i64,
    pub load: Option<[f64; 3]>,
    /// Of the processes that live.
    pub cpu: ProcessorTime,
    pub totals: Totals,
    /// `status_zone` of `resolver`.
    pub resolvers: Vec<(String, Counts)>,
    pub caches: Vec<place::Told>,
    pub processes: Vec<ProcessView>,
    pub workers: Vec<Worker>,
}

pub(super) struct Worker {
    pub view: WorkerView,
    /// What it serves, or served last.
    pub request: Option<Told>,
}

/// A request in printable words.
pub(super) struct Told {
    pub client: String,
    pub host: String,
    pub line: String,
    /// Seconds since it began.
    pub age: i64,
}

impl Snapshot {
    pub fn take(request: &Request) -> Snapshot {
        let board = request.scoreboard();
        let now = clock::now();
        let processes: Vec<ProcessView> = board.processes().collect();
        let newest = processes.iter().max_by_key(|process| process.generation);
        let workers = board.workers().map(|view| Worker {
            // Whoever had the slot before left its last request there.
            request: (view.requests > 0)
                .then(|| board.current_request(view.index))
                .flatten()
                .map(|request| Told::new(&request, now)),
            view,
        });
        let caches = &request.config.settings.of(&place::SETTINGS).registry;
        let resolvers = request.config.settings.of(&resolving::SETTINGS).status_zones.0.iter();
        Snapshot {
            host: text(&request.host),
            version: request.config.surroundings.server_header.version.clone(),
            mpm: newest.map_or(Mpm::Native, |process| process.mpm),
            generation: newest.map_or(0, |process| process.generation),
            started: seconds(board.started()),
            now,
            load: usage::load_average(),
            cpu: processor_time(&processes),
            totals: board.totals(),
            resolvers: resolvers.map(|zone| (zone.name().to_owned(), zone.counts())).collect(),
            caches: caches.places().map(place::Place::tell).collect(),
            workers: workers.collect(),
            processes,
        }
    }

    /// Seconds since the master started.
    pub fn uptime(&self) -> u64 {
        u64::try_from(self.now - self.started).unwrap_or(0)
    }

    /// A total as so much a second; `None` within the first.
    pub fn per_second(&self, total: u64) -> Option<f64> {
        quotient(total, self.uptime())
    }

    /// `None` before the first request.
    pub fn per_request(&self, total: u64) -> Option<f64> {
        quotient(total, self.totals.requests)
    }

    /// The processors' time as a share of the time since the start, in percent.
    pub fn cpu_load(&self) -> Option<f64> {
        let used = (self.cpu.user + self.cpu.system).as_secs_f64();
        (used > 0.0 && self.uptime() > 0).then(|| used * 100.0 / self.uptime() as f64)
    }

    pub fn busy(&self) -> usize {
        self.count(|stage| stage.is_busy() && stage != Stage::Finishing)
    }

    pub fn idle(&self) -> usize {
        self.count(Stage::is_idle)
    }

    pub fn finishing(&self) -> usize {
        self.count(|stage| stage == Stage::Finishing)
    }

    fn count(&self, of: impl Fn(Stage) -> bool) -> usize {
        self.workers.iter().filter(|worker| of(worker.view.stage)).count()
    }

    /// A letter for each worker.
    pub fn letters(&self) -> String {
        self.workers.iter().map(|worker| worker.view.stage.letter()).collect()
    }

    /// Whether connections wait without a worker of their own.
    pub fn is_async(&self) -> bool {
        self.processes.iter().any(|process| matches!(process.mpm, Mpm::Native | Mpm::Event))
    }

    pub fn sum(&self, of: impl Fn(&ProcessView) -> i64) -> i64 {
        self.processes.iter().map(of).sum()
    }

    pub fn stopping(&self) -> usize {
        self.processes.iter().filter(|process| is_stopping(process)).count()
    }
}

pub(super) fn is_stopping(process: &ProcessView) -> bool {
    process.state == WorkerState::Leaving
}

/// Connections that are written to by nobody but the event loop.
pub(super) fn async_writing(process: &ProcessView) -> i64 {
    match process.mpm {
        Mpm::Native => process.writing,
        _ => process.draining,
    }
}

/// `Sunday, 22-Nov-2026 18:59:42 UTC`.
pub(super) fn date(seconds: i64) -> String {
    const DAYS: [&str; 7] =
        ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let time = clock::utc(seconds);
    let day = DAYS[usize::from(time.weekday)];
    let month = MONTHS[usize::from(time.month) - 1];
    format!(
        "{day}, {:02}-{month}-{} {:02}:{:02}:{:02} UTC",
        time.day, time.year, time.hour, time.minute, time.second
    )
}

/// `1 day 2 hours 3 minutes 4 seconds`, without what is zero.
pub(super) fn duration(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let words = parts.map(|(count, unit)| {
        let plural = if *count == 1 { "" } else { "s" };
        format!("{count} {unit}{plural}")
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Six significant digits at most, as C's `%g`.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let whole_digits = value.abs().log10().floor() as i32 + 1;
    let decimals = usize::try_from(6 - whole_digits).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

impl Told {
    fn new(request: &CurrentRequest, now: i64) -> Told {
        Told {
            client: text(&request.client),
            host: text(&request.host),
            line: text(&request.line),
            age: (now - (request.started / 1000) as i64).max(0),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    Text(bytes).to_string()
}

fn quotient(total: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| total as f64 / count as f64)
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

fn processor_time(processes: &[ProcessView]) -> ProcessorTime {
    let times = processes.iter().filter_map(|process| usage::processor_time(process.pid));
    times.fold(ProcessorTime::default(), |sum, time| ProcessorTime {
        user: sum.user + time.user,
        system: sum.system + time.system,
    })
}

/// Seconds with two decimals, and none where there are none.
pub(super) fn cpu_seconds(time: Duration) -> String {
    number((time.as_secs_f64() * 100.0).round() / 100.0)
}

#[cfg(test)]
pub(super) mod tests {
    use daemun_shm::Scoreboard;

    use super::*;

    /// Two processes, one of them leaving, and a request that is not nice.
    pub fn sample() -> Snapshot {
        let board = Scoreboard::with_capacity(8).unwrap();
        let (old, new) = (board.claim(1).unwrap(), board.claim(2).unwrap());
        old.set_pid(70);
        old.set_state(WorkerState::Leaving);
        new.set_pid(71);
        new.set_state(WorkerState::Running);
        new.waiting(3);
        new.writing(1);
        new.active(4);
        new.requests();
        let workers = board.workers().map(|view| Worker {
            request: (view.requests > 0).then(|| Told {
                client: "127.0.0.1".to_owned(),
                host: "a\"<b>".to_owned(),
                line: "GET /<script>\"\\ HTTP/1.1".to_owned(),
                age: 2,
            }),
            view,
        });
        let workers = workers.collect();
        Snapshot {
            host: "localhost".to_owned(),
            version: "nginx/1.31.5".to_owned(),
            mpm: Mpm::Native,
            generation: 2,
            started: 1_795_374_000,
            now: 1_795_374_064,
            load: Some([0.5, 0.25, 1.0]),
            cpu: ProcessorTime { user: Duration::from_millis(640), system: Duration::ZERO },
            totals: Totals { requests: 4, sent: 4096, busy: 10, accepted: 2, ..board.totals() },
            resolvers: Vec::new(),
            caches: Vec::new(),
            processes: board.processes().collect(),
            workers,
        }
    }

    #[test]
    fn numbers_have_six_significant_digits() {
        let numbers = [0.0, 0.028_571_428_57, 512.0, 1_234.567_89, 12_345_678.9, 0.5];
        let texts = ["0", "0.0285714", "512", "1234.57", "12345679", "0.5"];
        for (value, text) in numbers.into_iter().zip(texts) {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn durations_and_dates_read_as_apache_writes_them() {
        assert_eq!(duration(0), "");
        assert_eq!(duration(35), "35 seconds");
        assert_eq!(duration(86_400 + 3600 * 2 + 60 + 1), "1 day 2 hours 1 minute 1 second");
        assert_eq!(date(1_795_373_982), "Sunday, 22-Nov-2026 18:59:42 UTC");
    }

    #[test]
    fn workers_are_busy_idle_or_on_their_way_out() {
        let snapshot = sample();
        assert_eq!((snapshot.busy(), snapshot.idle(), snapshot.finishing()), (1, 0, 1));
        assert_eq!(snapshot.letters(), "GW");
        assert_eq!(snapshot.cpu_load(), Some(1.0));
    }
}
