//! `master_process off`: one process. A generation is a thread; the first one watches them.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::Scope;
use std::time::Duration;

use daemun_core::log;
use daemun_core::log::Log;
use daemun_shm::WorkerState;
use daemun_sys::packet::PacketSocket;
use daemun_sys::signals::{self, Received};
use daemun_sys::{poll, process};

use crate::control::Outcome;
use crate::orders::log_received;
use crate::start::Started;
use crate::{Order, Orders, Program, Ready, WorkerContext, environment, model, pid_file};

/// Serves until told to stop, and returns the exit code.
pub(crate) fn run<P: Program>(started: Started<'_, P>) -> i32 {
    let cycle = &started.generation.cycle;
    if let Err(error) = daemun_sys::environment::replace(&environment::variables(&cycle.settings)) {
        log!(cycle.log, Emerg, (), "setenv() failed"; error);
        return crate::FATAL;
    }
    let mut single = Single { started, threads: Vec::new(), stopping: false };
    std::thread::scope(|scope| {
        single.start(scope);
        while single.turn(scope) {}
    });
    single.leave()
}

struct Single<'p, P: Program> {
    started: Started<'p, P>,
    threads: Vec<Generating>,
    stopping: bool,
}

/// A thread that serves a generation.
struct Generating {
    number: u64,
    /// Its place in the scoreboard.
    slot: usize,
    orders: PacketSocket,
    /// Says once that the thread serves, and ends with it.
    ready: PipeReader,
    serves: bool,
    leaving: bool,
}

impl<'p, P: Program> Single<'p, P> {
    fn turn<'scope>(&mut self, scope: &'scope Scope<'scope, '_>) -> bool
    where
        'p: 'scope,
        P::Configuration: 'scope,
    {
        if let Err(error) = self.wait() {
            log!(self.log(), Alert, (), "poll() failed"; error);
        }
        while let Ok(Some(signal)) = self.started.signals.receive() {
            self.obey(signal, scope);
        }
        let Started { control, scoreboard, generation, .. } = &mut self.started;
        let tell = || model::describe(scoreboard, generation.number, &generation.cycle.settings);
        if let Some(signal) = control.as_mut().and_then(|control| control.hear(tell)) {
            self.obey(signal, scope);
        }
        self.listen_to_threads();
        self.relieve_older();
        !self.threads.is_empty()
    }

    fn wait(&self) -> io::Result<()> {
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![self.started.signals.as_fd()];
        if let Some(control) = &self.started.control {
            descriptors.extend(control.descriptors());
        }
        descriptors.extend(self.threads.iter().map(|thread| thread.ready.as_fd()));
        poll::readable(&descriptors, None).map(drop)
    }

    fn obey<'scope>(&mut self, signal: Received, scope: &'scope Scope<'scope, '_>)
    where
        'p: 'scope,
        P::Configuration: 'scope,
    {
        let action = match signal.number {
            signals::SIGQUIT => ", shutting down",
            signals::SIGTERM | signals::SIGINT => ", exiting",
            signals::SIGHUP => ", reconfiguring",
            signals::SIGUSR1 => ", reopening logs",
            _ => ", ignoring",
        };
        log_received(self.log(), signal, action);
        match signal.number {
            signals::SIGTERM | signals::SIGINT => self.stop(Order::Terminate),
            signals::SIGQUIT => self.stop(Order::Quit { hand_over: false }),
            signals::SIGHUP => self.reconfigure(scope),
            signals::SIGUSR1 => {
                self.started.generation.reopen_logs();
                self.order(Order::Reopen, |_| true);
            }
            // A program that a module executed.
            signals::SIGCHLD => while let Ok(Some(_)) = process::reap() {},
            _ => {}
        }
    }

    fn start<'scope>(&mut self, scope: &'scope Scope<'scope, '_>)
    where
        'p: 'scope,
        P::Configuration: 'scope,
    {
        if let Err(error) = self.try_start(scope) {
            log!(self.log(), Alert, (), "a thread could not be started"; error);
        }
    }

    fn try_start<'scope>(&mut self, scope: &'scope Scope<'scope, '_>) -> io::Result<()>
    where
        'p: 'scope,
        P::Configuration: 'scope,
    {
        let generation = &self.started.generation;
        let number = generation.number;
        let full = || io::Error::other("the scoreboard is full");
        let counters = self.started.scoreboard.claim(number).ok_or_else(full)?;
        counters.set_mpm(generation.cycle.settings.mpm.mpm);
        counters.set_pid(std::process::id());
        counters.set_state(WorkerState::Running);
        let slot = counters.index();
        let (orders, channel_end) = PacketSocket::pair()?;
        let (ready, pipe) = io::pipe()?;
        let context = WorkerContext {
            index: 0,
            generation: number,
            counters,
            listening: generation.sockets.share(0, 1, false),
            orders: Orders::from_channel(channel_end, self.log().clone()),
            channel: self.started.channel.clone(),
            ready: Ready::new(pipe),
        };
        let cycle = Arc::clone(&generation.cycle);
        let program = self.started.program;
        std::thread::Builder::new().spawn_scoped(scope, move || program.work(&cycle, context))?;
        self.threads.push(Generating {
            number,
            slot,
            orders,
            ready,
            serves: false,
            leaving: false,
        });
        Ok(())
    }

    fn reconfigure<'scope>(&mut self, scope: &'scope Scope<'scope, '_>)
    where
        'p: 'scope,
        P::Configuration: 'scope,
    {
        if self.stopping {
            return self.tell(Err("the server is shutting down".to_owned()));
        }
        log!(self.log(), Notice, (), "reconfiguring");
        match self.started.generation.next(self.started.program) {
            Ok(next) => {
                self.started.generation.give_way_to(next);
                self.start(scope);
            }
            Err(reason) => self.tell(Err(reason)),
        }
    }

    fn listen_to_threads(&mut self) {
        self.threads.retain_mut(|thread| {
            let polled = poll::readable(&[thread.ready.as_fd()], Some(Duration::ZERO));
            if !polled.is_ok_and(|readable| readable[0]) {
                return true;
            }
            thread.serves = thread.ready.read(&mut [0]).unwrap_or(0) == 1;
            if !thread.serves {
                self.started.scoreboard.retire(thread.slot);
            }
            thread.serves
        });
    }

    fn relieve_older(&mut self) {
        let number = self.started.generation.number;
        if self.threads.iter().any(|thread| thread.number == number && thread.serves) {
            self.order(Order::Quit { hand_over: true }, |thread| thread.number < number);
            self.tell(Ok(()));
        }
    }

    fn stop(&mut self, order: Order) {
        self.stopping = true;
        self.order(order, |_| true);
    }

    fn order(&mut self, order: Order, to: impl Fn(&Generating) -> bool) {
        for thread in self.threads.iter_mut().filter(|thread| to(thread)) {
            let quits = matches!(order, Order::Quit { .. });
            if quits && thread.leaving {
                continue;
            }
            thread.leaving |= quits;
            // A thread that does not listen any more is about to end.
            let _ = thread.orders.send(&[order.to_byte()]);
        }
    }

    fn tell(&mut self, outcome: Outcome) {
        if let Some(control) = &mut self.started.control {
            control.answer(&outcome);
        }
    }

    fn leave(mut self) -> i32 {
        let generation = &mut self.started.generation;
        let log = generation.cycle.log.clone();
        pid_file::remove(&generation.cycle.settings.pid, &log);
        log!(log, Notice, (), "exit");
        generation
            .sockets
            .close(!(self.started.origin.inherited && self.started.origin.has_parent()), &log);
        i32::from(!self.stopping)
    }

    fn log(&self) -> &Log {
        &self.started.generation.cycle.log
    }
}
