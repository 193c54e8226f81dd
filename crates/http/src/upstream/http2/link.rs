//! A connection of HTTP/2 to a server behind: what outlives its requests.

use std::sync::{Arc, OnceLock};

use daemun_event::Millis;
use daemun_proto::http2::{self, Config, Event, Fatal, Head, Sink};

/// The state of a connection.
pub struct Link {
    pub(super) machine: http2::Connection,
    /// What is to be sent beside requests.
    pub(super) out: Vec<u8>,
    /// The beginning of what can't be read before more of it has come.
    rest: Vec<u8>,
    /// When what the server may cost was filled up last.
    refilled: Millis,
}

/// How long a head may be is not the machine's to say: `buffer_size` is.
fn config() -> Arc<Config> {
    static CONFIG: OnceLock<Arc<Config>> = OnceLock::new();
    Arc::clone(CONFIG.get_or_init(|| Arc::new(Config::client())))
}

impl Link {
    pub fn new() -> Box<Link> {
        let mut out = Vec::new();
        let machine = http2::Connection::client(config(), &mut out);
        Box::new(Link { machine, out, rest: Vec::new(), refilled: daemun_event::now() })
    }

    /// Whether another request may go to the connection: nothing is left of the last one.
    pub fn is_usable(&self) -> bool {
        self.machine.can_open() && self.machine.is_idle() && self.rest.is_empty()
    }

    /// Takes in what has come between two requests: pings, windows, settings. Whether the connection
    /// is still of use.
    pub fn take_in(&mut self, input: &[u8]) -> bool {
        let (mut at, mut nothing) = (0, Head::default());
        loop {
            match self.next(input, &mut at, &mut nothing) {
                Ok(Event::Incomplete) => return self.machine.can_open(),
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// What is to be sent.
    pub fn unsent(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Reads on at `at`. Where nothing more can be told all of the input is used up.
    pub(super) fn next<S: Sink>(
        &mut self,
        input: &[u8],
        at: &mut usize,
        sink: &mut S,
    ) -> Result<Event, Fatal> {
        self.refill();
        while !self.rest.is_empty() {
            let mut read = 0;
            let event = self.machine.receive(&self.rest, &mut read, sink, &mut self.out)?;
            self.rest.drain(..read);
            match event {
                Event::Incomplete if self.rest.is_empty() => break,
                Event::Incomplete => {
                    // The machine takes what it needs as soon as that is there, and not a byte of
                    // what is not its own.
                    let Some(byte) = input.get(*at) else { return Ok(Event::Incomplete) };
                    self.rest.push(*byte);
                    *at += 1;
                }
                event => return Ok(event),
            }
        }
        let event = self.machine.receive(input, at, sink, &mut self.out)?;
        if event == Event::Incomplete {
            self.rest.extend_from_slice(&input[*at..]);
            *at = input.len();
        }
        Ok(event)
    }

    fn refill(&mut self) {
        let seconds = daemun_event::now().saturating_sub(self.refilled) / 1000;
        if seconds > 0 {
            self.refilled += seconds * 1000;
            self.machine.refill(seconds.min(u64::from(u16::MAX)) as u16);
        }
    }
}
