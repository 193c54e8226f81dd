//! The event core: one reactor a thread.
//!
//! A [`Reactor`] joins a [`backend`](backends) that watches descriptors, a timer wheel, a queue of
//! ready tasks and a pool of buffers. Nothing in it crosses threads: it is reached through the
//! thread that runs it, and the free functions here ([`now`], [`spawn`], [`sleep`]) mean that one.
//! The single door from other threads is [`Remote`].
//!
//! A connection's [`Stream`] is registered once, when it first has to wait, and stays so. Who is
//! told of its readiness changes without a system call: the task that awaits it while the
//! connection is active, the engine's [`Handler`] while it is parked.

pub mod backends;

mod buffer;
mod clock;
mod datagram;
mod listener;
mod peer;
mod reactor;
mod remote;
mod session;
mod sources;
mod stream;
mod tasks;
mod timer;
mod turn;
mod waker;
mod watch;
mod wheel;

pub use buffer::Buffer;
pub use clock::{Deadline, Millis};
pub use datagram::Datagram;
pub use listener::Listener;
pub use peer::Peer;
pub use reactor::{
    Handler, Reactor, at_turn_end, method, moment, next_moment, now, remote, shared_now, spawn,
    wall_clock,
};
pub use remote::Remote;
pub use session::{Panicked, Sessions};
pub use stream::{Registration, Stream};
pub use timer::{Sleep, Timer, sleep, sleep_until, timeout};
pub use turn::{IN_A_TURN, Turn, next_turn};
pub use watch::Watch;
