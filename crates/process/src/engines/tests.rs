//! Engines at work over loopback, with a clock that leaps from timer to timer.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daemun_core::connection::{Connection, Outcome, Protocol, Reason, Wait};
use daemun_event::backends;
use daemun_event::{Buffer, Deadline, Reactor, now};
use daemun_shm::{Scoreboard, Totals, WorkerSlot};

use super::{Engine, Limits, Local, Notice, Parts, Socket};

/// Answers each read with the same bytes. What begins with `w` is answered once more came, `p`
/// panics, `c` closes, `h` is the beginning of a request head.
#[derive(Default)]
struct Echo {
    log: RefCell<Vec<String>>,
}

impl Protocol for Echo {
    type Rest = Infallible;

    async fn finish(self: Rc<Self>, rest: Infallible) -> Outcome<Infallible> {
        match rest {}
    }

    async fn serve(self: Rc<Self>, mut connection: Connection) -> Outcome<Infallible> {
        let mut buffer = Buffer::new();
        match connection.stream.try_recv_into(&mut buffer) {
            Ok(0) => return Outcome::Close(connection),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Outcome::Park {
                    connection,
                    wait: Wait::first_byte(Duration::from_secs(60)),
                };
            }
            Err(_) => return Outcome::Close(connection),
        }
        match buffer[0] {
            b'w' => {
                let _ = connection.stream.recv_into(&mut buffer, Deadline::NEVER).await;
            }
            b'c' => return Outcome::Close(connection),
            b'h' => {
                let wait = Wait::head(Deadline::after(Duration::from_secs(30)));
                return Outcome::Park { connection, wait };
            }
            b'p' => panic!("on purpose"),
            _ => {}
        }
        connection.stream.send_all(&buffer, Duration::from_secs(60)).await.unwrap();
        connection.requests += 1;
        Outcome::Park { connection, wait: Wait::keep_alive(Duration::from_secs(75)) }
    }

    fn first_wait(&self, _: &Connection) -> Wait {
        Wait::first_byte(Duration::from_secs(60))
    }

    fn timed_out(&self, connection: Connection) -> Outcome<Infallible> {
        let line = format!("{} {:?} at {}", connection.number, connection.waited, now());
        self.log.borrow_mut().push(line);
        Outcome::Close(connection)
    }

    fn shed(&self, connection: Connection) {
        self.log.borrow_mut().push(format!("{} shed", connection.number));
    }
}

struct World {
    engine: Engine<Echo, Local<Echo>>,
    reactor: Reactor,
    protocol: Rc<Echo>,
    notices: Arc<Mutex<Vec<String>>>,
    counters: WorkerSlot,
    address: SocketAddr,
}

impl World {
    fn new(method: &str, connections: usize) -> World {
        let reactor = Reactor::open_leaping(Some(method)).unwrap();
        let listener = daemun_tests::listener();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let counters = Scoreboard::new().unwrap().claim(1).unwrap();
        let protocol = Rc::new(Echo::default());
        let notices = Arc::<Mutex<Vec<String>>>::default();
        let report = {
            let notices = notices.clone();
            move |notice| notices.lock().unwrap().push(spell(notice))
        };
        let limits = Limits { connections, multi_accept: false, sheds: true };
        let parts = Parts {
            protocol: protocol.clone(),
            sockets: vec![Socket {
                descriptor: Arc::new(listener.into()),
                listener: 0,
                shared: false,
            }],
            limits,
            counters: counters.clone(),
            report: Arc::new(report),
        };
        let runner = Local::new(protocol.clone());
        let engine = Engine::new(&reactor, parts, runner).unwrap();
        World { engine, reactor, protocol, notices, counters, address }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        // what is written is there at once, not when the last segment was acknowledged
        client.set_nodelay(true).unwrap();
        client
    }

    /// Turns until nothing is left to do at this moment.
    fn settle(&mut self) {
        for _ in 0..10 {
            self.reactor.turn(&mut self.engine, Some(Duration::ZERO)).unwrap();
        }
    }

    /// A connection that has sent `bytes`, which the engine has dealt with.
    fn client(&mut self, bytes: &[u8]) -> TcpStream {
        let mut client = self.connect();
        client.write_all(bytes).unwrap();
        self.settle();
        client
    }

    fn totals(&self) -> Totals {
        self.counters.scoreboard().totals()
    }

    fn wait_until(&mut self, millis: u64) {
        while now() < millis {
            let left = Duration::from_millis(millis - now());
            self.reactor.turn(&mut self.engine, Some(left)).unwrap();
        }
        self.settle();
    }
}

/// Runs `test` under each event method that works here.
fn each_method(test: impl Fn(&str)) {
    let works = |method: &&&str| backends::probe(method).is_ok();
    backends::NAMES.iter().filter(works).for_each(|method| test(method));
}

fn spell(notice: Notice) -> String {
    match notice {
        Notice::ConnectionsExhausted { limit } => format!("{limit} connections are not enough"),
        Notice::DescriptorsScarce { limit } => format!("{limit} descriptors are not enough"),
        Notice::MemoryLow { closed } => format!("{closed} closed for want of memory"),
        Notice::AcceptFailed { error, .. } => format!("accept: {error}"),
        Notice::WatchFailed { error } => format!("watch: {error}"),
        Notice::ThreadsMissing { wanted, running, .. } => format!("{running} of {wanted} threads"),
        Notice::Panicked(panic) => panic.downcast_ref::<&str>().unwrap().to_string(),
    }
}

fn answer(client: &mut TcpStream) -> String {
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = [0; 100];
    let count = client.read(&mut bytes).unwrap();
    String::from_utf8(bytes[..count].to_vec()).unwrap()
}

#[test]
fn a_kept_connection_is_counted_where_it_is() {
    each_method(|method| {
        let mut world = World::new(method, 10);
        let mut client = world.client(b"one");
        assert_eq!(answer(&mut client), "one");
        let waiting =
            Totals { accepted: 1, handled: 1, active: 1, waiting: 1, ..Totals::default() };
        assert_eq!(world.totals(), waiting);

        client.write_all(b"w").unwrap();
        world.settle();
        assert_eq!((world.totals().waiting, world.engine.active()), (0, 1));
        client.write_all(b"o").unwrap();
        world.settle();
        assert_eq!(answer(&mut client), "wo");
        assert_eq!(world.totals(), waiting);

        client.write_all(b"h").unwrap();
        world.settle();
        assert_eq!((world.totals().waiting, world.totals().reading), (0, 1));
        client.write_all(b"ead").unwrap();
        world.settle();
        assert_eq!(answer(&mut client), "ead");

        drop(client);
        world.settle();
        assert_eq!(world.totals(), Totals { accepted: 1, handled: 1, ..Totals::default() });
    });
}

#[test]
fn what_waits_too_long_is_handed_to_the_protocol() {
    each_method(|method| {
        let mut world = World::new(method, 10);
        let _silent = world.client(b"");
        let _kept = world.client(b"x");
        let _slow = world.client(b"h");
        world.wait_until(100_000);
        assert_eq!(
            *world.protocol.log.borrow(),
            ["3 Head at 30000", "1 FirstByte at 60000", "2 KeepAlive at 75000"]
        );
        assert_eq!(world.totals().active, 0);
    });
}

#[test]
fn at_the_limit_the_longest_idle_makes_room() {
    each_method(|method| {
        let mut world = World::new(method, 3);
        let mut first = world.client(b"1");
        let _second = world.client(b"2");
        let _head = world.client(b"h");
        first.write_all(b"again").unwrap();
        world.settle();
        let _third = world.client(b"3");
        assert_eq!(*world.protocol.log.borrow(), ["2 shed"]);
        let _fourth = world.client(b"4");
        assert_eq!(*world.protocol.log.borrow(), ["2 shed", "1 shed"]);
        assert_eq!(world.totals().active, 3);
        assert_eq!(*world.notices.lock().unwrap(), ["3 connections are not enough"]);
    });
}

#[test]
fn nobody_is_shed_before_somebody_comes() {
    each_method(|method| {
        let mut world = World::new(method, 2);
        let _clients = [world.client(b"1"), world.client(b"2")];
        world.engine.leave();
        assert_eq!(world.engine.parked(), 2);
    });
}

#[test]
fn without_anybody_to_shed_accepting_pauses_and_goes_on() {
    each_method(|method| {
        let mut world = World::new(method, 2);
        let mut busy = [world.client(b"w"), world.client(b"w")];
        let mut queued = [world.client(b"q"), world.client(b"r")];
        assert_eq!((world.totals().accepted, world.engine.active()), (2, 2));
        assert_eq!(*world.notices.lock().unwrap(), ["2 connections are not enough"]);

        // its answer is followed by the end of the connection
        busy[0].write_all(b"1").unwrap();
        world.settle();
        assert_eq!(answer(&mut busy[0]), "w1");
        busy[0].write_all(b"c").unwrap();
        world.settle();
        assert_eq!(answer(&mut queued[0]), "q");
        assert_eq!(answer(&mut queued[1]), "r");
        assert_eq!(world.totals().active, 2);
    });
}

#[test]
fn half_heads_that_fill_an_engine_make_room_the_longest_first() {
    each_method(|method| {
        let mut world = World::new(method, 3);
        let mut clients: Vec<TcpStream> = (0..3)
            .map(|_| {
                world.wait_until(now() + 10);
                world.client(b"h")
            })
            .collect();
        // More of a head does not make it younger, its deadline tells; here each byte begins a head anew.
        clients[0].write_all(b"h").unwrap();
        world.settle();
        let mut next = world.client(b"k");
        assert_eq!(answer(&mut next), "k");
        assert_eq!(*world.protocol.log.borrow(), ["2 shed"]);
        assert_eq!(clients[1].read(&mut [0; 1]).unwrap(), 0);
        let mut another = world.client(b"k");
        assert_eq!(answer(&mut another), "k");
        // Who is idle goes before any of them.
        assert_eq!(*world.protocol.log.borrow(), ["2 shed", "4 shed"]);
    });
}

#[test]
fn a_hundred_half_heads_go_in_their_order() {
    let mut world = World::new("epoll", 150);
    let mut clients = Vec::new();
    for _ in 0..150 {
        world.wait_until(now() + 1);
        clients.push(world.client(b"h"));
    }
    let more: Vec<TcpStream> = (0..100).map(|_| world.client(b"h")).collect();
    let expected: Vec<String> = (1..=100).map(|number| format!("{number} shed")).collect();
    assert_eq!(*world.protocol.log.borrow(), expected);
    drop(more);
}

#[test]
fn what_a_burst_needed_is_given_back() {
    let mut world = World::new("epoll", 2000);
    let mut clients: Vec<TcpStream> = (0..600).map(|_| world.client(b"w")).collect();
    assert_eq!((world.engine.active(), world.engine.has_slack()), (600, false));
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    for _ in 0..10 {
        world.settle();
    }
    assert_eq!((world.engine.active(), world.engine.has_slack()), (0, true));
    world.engine.end_turn();
    world.wait_until(now() + 2000);
    assert!(!world.engine.has_slack(), "slots were given back");
    let mut again = world.client(b"k");
    assert_eq!(answer(&mut again), "k");
}

#[test]
fn a_panic_costs_one_connection() {
    each_method(|method| {
        let mut world = World::new(method, 10);
        let mut kept = world.client(b"k");
        let mut lost = world.client(b"p");
        assert_eq!(answer(&mut lost), "");
        assert_eq!(answer(&mut kept), "k");
        assert_eq!(*world.notices.lock().unwrap(), ["on purpose"]);
        assert_eq!((world.totals().active, world.engine.active()), (1, 0));
    });
}

#[test]
fn what_the_kernel_queued_is_served_before_leaving() {
    each_method(|method| {
        let mut world = World::new(method, 10);
        let mut clients: Vec<_> = (0..5).map(|_| world.connect()).collect();
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
        world.engine.leave();
        for client in &mut clients {
            assert_eq!(answer(client), "x");
        }
        assert_eq!(world.engine.parked(), 5);
        let mut listeners: Vec<_> = world.engine.drain_parked().map(|c| c.listener).collect();
        listeners.dedup();
        assert_eq!(listeners, [0]);
        assert_eq!(world.totals().active, 0);
        assert_eq!(world.totals().waiting, 0);
    });
}

#[test]
fn an_adopted_connection_goes_on_where_it_was() {
    each_method(|method| {
        let mut old = World::new(method, 10);
        let mut client = old.client(b"x");
        assert_eq!(answer(&mut client), "x");
        let parked = old.engine.drain_parked().next().unwrap();
        let Connection {
            stream,
            peer,
            listener,
            waited,
            requests,
            number,
            started,
            rare,
            pipelines,
        } = parked;
        let fd = stream.into_fd();
        drop(old);

        let mut new = World::new(method, 1);
        let stream = daemun_event::Stream::new(fd);
        let adopted = Connection {
            stream,
            peer,
            listener,
            waited,
            requests,
            number,
            started,
            rare,
            pipelines,
        };
        client.write_all(b"y").unwrap();
        new.engine.adopt(adopted, Wait::keep_alive(Duration::from_secs(75))).ok().unwrap();
        new.settle();
        assert_eq!(answer(&mut client), "y");
        assert_eq!(new.totals(), Totals { active: 1, waiting: 1, ..Totals::default() });

        let kept = new.engine.drain_parked().next().unwrap();
        assert_eq!((kept.waited, kept.requests), (Reason::KeepAlive, 2));
    });
}
