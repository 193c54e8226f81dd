//! A keep-alive request costs no allocation in the event core.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::task::Poll;
use std::time::Duration;

use daemun_event::backends::{self, NAMES};
use daemun_event::{Deadline, Handler, Reactor, Sessions, Stream};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract is System's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is System's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Engine {
    sessions: Sessions<Stream, Stream>,
    parked: Option<Stream>,
    served: usize,
}

impl Engine {
    fn park(&mut self, ended: Poll<Result<Stream, daemun_event::Panicked>>) {
        if let Poll::Ready(Ok(stream)) = ended {
            stream.park(0, Deadline::after(Duration::from_secs(75))).unwrap();
            self.parked = Some(stream);
            self.served += 1;
        }
    }
}

impl Handler for Engine {
    fn parked_ready(&mut self, _token: u32) {
        let stream = self.parked.take().unwrap();
        stream.unpark();
        let ended = self.sessions.start(stream);
        self.park(ended);
    }

    fn parked_expired(&mut self, _token: u32) {
        unreachable!("a client that asks does not time out");
    }

    fn acceptable(&mut self, _token: u32) {}

    fn session(&mut self, slot: u32) {
        let ended = self.sessions.poll(slot);
        self.park(ended);
    }
}

async fn echo(stream: Stream) -> Stream {
    let buffer = stream.recv_pooled(Deadline::after(Duration::from_secs(60))).await.unwrap();
    stream.send_all(&buffer, Duration::from_secs(60)).await.unwrap();
    if buffer[0] == b'2' {
        // the second half of this request is still to come, so the session has to wait
        let rest = stream.recv_pooled(Deadline::after(Duration::from_secs(60))).await.unwrap();
        stream.send_all(&rest, Duration::from_secs(60)).await.unwrap();
    }
    stream
}

#[test]
fn a_keep_alive_request_allocates_nothing() {
    for method in NAMES {
        match backends::probe(method) {
            Ok(()) => allocates_nothing(method),
            Err(error) => println!("{method}: {error}"),
        }
    }
}

fn allocates_nothing(method: &str) {
    let mut reactor = Reactor::open(Some(method)).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    let near = Stream::new(near.into());
    near.park(0, Deadline::after(Duration::from_secs(75))).unwrap();
    let mut engine = Engine { sessions: Sessions::new(echo), parked: Some(near), served: 0 };

    let mut requests = |count: usize| {
        let goal = engine.served + count;
        while engine.served < goal {
            for part in [&b"1"[..], b"2", b"3"] {
                rustix::io::write(&far, part).unwrap();
                reactor.turn(&mut engine, None).unwrap();
                reactor.turn(&mut engine, Some(Duration::ZERO)).unwrap();
            }
            rustix::io::read(&far, &mut [0; 100]).unwrap();
        }
    };
    requests(10);
    let before = ALLOCATIONS.get();
    requests(1000);
    assert_eq!(ALLOCATIONS.get() - before, 0, "{method}");
}
