//! Steady load: clients that go on while a test does things to the server, and count what they lose.
//!
//! Every answer has to name the worker that gave it, in a field `X-Worker`.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use daemun_sys::limits::{self, Resource};

use crate::{PATIENCE, eventually, read_once};

/// Clients that run until they are told to [finish](Load::finish).
pub struct Load {
    /// Kept connections.
    size: usize,
    progress: Arc<Progress>,
    kept: Vec<JoinHandle<Tally>>,
    fresh: Vec<JoinHandle<Tally>>,
}

#[derive(Default)]
struct Progress {
    over: AtomicBool,
    /// Turns of kept connections so far.
    turns: AtomicUsize,
}

impl Progress {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// What clients of one kind met.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: usize,
    pub losses: Vec<Loss>,
}

/// A request, or a connection, that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub kind: Kind,
    /// Who gave the connection's last answer, if there was one.
    pub worker: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody listened.
    Refused,
    Reset,
    /// An end where an answer should have begun.
    Closed,
    /// An end within an answer.
    Cut,
    /// No answer in time, or none that makes sense.
    Wrong,
}

impl Load {
    /// Connections that are kept belong to one of so many threads, each of which goes round them.
    const KEEPERS: usize = 4;
    /// How many open one connection after the other.
    const OPENERS: usize = 2;
    /// Between two requests of a thread: the load is steady, not all that the machine can do.
    const PAUSE: Duration = Duration::from_millis(1);

    /// `kept` clients that keep their connections and send a request now and then, and some that
    /// open a new one for each. Returns once all kept ones are connected.
    pub fn start(port: u16, kept: usize) -> Load {
        allow_descriptors();
        let size = kept;
        let progress = Arc::new(Progress::default());
        let keepers = (0..Self::KEEPERS).map(|keeper| {
            let share = (keeper..kept).step_by(Self::KEEPERS).len();
            let clients: Vec<_> = (0..share).map(|_| Kept::acquainted(port).unwrap()).collect();
            let progress = Arc::clone(&progress);
            thread::spawn(move || go_round(port, clients, &progress))
        });
        let kept = keepers.collect();
        let openers = (0..Self::OPENERS).map(|_| {
            let progress = Arc::clone(&progress);
            thread::spawn(move || open_and_close(port, &progress))
        });
        let fresh = openers.collect();
        Load { size, progress, kept, fresh }
    }

    /// Waits until about every kept connection had another turn.
    pub fn goes_round(&self) {
        let turns = || self.progress.turns.load(Ordering::Relaxed);
        let end = turns() + self.size;
        eventually("the load goes on", || turns() >= end);
    }

    /// Stops; every kept connection has to answer once more. Returns what kept ones met, and new
    /// ones.
    pub fn finish(self) -> (Tally, Tally) {
        self.progress.over.store(true, Ordering::Relaxed);
        let sum = |clients: Vec<JoinHandle<Tally>>| {
            let tallies = clients.into_iter().map(|client| client.join().unwrap());
            tallies.fold(Tally::default(), Tally::plus)
        };
        (sum(self.kept), sum(self.fresh))
    }
}

impl Tally {
    pub fn count(&self, kind: Kind) -> usize {
        self.losses.iter().filter(|loss| loss.kind == kind).count()
    }

    /// One line for the reader of a test's output.
    pub fn line(&self) -> String {
        let kinds = [Kind::Refused, Kind::Reset, Kind::Closed, Kind::Cut, Kind::Wrong];
        let [refused, reset, closed, cut, wrong] = kinds.map(|kind| self.count(kind));
        format!(
            "{} answered, {refused} refused, {reset} reset, {closed} closed, {cut} cut, {wrong} wrong",
            self.answered
        )
    }

    fn plus(mut self, other: Tally) -> Tally {
        self.answered += other.answered;
        self.losses.extend(other.losses);
        self
    }

    fn note(&mut self, outcome: Result<(), Loss>) {
        match outcome {
            Ok(()) => self.answered += 1,
            Err(loss) => self.losses.push(loss),
        }
    }
}

/// A thousand clients are more than what a process may have open by default.
fn allow_descriptors() {
    let (_, most) = limits::limit(Resource::Descriptors).unwrap();
    limits::set_limit(Resource::Descriptors, most).unwrap();
}

/// Requests on each client in turn; a lost one is replaced.
fn go_round(port: u16, mut clients: Vec<Kept>, progress: &Progress) -> Tally {
    let mut tally = Tally::default();
    while !progress.is_over() {
        for (place, client) in clients.iter_mut().enumerate() {
            // Some send a head in two parts, with a round between them.
            let halved = place % 8 == 0;
            progress.turns.fetch_add(1, Ordering::Relaxed);
            let Some(outcome) = client.turn(halved) else {
                continue;
            };
            if outcome.is_err() {
                *client = replace(port, &mut tally);
            }
            tally.note(outcome);
            thread::sleep(Load::PAUSE);
            if progress.is_over() {
                break;
            }
        }
    }
    for client in &mut clients {
        tally.note(client.finish());
    }
    tally
}

/// A client that knows its worker, however many attempts that takes.
fn replace(port: u16, tally: &mut Tally) -> Kept {
    loop {
        match Kept::acquainted(port) {
            Ok(client) => return client,
            Err(loss) => tally.losses.push(loss),
        }
        assert!(tally.losses.len() < 1_000_000, "nobody serves");
    }
}

fn open_and_close(port: u16, progress: &Progress) -> Tally {
    let mut tally = Tally::default();
    while !progress.is_over() {
        tally.note(Kept::connect(port).and_then(|mut client| client.ask(FILE_AND_CLOSE)));
        thread::sleep(Load::PAUSE);
    }
    tally
}

const HEAD: (&[u8], &[u8]) = (b"GET / HTTP/1.1\r\nHo", b"st: localhost\r\n\r\n");
const FILE_AND_CLOSE: &[u8] = b"GET /file HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A connection of a client that knows who answered it.
struct Kept {
    stream: TcpStream,
    worker: Option<i32>,
    /// The first part of a head is on its way.
    begun: bool,
}

impl Kept {
    fn connect(port: u16) -> Result<Kept, Loss> {
        let stream = TcpStream::connect(("127.0.0.1", port)).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        let stream = stream.map_err(|error| Loss { kind: kind_of(&error), worker: None })?;
        Ok(Kept { stream, worker: None, begun: false })
    }

    /// As [`connect`](Self::connect), and the first request is answered.
    fn acquainted(port: u16) -> Result<Kept, Loss> {
        let mut client = Kept::connect(port)?;
        client.finish()?;
        Ok(client)
    }

    /// A whole request, or where it is to be `halved` the next part of one; `None` where no answer
    /// is due yet.
    fn turn(&mut self, halved: bool) -> Option<Result<(), Loss>> {
        if self.begun || !halved {
            return Some(self.finish());
        }
        self.begun = true;
        let sent = self.stream.write_all(HEAD.0);
        sent.err().map(|error| Err(self.loss(kind_of(&error))))
    }

    /// What is left of a request, or a whole one, and its answer.
    fn finish(&mut self) -> Result<(), Loss> {
        match std::mem::take(&mut self.begun) {
            true => self.ask(HEAD.1),
            false => self.ask(&[HEAD.0, HEAD.1].concat()),
        }
    }

    fn ask(&mut self, request: &[u8]) -> Result<(), Loss> {
        // The server may have answered and closed before it read everything: the answer decides.
        let sent = self.stream.write_all(request);
        let answered = self.answer();
        match (sent, answered) {
            (_, Ok(worker)) => {
                self.worker = Some(worker);
                Ok(())
            }
            (_, Err(kind)) => Err(self.loss(kind)),
        }
    }

    fn loss(&self, kind: Kind) -> Loss {
        Loss { kind, worker: self.worker }
    }

    /// Reads one whole answer, and returns who gave it.
    fn answer(&mut self) -> Result<i32, Kind> {
        let mut bytes = Vec::new();
        let mut part = [0; 16 * 1024];
        loop {
            if let Some((worker, length)) = understand(&bytes)?
                && bytes.len() >= length
            {
                return Ok(worker);
            }
            match read_once(&mut self.stream, &mut part) {
                Ok(0) if bytes.is_empty() => return Err(Kind::Closed),
                Ok(0) => return Err(Kind::Cut),
                Ok(read) => bytes.extend_from_slice(&part[..read]),
                Err(error) => return Err(kind_of(&error)),
            }
        }
    }
}

/// The worker that an answer names, and the answer's length; `None` while its head is not whole.
fn understand(bytes: &[u8]) -> Result<Option<(i32, usize)>, Kind> {
    let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Kind::Wrong)?;
    let field = |name: &str| {
        let mut fields = head.split("\r\n").filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| *field == name)?.1.parse().ok()
    };
    let worker: Option<usize> = field("X-Worker");
    match (head.starts_with("HTTP/1.1 200 "), worker, field("Content-Length")) {
        (true, Some(worker), Some(length)) => Ok(Some((worker as i32, end + 4 + length))),
        _ => Err(Kind::Wrong),
    }
}

fn kind_of(error: &io::Error) -> Kind {
    match error.kind() {
        ErrorKind::ConnectionRefused => Kind::Refused,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Kind::Reset,
        _ => Kind::Wrong,
    }
}
