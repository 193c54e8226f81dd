//! The same responder three times.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use daemun_core::connection::{self, Connection, Protocol, Wait};
use daemun_event::{Deadline, Reactor};
use daemun_process::engines::{Engine, Limits, Local, Parts, Socket};
use daemun_shm::Scoreboard;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use crate::Meter;

pub const RESPONSE_SIZE: usize = HEAD.len() + 1024;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\n\
    Content-Length: 1024\r\nConnection: keep-alive\r\n\r\n";

static RESPONSE: [u8; RESPONSE_SIZE] = {
    let mut response = [b'x'; RESPONSE_SIZE];
    let (head, _) = response.split_at_mut(HEAD.len());
    head.copy_from_slice(HEAD);
    response
};

fn is_request(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\r\n\r\n")
}

/// The kernel's floor: what the system calls cost.
pub fn bare(listener: TcpListener, mut meter: Meter) {
    const LISTENER: u64 = u64::MAX;
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("epoll");
    let watch = |fd: &dyn std::os::fd::AsFd, data, flags| {
        epoll::add(&epoll, fd, EventData::new_u64(data), flags).expect("epoll");
    };
    watch(&listener, LISTENER, EventFlags::IN);
    let mut connections: Vec<OwnedFd> = Vec::new();
    let mut events = Vec::with_capacity(512);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None).expect("epoll");
        for event in &events {
            if event.data.u64() == LISTENER {
                let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                let fd = rustix::net::accept_with(&listener, flags).expect("a connection");
                let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
                watch(&fd, connections.len() as u64, flags);
                connections.push(fd);
                continue;
            }
            let fd = &connections[event.data.u64() as usize];
            let flags = RecvFlags::empty();
            let (count, _) = rustix::net::recv(fd, &mut buffer, flags).expect("a request");
            assert!(is_request(&buffer[..count]));
            rustix::net::send(fd, &RESPONSE, SendFlags::NOSIGNAL).expect("a client");
            if meter.request() {
                return;
            }
        }
    }
}

/// The native engine: a session a request, parked in between, with its timer and counters.
pub fn daemun(method: &str, listener: TcpListener, meter: Meter) {
    let mut reactor = Reactor::open(Some(method)).expect("a reactor");
    let protocol = Rc::new(Responder { meter: RefCell::new(meter), done: false.into() });
    let parts = Parts {
        protocol: Rc::clone(&protocol),
        sockets: vec![Socket { descriptor: Arc::new(listener.into()), listener: 0, shared: false }],
        limits: Limits { connections: 10_000, multi_accept: false, sheds: true },
        counters: Scoreboard::new().expect("memory").claim(1).expect("a slot"),
        report: Arc::new(|_| {}),
    };
    let runner = Local::new(Rc::clone(&protocol));
    let mut engine = Engine::new(&reactor, parts, runner).expect("an engine");
    while !*protocol.done.borrow() {
        reactor.turn(&mut engine, None).expect("a turn");
    }
}

struct Responder {
    meter: RefCell<Meter>,
    done: RefCell<bool>,
}

type Outcome = connection::Outcome<Infallible>;

impl Protocol for Responder {
    type Rest = Infallible;

    async fn finish(self: Rc<Self>, rest: Infallible) -> Outcome {
        match rest {}
    }

    async fn serve(self: Rc<Self>, connection: Connection) -> Outcome {
        let buffer = match connection.stream.try_recv_pooled() {
            Ok(buffer) if buffer.is_empty() => return Outcome::Close(connection),
            Ok(buffer) => buffer,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return keep(connection),
            Err(_) => return Outcome::Close(connection),
        };
        assert!(is_request(&buffer));
        if connection.stream.send_all(&RESPONSE, Duration::from_secs(60)).await.is_err() {
            return Outcome::Close(connection);
        }
        if self.meter.borrow_mut().request() {
            *self.done.borrow_mut() = true;
        }
        keep(connection)
    }

    fn first_wait(&self, _: &Connection) -> Wait {
        Wait::first_byte(Duration::from_secs(60))
    }

    fn timed_out(&self, connection: Connection) -> Outcome {
        Outcome::Close(connection)
    }

    fn shed(&self, _: Connection) {}
}

fn keep(connection: Connection) -> Outcome {
    let wait = Wait::keep_alive(Deadline::after(Duration::from_secs(75)).remaining());
    Outcome::Park { connection, wait }
}

/// tokio's way: a task a connection.
pub fn tokio(listener: TcpListener, meter: Meter) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let local = tokio::task::LocalSet::new();
    let done = Rc::new(tokio::sync::Notify::new());
    let meter = Rc::new(RefCell::new(meter));
    local.block_on(&runtime.expect("a runtime"), async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let accept = async {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let (done, meter) = (done.clone(), meter.clone());
                tokio::task::spawn_local(async move {
                    let mut buffer = vec![0; 16 * 1024];
                    loop {
                        let count = stream.read(&mut buffer).await.expect("a request");
                        if count == 0 {
                            return;
                        }
                        assert!(is_request(&buffer[..count]));
                        stream.write_all(&RESPONSE).await.expect("a client");
                        if meter.borrow_mut().request() {
                            done.notify_one();
                        }
                    }
                });
            }
        };
        tokio::select! {
            () = done.notified() => {}
            () = accept => {}
        }
    });
}
