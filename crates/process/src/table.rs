//! The master's table of workers: who runs, who is to run again, and when.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use daemun_core::log;
use daemun_core::log::Log;
use daemun_sys::process::Exit;
use daemun_sys::signals;

use crate::worker::{RETIRES, SERVES};
use crate::{FATAL, Order};

/// A place in the table.
pub(crate) struct Worker {
    pub index: usize,
    pub generation: u64,
    pub state: State,
    /// Exits in a row before it said that it was ready.
    pub failures: u32,
    /// Its place in the scoreboard, while it runs.
    pub slot: Option<usize>,
    /// The process in whose place this one was started, which ends once this one serves.
    pub relieves: Option<i32>,
}

pub(crate) enum State {
    /// Runs, and has not said yet that it serves.
    Starting { pid: i32, ready: PipeReader, since: Instant },
    Serving {
        pid: i32,
        /// What it has to say; `None` once it says no more.
        words: Option<PipeReader>,
    },
    /// Serves until its successor does.
    Retiring { pid: i32 },
    /// Was told to end.
    Leaving { pid: i32 },
    /// Ended, and runs again from that moment on.
    Due(Instant),
}

/// What became of a process that ended.
pub(crate) enum Ended {
    /// Not one of the workers.
    Stranger,
    /// A worker that was meant to end, or must not run again.
    Gone,
    /// A worker that will be started again.
    ToBeReplaced,
}

#[derive(Default)]
pub(crate) struct Table {
    pub workers: Vec<Worker>,
}

impl Table {
    /// A worker that takes longer than this to say that it serves is taken to do so.
    pub const READY_LIMIT: Duration = Duration::from_secs(10);
    /// The delay after the first failed start, doubled by each further one.
    const FIRST_DELAY: Duration = Duration::from_millis(100);
    const LONGEST_DELAY: Duration = Duration::from_secs(10);

    /// Adds a worker that is to be started at once.
    pub fn enlist(&mut self, index: usize, generation: u64) {
        self.enlist_for(None, index, generation);
    }

    fn enlist_for(&mut self, relieves: Option<i32>, index: usize, generation: u64) {
        let state = State::Due(Instant::now());
        self.workers.push(Worker { index, generation, state, failures: 0, slot: None, relieves });
    }

    /// The lowest place that no worker of the generation has, which is to go on.
    pub fn vacant_index(&self, generation: u64) -> usize {
        let taken = |index: usize| {
            let mut own = self.serving(generation);
            own.any(|worker| worker.index == index)
        };
        (0..).find(|index| !taken(*index)).expect("there are more numbers than workers")
    }

    /// Workers of the generation that are to go on.
    pub fn serving(&self, generation: u64) -> impl Iterator<Item = &Worker> {
        let stays = |worker: &&Worker| {
            !matches!(worker.state, State::Leaving { .. } | State::Retiring { .. })
        };
        self.workers.iter().filter(move |worker| worker.generation == generation).filter(stays)
    }

    /// Workers whose time to start has come, by place.
    pub fn due(&self, now: Instant) -> Vec<usize> {
        let is_due = |worker: &Worker| matches!(worker.state, State::Due(when) if when <= now);
        (0..self.workers.len()).filter(|place| is_due(&self.workers[*place])).collect()
    }

    /// The next moment at which something here has to be done.
    pub fn next_moment(&self) -> Option<Instant> {
        let moments = self.workers.iter().filter_map(|worker| match &worker.state {
            State::Due(when) => Some(*when),
            State::Starting { since, .. } => Some(*since + Self::READY_LIMIT),
            _ => None,
        });
        moments.min()
    }

    /// Whether any process runs.
    pub fn is_live(&self) -> bool {
        self.workers.iter().any(|worker| worker.pid().is_some())
    }

    /// Whether all workers of the generation that are meant to run say that they serve, and there
    /// is one.
    pub fn serves(&self, generation: u64) -> bool {
        let mut own =
            self.workers.iter().filter(|worker| worker.generation == generation).peekable();
        own.peek().is_some() && own.all(|worker| matches!(worker.state, State::Serving { .. }))
    }

    /// Whether any worker of an older generation has not been told to end.
    pub fn has_older(&self, generation: u64) -> bool {
        let stays = |worker: &Worker| !matches!(worker.state, State::Leaving { .. });
        self.workers.iter().any(|worker| worker.generation < generation && stays(worker))
    }

    /// What to watch to hear from the workers.
    pub fn words(&self) -> impl Iterator<Item = &PipeReader> {
        self.workers.iter().filter_map(|worker| match &worker.state {
            State::Starting { ready, .. } => Some(ready),
            State::Serving { words, .. } => words.as_ref(),
            _ => None,
        })
    }

    /// Reads who became ready, and who asks for a successor.
    pub fn listen(&mut self, now: Instant) {
        let mut retiring = Vec::new();
        for worker in &mut self.workers {
            if worker.listen(now) {
                let pid = worker.pid();
                retiring.push((pid, worker.index, worker.generation));
            }
        }
        for (pid, index, generation) in retiring {
            self.enlist_for(pid, index, generation);
        }
    }

    /// Retiring processes whose successors serve.
    pub fn relieved(&mut self) -> Vec<i32> {
        let serving =
            self.workers.iter_mut().filter(|worker| matches!(worker.state, State::Serving { .. }));
        serving.filter_map(|worker| worker.relieves.take()).collect()
    }

    /// Sends an order to those that `to` picks. Whoever is to end is not started again.
    pub fn order(&mut self, order: Order, log: &Log, to: impl Fn(&Worker) -> bool) {
        for worker in self.workers.iter_mut().filter(|worker| to(worker)) {
            let leaving = matches!(worker.state, State::Leaving { .. });
            let Some(pid) = worker.pid() else {
                continue;
            };
            if leaving && matches!(order, Order::Quit { .. }) {
                continue;
            }
            if let Err(error) = send(pid, order) {
                log!(log, Alert, (), "kill({}, {}) failed", pid, signal_of(order); error);
            }
            if order != Order::Reopen {
                worker.state = State::Leaving { pid };
            }
        }
        if order != Order::Reopen {
            self.workers.retain(|worker| !to(worker) || worker.pid().is_some());
        }
    }

    pub fn kill_all(&mut self, log: &Log) {
        for pid in self.workers.iter().filter_map(Worker::pid) {
            if let Err(error) = signals::send(pid, signals::SIGKILL) {
                log!(log, Alert, (), "kill({}, {}) failed", pid, signals::SIGKILL; error);
            }
        }
    }

    /// The place in the scoreboard of that process.
    pub fn slot_of(&self, pid: i32) -> Option<usize> {
        self.workers.iter().find(|worker| worker.pid() == Some(pid))?.slot
    }

    /// Takes note of a process that ended.
    pub fn ended(&mut self, pid: i32, exit: Exit, newest: u64, log: &Log) -> Ended {
        let place = self.workers.iter().position(|worker| worker.pid() == Some(pid));
        let name = if place.is_some() { "worker process" } else { "unknown process" };
        log_exit(name, pid, exit, log);
        let Some(place) = place else {
            return Ended::Stranger;
        };
        let worker = &mut self.workers[place];
        worker.slot = None;
        let fatal = exit == Exit::Code(FATAL);
        let leaving = matches!(worker.state, State::Leaving { .. } | State::Retiring { .. });
        if fatal && !leaving {
            log!(
                log,
                Alert,
                (),
                "worker process {} exited with fatal code {} and cannot be respawned",
                pid,
                FATAL
            );
        }
        if fatal || leaving || worker.generation < newest {
            self.workers.swap_remove(place);
            return Ended::Gone;
        }
        worker.fail(exit, log);
        Ended::ToBeReplaced
    }
}

impl Worker {
    pub fn pid(&self) -> Option<i32> {
        match self.state {
            State::Starting { pid, .. }
            | State::Serving { pid, .. }
            | State::Retiring { pid }
            | State::Leaving { pid } => Some(pid),
            State::Due(_) => None,
        }
    }

    /// Hears what it says; true where it asks for a successor.
    fn listen(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Starting { pid, ready, since } => {
                let late = now >= *since + Table::READY_LIMIT;
                if late || word(ready) == Word::Said(SERVES[0]) {
                    let (pid, words) = (*pid, ready.try_clone().ok());
                    self.state = State::Serving { pid, words };
                    self.failures = 0;
                }
                false
            }
            State::Serving { pid, words } => {
                let heard = words.as_ref().map_or(Word::None, word);
                match heard {
                    Word::Said(said) if said == RETIRES[0] => {
                        self.state = State::Retiring { pid: *pid };
                        return true;
                    }
                    Word::Ended => *words = None,
                    Word::Said(_) | Word::None => {}
                }
                false
            }
            _ => false,
        }
    }

    /// Plans the next start: at once, unless it ended by itself before it served.
    fn fail(&mut self, exit: Exit, log: &Log) {
        let starting = matches!(self.state, State::Starting { .. });
        let mut delay = Duration::ZERO;
        if starting && matches!(exit, Exit::Code(_)) {
            let doubled = Table::FIRST_DELAY.saturating_mul(1 << self.failures.min(16));
            delay = doubled.min(Table::LONGEST_DELAY);
            self.failures += 1;
            let milliseconds = delay.as_millis();
            log!(
                log,
                Warn,
                (),
                "a worker process ended before it served, starting it again in {} ms",
                milliseconds
            );
        }
        self.state = State::Due(Instant::now() + delay);
    }
}

/// What came over a worker's pipe.
#[derive(PartialEq, Eq)]
enum Word {
    None,
    Said(u8),
    Ended,
}

fn word(mut pipe: &PipeReader) -> Word {
    let readable = daemun_sys::poll::readable(&[pipe.as_fd()], Some(Duration::ZERO));
    if !readable.is_ok_and(|readable| readable[0]) {
        return Word::None;
    }
    let mut byte = [0];
    match pipe.read(&mut byte) {
        Ok(1) => Word::Said(byte[0]),
        _ => Word::Ended,
    }
}

/// nginx's sentence for a process that ended.
pub(crate) fn log_exit(name: &str, pid: i32, exit: Exit, log: &Log) {
    match exit {
        Exit::Code(code) => log!(log, Notice, (), "{} {} exited with code {}", name, pid, code),
        Exit::Signal { number, core_dumped } => {
            let core = if core_dumped { " (core dumped)" } else { "" };
            log!(log, Alert, (), "{} {} exited on signal {}{}", name, pid, number, core);
        }
    }
}

fn send(pid: i32, order: Order) -> io::Result<()> {
    match order {
        Order::Quit { hand_over } => {
            signals::send_with(pid, signals::SIGQUIT, i32::from(hand_over))
        }
        order => signals::send(pid, signal_of(order)),
    }
}

fn signal_of(order: Order) -> i32 {
    match order {
        Order::Quit { .. } => signals::SIGQUIT,
        Order::Terminate => signals::SIGTERM,
        Order::Reopen => signals::SIGUSR1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starting(table: &mut Table, place: usize, pid: i32) -> io::PipeWriter {
        let (ready, writer) = io::pipe().unwrap();
        table.workers[place].state = State::Starting { pid, ready, since: Instant::now() };
        writer
    }

    #[test]
    fn a_worker_killed_by_a_signal_is_due_at_once_even_while_it_starts() {
        let mut table = Table::default();
        table.enlist(0, 1);
        let _pipe = starting(&mut table, 0, 10);
        let killed = Exit::Signal { number: signals::SIGKILL, core_dumped: false };
        assert!(matches!(table.ended(10, killed, 1, &Log::silent()), Ended::ToBeReplaced));
        assert_eq!(table.due(Instant::now()), [0]);
    }

    #[test]
    fn exits_before_serving_wait_longer_each_time_until_one_serves() {
        let mut table = Table::default();
        table.enlist(0, 1);
        let mut delays = Vec::new();
        for pid in 10..14 {
            let _pipe = starting(&mut table, 0, pid);
            let now = Instant::now();
            table.ended(pid, Exit::Code(1), 1, &Log::silent());
            delays.push(table.next_moment().unwrap() - now);
        }
        assert!(delays.windows(2).all(|pair| pair[1] > pair[0].mul_f32(1.5)), "{delays:?}");

        let pipe = starting(&mut table, 0, 20);
        crate::Ready::new(pipe).tell();
        table.listen(Instant::now());
        assert!(table.serves(1));
        table.ended(20, Exit::Code(1), 1, &Log::silent());
        assert_eq!(table.due(Instant::now()), [0], "a worker that served is replaced at once");
    }

    #[test]
    fn the_fatal_code_and_older_generations_are_not_replaced() {
        let mut table = Table::default();
        table.enlist(0, 1);
        table.enlist(0, 2);
        let _pipes = [starting(&mut table, 0, 10), starting(&mut table, 1, 11)];
        assert!(matches!(table.ended(10, Exit::Code(0), 2, &Log::silent()), Ended::Gone));
        assert!(matches!(table.ended(11, Exit::Code(FATAL), 2, &Log::silent()), Ended::Gone));
        assert!(!table.serves(2) && !table.is_live());
        assert!(matches!(table.ended(12, Exit::Code(0), 2, &Log::silent()), Ended::Stranger));
    }
}
