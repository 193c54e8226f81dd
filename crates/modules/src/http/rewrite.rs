//! `rewrite`, `if`, `set`, `return` and `break`: what becomes of a request's URI, step by step.
//!
//! ```nginx
//! location /download/ {
//!     set $speed 100k;
//!     if ($http_user_agent ~ Mobile) {
//!         set $speed 20k;
//!     }
//!     set $limit_rate $speed;
//!     rewrite ^(/download/.*)/media/(.*)\..*$ $1/mp3/$2.mp3 last;
//!     if (!-f $request_filename) {
//!         return 410 "gone\n";
//!     }
//! }
//! ```
//!
//! The steps of a block are carried out in the file's order, those of the server before a location is found. An `if`
//! of a location is a location of its own, in which the request goes on.

mod condition;
mod return_;
mod uri;

use std::borrow::Cow;
use std::ops::ControlFlow;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_conf::{Span, units};
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Contexts, Module, SettingsKey, SettingsSet};
use daemun_core::named_pattern::NamedPattern;
use daemun_core::script::{Definition, Script, Session, VariableId};
use daemun_core::setting::Own;
use daemun_core::{directives, settings};
use daemun_event::Peer;
use daemun_http::config::Location;
use daemun_http::core::{rewriting, routing};
use daemun_http::escape;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::trace::{Event, Outcome};
use daemun_pattern::StepLimit;

use condition::Condition;
use return_::Answer;
use uri::Rewrite;

use crate::shared::variable_name;

/// A step of a block, and where it stands.
struct Placed {
    operation: Operation,
    span: Span,
}

enum Operation {
    Rewrite(Box<Rewrite>),
    Set { target: Target, value: Script },
    If(Box<If>),
    Return(Answer),
    Break,
}

struct If {
    condition: Condition,
    operations: Vec<Placed>,
    /// Which of its location's `if` blocks it is; `None` in a server.
    location: Option<usize>,
}

/// What `set` sets.
/// What `set` and its like assign to.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Variable(VariableId),
    Args,
    LimitRate,
}

settings! {
    pub struct Settings {
        operations: Own<Vec<Placed>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_rewrite_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "rewrite" in SERVER | LOCATION | SERVER_IF | LOCATION_IF, Between(2, 3), "",
                Action::Set(rewrite),
                "Replaces a URI that a pattern matches, or redirects to the replacement.";
            "if" in SERVER | LOCATION, Block(1, usize::MAX), "", Action::Set(if_),
                "Holds settings and steps for requests that meet a condition.";
            "set" in SERVER | LOCATION | SERVER_IF | LOCATION_IF, Exactly(2), "", Action::Set(set),
                "Gives a variable a value.";
            "return" in SERVER | LOCATION | SERVER_IF | LOCATION_IF, Between(1, 2), "",
                Action::Set(return_),
                "Answers with a status, and a text or the place of a redirect.";
            "break" in SERVER | LOCATION | SERVER_IF | LOCATION_IF, Exactly(0), "",
                Action::Set(break_),
                "Ends the steps of the block: the request stays in its location.";
        },
    },
    handlers: &[
        PhaseHandler { phase: Phase::ServerRewrite, applies, handler: Handler::Now(run) },
        PhaseHandler { phase: Phase::Rewrite, applies, handler: Handler::Now(run_in_location) },
    ],
    ..HttpModule::EMPTY
};

fn applies(settings: &SettingsSet) -> bool {
    !settings.of(&SETTINGS).operations.0.is_empty()
}

/// The steps of a server are done once, before there is a location, and not again where none was found.
fn run_in_location(request: &mut Request) -> Step {
    match std::ptr::eq(request.location, &request.server.location) {
        true => Step::Declined,
        false => run(request),
    }
}

fn run(request: &mut Request) -> Step {
    let mut run = Run {
        outer: request.location,
        logs: *request.settings(&rewriting::SETTINGS).logs,
        escapes_captures: true,
        is_uri_changed: false,
    };
    match run.all(request, &request.settings(&SETTINGS).operations.0) {
        ControlFlow::Break(step) => step,
        ControlFlow::Continue(()) => run.end(),
    }
}

/// One run through a block's steps.
struct Run {
    /// The location that the run began in; an `if` takes its place in the request.
    outer: &'static Location,
    /// `rewrite_log`.
    logs: bool,
    /// Captures of an escaped URI are escaped again where they become part of a query or of a redirect, and, as
    /// nginx has it, in every value before the first `rewrite` that matches.
    escapes_captures: bool,
    is_uri_changed: bool,
}

/// The end of a run, with what follows from it, or the next step.
type Flow = ControlFlow<Step>;

impl Run {
    fn all(&mut self, request: &mut Request, operations: &'static [Placed]) -> Flow {
        operations.iter().try_for_each(|operation| self.one(request, operation))
    }

    fn one(&mut self, request: &mut Request, placed: &'static Placed) -> Flow {
        let span = placed.span;
        match &placed.operation {
            Operation::Rewrite(rewrite) => rewrite.apply(self, request, span),
            Operation::Set { target, value } => {
                let value = self.value(request, value);
                note(request, span, |_| Outcome::Value(value.to_vec()));
                target.set(request, value);
                Flow::Continue(())
            }
            Operation::If(block) => {
                if !block.condition.holds(self, request)? {
                    note(request, span, |_| Outcome::Fails);
                    return Flow::Continue(());
                }
                note(request, span, |_| Outcome::Holds);
                if let Some(index) = block.location {
                    request.enter_if(&self.outer.conditional[index]);
                }
                self.all(request, &block.operations)
            }
            Operation::Return(answer) => {
                note(request, span, |_| Outcome::Answers);
                Flow::Break(answer.give(request))
            }
            Operation::Break => {
                note(request, span, |_| Outcome::Ends);
                request.has_left_location |= self.is_uri_changed;
                self.is_uri_changed = false;
                Flow::Break(self.end())
            }
        }
    }

    fn end(&self) -> Step {
        match self.is_uri_changed {
            true => Step::Rewritten,
            false => Step::Declined,
        }
    }

    fn value(&self, request: &mut Request, script: &'static Script) -> Cow<'static, [u8]> {
        match script.as_literal() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(value_of(request, script, self.escapes_captures)),
        }
    }

    /// Matches and logs; a pattern that ran into its step limit ends the run.
    fn matches(
        &self,
        request: &mut Request,
        pattern: &NamedPattern,
        subject: &[u8],
    ) -> ControlFlow<Step, bool> {
        let Ok(is_match) = request.matches(pattern, subject) else {
            return ControlFlow::Break(Step::Status(Status::INTERNAL_SERVER_ERROR));
        };
        if !is_match {
            request.captures.clear();
        }
        if self.logs {
            let verb = if is_match { "matches" } else { "does not match" };
            let text = Text(&pattern.text);
            log!(request.log(), Notice, *request, "\"{}\" {} \"{}\"", text, verb, Text(subject));
        }
        ControlFlow::Continue(is_match)
    }
}

impl Target {
    pub(super) fn of(loader: &mut Loader<'_>, name: &str, span: Span) -> Target {
        match name.to_ascii_lowercase().as_str() {
            "args" => Target::Args,
            "limit_rate" => Target::LimitRate,
            _ => Target::Variable(loader.variables.define(name, Definition::Assigned, span)),
        }
    }

    pub(super) fn set(&self, request: &mut Request, value: Cow<'static, [u8]>) {
        match self {
            Target::Variable(id) => request.store(*id, Some(into_bytes(value))),
            Target::Args => {
                request.args = value.into_owned();
                request.has_clients_uri = false;
                request.has_args = true;
            }
            Target::LimitRate => match units::size(&value) {
                Some(rate) => request.limit_rate = Some(rate as u64),
                None => {
                    let value = Text(&value);
                    log!(request.log(), Error, *request, "invalid $limit_rate \"{}\"", value);
                }
            },
        }
    }
}

fn into_bytes(value: Cow<'static, [u8]>) -> Bytes {
    match value {
        Cow::Borrowed(text) => Bytes::from_static(text),
        Cow::Owned(text) => text.into(),
    }
}

/// A value in which captures of a URI that came escaped, or with a plus sign, are escaped again where that is asked for.
fn value_of(request: &mut Request, script: &Script, escapes_captures: bool) -> Vec<u8> {
    match escapes_captures && came_escaped(request) {
        true => script.value(&mut Escaping(request)),
        false => script.value(request),
    }
}

fn came_escaped(request: &Request) -> bool {
    memchr::memchr2(b'%', b'+', request.head.target_path()).is_some()
}

/// A request whose captures are escaped for a query.
struct Escaping<'r>(&'r mut Request);

impl Session for Escaping<'_> {
    fn variable(&mut self, id: VariableId, out: &mut Vec<u8>) -> bool {
        self.0.variable(id, out)
    }

    fn capture(&mut self, group: usize, out: &mut Vec<u8>) -> bool {
        let Some(text) = self.0.captures.group(group) else {
            return false;
        };
        escape::args(text, out);
        true
    }

    fn matches(&mut self, pattern: &NamedPattern, subject: &[u8]) -> Result<bool, StepLimit> {
        self.0.matches(pattern, subject)
    }

    fn client(&self) -> Peer {
        self.0.peer()
    }
}

/// Tells a trace what a step came to.
fn note(request: &mut Request, span: Span, outcome: impl FnOnce(&Request) -> Outcome) {
    request.trace(|request| Event::Rewriting { span, outcome: outcome(request) });
}

fn add(loader: &mut Loader<'_>, directive: &conf::Directive, operation: Operation) {
    let placed = Placed { operation, span: directive.span };
    loader.settings(&SETTINGS).operations.0.push(placed);
}

fn rewrite(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let rewrite = Rewrite::read(loader, directive)?;
    add(loader, directive, Operation::Rewrite(Box::new(rewrite)));
    Ok(())
}

fn if_(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let condition = Condition::read(loader, &directive.args)?;
    let mut location = None;
    if loader.context() == Contexts::LOCATION {
        let blocks = loader.block().children.iter();
        location = Some(blocks.filter(|block| block.context == Contexts::LOCATION_IF).count());
        let header = loader.settings(&routing::SETTINGS).location.0.clone();
        loader.enter_with(Contexts::LOCATION_IF, directive, |settings| {
            settings.of_mut(&routing::SETTINGS).location = Own(header);
        });
    } else {
        loader.enter(Contexts::SERVER_IF, directive);
    }
    let inside = &mut loader.entered().settings.of_mut(&SETTINGS).operations.0;
    let operations = std::mem::take(inside);
    add(loader, directive, Operation::If(Box::new(If { condition, operations, location })));
    Ok(())
}

fn set(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let [word, value] = &*directive.args else {
        return Err("invalid value".into());
    };
    let name = variable_name(word)?;
    let target = Target::of(loader, name, word.span);
    let value = loader.script(value)?;
    add(loader, directive, Operation::Set { target, value });
    Ok(())
}

fn return_(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let answer = Answer::read(loader, directive)?;
    add(loader, directive, Operation::Return(answer));
    Ok(())
}

fn break_(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    add(loader, directive, Operation::Break);
    Ok(())
}
