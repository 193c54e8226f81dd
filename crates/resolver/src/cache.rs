//! What a thread knows, and what it is asking.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use daemun_event::{Millis, now};

use crate::exchange::Answer;
use crate::lookup::LookupError;

/// How long an answer is remembered after its last use.
const UNUSED: Millis = 30_000;

/// An exchange begins with this many names, at least, between two looks for what may be forgotten.
const LEAST_SWEPT: usize = 64;

/// A name, and which records of it: addresses, or services.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Subject {
    Addresses,
    Services,
}

pub(crate) type Key = (Subject, Box<[u8]>);

/// An answer and until when it holds.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) answer: Rc<Answer>,
    pub(crate) until: Millis,
    /// It was known before it was asked for.
    pub(crate) is_cached: bool,
}

/// One resolver's memory on one thread.
#[derive(Default)]
pub(crate) struct Cache {
    entries: RefCell<HashMap<Key, Entry>>,
    sweep_at: Cell<usize>,
    next_server: Cell<usize>,
}

enum Entry {
    Asked(Rc<Question>),
    Known { found: Found, used: Millis },
}

/// What a look at the cache yields.
pub(crate) enum Look {
    Known(Found),
    /// Somebody asks already.
    Asked(Rc<Question>),
    /// This one is to be asked now.
    New(Rc<Question>),
}

impl Cache {
    pub(crate) fn look(&self, key: &Key) -> Look {
        let mut entries = self.entries.borrow_mut();
        match entries.get_mut(key) {
            Some(Entry::Asked(question)) => return Look::Asked(Rc::clone(question)),
            Some(Entry::Known { found, used }) if found.until > now() => {
                *used = now();
                return Look::Known(found.clone());
            }
            _ => {}
        }
        if entries.len() >= self.sweep_at.get() {
            entries.retain(|_, entry| entry.is_of_use());
            self.sweep_at.set(LEAST_SWEPT.max(2 * entries.len()));
        }
        let question = Rc::new(Question::default());
        entries.insert(key.clone(), Entry::Asked(Rc::clone(&question)));
        Look::New(question)
    }

    /// Ends a question. Errors are not remembered.
    pub(crate) fn settle(
        &self,
        key: &Key,
        question: &Question,
        outcome: Result<Found, LookupError>,
    ) {
        let mut entries = self.entries.borrow_mut();
        match &outcome {
            Ok(found) => {
                let found = Found { is_cached: true, ..found.clone() };
                entries.insert(key.clone(), Entry::Known { found, used: now() });
            }
            Err(_) => drop(entries.remove(key)),
        }
        drop(entries);
        question.settle(outcome);
    }

    /// The number of the name server that is asked first; each in turn.
    pub(crate) fn first_server(&self, servers: usize) -> usize {
        let server = self.next_server.get() % servers;
        self.next_server.set(server + 1);
        server
    }
}

impl Entry {
    fn is_of_use(&self) -> bool {
        match self {
            Entry::Asked(_) => true,
            Entry::Known { found, used } => found.until > now() && used + UNUSED > now(),
        }
    }
}

/// A question under way, which everybody who wants to know waits for.
#[derive(Default)]
pub(crate) struct Question {
    outcome: RefCell<Option<Result<Found, LookupError>>>,
    waiters: RefCell<Vec<Waker>>,
    has_ended: Cell<bool>,
}

impl Question {
    /// Whether somebody waits, besides the cache and who asks.
    pub(crate) fn is_waited_for(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) > 2
    }

    /// Whether nobody has asked this before: each question counts once.
    pub(crate) fn is_first_end(&self) -> bool {
        !self.has_ended.replace(true)
    }

    pub(crate) fn outcome(self: Rc<Self>) -> Waiting {
        Waiting(self)
    }

    fn settle(&self, outcome: Result<Found, LookupError>) {
        *self.outcome.borrow_mut() = Some(outcome);
        self.waiters.take().into_iter().for_each(Waker::wake);
    }
}

/// The future of [`Question::outcome`].
pub(crate) struct Waiting(Rc<Question>);

impl Waiting {
    pub(crate) fn question(&self) -> &Question {
        &self.0
    }
}

impl Future for Waiting {
    type Output = Result<Found, LookupError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = &*self.0.outcome.borrow() {
            return Poll::Ready(outcome.clone());
        }
        let mut waiters = self.0.waiters.borrow_mut();
        if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
            waiters.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
