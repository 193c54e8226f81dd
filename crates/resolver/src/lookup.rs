//! From a name to its addresses, by way of its aliases.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use daemun_core::address;
use daemun_event::{Deadline, Millis, spawn, timeout};
use daemun_proto::dns;

use crate::cache::{Cache, Found, Key, Look, Question, Subject};
use crate::exchange::{self, Answer};
use crate::random;
use crate::status::StatusZone;

/// Aliases that lead to aliases.
const MOST_ALIASES: usize = 50;

/// How long a name that could not be resolved is left alone where `valid` does not say so.
const RETRY: Duration = Duration::from_secs(10);

/// `resolver`: the name servers, and what they are asked.
#[derive(Clone)]
pub struct Resolver(Arc<Named>);

/// A resolver and the name of what each thread knows of it.
struct Named {
    id: u64,
    asked: Asked,
}

/// What the directive says.
pub(crate) struct Asked {
    pub(crate) servers: Vec<SocketAddr>,
    /// Takes the place of what answers say.
    pub(crate) valid: Option<Duration>,
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
    /// Where questions are counted.
    pub(crate) status: Option<StatusZone>,
}

/// A name's addresses, one at least, in an order that changes from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub list: Vec<IpAddr>,
    /// When to ask again, on the reactor's clock.
    pub valid_until: Millis,
}

/// Why there is no answer; displays as `3: Host not found`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// A name server says so (RCODE).
    Code(u8),
    TimedOut,
}

impl LookupError {
    pub const HOST_NOT_FOUND: LookupError = LookupError::Code(dns::NAME_ERROR);
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            LookupError::Code(code) => write!(f, "{code}: {}", dns::words_of(code)),
            // ETIMEDOUT
            LookupError::TimedOut => f.write_str("110: Operation timed out"),
        }
    }
}

impl Resolver {
    pub(crate) fn new(asked: Asked) -> Resolver {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Resolver(Arc::new(Named { id: NEXT.fetch_add(1, Ordering::Relaxed), asked }))
    }

    /// The addresses of a host. `patience` is `resolver_timeout`; zero waits for ever.
    pub async fn lookup(&self, name: &[u8], patience: Duration) -> Result<Addresses, LookupError> {
        if let Some(address) = written_out(name) {
            return Ok(Addresses { list: vec![address], valid_until: Millis::MAX });
        }
        let found = self.follow(Subject::Addresses, name, patience).await?;
        match &*found.answer {
            Answer::Addresses { v4, v6 } => {
                let list = in_turn(v4, v6, found.is_cached);
                Ok(Addresses { list, valid_until: found.until })
            }
            _ => Err(LookupError::HOST_NOT_FOUND),
        }
    }

    /// How long to wait before a name that could not be resolved is asked for again.
    pub fn retry_after(&self) -> Duration {
        self.0.asked.valid.unwrap_or(RETRY)
    }

    pub(crate) fn asked(&self) -> &Asked {
        &self.0.asked
    }

    /// What is known of a name, or of the one that it stands for.
    pub(crate) async fn follow(
        &self,
        subject: Subject,
        name: &[u8],
        patience: Duration,
    ) -> Result<Found, LookupError> {
        let deadline = match patience.is_zero() {
            true => Deadline::NEVER,
            false => Deadline::after(patience),
        };
        let name = name.strip_suffix(b".").unwrap_or(name);
        let mut name: Box<[u8]> = name.to_ascii_lowercase().into();
        for _ in 0..=MOST_ALIASES {
            let found = self.find((subject, name), deadline).await?;
            match &*found.answer {
                Answer::Alias(target) => name = target.clone(),
                _ => return Ok(found),
            }
        }
        Err(LookupError::HOST_NOT_FOUND)
    }

    async fn find(&self, key: Key, deadline: Deadline) -> Result<Found, LookupError> {
        let cache = self.cache();
        let question = match cache.look(&key) {
            Look::Known(found) => return Ok(found),
            Look::Asked(question) => question,
            Look::New(question) => {
                if let Some(status) = &self.asked().status {
                    status.count_request(key.0);
                }
                spawn(ask(self.clone(), cache, key, Rc::clone(&question)));
                question
            }
        };
        let mut waiting = question.outcome();
        if let Some(outcome) = timeout(deadline, &mut waiting).await {
            return outcome;
        }
        self.count_end(waiting.question(), Err(LookupError::TimedOut));
        Err(LookupError::TimedOut)
    }

    /// Counts what became of a question: an answer, or that somebody has waited for it in vain, whichever is first.
    fn count_end(&self, question: &Question, outcome: Result<(), LookupError>) {
        if let Some(status) = &self.asked().status
            && question.is_first_end()
        {
            status.count_response(outcome);
        }
    }

    /// This thread's memory.
    fn cache(&self) -> Rc<Cache> {
        thread_local! {
            static CACHES: RefCell<HashMap<u64, Rc<Cache>>> = RefCell::default();
        }
        CACHES.with_borrow_mut(|caches| Rc::clone(caches.entry(self.0.id).or_default()))
    }
}

async fn ask(resolver: Resolver, cache: Rc<Cache>, key: Key, question: Rc<Question>) {
    let first = cache.first_server(resolver.asked().servers.len());
    let outcome = exchange::run(resolver.asked(), &key, first, &question).await;
    resolver.count_end(&question, outcome.as_ref().map(drop).map_err(|error| *error));
    cache.settle(&key, &question, outcome);
}

fn written_out(name: &[u8]) -> Option<IpAddr> {
    let address = address::v4(std::str::from_utf8(name).ok()?)?;
    Some(address.into())
}

/// All addresses, those of each family together. What is known already begins anywhere, so that each host has its turn.
fn in_turn(v4: &[Ipv4Addr], v6: &[std::net::Ipv6Addr], rotates: bool) -> Vec<IpAddr> {
    let mut v4: Vec<IpAddr> = v4.iter().map(|address| (*address).into()).collect();
    let mut v6: Vec<IpAddr> = v6.iter().map(|address| (*address).into()).collect();
    if rotates {
        rotate(&mut v4);
        rotate(&mut v6);
    }
    v4.append(&mut v6);
    if rotates {
        rotate(&mut v4);
    }
    v4
}

fn rotate(list: &mut [IpAddr]) {
    if list.len() > 1 {
        let first = random::below(list.len());
        list.rotate_left(first);
    }
}
