//! An engine that runs out of descriptors. The limit is the process's, so this test is alone.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daemun_core::connection::{Connection, Outcome, Protocol, Wait};
use daemun_event::{Deadline, Reactor};
use daemun_process::engines::{Engine, Limits, Local, Notice, Parts, Socket};
use daemun_shm::Scoreboard;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Keeps a connection whose client sent `k`; holds the others until they send something more.
struct Hold;

impl Protocol for Hold {
    type Rest = Infallible;

    async fn finish(self: Rc<Self>, rest: Infallible) -> Outcome<Infallible> {
        match rest {}
    }

    async fn serve(self: Rc<Self>, connection: Connection) -> Outcome<Infallible> {
        let mut byte = [0];
        if connection.stream.recv(&mut byte, Deadline::NEVER).await.is_ok_and(|count| count == 1) {
            let _ = connection.stream.try_send(&byte, false);
            if byte == *b"k" {
                let wait = Wait::keep_alive(Duration::from_secs(75));
                return Outcome::Park { connection, wait };
            }
            let _ = connection.stream.recv(&mut byte, Deadline::NEVER).await;
        }
        Outcome::Close(connection)
    }

    fn first_wait(&self, _: &Connection) -> Wait {
        Wait::first_byte(Duration::from_secs(60))
    }

    fn timed_out(&self, connection: Connection) -> Outcome<Infallible> {
        Outcome::Close(connection)
    }

    fn shed(&self, _: Connection) {}
}

#[test]
fn a_shortage_closes_idle_connections_then_pauses_and_ends() {
    let mut reactor = Reactor::open_leaping(None).unwrap();
    let listener = daemun_tests::listener();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let notices = Arc::<Mutex<Vec<Option<i32>>>>::default();
    let report = {
        let notices = notices.clone();
        move |notice| match notice {
            Notice::AcceptFailed { error, .. } => {
                notices.lock().unwrap().push(error.raw_os_error())
            }
            _ => panic!("another trouble"),
        }
    };
    let parts = Parts {
        protocol: Rc::new(Hold),
        sockets: vec![Socket { descriptor: Arc::new(listener.into()), listener: 0, shared: false }],
        limits: Limits { connections: 100, multi_accept: true, sheds: true },
        counters: Scoreboard::new().unwrap().claim(1).unwrap(),
        report: Arc::new(report),
    };
    let mut engine = Engine::new(&reactor, parts, Local::new(Rc::new(Hold))).unwrap();
    let mut settle = |engine: &mut Engine<Hold, Local<Hold>>| {
        for _ in 0..10 {
            reactor.turn(engine, Some(Duration::ZERO)).unwrap();
        }
    };

    let mut clients: Vec<TcpStream> =
        (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
    for (client, byte) in clients.iter_mut().zip([b"k", b"h", b"h", b"h"]) {
        client.write_all(byte).unwrap();
    }
    // room for two of them
    let next = std::fs::File::open("/dev/null").unwrap();
    let used = std::os::fd::AsRawFd::as_raw_fd(&next) as u64;
    drop(next);
    let former = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(used + 2), ..former }).unwrap();

    // the first is idle and goes for the third; then nobody is idle, and the fourth has to wait
    settle(&mut engine);
    assert_eq!((engine.active(), engine.parked()), (2, 0));
    assert_eq!(*notices.lock().unwrap(), [Some(libc::EMFILE)]);
    assert_eq!(clients[0].read(&mut [0; 2]).unwrap(), 1);
    assert_eq!(clients[0].read(&mut [0; 2]).unwrap(), 0);

    // somebody leaves
    clients[1].write_all(b"x").unwrap();
    settle(&mut engine);
    assert_eq!(engine.active(), 2);
    assert_eq!(clients[3].read(&mut [0; 2]).unwrap(), 1);
    assert_eq!(notices.lock().unwrap().len(), 1, "one line for one shortage");
    setrlimit(Resource::Nofile, former).unwrap();
}
