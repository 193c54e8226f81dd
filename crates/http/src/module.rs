//! What an HTTP module declares: its tables, and the places where it acts on a request.

use std::path::Path;
use std::pin::Pin;

use daemun_conf::Diagnostics;
use daemun_core::module::{Module, SettingsSet};

use crate::body::Body;
use crate::request::Request;
use crate::status::Status;
use crate::tls::files::Files;

/// A module of the `http` context. Write `..HttpModule::EMPTY` for what it has not.
pub struct HttpModule {
    pub base: Module,
    pub variables: &'static [Variable],
    pub handlers: &'static [PhaseHandler],
    pub filters: &'static [Filter],
    /// What is wrong with a block's settings as a whole, in nginx's words.
    pub check: fn(&SettingsSet) -> Result<(), String>,
    /// Makes what a block's settings need before requests come; what is wrong goes to the diagnostics.
    pub settle: fn(&SettingsSet, &mut Files, &mut Diagnostics),
    /// Requests are passed to another server. Without its last slash the name of such a location redirects to it.
    pub passes: fn(&SettingsSet) -> bool,
    /// A folder for temporary files that a block's settings name, made at the start.
    pub temporary: for<'s> fn(&'s SettingsSet) -> Option<&'s Path>,
}

impl HttpModule {
    pub const EMPTY: HttpModule = HttpModule {
        base: Module { name: "", directives: &[], settings: None },
        variables: &[],
        handlers: &[],
        filters: &[],
        check: |_| Ok(()),
        settle: |_, _, _| {},
        passes: |_| false,
        temporary: |_| None,
    };
}

/// A built-in variable; one whose name ends in an underscore is a family (`arg_`, `http_`).
pub struct Variable {
    pub name: &'static str,
    /// Appends the value for a family's member; `false` where there is none.
    pub value: VariableValue,
    /// A configuration may define a variable of this name.
    pub is_changeable: bool,
}

pub type VariableValue = fn(&mut Request, member: &str, out: &mut Vec<u8>) -> bool;

impl Variable {
    pub const fn new(name: &'static str, value: VariableValue) -> Variable {
        Variable { name, value, is_changeable: false }
    }

    pub const fn changeable(name: &'static str, value: VariableValue) -> Variable {
        Variable { name, value, is_changeable: true }
    }
}

/// The stations of a request, in order. Between `ServerRewrite` and `Rewrite` its location is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    PostRead,
    ServerRewrite,
    Rewrite,
    PreAccess,
    Access,
    PreContent,
    /// The content of locations that are dedicated to one handler: no other one of `Content` is asked.
    Dedicated,
    Content,
    Log,
}

/// A module's place in a phase. It takes part only in the locations whose settings call for it.
pub struct PhaseHandler {
    pub phase: Phase,
    pub applies: fn(&SettingsSet) -> bool,
    pub handler: Handler,
}

/// A handler that may have to wait; only those cost an allocation.
pub type Pending<'r> = Pin<Box<dyn Future<Output = Step> + 'r>>;

/// Begins such a handler.
pub type Later = for<'r> fn(&'r mut Request) -> Pending<'r>;

#[derive(Clone, Copy)]
pub enum Handler {
    Now(fn(&mut Request) -> Step),
    Later(Later),
}

impl Handler {
    /// Tells handlers apart that do not do the same.
    pub(crate) fn address(self) -> usize {
        match self {
            Handler::Now(handler) => handler as usize,
            Handler::Later(handler) => handler as usize,
        }
    }
}

/// What a handler decides.
pub enum Step {
    /// Not my business: the next handler.
    Declined,
    /// This phase is settled: the next phase.
    Allowed,
    /// The response: its head stands in the request, here is the body.
    Respond(Body),
    /// Answer with this status, by way of `error_page` if there is one.
    Status(Status),
    /// The request has a new URI: start again at the server's rewriting.
    Redirected,
    /// The request has a new URI: find its location again.
    Rewritten,
    /// Continue in the named location.
    Named(Vec<u8>),
    /// Close the connection without an answer (`return 444`).
    Hangup,
    /// It takes time after all: what this begins decides in the handler's place.
    Wait(Later),
}

/// A filter sees each response on its way out, may change its head and wrap its body; an error is the status to answer
/// with instead.
pub struct Filter {
    pub applies: fn(&SettingsSet) -> bool,
    pub apply: Apply,
}

/// A filter that has to see the body before the head can be sent waits for it.
pub enum Apply {
    Now(fn(&mut Request, Body) -> Result<Body, Status>),
    Later(for<'r> fn(&'r mut Request, Body) -> PendingBody<'r>),
}

pub type PendingBody<'r> = Pin<Box<dyn Future<Output = Result<Body, Status>> + 'r>>;

/// For handlers and filters that take part everywhere.
pub fn always(_: &SettingsSet) -> bool {
    true
}
