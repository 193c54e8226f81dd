//! Ten thousand clients in one thread.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: c10k\r\n\r\n";
/// A head that goes on as long as one likes.
const BEGINNING: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
const END: &[u8] = b"\r\n\r\n";
/// The time in which every connection has one turn.
const PERIOD: Duration = Duration::from_secs(1);
/// For the answers that are still to come once the last request was sent.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Clients {
    epoll: OwnedFd,
    events: Vec<Event>,
    clients: Vec<Client>,
}

struct Client {
    stream: TcpStream,
    /// When the request was sent that is not answered yet.
    asked: Option<Instant>,
    received: Vec<u8>,
}

/// Sorted.
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn percentile(&self, percent: usize) -> Duration {
        let place = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(place).copied().unwrap_or_default()
    }
}

pub fn connect(port: u16, count: usize) -> Clients {
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("epoll");
    let connect = |place: usize| {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_nonblocking(true).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        epoll::add(&epoll, &stream, EventData::new_u64(place as u64), EventFlags::IN)
            .expect("a watch");
        Client { stream, asked: None, received: Vec::new() }
    };
    let clients = (0..count).map(connect).collect();
    Clients { epoll, events: Vec::with_capacity(512), clients }
}

impl Clients {
    /// A request a second on each connection, evenly spread. Returns the latencies and how many
    /// requests failed or found the one before unanswered.
    pub fn ask(&mut self, time: Duration) -> (Latencies, usize) {
        let mut latencies = Vec::new();
        let mut errors = 0;
        self.in_turns(time, |clients, place| {
            let Some(place) = place else {
                return errors += clients.hear(&mut latencies);
            };
            errors += usize::from(!clients.clients[place].ask(REQUEST));
        });
        errors += self.hear_the_rest(&mut latencies);
        latencies.sort_unstable();
        (Latencies(latencies), errors)
    }

    /// Begins a head on each connection and adds a byte a second.
    pub fn trickle(&mut self, time: Duration) {
        for client in &mut self.clients {
            client.stream.write_all(BEGINNING).expect("room for a line");
        }
        self.in_turns(time, |clients, place| {
            if let Some(place) = place {
                // One that was closed is counted later.
                let _ = clients.clients[place].stream.write(b"x");
            }
        });
    }

    /// Ends the heads that [`trickle`](Self::trickle) began. Returns as [`ask`](Self::ask) does.
    pub fn end_heads(&mut self) -> (Latencies, usize) {
        let mut latencies = Vec::new();
        let mut errors = 0;
        self.in_turns(PERIOD, |clients, place| match place {
            Some(place) => errors += usize::from(!clients.clients[place].ask(END)),
            None => errors += clients.hear(&mut latencies),
        });
        errors += self.hear_the_rest(&mut latencies);
        latencies.sort_unstable();
        (Latencies(latencies), errors)
    }

    /// Connections that the server has closed.
    pub fn count_closed(&mut self) -> usize {
        let is_closed = |client: &mut Client| {
            let read = client.stream.read(&mut [0; 64]);
            !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
        };
        self.clients.iter_mut().map(is_closed).filter(|closed| *closed).count()
    }

    /// Gives each connection its turn once a period; with `None` in between.
    fn in_turns(&mut self, time: Duration, mut turn: impl FnMut(&mut Clients, Option<usize>)) {
        let count = self.clients.len();
        let start = Instant::now();
        let total = (count as f64 * time.as_secs_f64() / PERIOD.as_secs_f64()) as usize;
        let mut done = 0;
        while done < total {
            let due =
                (start.elapsed().as_secs_f64() / PERIOD.as_secs_f64() * count as f64) as usize;
            while done < due.min(total) {
                turn(self, Some(done % count));
                done += 1;
            }
            turn(self, None);
        }
    }

    fn hear_the_rest(&mut self, latencies: &mut Vec<Duration>) -> usize {
        let until = Instant::now() + PATIENCE;
        let mut errors = 0;
        while self.clients.iter().any(|client| client.asked.is_some()) && Instant::now() < until {
            errors += self.hear(latencies);
        }
        let unanswered = self.clients.iter().filter(|client| client.asked.is_some());
        errors + unanswered.count()
    }

    /// Takes what answers have come, waiting for a moment; returns how many connections failed.
    fn hear(&mut self, latencies: &mut Vec<Duration>) -> usize {
        let moment = Timespec { tv_sec: 0, tv_nsec: 50_000 };
        self.events.clear();
        // A signal that interrupts it is no harm.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&moment));
        let mut errors = 0;
        for event in &self.events {
            let client = &mut self.clients[event.data.u64() as usize];
            match client.hear() {
                Ok(Some(latency)) => latencies.push(latency),
                Ok(None) => {}
                Err(Lost) => {
                    // It is not looked at again; a request on it fails.
                    let _ = epoll::delete(&self.epoll, &client.stream);
                    client.asked = None;
                    errors += 1;
                }
            }
        }
        errors
    }
}

/// Closed, or answered with something else than the file.
struct Lost;

impl Client {
    /// False where the request before is not answered yet, or this one cannot be sent.
    fn ask(&mut self, bytes: &[u8]) -> bool {
        let asked = self.asked.replace(Instant::now());
        let sent = self.stream.write(bytes);
        asked.is_none() && sent.is_ok_and(|sent| sent == bytes.len())
    }

    /// The latency of an answer that is whole now.
    fn hear(&mut self) -> Result<Option<Duration>, Lost> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(Lost),
            Ok(read) => self.received.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(_) => return Err(Lost),
        }
        if !is_whole(&self.received)? {
            return Ok(None);
        }
        // Ten thousand buffers would be this program's own ten thousand connections.
        self.received = Vec::new();
        Ok(self.asked.take().map(|asked| asked.elapsed()))
    }
}

/// Whether these are head and 1024 bytes of the file.
fn is_whole(answer: &[u8]) -> Result<bool, Lost> {
    let Some(end) = answer.windows(4).position(|part| part == b"\r\n\r\n") else {
        return Ok(false);
    };
    if !answer.starts_with(b"HTTP/1.1 200 ") || answer.len() > end + 4 + 1024 {
        return Err(Lost);
    }
    Ok(answer.len() == end + 4 + 1024)
}
