//! The master: one thread that waits in one place for signals, its workers and the control socket.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemun_core::log;
use daemun_core::log::Log;
use daemun_core::settings::Mpm;
use daemun_shm::{ProcessView, Scoreboard, WorkerSlot, WorkerState};
use daemun_sys::signals::{self, Received, SignalQueue};
use daemun_sys::{poll, process};

use crate::control::{Control, Outcome};
use crate::generation::{Generation, shares};
use crate::handover::Channel;
use crate::helpers::{Helpers, tell_unstarted};
use crate::orders::log_received;
use crate::start::{Origin, Started};
use crate::table::{Ended, State, Table, Worker, log_exit};
use crate::upkeep::{self, Advice, Census, Upkeep};
use crate::worker::{become_worker, set_title};
use crate::{
    Errand, FATAL, Helper, Order, Orders, Program, Ready, WorkerContext, model, pid_file, upgrade,
};

/// Runs the workers until told to stop, and returns the exit code.
pub(crate) fn run<P: Program>(started: Started<'_, P>) -> i32 {
    let Started { program, arguments, generation, signals, channel, control, scoreboard, origin } =
        started;
    let mut master = Master {
        program,
        arguments,
        generation,
        origin,
        channel,
        scoreboard,
        table: Table::default(),
        helpers: Helpers::default(),
        signals: Some(signals),
        control,
        new_binary: None,
        no_accepting: false,
        stopping: None,
        upkeep: Upkeep::new(),
    };
    master.enlist_workers();
    while master.turn() {}
    master.leave();
    0
}

struct Master<'p, P: Program> {
    program: &'p P,
    arguments: Vec<OsString>,
    generation: Generation<P::Configuration>,
    origin: Origin,
    channel: Option<Arc<Channel>>,
    scoreboard: Arc<Scoreboard>,
    table: Table,
    helpers: Helpers,
    /// `None` in a worker only, between the fork and its own signals.
    signals: Option<SignalQueue>,
    control: Option<Control>,
    /// The master of the other binary, while an upgrade is under way.
    new_binary: Option<i32>,
    /// WINCH: no worker is to run until the upgrade is taken back.
    no_accepting: bool,
    stopping: Option<Stopping>,
    upkeep: Upkeep,
}

/// The server is to end.
struct Stopping {
    /// When workers that did not obey are killed; never for a graceful end.
    kill_at: Option<Instant>,
}

impl<P: Program> Master<'_, P> {
    /// How long workers may take to obey TERM.
    const KILL_AFTER: Duration = Duration::from_millis(1500);

    /// Waits for something to happen and does what follows from it; false at the end.
    fn turn(&mut self) -> bool {
        self.start_due();
        if let Err(error) = self.wait() {
            log!(self.log(), Alert, (), "poll() failed"; error);
        }
        while let Some(signal) =
            self.signals.as_ref().and_then(|queue| queue.receive().ok().flatten())
        {
            self.obey(signal);
        }
        let Master { control, scoreboard, generation, .. } = self;
        let tell = || model::describe(scoreboard, generation.number, &generation.cycle.settings);
        if let Some(signal) = control.as_mut().and_then(|control| control.hear(tell)) {
            self.obey(signal);
        }
        self.table.listen(Instant::now());
        self.relieve_older();
        self.relieve_retiring();
        self.keep_up();
        self.kill_the_slow();
        self.stopping.is_none() || self.table.is_live() || self.helpers.is_live()
    }

    fn wait(&mut self) -> io::Result<()> {
        let mut descriptors: Vec<BorrowedFd<'_>> = self.signals.iter().map(AsFd::as_fd).collect();
        if let Some(control) = &self.control {
            descriptors.extend(control.descriptors());
        }
        descriptors.extend(self.table.words().map(AsFd::as_fd));
        let watched = descriptors.len();
        if let Some(channel) = self.channel.as_ref().filter(|_| self.may_be_called()) {
            descriptors.push(channel.as_fd());
        }
        let kill_at = self.stopping.as_ref().and_then(|stopping| stopping.kill_at);
        let upkeep = self.has_upkeep().then_some(self.upkeep.due);
        let due = self.table.next_moment().into_iter().chain(self.helpers.next_moment());
        let moment = due.chain(kill_at).chain(upkeep).min();
        let limit = moment.map(|moment| moment.saturating_duration_since(Instant::now()));
        let readable = poll::readable(&descriptors, limit)?;
        if readable.get(watched).is_some_and(|called| *called) {
            self.upkeep.call();
        }
        Ok(())
    }

    fn obey(&mut self, signal: Received) {
        log_received(&self.generation.cycle.log, signal, self.action(signal.number));
        match signal.number {
            signals::SIGCHLD => self.reap(),
            signals::SIGTERM | signals::SIGINT => self.terminate(),
            signals::SIGQUIT => self.quit(),
            signals::SIGHUP => self.reconfigure(),
            signals::SIGUSR1 => self.reopen(),
            signals::SIGUSR2 => self.upgrade(),
            signals::SIGWINCH if self.origin.daemonised => self.stop_accepting(),
            _ => {}
        }
    }

    fn action(&self, signal: i32) -> &'static str {
        match signal {
            signals::SIGQUIT => ", shutting down",
            signals::SIGTERM | signals::SIGINT => ", exiting",
            signals::SIGHUP => ", reconfiguring",
            signals::SIGUSR1 => ", reopening logs",
            signals::SIGUSR2 if self.may_upgrade() => ", changing binary",
            signals::SIGUSR2 => ", ignoring",
            signals::SIGWINCH if self.origin.daemonised => ", stop accepting connections",
            _ => "",
        }
    }

    fn log(&self) -> &Log {
        &self.generation.cycle.log
    }
}

// === Workers ===

impl<P: Program> Master<'_, P> {
    /// Plans as many workers of the present generation as are missing.
    fn enlist_workers(&mut self) {
        log!(self.log(), Notice, (), "start worker processes");
        let settings = &self.generation.cycle.settings;
        let count = match settings.mpm.mpm {
            Mpm::Native => settings.worker_processes,
            _ => {
                let open = usize::try_from(self.scoreboard.totals().active).unwrap_or(0);
                upkeep::children_at_start(&settings.mpm, open)
            }
        };
        let number = self.generation.number;
        while self.table.serving(number).count() < count {
            self.table.enlist(self.table.vacant_index(number), number);
        }
        self.helpers.enlist(&self.program.helpers(&self.generation.cycle), number);
        self.upkeep = Upkeep::new();
    }

    /// Whether the number of children follows the load.
    fn has_upkeep(&self) -> bool {
        self.generation.cycle.settings.mpm.mpm != Mpm::Native
            && self.stopping.is_none()
            && !self.no_accepting
    }

    /// Whether children may be started because those there are have no room for what others pass on.
    fn may_be_called(&self) -> bool {
        let most = self.generation.cycle.settings.mpm.most_children;
        self.has_upkeep()
            && !self.upkeep.is_called
            && self.table.serving(self.generation.number).count() < most
    }

    fn keep_up(&mut self) {
        if !self.has_upkeep() || self.upkeep.due > Instant::now() {
            return;
        }
        let number = self.generation.number;
        let children: Vec<ProcessView> = self
            .scoreboard
            .processes()
            .filter(|child| child.generation == number && child.state != WorkerState::Leaving)
            .collect();
        let mpm = &self.generation.cycle.settings.mpm;
        let census = Census::of(&children, mpm);
        let is_called = std::mem::take(&mut self.upkeep.is_called)
            && self.channel.as_ref().is_some_and(|channel| channel.is_waited_at());
        let advice = match is_called {
            true => self.upkeep.answer_call(census, mpm),
            false => self.upkeep.judge(census, mpm),
        };
        match advice {
            Advice::Keep => {}
            Advice::Start(count) => self.start_more(count, census),
            Advice::EndOne => {
                let spare = upkeep::least_busy(&children).map(|child| child.index);
                let order = Order::Quit { hand_over: true };
                let log = &self.generation.cycle.log;
                self.table
                    .order(order, log, |worker| worker.slot.is_some() && worker.slot == spare);
            }
            Advice::Exhausted => {
                log!(
                    self.log(),
                    Error,
                    (),
                    "server reached max_request_workers setting, consider raising it"
                );
            }
        }
    }

    fn start_more(&mut self, count: usize, census: Census) {
        if count >= Upkeep::NOTEWORTHY {
            let Census { children, idle } = census;
            log!(
                self.log(),
                Info,
                (),
                "server seems busy, spawning {} children, there are {} idle workers, and {} total children",
                count,
                idle,
                children
            );
        }
        let number = self.generation.number;
        for _ in 0..count {
            self.table.enlist(self.table.vacant_index(number), number);
        }
    }

    /// Ends those who asked for a successor and have it.
    fn relieve_retiring(&mut self) {
        let relieved = self.table.relieved();
        if !relieved.is_empty() {
            let order = Order::Quit { hand_over: true };
            let log = &self.generation.cycle.log;
            let is_one = |worker: &Worker| worker.pid().is_some_and(|pid| relieved.contains(&pid));
            self.table.order(order, log, is_one);
        }
    }

    fn start_due(&mut self) {
        for place in self.table.due(Instant::now()) {
            if let Err(error) = self.start(place) {
                log!(self.log(), Alert, (), "fork() failed while spawning \"worker process\""; error);
                self.table.workers[place].state =
                    State::Due(Instant::now() + Duration::from_secs(1));
            }
        }
        if self.stopping.is_none() {
            for place in self.helpers.due(self.generation.number, Instant::now()) {
                self.start_helper(place);
            }
        }
    }

    fn start_helper(&mut self, place: usize) {
        let helper = self.helpers.helper(place);
        let pid = match process::spawn(|| self.help(helper)) {
            Ok(pid) => {
                log!(self.log(), Notice, (), "start {} process {}", helper.name, pid);
                Some(pid)
            }
            Err(error) => {
                tell_unstarted(self.log(), helper, error);
                None
            }
        };
        self.helpers.started(place, pid);
    }

    /// A helper's life, in the forked process.
    fn help(&mut self, helper: Helper) -> i32 {
        let generation = self.generation.number;
        let cycle = Arc::clone(&self.generation.cycle);
        self.let_go();
        self.channel = None;
        let log = &cycle.log;
        if become_worker(&cycle.settings, None, log).is_err() {
            return FATAL;
        }
        let daemonised = self.origin.daemonised;
        let orders = match Orders::from_signals(daemonised, generation, false, log.clone()) {
            Ok(orders) => orders,
            Err(error) => {
                log!(log, Alert, (), "signalfd() failed"; error);
                return FATAL;
            }
        };
        set_title(&format!("{} process", helper.name), generation);
        let files = Arc::clone(&cycle.files);
        let reopen = Box::new(move || files.reopen(None, &Log::current()));
        let code = self.program.help(&cycle, helper, Errand::new(orders, reopen));
        log!(log, Notice, (), "exiting");
        code
    }

    fn start(&mut self, place: usize) -> io::Result<()> {
        let index = self.table.workers[place].index;
        let full = || io::Error::other("the scoreboard is full");
        let counters = self.scoreboard.claim(self.generation.number).ok_or_else(full)?;
        counters.set_mpm(self.generation.cycle.settings.mpm.mpm);
        let slot = counters.index();
        let (reader, writer) = io::pipe()?;
        // Each side keeps its own end: the fork gives both sides both.
        let (mut reader, mut writer) = (Some(reader), Some(writer));
        let pid = process::spawn(|| {
            drop(reader.take());
            match writer.take() {
                Some(pipe) => self.work(index, counters, Ready::new(pipe)),
                None => FATAL,
            }
        });
        drop(writer);
        let pid = pid.inspect_err(|_| self.scoreboard.retire(slot))?;
        log!(self.log(), Notice, (), "start worker process {}", pid);
        if let Some(ready) = reader {
            let worker = &mut self.table.workers[place];
            worker.slot = Some(slot);
            worker.state = State::Starting { pid, ready, since: Instant::now() };
        }
        Ok(())
    }

    /// The worker's life, in the forked process.
    fn work(&mut self, index: usize, counters: WorkerSlot, ready: Ready) -> i32 {
        let generation = self.generation.number;
        let cycle = Arc::clone(&self.generation.cycle);
        let shares = shares(&cycle.settings);
        let shared = cycle.settings.mpm.mpm != Mpm::Native;
        let listening = self.generation.sockets.share(index % shares, shares, shared);
        self.let_go();
        let log = &cycle.log;
        if become_worker(&cycle.settings, Some(index), log).is_err() {
            return FATAL;
        }
        let orders =
            match Orders::from_signals(self.origin.daemonised, generation, true, log.clone()) {
                Ok(orders) => orders,
                Err(error) => {
                    log!(log, Alert, (), "signalfd() failed"; error);
                    return FATAL;
                }
            };
        set_title("worker process", generation);
        counters.set_pid(std::process::id());
        counters.set_state(WorkerState::Running);
        let channel = self.channel.take();
        let context =
            WorkerContext { index, generation, counters, listening, orders, channel, ready };
        let code = self.program.work(&cycle, context);
        log!(log, Notice, (), "exiting");
        log!(log, Notice, (), "exit");
        code
    }

    /// Closes what only the master needs. The sockets' paths stay.
    fn let_go(&mut self) {
        self.signals = None;
        self.control = None;
        self.table = Table::default();
        self.helpers = Helpers::default();
        self.generation.sockets = Default::default();
    }

    fn reap(&mut self) {
        loop {
            let (pid, exit) = match process::reap() {
                Ok(Some(ended)) => ended,
                Ok(None) => return,
                Err(error) => {
                    log!(self.log(), Alert, (), "waitpid() failed"; error);
                    return;
                }
            };
            if self.new_binary == Some(pid) {
                log_exit("new binary process", pid, exit, self.log());
                self.take_upgrade_back();
                continue;
            }
            if let Some(slot) = self.table.slot_of(pid) {
                self.scoreboard.retire(slot);
            }
            let log = &self.generation.cycle.log;
            if self.helpers.ended(pid, exit, self.generation.number, log) {
                continue;
            }
            match self.table.ended(pid, exit, self.generation.number, log) {
                Ended::ToBeReplaced if self.stopping.is_some() => {
                    self.table.workers.retain(|worker| worker.pid().is_some());
                }
                Ended::ToBeReplaced | Ended::Gone | Ended::Stranger => {}
            }
        }
    }
}

// === Reload ===

impl<P: Program> Master<'_, P> {
    fn reconfigure(&mut self) {
        if self.stopping.is_some() {
            return self.tell(Err("the server is shutting down".to_owned()));
        }
        if self.new_binary.is_some() {
            // nginx's way back from an upgrade: workers again, without a look at the configuration.
            self.no_accepting = false;
            return self.enlist_workers();
        }
        log!(self.log(), Notice, (), "reconfiguring");
        match self.generation.next(self.program) {
            Ok(next) => {
                self.generation.give_way_to(next);
                self.no_accepting = false;
                let number = self.generation.number;
                self.table
                    .workers
                    .retain(|worker| worker.generation == number || worker.pid().is_some());
                self.enlist_workers();
            }
            Err(reason) => self.tell(Err(reason)),
        }
    }

    /// Ends older generations once the present one serves, and tells whoever waits for that.
    fn relieve_older(&mut self) {
        let number = self.generation.number;
        if self.table.serves(number) {
            if self.table.has_older(number) {
                let order = Order::Quit { hand_over: true };
                let log = &self.generation.cycle.log;
                self.table.order(order, log, |worker| worker.generation < number);
                self.helpers.order(order, log, |generation| generation < number);
            }
            self.tell(Ok(()));
        } else if !self.table.workers.iter().any(|worker| worker.generation == number) {
            self.tell(Err("no worker process of the new configuration could start".to_owned()));
        }
    }

    fn tell(&mut self, outcome: Outcome) {
        if let Some(control) = &mut self.control {
            control.answer(&outcome);
        }
    }

    fn reopen(&mut self) {
        self.generation.reopen_logs();
        let log = &self.generation.cycle.log;
        self.table.order(Order::Reopen, log, |_| true);
        self.helpers.order(Order::Reopen, log, |_| true);
    }
}

// === Upgrade ===

impl<P: Program> Master<'_, P> {
    fn may_upgrade(&self) -> bool {
        self.new_binary.is_none() && !self.origin.has_parent()
    }

    fn upgrade(&mut self) {
        if !self.may_upgrade() {
            log!(
                self.log(),
                Crit,
                (),
                "the changing binary signal is ignored: you should shutdown or terminate before either old or new \
                 binary's process"
            );
            return;
        }
        log!(self.log(), Notice, (), "changing binary");
        let Generation { cycle, sockets, .. } = &self.generation;
        let channel = self.channel.as_deref();
        let secrets = self.program.bequeath();
        let settings = &cycle.settings;
        self.new_binary =
            upgrade::execute(&self.arguments, settings, sockets, channel, &secrets, &cycle.log);
    }

    fn stop_accepting(&mut self) {
        self.no_accepting = true;
        let order = Order::Quit { hand_over: self.new_binary.is_some() };
        let log = &self.generation.cycle.log;
        self.table.order(order, log, |_| true);
        self.helpers.order(order, log, |_| true);
    }

    /// The new binary's master ended: this one is the only one again.
    fn take_upgrade_back(&mut self) {
        self.new_binary = None;
        if let Some(binary) = self.arguments.first() {
            upgrade::rename_back(&self.generation.cycle.settings.pid, binary, self.log());
        }
        if self.no_accepting && self.stopping.is_none() {
            self.no_accepting = false;
            self.enlist_workers();
        }
    }

    /// Whether another master of this instance serves the same sockets.
    fn has_sibling(&self) -> bool {
        self.new_binary.is_some() || self.origin.inherited && self.origin.has_parent()
    }
}

// === The end ===

impl<P: Program> Master<'_, P> {
    fn quit(&mut self) {
        let timeout = self.generation.cycle.settings.mpm.graceful_shutdown_timeout;
        let kill_at = timeout.map(|timeout| Instant::now() + timeout);
        self.stopping.get_or_insert(Stopping { kill_at });
        let sibling = self.has_sibling();
        let order = Order::Quit { hand_over: sibling };
        let log = &self.generation.cycle.log;
        self.table.order(order, log, |_| true);
        self.helpers.order(order, log, |_| true);
        self.generation.sockets.close(!sibling, &self.generation.cycle.log);
    }

    fn terminate(&mut self) {
        let kill_at = Some(Instant::now() + Self::KILL_AFTER);
        self.stopping = Some(Stopping { kill_at });
        let log = &self.generation.cycle.log;
        self.table.order(Order::Terminate, log, |_| true);
        self.helpers.order(Order::Terminate, log, |_| true);
    }

    fn kill_the_slow(&mut self) {
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        if stopping.kill_at.is_some_and(|moment| moment <= Instant::now()) {
            stopping.kill_at = None;
            self.table.kill_all(&self.generation.cycle.log);
            self.helpers.kill_all(&self.generation.cycle.log);
        }
    }

    fn leave(&mut self) {
        let pid_path = &self.generation.cycle.settings.pid;
        match self.new_binary {
            Some(_) => pid_file::remove(&pid_file::old_binary(pid_path), self.log()),
            None => pid_file::remove(pid_path, self.log()),
        }
        log!(self.log(), Notice, (), "exit");
        self.tell(Err("the server is shutting down".to_owned()));
        let last = !self.has_sibling();
        self.generation.sockets.close(last, &self.generation.cycle.log);
    }
}
