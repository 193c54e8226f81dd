//! Processes beside the workers: what a program declares, and the master's table of those that run.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use daemun_core::log;
use daemun_core::log::Log;
use daemun_sys::process::Exit;
use daemun_sys::{poll, signals};

use crate::table::log_exit;
use crate::{FATAL, Order, Orders};

/// A process that a program needs besides its workers, one for each configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// As logs and the process's title have it: `cache manager`.
    pub name: &'static str,
    /// It is started again where it ends by itself.
    pub is_kept: bool,
}

/// What a helper's own process is given.
pub struct Errand {
    orders: Orders,
    reopen: Box<dyn Fn()>,
    is_over: bool,
}

impl Errand {
    pub(crate) fn new(orders: Orders, reopen: Box<dyn Fn()>) -> Errand {
        Errand { orders, reopen, is_over: false }
    }

    /// Waits for so long; `false` where the process is to end.
    pub fn pause(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !self.is_over {
                let told = poll::readable(&[self.orders.as_fd()], Some(left));
                if told.is_ok_and(|told| told[0]) {
                    self.hear();
                }
            }
            if self.is_over || left.is_zero() {
                return !self.is_over;
            }
        }
    }

    fn hear(&mut self) {
        while let Ok(Some(order)) = self.orders.receive() {
            match order {
                Order::Reopen => (self.reopen)(),
                Order::Quit { .. } | Order::Terminate => self.is_over = true,
            }
        }
    }
}

/// A helper of a generation.
pub(crate) struct Process {
    pub helper: Helper,
    pub generation: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Runs(i32),
    /// It was told to end.
    Leaves(i32),
    /// It is to be started from that moment on.
    Due(Instant),
}

#[derive(Default)]
pub(crate) struct Helpers(Vec<Process>);

impl Helpers {
    /// How long one is not started again that ended with an error, or could not be started.
    const DELAY: Duration = Duration::from_secs(1);

    /// Adds what a generation needs and does not have.
    pub fn enlist(&mut self, helpers: &[Helper], generation: u64) {
        for helper in helpers {
            let is_there = |one: &Process| one.helper == *helper && one.generation == generation;
            if !self.0.iter().any(is_there) {
                let state = State::Due(Instant::now());
                self.0.push(Process { helper: *helper, generation, state });
            }
        }
    }

    /// Those of a generation whose time to start has come, by place. What other generations waited for is not started.
    pub fn due(&mut self, generation: u64, now: Instant) -> Vec<usize> {
        self.0.retain(|one| one.generation == generation || one.pid().is_some());
        let is_due = |one: &Process| matches!(one.state, State::Due(when) if when <= now);
        (0..self.0.len()).filter(|place| is_due(&self.0[*place])).collect()
    }

    pub fn next_moment(&self) -> Option<Instant> {
        let moments = self.0.iter().filter_map(|one| match one.state {
            State::Due(when) => Some(when),
            _ => None,
        });
        moments.min()
    }

    pub fn helper(&self, place: usize) -> Helper {
        self.0[place].helper
    }

    /// It was started, or could not be.
    pub fn started(&mut self, place: usize, pid: Option<i32>) {
        self.0[place].state = match pid {
            Some(pid) => State::Runs(pid),
            None => State::Due(Instant::now() + Self::DELAY),
        };
    }

    pub fn is_live(&self) -> bool {
        self.0.iter().any(|one| one.pid().is_some())
    }

    /// Sends an order to those of the generations that `to` picks.
    pub fn order(&mut self, order: Order, log: &Log, to: impl Fn(u64) -> bool) {
        let signal = match order {
            Order::Quit { .. } => signals::SIGQUIT,
            Order::Terminate => signals::SIGTERM,
            Order::Reopen => signals::SIGUSR1,
        };
        for one in self.0.iter_mut().filter(|one| to(one.generation)) {
            let Some(pid) = one.pid() else { continue };
            let is_told = matches!(one.state, State::Leaves(_)) && order != Order::Terminate;
            if !is_told && let Err(error) = signals::send(pid, signal) {
                log!(log, Alert, (), "kill({}, {}) failed", pid, signal; error);
            }
            if order != Order::Reopen {
                one.state = State::Leaves(pid);
            }
        }
        if order != Order::Reopen {
            self.0.retain(|one| !to(one.generation) || one.pid().is_some());
        }
    }

    pub fn kill_all(&self, log: &Log) {
        for pid in self.0.iter().filter_map(Process::pid) {
            if let Err(error) = signals::send(pid, signals::SIGKILL) {
                log!(log, Alert, (), "kill({}, {}) failed", pid, signals::SIGKILL; error);
            }
        }
    }

    /// Takes note of a process that ended; `false` where it is none of these.
    pub fn ended(&mut self, pid: i32, exit: Exit, newest: u64, log: &Log) -> bool {
        let Some(place) = self.0.iter().position(|one| one.pid() == Some(pid)) else {
            return false;
        };
        let one = &mut self.0[place];
        log_exit(&format!("{} process", one.helper.name), pid, exit, log);
        let leaves = matches!(one.state, State::Leaves(_));
        let is_done = !one.helper.is_kept && exit == Exit::Code(0);
        let is_fatal = exit == Exit::Code(FATAL);
        if is_fatal && !leaves {
            let name = one.helper.name;
            log!(
                log,
                Alert,
                (),
                "{} process {} exited with fatal code {} and cannot be respawned",
                name,
                pid,
                FATAL
            );
        }
        if leaves || is_done || is_fatal || one.generation < newest {
            self.0.swap_remove(place);
            return true;
        }
        let delay = match exit {
            Exit::Code(_) => Self::DELAY,
            Exit::Signal { .. } => Duration::ZERO,
        };
        one.state = State::Due(Instant::now() + delay);
        true
    }
}

impl Process {
    fn pid(&self) -> Option<i32> {
        match self.state {
            State::Runs(pid) | State::Leaves(pid) => Some(pid),
            State::Due(_) => None,
        }
    }
}

/// Says that a helper could not be started.
pub(crate) fn tell_unstarted(log: &Log, helper: Helper, error: io::Error) {
    let name = helper.name;
    log!(log, Alert, (), "fork() failed while spawning \"{} process\"", name; error);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANAGER: Helper = Helper { name: "manager", is_kept: true };
    const LOADER: Helper = Helper { name: "loader", is_kept: false };
    const KILLED: Exit = Exit::Signal { number: signals::SIGKILL, core_dumped: false };

    fn running() -> Helpers {
        let mut helpers = Helpers::default();
        helpers.enlist(&[MANAGER, LOADER], 1);
        for place in helpers.due(1, Instant::now()) {
            helpers.started(place, Some(10 + place as i32));
        }
        helpers
    }

    #[test]
    fn what_is_killed_is_due_at_once_and_what_is_done_is_not() {
        let mut helpers = running();
        let log = Log::silent();
        assert!(helpers.ended(10, KILLED, 1, &log));
        assert_eq!(helpers.due(1, Instant::now()).len(), 1);
        assert!(helpers.ended(11, Exit::Code(0), 1, &log));
        assert_eq!(helpers.0.len(), 1);
        assert!(!helpers.ended(12, KILLED, 1, &log));
    }

    #[test]
    fn a_loader_that_was_killed_is_started_again() {
        let mut helpers = running();
        assert!(helpers.ended(11, KILLED, 1, &Log::silent()));
        let due = helpers.due(1, Instant::now());
        assert_eq!(due.iter().map(|place| helpers.helper(*place)).collect::<Vec<_>>(), [LOADER]);
    }

    #[test]
    fn those_of_an_older_configuration_are_not_started_again() {
        let mut helpers = running();
        helpers.enlist(&[MANAGER], 2);
        assert!(helpers.ended(10, KILLED, 2, &Log::silent()));
        let due = helpers.due(2, Instant::now());
        assert_eq!(due.len(), 1);
        assert_eq!(helpers.0[due[0]].generation, 2);
    }
}
