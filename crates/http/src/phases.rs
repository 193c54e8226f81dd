//! A request's way: the phases in order, redirects and error pages, until there is a response.

mod walk;

use daemun_core::script::Script;
use daemun_core::{debug, log};

use crate::body::Body;
use crate::core::error_page::{ErrorPage, Overwrite};
use crate::module::{Apply, Handler, Phase, Step};
use crate::request::{Request, Text};
use crate::special_response;
use crate::status::Status;
use crate::trace::Event;

use self::walk::Walked;

/// What to do with the connection.
pub enum Answer {
    /// Send the head in the request, and this.
    Body(Body),
    /// Close without a word.
    Hangup,
}

/// Where a request begins.
pub enum Start {
    /// At its first phase.
    Request,
    /// Behind what looks at the client and its connection: that has been done for the request it belongs to.
    Subrequest,
    /// With a step that was decided before any handler was asked.
    With(Step),
}

/// Walks the request to an answer, filters applied.
pub async fn answer(request: &mut Request, start: Start) -> Answer {
    let mut walked = match start {
        Start::Request => {
            request.doing = "";
            let early = &request.server.location.core.client.body_early_read;
            match early.is_empty() {
                true => walk::from(request, Phase::PostRead),
                false => Box::pin(read_first(request, early)).await,
            }
        }
        Start::Subrequest => walk::from(request, Phase::ServerRewrite),
        Start::With(step) => Walked::Ended(step),
    };
    loop {
        let step = match walked {
            Walked::Ended(step) => step,
            Walked::Waits(place, handler) => {
                let step = handler(request).await;
                walked = place.go_on(request, step);
                continue;
            }
            Walked::Unread(body) => Box::pin(before_response(request, body)).await,
            Walked::Unauthorized(status) => Box::pin(ask_for_credentials(request, status)).await,
        };
        walked = match step {
            Step::Respond(body) => {
                settle_status(request);
                let filtered = match request.location.has_waiting_filters {
                    true => Box::pin(filter_waiting(request, body)).await,
                    false => filter_at_once(request, body),
                };
                match filtered {
                    Ok(body) => return Answer::Body(body),
                    Err(Status::CLOSE) => return Answer::Hangup,
                    Err(status) => Walked::Ended(filtered_status(request, status)),
                }
            }
            Step::Status(
                status @ (Status::REQUEST_TIMEOUT | Status::CLIENT_CLOSED | Status::CLOSE),
            ) => {
                request.error_status = status.0;
                return Answer::Hangup;
            }
            Step::Hangup => return Answer::Hangup,
            Step::Wait(later) => Walked::Ended(later(request).await),
            Step::Status(status) => Walked::Ended(answer_status(request, status)),
            Step::Redirected => walk::from(request, Phase::ServerRewrite),
            Step::Rewritten => in_new_location(request),
            Step::Named(name) => in_named_location(request, &name),
            Step::Declined | Step::Allowed => Walked::Ended(Step::Status(Status::NOT_FOUND)),
        };
    }
}

/// `client_body_early_read`: the body goes before the phases, where a predicate wants it.
async fn read_first(request: &mut Request, predicates: &'static [Script]) -> Walked {
    let is_wanted =
        predicates.iter().any(|predicate| !matches!(&*predicate.value(request), b"" | b"0"));
    let read = match is_wanted.then(|| check_body_size(request)) {
        None => Ok(()),
        Some(Some(status)) => Err(status),
        Some(None) => request.read_body().await,
    };
    match read {
        Ok(()) => walk::from(request, Phase::PostRead),
        Err(status) => Walked::Ended(Step::Status(status)),
    }
}

/// The status that the request was given goes before the response's own.
fn settle_status(request: &mut Request) {
    if request.error_status != 0 {
        request.response.status = Status(request.error_status).on_the_wire();
    }
}

fn filter_at_once(request: &mut Request, mut body: Body) -> Result<Body, Status> {
    for filter in request.location.filters.iter() {
        if let Apply::Now(apply) = filter.apply {
            body = apply(request, body)?;
        }
    }
    Ok(body)
}

async fn filter_waiting(request: &mut Request, mut body: Body) -> Result<Body, Status> {
    for filter in request.location.filters.iter() {
        body = match filter.apply {
            Apply::Now(apply) => apply(request, body)?,
            Apply::Later(apply) => apply(request, body).await?,
        };
    }
    Ok(body)
}

/// A filter's own verdict takes the place of the response, of which nothing is left but the range that 416 tells of.
fn filtered_status(request: &mut Request, status: Status) -> Step {
    request.error_status = 0;
    if status != Status::RANGE_NOT_SATISFIABLE {
        let varies = request.response.varies_by_encoding;
        request.response.reset();
        request.response.varies_by_encoding = varies;
    }
    answer_status(request, status)
}

/// Whether a request of the client's for another URI of this server, by the same method, would be let in where rewriting
/// leads it; the error is what it would be answered with. Nothing is counted or sent.
pub async fn admits(request: &mut Request, uri: &[u8]) -> Result<(), Status> {
    let asked = request.subrequest(uri, b"");
    let mut asked = asked;
    asked.is_probe = true;
    asked.internal = false;
    asked.head.line.method = request.head.method();
    let refused = refusal(&mut asked).await;
    let fields = asked.response.headers.drain(..);
    let challenges = fields.filter(|field| field.name.eq_ignore_ascii_case(b"WWW-Authenticate"));
    request.response.headers.extend(challenges);
    refused.map_or(Ok(()), Err)
}

/// What keeps a request out of the location that its URI leads to.
async fn refusal(request: &mut Request) -> Option<Status> {
    let mut walked = walk::from(request, Phase::ServerRewrite);
    loop {
        let step = match walked {
            Walked::Ended(step) => step,
            Walked::Waits(place, handler) => {
                let step = handler(request).await;
                walked = place.go_on(request, step);
                continue;
            }
            Walked::Unread(_) => return Some(Status::FORBIDDEN),
            Walked::Unauthorized(status) => return Some(status),
        };
        walked = match step {
            Step::Allowed => return None,
            Step::Redirected => walk::from(request, Phase::ServerRewrite),
            Step::Rewritten => in_new_location(request),
            Step::Named(name) => in_named_location(request, &name),
            Step::Wait(later) => Walked::Ended(later(request).await),
            Step::Status(status) if status.0 >= 400 => return Some(status),
            Step::Status(_) | Step::Respond(_) | Step::Hangup | Step::Declined => {
                return Some(Status::FORBIDDEN);
            }
        };
    }
}

/// A location's rewriting led elsewhere.
fn in_new_location(request: &mut Request) -> Walked {
    if !request.count_uri_change() {
        log!(
            request.log(),
            Error,
            *request,
            "rewrite or internal redirection cycle while processing \"{}\"",
            Text(&request.uri)
        );
        return Walked::Ended(Step::Status(Status::INTERNAL_SERVER_ERROR));
    }
    match walk::locate(request) {
        Ok(()) => walk::from(request, Phase::Rewrite),
        Err(step) => Walked::Ended(step),
    }
}

fn check_body_size(request: &mut Request) -> Option<Status> {
    let most = *request.core().client.max_body_size;
    let length = request.body.content_length()?;
    if most == 0 || length <= most || request.body.is_discarded() {
        return None;
    }
    log!(
        request.log(),
        Error,
        *request,
        "client intended to send too large body: {} bytes",
        length
    );
    request.body.refuse();
    Some(Status::CONTENT_TOO_LARGE)
}

fn in_named_location(request: &mut Request, name: &[u8]) -> Walked {
    request.trace(|_| Event::SentTo(name.to_vec()));
    if !request.count_uri_change() {
        log!(
            request.log(),
            Error,
            *request,
            "rewrite or internal redirection cycle while redirect to named location \"{}\"",
            Text(name)
        );
        return Walked::Ended(Step::Status(Status::INTERNAL_SERVER_ERROR));
    }
    let server = request.server;
    let Some(location) = server.location.nested.named(name) else {
        log!(request.log(), Error, *request, "could not find named location \"{}\"", Text(name));
        return Walked::Ended(Step::Status(Status::INTERNAL_SERVER_ERROR));
    };
    request.internal = true;
    request.adds_uri_to_alias = false;
    request.clear_contexts();
    request.location = location;
    request.trace(|_| Event::Located(location));
    walk::from(request, Phase::Rewrite)
}

/// A response is given once the request's body, as far as it has come, is known to be well framed, and a client
/// that waits to send it has been told to.
async fn before_response(request: &mut Request, body: Body) -> Step {
    if request.body.is_complete() {
        return Step::Respond(body);
    }
    if Box::pin(request.send_continue()).await.is_err() {
        return Step::Hangup;
    }
    match request.discard_available() {
        Ok(()) => Step::Respond(body),
        Err(status) => Step::Status(status),
    }
}

/// Asks for credentials, after `auth_delay`.
async fn ask_for_credentials(request: &mut Request, status: Status) -> Step {
    let delay = *request.core().routing.auth_delay;
    if !delay.is_zero() {
        log!(request.log(), Info, *request, "delaying unauthorized request");
        if request.goes_within(delay).await {
            return Step::Status(Status::CLIENT_CLOSED);
        }
    }
    Step::Status(status)
}

/// Answers with a status: by `error_page` if there is one for it, else with the built-in page.
fn answer_status(request: &mut Request, status: Status) -> Step {
    request.keepalive &= !special_response::ends_connection(status);
    request.trace(|_| Event::Status(status));
    let settings = &request.core().error_page;
    request.response.clear_entity();
    request.error_status = status.0;
    if request.is_stubbed {
        return Step::Respond(Body::Empty);
    }
    if !request.in_error_page || *settings.recursive {
        request.in_error_page = !settings.pages.is_empty() && !*settings.recursive;
        let page = settings.pages.iter().find(|page| page.status == status);
        if let Some(page) = page.filter(|_| request.uri_changes_left > 0) {
            return to_error_page(request, page);
        }
    }
    // Codes of nginx's own are logged as what the client gets.
    request.error_status = status.on_the_wire().0;
    Step::Respond(special_response::build(request, status))
}

fn to_error_page(request: &mut Request, page: &'static ErrorPage) -> Step {
    match page.overwrite {
        Overwrite::Keep => {}
        Overwrite::Page => request.error_status = 0,
        Overwrite::Fixed(status) => request.error_status = status.0,
    }
    let target = page.target.value(request);
    match target.first() {
        Some(b'/') => {
            request.get_instead();
            redirect_to(request, &target)
        }
        Some(b'@') => Step::Named(target),
        _ => {
            let status = Status(request.error_status);
            let status = if status.is_redirect() { status } else { Status::FOUND };
            request.error_status = status.0;
            request.response.location = Some(target.into());
            Step::Respond(special_response::build(request, status))
        }
    }
}

/// Sends a request that was answered to where `post_action` says. What is found there is dropped, and may have a
/// `post_action` of its own.
pub async fn after_answer(request: &mut Request) {
    while let Some(target) = &*request.core().post_action.target {
        if request.is_post_action && request.uri_changes_left == 0 {
            return;
        }
        request.is_post_action = true;
        let target = target.clone();
        let first = match target.first() {
            Some(b'/') => request.redirect(&target, b""),
            _ => Step::Named(target),
        };
        // Nobody is there to get it.
        drop(answer(request, Start::With(first)).await);
    }
}

/// Runs the handlers of the last phase, which never wait.
pub fn write_log(request: &mut Request) {
    request.doing = "logging request";
    for handler in &request.location.handlers.log {
        if let Handler::Now(handler) = handler {
            drop(handler(request));
        }
    }
}

/// Sends the request to another URI, which may carry a query of its own.
pub fn redirect_to(request: &mut Request, target: &[u8]) -> Step {
    let (uri, args) = match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], &target[mark + 1..]),
        None => (target, &b""[..]),
    };
    let args = args.to_vec();
    request.redirect(uri, &args)
}

impl Request {
    /// An internal redirect: the request starts again as one for `uri`, which only the server itself can ask for.
    pub fn redirect(&mut self, uri: &[u8], args: &[u8]) -> Step {
        if !self.count_uri_change() {
            log!(
                self.log(),
                Error,
                *self,
                "rewrite or internal redirection cycle while internally redirecting to \"{}\"",
                Text(uri)
            );
            return Step::Status(Status::INTERNAL_SERVER_ERROR);
        }
        self.trace(|_| Event::SentTo(uri.to_vec()));
        self.doing = "";
        let server = self.server;
        self.uri.clear();
        self.uri.extend_from_slice(uri);
        self.args.clear();
        self.args.extend_from_slice(args);
        self.has_args = false;
        self.internal = true;
        self.has_clients_uri = false;
        self.has_left_location = false;
        self.adds_uri_to_alias = false;
        self.location = &server.location;
        self.clear_contexts();
        debug!(
            self.log(),
            Http,
            *self,
            "internal redirect: \"{}?{}\"",
            Text(&self.uri),
            Text(&self.args)
        );
        Step::Redirected
    }

    /// `false` once the URI has changed too often.
    pub fn count_uri_change(&mut self) -> bool {
        match self.uri_changes_left {
            0 | 1 => {
                self.uri_changes_left = 0;
                false
            }
            left => {
                self.uri_changes_left = left - 1;
                true
            }
        }
    }

    /// What the server fetches in place of a response is fetched by GET, unless only the head is wanted.
    pub(crate) fn get_instead(&mut self) {
        use daemun_proto::http1::Method;
        if self.head.line.method != Method::Head {
            self.head.line.method = Method::Get;
        }
    }
}
