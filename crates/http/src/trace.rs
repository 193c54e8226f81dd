//! What became of a request, station by station: for `--explain`. A request that is served carries no trace, and asks
//! no more than whether it has one.

use daemun_conf::Span;

use crate::config::Location;
use crate::module::{Phase, Step};
use crate::request::Request;
use crate::status::Status;

/// What was found at a station.
pub enum Event {
    /// A location's name is the URI, or the longest name that the URI begins with.
    Named(&'static Location),
    /// A location's pattern was held against the URI.
    Tried { location: &'static Location, matches: bool },
    /// The search ended.
    Located(&'static Location),
    /// The handler of that number had its say, in a phase of the request's location at that time.
    Handled { phase: Phase, location: &'static Location, number: usize, verdict: Verdict },
    /// A directive that rewrites was carried out.
    Rewriting { span: Span, outcome: Outcome },
    /// A file was looked at.
    File { path: Vec<u8>, exists: bool },
    /// A status is to be answered with.
    Status(Status),
    /// The request was sent to another URI, or to a named location.
    SentTo(Vec<u8>),
    /// The request would be passed to this server or group of servers, which is not asked.
    Passed(String),
}

/// What a handler decided, without the body that may be part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Declined,
    Allowed,
    Responds,
    Status(Status),
    /// To another URI or a named location.
    Sends,
    Hangup,
}

/// What a step of rewriting came to.
pub enum Outcome {
    Holds,
    Fails,
    Value(Vec<u8>),
    Uri(Vec<u8>),
    Redirect(Vec<u8>),
    Answers,
    Ends,
}

/// The stations in order.
#[derive(Default)]
pub struct Trace {
    pub events: Vec<Event>,
}

impl Verdict {
    pub fn of(step: &Step) -> Verdict {
        match step {
            // it is asked again once it has waited
            Step::Declined | Step::Wait(_) => Verdict::Declined,
            Step::Allowed => Verdict::Allowed,
            Step::Respond(_) => Verdict::Responds,
            Step::Status(status) => Verdict::Status(*status),
            Step::Redirected | Step::Rewritten | Step::Named(_) => Verdict::Sends,
            Step::Hangup => Verdict::Hangup,
        }
    }
}

impl Request {
    /// Notes an event, where somebody wants to know.
    #[inline]
    pub fn trace(&mut self, event: impl FnOnce(&Request) -> Event) {
        if self.trace.is_some() {
            self.add_to_trace(event);
        }
    }

    #[cold]
    fn add_to_trace(&mut self, event: impl FnOnce(&Request) -> Event) {
        let event = event(self);
        self.trace.get_or_insert_default().events.push(event);
    }
}
