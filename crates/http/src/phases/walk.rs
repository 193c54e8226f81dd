//! The walk through the phases: handler after handler, until one decides or has to wait.
//!
//! It never waits itself, so that a request whose handlers all decide at once is answered in one plain loop.

use daemun_core::{debug, log};

use crate::body::Body;
use crate::config::Location;
use crate::core::routing::{Match, Satisfy};
use crate::escape;
use crate::locations;
use crate::module::{Handler, Later, Phase, Step};
use crate::request::{Request, Text};
use crate::status::Status;
use crate::trace::{Event, Verdict};

/// How far a walk came.
pub enum Walked {
    Ended(Step),
    /// A handler that may have to wait has its turn; its step [goes on](Place::go_on) from here.
    Waits(Place, Later),
    /// A response, to a request whose body nobody has looked at to the end.
    Unread(Body),
    /// The client has to show credentials.
    Unauthorized(Status),
}

/// Where in its phases a request stands.
pub struct Place {
    phase: Phase,
    location: &'static Location,
    /// Those of the phase, even where an `if` has taken the location's place meanwhile.
    handlers: &'static [Handler],
    /// How many of them have had their say.
    asked: usize,
    /// `satisfy any`: what is answered unless somebody permits the request.
    refusal: Option<Status>,
}

/// Walks from a phase's first handler on.
pub fn from(request: &mut Request, phase: Phase) -> Walked {
    let place = Place {
        phase,
        location: request.location,
        handlers: handlers(request, phase),
        asked: 0,
        refusal: None,
    };
    place.walk(request)
}

fn handlers(request: &Request, phase: Phase) -> &'static [Handler] {
    let here = &request.location.handlers;
    let handlers = match phase {
        Phase::PostRead => request.server.post_read(),
        Phase::ServerRewrite => request.server.rewrite(),
        Phase::Rewrite => &here.rewrite,
        Phase::PreAccess => &here.pre_access,
        Phase::Access => &here.access,
        Phase::PreContent => &here.pre_content,
        Phase::Dedicated | Phase::Content => &request.answering().handlers.content,
        Phase::Log => &here.log,
    };
    if !handlers.is_empty() {
        debug!(request.log(), Http, *request, "{:?} phase: {} handlers", phase, handlers.len());
    }
    handlers
}

impl Place {
    fn walk(mut self, request: &mut Request) -> Walked {
        loop {
            let Some(handler) = self.handlers.get(self.asked) else {
                match self.leave(request) {
                    Some(end) => return end,
                    None => continue,
                }
            };
            let step = match handler {
                Handler::Now(handler) => match handler(request) {
                    Step::Wait(later) => return Walked::Waits(self, later),
                    step => step,
                },
                Handler::Later(handler) => return Walked::Waits(self, *handler),
            };
            if let Some(end) = self.take(request, step) {
                return end;
            }
        }
    }

    /// Goes on with what the handler that was waited for decided.
    pub fn go_on(mut self, request: &mut Request, step: Step) -> Walked {
        match self.take(request, step) {
            Some(end) => end,
            None => self.walk(request),
        }
    }

    /// What a handler's step means in this phase; `None`: the walk goes on.
    fn take(&mut self, request: &mut Request, step: Step) -> Option<Walked> {
        let Place { phase, location, asked: number, .. } = *self;
        request.trace(|_| Event::Handled { phase, location, number, verdict: Verdict::of(&step) });
        self.asked += 1;
        match step {
            Step::Declined => None,
            step if phase == Phase::Access => self.take_access(request, step),
            Step::Respond(body) if !request.body.is_complete() => Some(Walked::Unread(body)),
            // The location is still to be found: a new URI makes no difference.
            Step::Rewritten if phase == Phase::ServerRewrite => self.settle(),
            Step::Allowed => self.settle(),
            step => Some(Walked::Ended(step)),
        }
    }

    /// The phase has no more to say.
    fn settle(&mut self) -> Option<Walked> {
        self.asked = self.handlers.len();
        None
    }

    /// `satisfy all`: the first refusal counts. `satisfy any`: the first permission counts, else the last refusal, in
    /// which 401 goes before 403 since it asks for credentials.
    fn take_access(&mut self, request: &mut Request, step: Step) -> Option<Walked> {
        let satisfies_any = *request.core().routing.satisfy == Satisfy::Any;
        match step {
            Step::Allowed if satisfies_any => {
                request.response.remove(b"WWW-Authenticate");
                request.response.remove(b"Proxy-Authenticate");
                self.refusal = None;
                self.settle()
            }
            Step::Allowed => None,
            Step::Status(status)
                if satisfies_any && (status == Status::FORBIDDEN || wants_credentials(status)) =>
            {
                if !self.refusal.is_some_and(wants_credentials) {
                    self.refusal = Some(status);
                }
                None
            }
            Step::Status(status) if wants_credentials(status) => Some(Walked::Unauthorized(status)),
            step => Some(Walked::Ended(step)),
        }
    }

    /// Goes to the next phase, unless the walk ends here.
    fn leave(&mut self, request: &mut Request) -> Option<Walked> {
        self.phase = match self.phase {
            Phase::PostRead => Phase::ServerRewrite,
            Phase::ServerRewrite => match locate(request) {
                Ok(()) => Phase::Rewrite,
                Err(step) => return Some(Walked::Ended(step)),
            },
            Phase::Rewrite if request.is_probe => Phase::Access,
            Phase::Rewrite => Phase::PreAccess,
            // Whoever sent the main request has been let in.
            Phase::PreAccess if request.is_subrequest() => Phase::PreContent,
            Phase::PreAccess => Phase::Access,
            Phase::Access => match self.refusal {
                None if request.is_probe => return Some(Walked::Ended(Step::Allowed)),
                None => Phase::PreContent,
                Some(status) => return Some(refuse(request, status)),
            },
            Phase::PreContent => Phase::Content,
            Phase::Dedicated | Phase::Content | Phase::Log => {
                return Some(Walked::Ended(no_content(request)));
            }
        };
        self.location = request.location;
        self.handlers = handlers(request, self.phase);
        self.asked = 0;
        None
    }
}

fn refuse(request: &Request, status: Status) -> Walked {
    if wants_credentials(status) {
        return Walked::Unauthorized(status);
    }
    log!(request.log(), Error, *request, "access forbidden by rule");
    Walked::Ended(Step::Status(status))
}

fn wants_credentials(status: Status) -> bool {
    matches!(status, Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED)
}

/// Finds the location of the request's URI; an error is what is answered in place of it.
pub fn locate(request: &mut Request) -> Result<(), Step> {
    let server = request.server;
    request.location = &server.location;
    let Ok(found) = locations::find(request, &server.location) else {
        return Err(Step::Status(Status::INTERNAL_SERVER_ERROR));
    };
    request.location = found.limited(request.head.method()).unwrap_or(found);
    request.forget_answering();
    request.trace(|_| Event::Located(found));
    let name = found.matching().map_or(&b""[..], Match::name);
    debug!(request.log(), Http, *request, "using configuration \"{}\"", Text(name));
    if found.is_folder_at(&request.uri) {
        return Err(to_folder(request, found));
    }
    if found.is_internal() && !request.internal {
        return Err(Step::Status(Status::NOT_FOUND));
    }
    match super::check_body_size(request) {
        Some(status) => Err(Step::Status(status)),
        None => Ok(()),
    }
}

/// The location's name lacks its last slash: the whole name is redirected to.
fn to_folder(request: &mut Request, found: &Location) -> Step {
    let mut target = Vec::new();
    escape::path(found.matching().map_or(b"/", Match::name), &mut target);
    if !request.args.is_empty() {
        target.push(b'?');
        target.extend_from_slice(&request.args);
    }
    request.response.location = Some(target.into());
    Step::Status(Status::MOVED_PERMANENTLY)
}

/// No content handler took the request.
fn no_content(request: &mut Request) -> Step {
    if request.uri.last() != Some(&b'/') {
        return Step::Status(Status::NOT_FOUND);
    }
    let mut path = Vec::new();
    crate::files::map_uri(request, &mut path);
    log!(request.log(), Error, *request, "directory index of \"{}\" is forbidden", Text(&path));
    Step::Status(Status::FORBIDDEN)
}
