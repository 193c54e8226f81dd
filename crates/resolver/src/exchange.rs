//! One question and the name servers: asked over UDP, over TCP where the answer is too long for it, and the next name
//! server after a while.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use daemun_core::log;
use daemun_core::log::{Log, Origin};
use daemun_event::{Datagram, Deadline, Millis, Stream, now, timeout};
use daemun_proto::dns::{self, Answers, Flaw, Kind};

use crate::cache::{Found, Key, Question, Subject};
use crate::lookup::{Asked, LookupError};
use crate::random;

/// How long a name server is waited for before the next one is asked.
const RESEND: Duration = Duration::from_secs(5);

/// How long one may take for a step over TCP.
const TCP_PATIENCE: Duration = Duration::from_secs(5);

/// The longest message over UDP.
const MOST: usize = 4096;

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One at least.
    Addresses { v4: Vec<Ipv4Addr>, v6: Vec<Ipv6Addr> },
    /// Another name has it.
    Alias(Box<[u8]>),
    /// In the order of their priority, one at least.
    Services(Vec<dns::Service>),
}

/// Asks, the name server of number `first` to begin with, for as long as somebody waits for it.
pub(crate) async fn run(
    asked: &Asked,
    (subject, name): &Key,
    first: usize,
    question: &Rc<Question>,
) -> Result<Found, LookupError> {
    let kinds = match subject {
        Subject::Services => [Some(Kind::Srv), None],
        Subject::Addresses => [asked.ipv4.then_some(Kind::A), asked.ipv6.then_some(Kind::Aaaa)],
    };
    let parts: Option<Vec<_>> =
        kinds.into_iter().flatten().map(|kind| Part::new(name, kind)).collect();
    let mut exchange = Exchange {
        asked,
        name,
        parts: parts.ok_or(LookupError::HOST_NOT_FOUND)?,
        last: 0,
        server: first,
        sockets: asked.servers.iter().map(|_| None).collect(),
        calls: Vec::new(),
    };
    loop {
        // Whoever refuses need not be waited for, as long as there is another one.
        let mut refusals = asked.servers.len() - 1;
        while exchange.send().is_err() && refusals > 0 {
            refusals -= 1;
            exchange.turn();
        }
        let mut resend = Deadline::after(RESEND);
        while let Some(event) = exchange.next(resend).await {
            match exchange.take(event) {
                Progress::Settled(outcome) => return outcome,
                Progress::Waiting => {}
                Progress::Called => resend = Deadline::after(RESEND),
                Progress::Refused if refusals > 0 => break,
                Progress::Refused => {}
            }
        }
        if !question.is_waited_for() {
            return Err(LookupError::TimedOut);
        }
        exchange.turn();
    }
}

struct Exchange<'a> {
    asked: &'a Asked,
    name: &'a [u8],
    parts: Vec<Part>,
    /// The part that was answered last.
    last: usize,
    /// The number of the one that is being asked.
    server: usize,
    /// By the name server's number; an early one may still answer.
    sockets: Vec<Option<Datagram>>,
    calls: Vec<Call>,
}

/// A query over TCP.
type Call = Pin<Box<dyn Future<Output = Option<Vec<u8>>>>>;

/// A query for one type of record.
struct Part {
    kind: Kind,
    id: u16,
    message: Vec<u8>,
    over_tcp: bool,
    outcome: Option<Result<Answers, u8>>,
}

/// What comes from name servers.
enum Event {
    Message {
        bytes: Vec<u8>,
        over_tcp: bool,
    },
    /// The one of that number cannot be reached.
    Failure(usize, io::Error),
    /// A query over TCP came to nothing.
    HungUp,
}

enum Progress {
    Settled(Result<Found, LookupError>),
    Waiting,
    /// It goes on over TCP.
    Called,
    Refused,
}

impl Part {
    fn new(name: &[u8], kind: Kind) -> Option<Part> {
        let id = random::id();
        let message = dns::query(id, name, kind)?;
        Some(Part { kind, id, message, over_tcp: false, outcome: None })
    }
}

impl Exchange<'_> {
    /// Asks the present name server for what is not known yet.
    fn send(&mut self) -> io::Result<()> {
        let address = self.asked.servers[self.server];
        let socket = &mut self.sockets[self.server];
        for part in self.parts.iter().filter(|part| part.outcome.is_none()) {
            if part.over_tcp {
                self.calls.push(Box::pin(call(address, part.message.clone())));
                continue;
            }
            if let Err(error) = send(socket, address, &part.message) {
                *socket = None;
                log!(Log::current(), Error, NameServer(address), "send() failed"; error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Goes on to the next name server.
    fn turn(&mut self) {
        self.server = (self.server + 1) % self.asked.servers.len();
    }

    /// What comes next; nothing until `deadline` is `None`.
    async fn next(&mut self, deadline: Deadline) -> Option<Event> {
        let Exchange { sockets, calls, .. } = self;
        let event = poll_fn(|cx| {
            for (index, call) in calls.iter_mut().enumerate() {
                if let Poll::Ready(answer) = call.as_mut().poll(cx) {
                    drop(calls.swap_remove(index));
                    let message = |bytes| Event::Message { bytes, over_tcp: true };
                    return Poll::Ready(answer.map_or(Event::HungUp, message));
                }
            }
            for (server, socket) in sockets.iter().enumerate() {
                let Some(socket) = socket else { continue };
                match socket.poll_recv(cx) {
                    Poll::Ready(Ok(bytes)) => {
                        return Poll::Ready(Event::Message { bytes, over_tcp: false });
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Event::Failure(server, error)),
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        });
        timeout(deadline, event).await
    }

    fn take(&mut self, event: Event) -> Progress {
        match event {
            Event::Message { bytes, over_tcp } => match self.read(&bytes, over_tcp) {
                Ok(progress) => progress,
                Err(complaint) => {
                    log!(Log::current(), Error, (), "{}", complaint);
                    Progress::Waiting
                }
            },
            Event::Failure(server, error) => {
                let address = self.asked.servers[server];
                log!(Log::current(), Error, NameServer(address), "recv() failed"; error);
                self.sockets[server] = None;
                match server == self.server {
                    true => Progress::Refused,
                    false => Progress::Waiting,
                }
            }
            Event::HungUp => Progress::Waiting,
        }
    }

    /// Reads a response; the error is what is wrong with it.
    fn read(&mut self, message: &[u8], over_tcp: bool) -> Result<Progress, String> {
        let response = dns::parse(message, over_tcp).map_err(|flaw| self.complaint(flaw))?;
        let told = Shown(&response.name);
        let wanted = |part: &Part| part.kind as u16 == response.kind && part.outcome.is_none();
        let index = self.parts.iter().position(wanted).filter(|_| *response.name == *self.name);
        let index = index.ok_or_else(|| format!("unexpected DNS response for {told}"))?;
        let part = &mut self.parts[index];
        if response.id != part.id {
            let (given, expected) = (response.id, part.id);
            return Err(format!(
                "wrong ident {given} in DNS response for {told}, expect {expected}"
            ));
        }
        if response.is_truncated {
            if part.over_tcp {
                return Ok(Progress::Waiting);
            }
            part.over_tcp = true;
            let call = call(self.asked.servers[self.server], part.message.clone());
            self.calls.push(Box::pin(call));
            return Ok(Progress::Called);
        }
        part.outcome = Some(match response.code {
            0 if response.is_empty() => Ok(Answers { ttl: u32::MAX, ..Answers::default() }),
            0 => Ok(response.answers().map_err(|flaw| flaw.to_string())?),
            code => Err(code),
        });
        self.last = index;
        Ok(self.conclude().map_or(Progress::Waiting, Progress::Settled))
    }

    /// nginx names whom a refusal concerns, where the query's number tells.
    fn complaint(&self, flaw: Flaw) -> String {
        match flaw {
            Flaw::Refusal { id, .. } if self.parts.iter().any(|part| part.id == id) => {
                format!("{flaw}, name:\"{}\"", Shown(self.name))
            }
            flaw => flaw.to_string(),
        }
    }

    /// What all parts say together; nothing until they do. One error is the whole's. Of aliases the one that came
    /// last counts, as with nginx.
    fn conclude(&mut self) -> Option<Result<Found, LookupError>> {
        if self.parts.iter().any(|part| part.outcome.is_none()) {
            return None;
        }
        let mut all = Answers { ttl: u32::MAX, ..Answers::default() };
        for (index, part) in self.parts.iter_mut().enumerate() {
            let answers = match part.outcome.take()? {
                Ok(answers) => answers,
                Err(code) => return Some(Err(LookupError::Code(code))),
            };
            for kind in &answers.unexpected {
                log!(Log::current(), Error, (), "unexpected RR type {} in DNS response", kind);
            }
            all.v4.extend(answers.v4);
            all.v6.extend(answers.v6);
            all.services.extend(answers.services);
            if index == self.last {
                all.alias = answers.alias;
            }
            all.ttl = all.ttl.min(answers.ttl);
        }
        let until = self.valid_until(all.ttl);
        let answer = answer(all).ok_or(LookupError::HOST_NOT_FOUND);
        let found = answer.map(|answer| Found { answer: Rc::new(answer), until, is_cached: false });
        Some(found)
    }

    fn valid_until(&self, ttl: u32) -> Millis {
        let valid = self.asked.valid.unwrap_or(Duration::from_secs(ttl.into()));
        now().saturating_add(valid.as_millis() as Millis)
    }
}

fn send(socket: &mut Option<Datagram>, to: SocketAddr, message: &[u8]) -> io::Result<()> {
    match socket {
        Some(socket) => socket.try_send(message),
        None => socket.insert(Datagram::connect(to, MOST)?).try_send(message),
    }
}

/// Addresses go before an alias: it has been followed by the name server.
fn answer(answers: Answers) -> Option<Answer> {
    let Answers { v4, v6, services, alias, .. } = answers;
    if !services.is_empty() {
        return Some(Answer::Services(services));
    }
    if !v4.is_empty() || !v6.is_empty() {
        return Some(Answer::Addresses { v4, v6 });
    }
    alias.map(|alias| Answer::Alias(alias.into()))
}

/// Asks over TCP; `None` where that fails, which the log has been told.
async fn call(server: SocketAddr, query: Vec<u8>) -> Option<Vec<u8>> {
    let deadline = Deadline::after(TCP_PATIENCE);
    let conversation = async {
        let stream = Stream::connect(server, deadline).await?;
        let length = query.len() as u16;
        let message = [&length.to_be_bytes()[..], &query].concat();
        stream.send_all(&message, TCP_PATIENCE).await?;
        let mut length = [0; 2];
        receive(&stream, &mut length, deadline).await?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        receive(&stream, &mut answer, deadline).await?;
        Ok(answer)
    };
    let outcome: io::Result<_> = conversation.await;
    if let Err(error) = &outcome {
        log!(Log::current(), Error, NameServer(server), "query over TCP failed"; *error);
    }
    outcome.ok()
}

async fn receive(stream: &Stream, mut room: &mut [u8], deadline: Deadline) -> io::Result<()> {
    while !room.is_empty() {
        match stream.recv(room, deadline).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            received => room = &mut room[received..],
        }
    }
    Ok(())
}

/// Whom a line of the log is about.
struct NameServer(SocketAddr);

impl Origin for NameServer {
    fn connection(&self) -> u64 {
        0
    }

    fn context(&self, line: &mut dyn fmt::Write) -> fmt::Result {
        write!(line, " while resolving, resolver: {}", self.0)
    }
}

/// A name for a line of the log.
struct Shown<'n>(&'n [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}
