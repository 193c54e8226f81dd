//! The life of a worker, whatever its engine: it serves, obeys, takes parked connections over,
//! and passes its own on.
//!
//! Nothing here is on a request's path: a turn of the reactor looks at one flag, which watched
//! descriptors raise.

mod arriving;
mod leaving;

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use daemun_core::connection::{Connection, Protocol, Wait};
use daemun_core::log;
use daemun_core::log::Log;
use daemun_event::{Reactor, Watch};

use self::arriving::Yielding;
use self::leaving::Leaving;
use crate::engines::{Engine, Runner};
use crate::generation::redirect_stderr;
use crate::handover::Receiver;
use crate::{Order, WorkerContext};

/// What the program gives for a worker's life.
pub struct Life<P: Protocol, R> {
    pub engine: Engine<P, R>,
    /// How long a connection that came from another generation may wait here.
    pub wait: Box<dyn Fn(&Connection) -> Wait>,
    /// Writes what a thread has buffered for its log files, and opens these anew. The one is called on
    /// every thread, the other after that.
    pub flush: fn(),
    pub reopen: Arc<dyn Fn() + Send + Sync>,
    /// Has the relays of a thread come to be parked, now and from now on. It is called on every thread.
    pub release_relays: fn(),
    /// Set once nobody would take parked connections over: the protocol then keeps none after a
    /// response.
    pub closing: Arc<AtomicBool>,
    /// `worker_shutdown_timeout`.
    pub shutdown_timeout: Option<Duration>,
    /// `max_connections_per_child`: having accepted so many, the worker asks for a successor. 0: it
    /// never does.
    pub max_connections: u64,
    pub log: Log,
}

/// Serves until ordered to end, and returns the exit code.
pub fn serve<P: Protocol, R: Runner<P>>(
    mut reactor: Reactor,
    life: Life<P, R>,
    context: WorkerContext,
) -> i32 {
    let log = life.log.clone();
    match Worker::new(life, context).and_then(|mut worker| worker.run(&mut reactor)) {
        Ok(()) => 0,
        Err(error) => {
            log!(log, Alert, (), "the event loop failed"; error);
            1
        }
    }
}

struct Worker<P: Protocol, R> {
    life: Life<P, R>,
    context: WorkerContext,
    /// A watched descriptor became readable.
    stirred: Rc<Cell<bool>>,
    _orders: Watch,
    /// While this worker serves, and has room for what comes.
    channel: Option<Watch>,
    /// Lanes are left to other workers, which have fewer connections.
    yielding: Option<Yielding>,
    /// A successor was asked for.
    retires: bool,
    arriving: Vec<(Receiver, Watch)>,
    leaving: Option<Leaving>,
}

impl<P: Protocol, R: Runner<P>> Worker<P, R> {
    fn new(life: Life<P, R>, context: WorkerContext) -> io::Result<Worker<P, R>> {
        let stirred = Rc::new(Cell::new(true));
        let orders = watch(&context.orders, &stirred)?;
        Ok(Worker {
            life,
            context,
            stirred,
            _orders: orders,
            channel: None,
            yielding: None,
            retires: false,
            arriving: Vec::new(),
            leaving: None,
        })
    }

    fn run(&mut self, reactor: &mut Reactor) -> io::Result<()> {
        self.context.ready.tell();
        loop {
            self.listen_to_leavers();
            let patience = self.patience();
            reactor.turn(&mut self.life.engine, patience)?;
            self.life.engine.end_turn();
            if self.stirred.take() && self.obey()?.is_terminated() {
                return Ok(());
            }
            if self.leaving.is_none() {
                self.retire_in_time();
            } else {
                self.pass_on();
                if self.is_over() {
                    self.tell_of_refused();
                    return Ok(());
                }
            }
        }
    }

    fn reopen(&mut self) {
        let Life { engine, flush, reopen, log, .. } = &mut self.life;
        let (reopen, log) = (Arc::clone(reopen), log.clone());
        engine.on_each_thread(
            *flush,
            Box::new(move || {
                reopen();
                redirect_stderr(&log);
            }),
        );
    }

    fn obey(&mut self) -> io::Result<Fate> {
        while let Some(order) = self.context.orders.receive()? {
            match order {
                Order::Terminate => return Ok(Fate::Terminated),
                Order::Reopen => self.reopen(),
                Order::Quit { hand_over } => self.leave(hand_over)?,
            }
        }
        if self.leaving.is_none() {
            self.greet();
            self.take_over();
        }
        Ok(Fate::Serving)
    }
}

/// Whether the worker goes on after its orders.
#[derive(PartialEq, Eq)]
enum Fate {
    Serving,
    Terminated,
}

impl Fate {
    fn is_terminated(&self) -> bool {
        *self == Fate::Terminated
    }
}

/// Raises the flag while the descriptor is readable.
fn watch(source: &impl AsFd, stirred: &Rc<Cell<bool>>) -> io::Result<Watch> {
    let stirred = Rc::clone(stirred);
    Watch::new(source.as_fd().try_clone_to_owned()?, move || stirred.set(true))
}
