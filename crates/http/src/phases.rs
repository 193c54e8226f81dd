//! A request's way: the phases in order, redirects and error pages, until there is a response.

use daemun_core::script::Script;
use daemun_core::{debug, log};
use daemun_event::Deadline;

use crate::body::Body;
use crate::config::Location;
use crate::core::client;
use crate::core::error_page::{self, ErrorPage, Overwrite};
use crate::core::post_action;
use crate::core::routing::{self, Match, Satisfy};
use crate::escape;
use crate::locations;
use crate::module::{Apply, Filter, Handler, Phase, Step};
use crate::request::{Request, Text};
use crate::special_response;
use crate::status::Status;
use crate::trace::{Event, Verdict};

/// What to do with the connection.
pub enum Answer {
    /// Send the head in the request, and this.
    Body(Body),
    /// Close without a word.
    Hangup,
}

/// Walks the request through its phases to an answer, filters applied.
pub async fn respond(request: &mut Request) -> Answer {
    request.doing = "";
    let server = request.server;
    let early = &server.settings().of(&client::SETTINGS).body_early_read;
    if !early.is_empty()
        && let Err(status) = Box::pin(read_early(request, early)).await
    {
        return refuse(request, status).await;
    }
    let first = match run(request, Phase::PostRead, server.post_read()).await {
        Step::Declined | Step::Allowed => from_server_rewrite(request).await,
        step => step,
    };
    finish(request, first).await
}

/// `client_body_early_read`: the body, where a predicate wants it.
async fn read_early(request: &mut Request, predicates: &'static [Script]) -> Result<(), Status> {
    let is_wanted =
        predicates.iter().any(|predicate| !matches!(&*predicate.value(request), b"" | b"0"));
    if !is_wanted {
        return Ok(());
    }
    match check_body_size(request) {
        Some(status) => Err(status),
        None => request.read_body().await,
    }
}

/// Answers a request that could not be read with a status, by way of `error_page`.
pub async fn refuse(request: &mut Request, status: Status) -> Answer {
    finish(request, Step::Status(status)).await
}

async fn finish(request: &mut Request, mut step: Step) -> Answer {
    loop {
        step = match step {
            Step::Respond(body) => match filtered(request, body).await {
                Ok(body) => return Answer::Body(body),
                Err(status) => filtered_status(request, status),
            },
            Step::Status(
                status @ (Status::REQUEST_TIMEOUT | Status::CLIENT_CLOSED | Status::CLOSE),
            ) => {
                request.error_status = status.0;
                return Answer::Hangup;
            }
            Step::Hangup => return Answer::Hangup,
            Step::Status(status) => answer_status(request, status),
            Step::Redirected => from_server_rewrite(request).await,
            Step::Rewritten => from_new_location(request).await,
            Step::Named(name) => {
                request.trace(|_| Event::SentTo(name.clone()));
                in_named_location(request, &name).await
            }
            Step::Declined | Step::Allowed => Step::Status(Status::NOT_FOUND),
        };
    }
}

async fn filtered(request: &mut Request, body: Body) -> Result<Body, Status> {
    if request.error_status != 0 {
        request.response.status = Status(request.error_status).on_the_wire();
    }
    let waits = |filter: &&Filter| matches!(filter.apply, Apply::Later(_));
    match request.location.filters.iter().any(waits) {
        true => Box::pin(filter_waiting(request, body)).await,
        false => filter_at_once(request, body),
    }
}

fn filter_at_once(request: &mut Request, mut body: Body) -> Result<Body, Status> {
    for filter in &request.location.filters {
        if let Apply::Now(apply) = filter.apply {
            body = apply(request, body)?;
        }
    }
    Ok(body)
}

async fn filter_waiting(request: &mut Request, mut body: Body) -> Result<Body, Status> {
    for filter in &request.location.filters {
        body = match filter.apply {
            Apply::Now(apply) => apply(request, body)?,
            Apply::Later(apply) => apply(request, body).await?,
        };
    }
    Ok(body)
}

/// A filter's own verdict (412, 416) takes the place of the response; it is not filtered again.
fn filtered_status(request: &mut Request, status: Status) -> Step {
    request.error_status = 0;
    answer_status(request, status)
}

/// Answers a subrequest: what looks at the client and its connection has been done for the request it belongs to.
pub(crate) async fn respond_within(request: &mut Request) -> Answer {
    let first = from_server_rewrite(request).await;
    finish(request, first).await
}

async fn from_server_rewrite(request: &mut Request) -> Step {
    let server = request.server;
    match run(request, Phase::ServerRewrite, server.rewrite()).await {
        // The location is still to be found: a new URI makes no difference.
        Step::Declined | Step::Allowed | Step::Rewritten => from_location(request).await,
        step => step,
    }
}

/// A location's rewriting led elsewhere.
async fn from_new_location(request: &mut Request) -> Step {
    if !request.count_uri_change() {
        log!(
            request.log(),
            Error,
            *request,
            "rewrite or internal redirection cycle while processing \"{}\"",
            Text(&request.uri)
        );
        return Step::Status(Status::INTERNAL_SERVER_ERROR);
    }
    from_location(request).await
}

async fn from_location(request: &mut Request) -> Step {
    let server = request.server;
    request.location = &server.location;
    let Ok(found) = locations::find(request, &server.location) else {
        return Step::Status(Status::INTERNAL_SERVER_ERROR);
    };
    request.location = found.limited(request.head.method()).unwrap_or(found);
    request.trace(|_| Event::Located(found));
    let name = found.matching().map_or(&b""[..], Match::name);
    debug!(request.log(), Http, *request, "using configuration \"{}\"", Text(name));
    if found.is_folder_at(&request.uri) {
        return to_folder(request, found);
    }
    if found.is_internal() && !request.internal {
        return Step::Status(Status::NOT_FOUND);
    }
    if let Some(status) = check_body_size(request) {
        return Step::Status(status);
    }
    in_location(request).await
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

fn check_body_size(request: &mut Request) -> Option<Status> {
    let most = *request.settings(&client::SETTINGS).max_body_size;
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

async fn in_named_location(request: &mut Request, name: &[u8]) -> Step {
    if !request.count_uri_change() {
        log!(
            request.log(),
            Error,
            *request,
            "rewrite or internal redirection cycle while redirect to named location \"{}\"",
            Text(name)
        );
        return Step::Status(Status::INTERNAL_SERVER_ERROR);
    }
    let server = request.server;
    let Some(location) = server.location.nested.named(name) else {
        log!(request.log(), Error, *request, "could not find named location \"{}\"", Text(name));
        return Step::Status(Status::INTERNAL_SERVER_ERROR);
    };
    request.internal = true;
    request.adds_uri_to_alias = false;
    request.clear_contexts();
    request.location = location;
    request.trace(|_| Event::Located(location));
    in_location(request).await
}

async fn in_location(request: &mut Request) -> Step {
    let rewrite = &request.location.handlers.rewrite;
    debug!(request.log(), Http, *request, "rewrite phase: {} handlers", rewrite.len());
    match run(request, Phase::Rewrite, rewrite).await {
        Step::Declined | Step::Allowed => {}
        step => return step,
    }
    // An `if` may have taken the location's place.
    let handlers = &request.location.handlers;
    let pre_access = handlers.pre_access.len();
    debug!(request.log(), Http, *request, "pre-access phase: {} handlers", pre_access);
    match run(request, Phase::PreAccess, &handlers.pre_access).await {
        Step::Declined | Step::Allowed => {}
        step => return step,
    }
    let access = handlers.access.len();
    debug!(request.log(), Http, *request, "access phase: {} handlers", access);
    if !request.is_subrequest() {
        match check_access(request, &handlers.access).await {
            Step::Declined | Step::Allowed => {}
            step => return step,
        }
    }
    match run(request, Phase::PreContent, &handlers.pre_content).await {
        Step::Declined | Step::Allowed => {}
        step => return step,
    }
    debug!(request.log(), Http, *request, "content phase");
    match run(request, Phase::Content, &handlers.content).await {
        Step::Declined | Step::Allowed => no_content(request),
        step => step,
    }
}

/// Runs a phase's handlers until one decides.
async fn run(request: &mut Request, phase: Phase, handlers: &[Handler]) -> Step {
    for (number, handler) in handlers.iter().enumerate() {
        match call(request, phase, number, handler).await {
            Step::Declined => {}
            Step::Respond(body) => return before_response(request, body).await,
            step => return step,
        }
    }
    Step::Declined
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

async fn call(request: &mut Request, phase: Phase, number: usize, handler: &Handler) -> Step {
    let location = request.location;
    let step = match handler {
        Handler::Now(handler) => handler(request),
        Handler::Later(handler) => handler(request).await,
    };
    request.trace(|_| Event::Handled { phase, location, number, verdict: Verdict::of(&step) });
    step
}

/// `satisfy all`: the first refusal counts. `satisfy any`: the first permission counts, else the last refusal, in
/// which 401 goes before 403 since it asks for credentials.
async fn check_access(request: &mut Request, handlers: &[Handler]) -> Step {
    if handlers.is_empty() {
        return Step::Declined;
    }
    let satisfy = *request.settings(&routing::SETTINGS).satisfy;
    let mut refusal = None;
    for (number, handler) in handlers.iter().enumerate() {
        match call(request, Phase::Access, number, handler).await {
            Step::Declined => {}
            Step::Allowed if satisfy == Satisfy::Any => {
                request.response.remove(b"WWW-Authenticate");
                request.response.remove(b"Proxy-Authenticate");
                return Step::Allowed;
            }
            Step::Allowed => {}
            Step::Status(status)
                if satisfy == Satisfy::Any
                    && (status == Status::FORBIDDEN || wants_credentials(status)) =>
            {
                if !refusal.is_some_and(wants_credentials) {
                    refusal = Some(status);
                }
            }
            Step::Status(status) if wants_credentials(status) => {
                return refuse_access(request, status).await;
            }
            step => return step,
        }
    }
    match refusal {
        Some(status) if wants_credentials(status) => refuse_access(request, status).await,
        Some(status) => {
            log!(request.log(), Error, *request, "access forbidden by rule");
            Step::Status(status)
        }
        None => Step::Allowed,
    }
}

/// Asks for credentials, after `auth_delay`.
async fn refuse_access(request: &mut Request, status: Status) -> Step {
    let delay = *request.settings(&routing::SETTINGS).auth_delay;
    if !delay.is_zero() {
        log!(request.log(), Info, *request, "delaying unauthorized request");
        if request.connection().stream.closed(Deadline::after(delay)).await.is_ok() {
            return Step::Status(Status::CLIENT_CLOSED);
        }
    }
    Step::Status(status)
}

fn wants_credentials(status: Status) -> bool {
    matches!(status, Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED)
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

/// Answers with a status: by `error_page` if there is one for it, else with the built-in page.
fn answer_status(request: &mut Request, status: Status) -> Step {
    request.keepalive &= !special_response::ends_connection(status);
    request.trace(|_| Event::Status(status));
    let settings = request.settings(&error_page::SETTINGS);
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
    while let Some(target) = &*request.settings(&post_action::SETTINGS).target {
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
        drop(finish(request, first).await);
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
        let server = self.server;
        self.uri.clear();
        self.uri.extend_from_slice(uri);
        self.args.clear();
        self.args.extend_from_slice(args);
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
