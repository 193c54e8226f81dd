//! What a worker is told: by its master, or by whoever sends it a signal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use daemun_core::log;
use daemun_core::log::Log;
use daemun_sys::identity;
use daemun_sys::packet::PacketSocket;
use daemun_sys::signals::{self, Received, SignalQueue};

use crate::worker::set_title;

/// An order to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Finish what is in hand, then end. With `hand_over`, a successor may be waiting for the
    /// parked connections.
    Quit { hand_over: bool },
    /// End now.
    Terminate,
    /// Open the log files anew.
    Reopen,
}

/// A worker's orders, to be read whenever the descriptor is readable.
pub struct Orders {
    source: Source,
    log: Log,
}

enum Source {
    /// A process: signals. Its title tells what it does.
    Signals {
        queue: SignalQueue,
        daemonised: bool,
        generation: u64,
        /// It says that it shuts down, which takes it a while.
        lingers: bool,
    },
    /// A thread: the supervisor's end of this.
    Channel(PacketSocket),
}

impl Orders {
    /// The next order, logged in nginx's words; `None` where none waits.
    pub fn receive(&mut self) -> io::Result<Option<Order>> {
        let order = match &self.source {
            Source::Channel(channel) => next_from(channel)?,
            Source::Signals { queue, daemonised, .. } => self.next_signal(queue, *daemonised)?,
        };
        if let Some(order) = order {
            self.announce(order);
        }
        Ok(order)
    }

    /// Reads the signals that a worker process understands from here on.
    pub(crate) fn from_signals(
        daemonised: bool,
        generation: u64,
        lingers: bool,
        log: Log,
    ) -> io::Result<Orders> {
        let queue = SignalQueue::of(&[
            signals::SIGTERM,
            signals::SIGINT,
            signals::SIGQUIT,
            signals::SIGWINCH,
            signals::SIGUSR1,
            signals::SIGHUP,
            signals::SIGUSR2,
        ])?;
        Ok(Orders { source: Source::Signals { queue, daemonised, generation, lingers }, log })
    }

    pub(crate) fn from_channel(channel: PacketSocket, log: Log) -> Orders {
        Orders { source: Source::Channel(channel), log }
    }

    fn next_signal(&self, queue: &SignalQueue, daemonised: bool) -> io::Result<Option<Order>> {
        while let Some(signal) = queue.receive()? {
            let order = understand(signal, daemonised);
            // What the master passes on, the master has logged.
            if signal.sender != identity::parent_pid() {
                log_received(&self.log, signal, action(signal.number, order));
            }
            if order.is_some() {
                return Ok(order);
            }
        }
        Ok(None)
    }

    fn announce(&self, order: Order) {
        match order {
            Order::Quit { .. } => {
                if matches!(self.source, Source::Signals { lingers: false, .. }) {
                    return;
                }
                log!(self.log, Notice, (), "gracefully shutting down");
                if let Source::Signals { generation, .. } = self.source {
                    set_title("worker process is shutting down", generation);
                }
            }
            Order::Reopen => log!(self.log, Notice, (), "reopening logs"),
            Order::Terminate => {}
        }
    }
}

impl AsFd for Orders {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.source {
            Source::Signals { queue, .. } => queue.as_fd(),
            Source::Channel(channel) => channel.as_fd(),
        }
    }
}

impl Order {
    /// The order as the byte that a thread's channel carries.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Order::Quit { hand_over: false } => b'q',
            Order::Quit { hand_over: true } => b'h',
            Order::Terminate => b't',
            Order::Reopen => b'r',
        }
    }

    fn from_byte(byte: u8) -> Option<Order> {
        Some(match byte {
            b'q' => Order::Quit { hand_over: false },
            b'h' => Order::Quit { hand_over: true },
            b't' => Order::Terminate,
            b'r' => Order::Reopen,
            _ => return None,
        })
    }
}

/// nginx's sentence for a signal: who sent it, and what follows.
pub(crate) fn log_received(log: &Log, signal: Received, action: &str) {
    let Received { number, sender, .. } = signal;
    let name = name_of(number);
    match sender {
        0 => log!(log, Notice, (), "signal {} ({}) received{}", number, name, action),
        pid => {
            log!(log, Notice, (), "signal {} ({}) received from {}{}", number, name, pid, action)
        }
    }
}

fn understand(signal: Received, daemonised: bool) -> Option<Order> {
    Some(match signal.number {
        signals::SIGQUIT => Order::Quit { hand_over: signal.value != Some(0) },
        signals::SIGWINCH if daemonised => Order::Quit { hand_over: true },
        signals::SIGTERM | signals::SIGINT => Order::Terminate,
        signals::SIGUSR1 => Order::Reopen,
        _ => return None,
    })
}

fn next_from(channel: &PacketSocket) -> io::Result<Option<Order>> {
    let mut byte = [0];
    match channel.receive(&mut byte) {
        Ok((0, _)) => Ok(Some(Order::Terminate)),
        Ok(_) => Ok(Order::from_byte(byte[0])),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn action(signal: i32, order: Option<Order>) -> &'static str {
    match order {
        Some(Order::Quit { .. }) => ", shutting down",
        Some(Order::Terminate) => ", exiting",
        Some(Order::Reopen) => ", reopening logs",
        None if signal == signals::SIGWINCH => "",
        None => ", ignoring",
    }
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        signals::SIGHUP => "SIGHUP",
        signals::SIGUSR1 => "SIGUSR1",
        signals::SIGWINCH => "SIGWINCH",
        signals::SIGTERM => "SIGTERM",
        signals::SIGQUIT => "SIGQUIT",
        signals::SIGUSR2 => "SIGUSR2",
        signals::SIGALRM => "SIGALRM",
        signals::SIGINT => "SIGINT",
        signals::SIGIO => "SIGIO",
        signals::SIGCHLD => "SIGCHLD",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_passes_a_channel() {
        let (supervisor, worker) = PacketSocket::pair().unwrap();
        let mut orders = Orders::from_channel(worker, Log::silent());
        let all = [
            Order::Quit { hand_over: false },
            Order::Quit { hand_over: true },
            Order::Reopen,
            Order::Terminate,
        ];
        for order in all {
            supervisor.send(&[order.to_byte()]).unwrap();
            assert_eq!(orders.receive().unwrap(), Some(order));
        }
        assert_eq!(orders.receive().unwrap(), None);
        drop(supervisor);
        assert_eq!(orders.receive().unwrap(), Some(Order::Terminate), "an orphan ends");
    }
}
