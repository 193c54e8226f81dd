//! What parking and unparking cost alone, and starting a session that has nothing to do.

use std::hint::black_box;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use daemun_event::{Deadline, Reactor, Sessions, Stream};

const ROUNDS: u32 = 10_000_000;

pub fn measure() {
    let _reactor = Reactor::open(None).expect("a reactor");
    let (near, _far) = UnixStream::pair().expect("sockets");
    near.set_nonblocking(true).expect("a socket");
    let stream = Stream::new(near.into());
    print("park and unpark", || {
        let deadline = Deadline::after(Duration::from_secs(75));
        black_box(&stream).park(7, deadline).expect("epoll");
        black_box(&stream).unpark();
    });

    let mut sessions = Sessions::new(|value: u64| async move { value + 1 });
    print("start and end a session", || {
        let ended = sessions.start(black_box(1));
        assert!(black_box(ended).is_ready());
    });
}

fn print(what: &str, mut work: impl FnMut()) {
    let start = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    println!("{:8.1} ns  {what}", start.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
}
