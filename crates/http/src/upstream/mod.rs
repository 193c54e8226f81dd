//! Passing requests to upstream servers: one engine, in which protocols only write requests and read responses.

pub mod cache;
pub mod connect;
pub mod directives;
mod early_hints;
mod exchange;
pub mod field;
pub mod head;
pub mod headers;
pub mod http2;
mod incoming;
mod kept;
pub mod next;
mod outgoing;
mod pace;
pub mod payload;
pub mod protocol;
pub mod record;
mod relay;
pub mod settings;
mod storage;
pub mod store;
mod target;
pub mod tls;
pub mod variables;

use crate::body::Body;
use crate::head::Known;
use crate::module::{Later, Step};
use crate::request::{Request, Text};
use crate::response::Header;
use crate::status::Status;
use crate::trace::Event;
use cache::Looked;
use exchange::{Ended, Exchange};
use field::Field;
use headers::Origin;
use payload::Payload;
use protocol::Protocol;
use record::Record;
use settings::Settings;

pub use headers::has_no_body;
pub use relay::{Relay, release_relays};
pub use target::Target;

/// A request to be passed on: to whom, and how.
pub struct Call {
    pub settings: &'static Settings,
    /// `http://` and the like, for the log.
    pub scheme: &'static str,
    /// The server speaks TLS.
    pub is_tls: bool,
    pub target: Target,
    pub protocol: Box<dyn Protocol>,
    /// Who has made this, to pass the same request on once more.
    pub handler: Later,
}

/// Passes a request on, and answers with what comes back.
pub async fn pass(request: &mut Request, mut call: Call) -> Step {
    if request.trace.is_some() {
        return tell_only(request, call);
    }
    let is_unbuffered = !*call.settings.request_buffering && call.protocol.streams_body(request);
    let streams = is_unbuffered && request.body.can_be_passed() && !request.has_body_arrived();
    if is_unbuffered {
        request.body.stay_unbuffered();
    }
    if let Err(status) = prepare_body(request, streams).await {
        return Step::Status(status);
    }
    begin_record(request, call.scheme);
    request.upstream_record().handler = Some(call.handler);
    if call.settings.cache.is_on()
        && let Looked::Answer(step) = Box::pin(cache::look(request, &mut call)).await
    {
        return step;
    }
    let mut exchange = match target::find(request, call.target).await {
        Ok(group) => {
            let mut exchange =
                Exchange::new(request, call.settings, call.protocol, &group, streams);
            exchange.is_tls = call.is_tls;
            exchange
        }
        Err(status) => {
            if let Some(caching) = request.caching() {
                caching.fail(status.0);
            }
            return Step::Status(status);
        }
    };
    let answered = exchange.run(request).await;
    // Where a named location makes the error's page, too.
    request.doing = "sending to client";
    if let Err(ended) = answered {
        request.upstream_record().settle_time();
        return match ended {
            Ended::Status(status) => {
                let instead = cache::answer_failed(request, &mut exchange, status);
                instead.unwrap_or(Step::Status(status))
            }
            Ended::ClientLeft => Step::Status(Status::CLIENT_CLOSED),
        };
    }
    if request.caching().is_some()
        && let Some(step) = cache::answer_instead(request, &mut exchange)
    {
        return step;
    }
    if let Some(status) = intercepted(request, &exchange) {
        // A response may be over with its head, as memcached's is that has no value.
        let keeps = exchange.protocol.keeps_connection() && exchange.input.is_empty();
        exchange.finish(request, keeps);
        if let Some(caching) = request.caching() {
            caching.keep_error(status.0);
        }
        return Step::Status(status);
    }
    request.doing = "";
    let origin = if request.fetches_for_cache() { Origin::Fetched } else { Origin::Upstream };
    if let Err(step) = headers::apply(request, exchange.settings, &*exchange.protocol, origin) {
        exchange.finish(request, false);
        if let Some(caching) = request.caching() {
            caching.give_up();
        }
        return step;
    }
    if exchange.settings.cache.is_on() {
        cache::status::add(request);
    }
    // Until there is something else to do, which is told of the filters, too.
    request.doing = "reading response header from upstream";
    exchange.begin_body(request);
    Step::Respond(match incoming::whole(request, &mut exchange) {
        Some(body) => body,
        None => incoming::begin(request, exchange),
    })
}

/// Has the client send its body, and reads it unless it is passed on as it comes.
async fn prepare_body(request: &mut Request, streams: bool) -> Result<(), Status> {
    if streams {
        return Box::pin(request.send_continue()).await;
    }
    if !request.body.can_be_passed() {
        return Ok(());
    }
    let expects = request.header(Known::Expect).is_some();
    match request.body.is_complete() && !expects {
        true => Ok(()),
        false => Box::pin(request.read_body()).await,
    }
}

/// Tells where the request would go. Nobody is asked for the sake of an explanation.
fn tell_only(request: &mut Request, mut call: Call) -> Step {
    let name = call.target.name(request.config);
    begin_record(request, call.scheme);
    // What is asked for stands in the record once the request is written.
    let payload = Payload::of(request, &*call.protocol, false);
    if let Err(status) = call.protocol.write_request(request, payload, &mut Vec::new()) {
        return Step::Status(status);
    }
    let record = request.upstream_record();
    let whole = match record.uri.is_empty() {
        true => format!("{}{name}", call.scheme),
        // A UNIX socket has no name of its own in a request.
        false if record.port.is_empty() => format!("{}{name}:{}", call.scheme, Text(&record.uri)),
        false => format!("{}{}{}", call.scheme, Text(&record.host), Text(&record.uri)),
    };
    request.trace(|_| Event::Passed(whole));
    request.response.status = Status::OK;
    Step::Respond(Body::Empty)
}

fn begin_record(request: &mut Request, scheme: &'static str) {
    if let Some(record) = &mut request.upstream {
        record.begin_again();
    }
    let record = request.upstream.get_or_insert_with(Record::fresh);
    record.scheme = scheme;
}

/// The status of a response for which the server has a page of its own.
fn intercepted(request: &mut Request, exchange: &Exchange) -> Option<Status> {
    let status = Status(request.upstream_record().head.status);
    if status.0 < 300 {
        return None;
    }
    if status == Status::NOT_FOUND && exchange.protocol.intercepts_not_found() {
        return Some(status);
    }
    let pages = &request.core().error_page.pages;
    let has_page = pages.iter().any(|page| page.status == status);
    if !*exchange.settings.intercept_errors || !has_page {
        return None;
    }
    if status == Status::UNAUTHORIZED {
        let head = &request.upstream_record().head;
        let asks = head.fields.iter().filter(|(field, _)| *field == Field::WwwAuthenticate);
        let asks = asks
            .map(|(_, line)| Header { name: head.slice(line.name), value: head.slice(line.value) });
        let asks: Vec<_> = asks.collect();
        request.response.headers.extend(asks);
    }
    Some(status)
}

impl Request {
    /// What is known of the upstreams that the request was passed to.
    pub fn upstream_record(&mut self) -> &mut Record {
        self.upstream.get_or_insert_with(Record::fresh)
    }
}
