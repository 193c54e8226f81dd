//! Subrequests: requests of the server's own, answered on the same machinery for the sake of a client's request.
//!
//! A subrequest has its own URI, location, response and contexts. It has the client's head, body and connection data
//! of the request it belongs to, and starts with that one's variables, which it gives back when it is answered.
//! Whoever begins subrequests polls them, so that they run at the same time, and takes their bodies in the order in
//! which they are to be sent.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use daemun_core::{debug, log};

use crate::body::{self, Body, NextChunk};
use crate::core::subrequests;
use crate::module::{Later, Step};
use crate::phases::{self, Answer, Start};
use crate::request::{Request, Text};
use crate::source::Source;
use crate::upstream::cache::caching::Held;
use crate::upstream::connect;

/// How deep subrequests may be nested.
const MAX_DEPTH: u8 = 50;

/// A subrequest that was begun.
pub struct Subrequest {
    state: State,
    /// The variables that it began with: what is still the same is not given back.
    variables: Vec<Option<Option<Bytes>>>,
    /// It goes on when its client leaves.
    persists: Arc<AtomicBool>,
}

enum State {
    Answering(Work<Body>),
    Sending(Box<Request>, Body),
    Collecting(Work<Option<Vec<u8>>>),
    Sent(Box<Request>),
    /// Its client left meanwhile.
    Abandoned,
    /// Between two states.
    Moving,
}

/// What is done with a subrequest, and comes back with it.
type Work<T> = Pin<Box<dyn Future<Output = (Box<Request>, T)>>>;

/// Why a subrequest can't begin; it has been logged.
#[derive(Debug)]
pub struct Refused;

impl Subrequest {
    /// Begins a subrequest of `parent`; nothing is done for it until it is polled.
    pub fn begin(parent: &mut Request, uri: &[u8], args: &[u8]) -> Result<Subrequest, Refused> {
        prepare(parent, uri, args).map(Subrequest::of)
    }

    /// The same, where an error is an empty response, for which the caller has something else to send.
    pub fn begin_stubbed(
        parent: &mut Request,
        uri: &[u8],
        args: &[u8],
    ) -> Result<Subrequest, Refused> {
        let mut request = prepare(parent, uri, args)?;
        request.is_stubbed = true;
        Ok(Subrequest::of(request))
    }

    fn of(request: Box<Request>) -> Subrequest {
        Subrequest::begun(request, |request| Box::pin(answer(request)))
    }

    fn begun(request: Box<Request>, answer: impl FnOnce(Box<Request>) -> Work<Body>) -> Subrequest {
        let variables = request.variables().to_vec();
        let persists = Arc::clone(&request.persists);
        Subrequest { state: State::Answering(answer(request)), variables, persists }
    }

    /// Has the same request passed on once more, by whoever has done so, after it was prepared. What comes is as the
    /// upstream sent it.
    pub fn again(
        parent: &mut Request,
        handler: Later,
        prepare: impl FnOnce(&mut Request),
    ) -> Result<Subrequest, Refused> {
        let mut request = stand_in(parent)?;
        prepare(&mut request);
        Ok(Subrequest::begun(request, |mut request| {
            Box::pin(async move {
                let body = match handler(&mut request).await {
                    Step::Respond(body) => body,
                    Step::Status(status) => {
                        request.response.status = status;
                        Body::Empty
                    }
                    _ => Body::Empty,
                };
                (request, body)
            })
        }))
    }

    /// Runs a subrequest with the client's method, whose answer nobody waits for; it may outlive its parent.
    pub fn in_background(parent: &mut Request, uri: &[u8], args: &[u8]) -> Result<(), Refused> {
        let mut request = prepare(parent, uri, args)?;
        request.head.line.method = parent.head.method();
        let held = parent.hold_open();
        daemun_event::spawn(async move {
            let _held = held;
            let (mut request, body) = answer(request).await;
            let mut source = Source::new(body);
            while let Some(Ok(_)) = source.next(&mut request).await {}
            conclude(&mut request);
        });
        Ok(())
    }

    /// Has the same request passed on once more, to bring the cache up to date; nobody waits for that. `claim` is the entry
    /// that is to be filled.
    pub fn update(
        parent: &mut Request,
        handler: Later,
        claim: Option<Held>,
    ) -> Result<(), Refused> {
        let mut request = stand_in(parent)?;
        request.upstream_record().claim = claim;
        let held = parent.hold_open();
        daemun_event::spawn(async move {
            let _held = held;
            if let Step::Respond(body) = handler(&mut request).await {
                let mut source = Source::new(body);
                while let Some(Ok(_)) = source.next(&mut request).await {}
            }
            conclude(&mut request);
        });
        Ok(())
    }

    /// Goes on until there is a response: its head stands in the [request](Self::request), unless the client has left.
    pub fn poll_answered(&mut self, parent: &mut Request, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Answering(answering) = &mut self.state {
            let Poll::Ready((request, body)) = answering.as_mut().poll(cx) else {
                return self.poll_abandoned(parent, cx);
            };
            parent.take_variables(&request, &self.variables);
            self.state = State::Sending(request, body);
        }
        Poll::Ready(())
    }

    /// Gives up what waits where the client has left: whom it asked is let go of. A client is watched by the request that
    /// has the connection, for all that are asked for its sake.
    fn poll_abandoned(&mut self, parent: &Request, cx: &mut Context<'_>) -> Poll<()> {
        let has_client = !parent.is_subrequest() && !parent.is_post_action;
        if !has_client || self.persists.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        ready!(parent.poll_gone(cx));
        if !self.has_been_abandoned() {
            self.state = State::Abandoned;
            connect::tell_client_left(parent);
        }
        Poll::Ready(())
    }

    /// Whether the client left before all of the response was there.
    pub fn has_been_abandoned(&self) -> bool {
        matches!(self.state, State::Abandoned)
    }

    /// Waits for the response.
    pub async fn answered(&mut self, parent: &mut Request) {
        poll_fn(|cx| self.poll_answered(parent, cx)).await;
    }

    /// The subrequest itself, once it is answered.
    pub fn request(&mut self) -> Option<&mut Request> {
        match &mut self.state {
            State::Sending(request, _) | State::Sent(request) => Some(request),
            State::Answering(_) | State::Collecting(_) | State::Abandoned | State::Moving => None,
        }
    }

    /// The next piece of the response's body.
    pub fn poll_next(&mut self, parent: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        ready!(self.poll_answered(parent, cx));
        let State::Sending(request, body) = &mut self.state else {
            let is_cut = self.has_been_abandoned();
            return Poll::Ready(is_cut.then(|| Err(body::client_left())));
        };
        let Poll::Ready(next) = body.poll_next(request, cx) else {
            ready!(self.poll_abandoned(parent, cx));
            return Poll::Ready(Some(Err(body::client_left())));
        };
        match next {
            Some(Ok(chunk)) => {
                request.sent += chunk.len();
                Poll::Ready(Some(Ok(chunk)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                self.end();
                Poll::Ready(None)
            }
        }
    }

    /// The whole body in place of its pieces, up to `subrequest_output_buffer_size`; `None` where it is longer, or failed.
    pub fn poll_collected(
        &mut self,
        parent: &mut Request,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Vec<u8>>> {
        ready!(self.poll_answered(parent, cx));
        self.state = match std::mem::replace(&mut self.state, State::Moving) {
            State::Sending(mut request, body) => State::Collecting(Box::pin(async move {
                let collected = collect(&mut request, body).await;
                (request, collected)
            })),
            state => state,
        };
        let State::Collecting(collecting) = &mut self.state else {
            return Poll::Ready(None);
        };
        let Poll::Ready((mut request, collected)) = collecting.as_mut().poll(cx) else {
            return self.poll_abandoned(parent, cx).map(|()| None);
        };
        conclude(&mut request);
        self.state = State::Sent(request);
        Poll::Ready(collected)
    }

    fn end(&mut self) {
        if let State::Sending(mut request, _) = std::mem::replace(&mut self.state, State::Moving) {
            conclude(&mut request);
            self.state = State::Sent(request);
        }
    }
}

async fn collect(request: &mut Request, body: Body) -> Option<Vec<u8>> {
    let most = *request.settings(&subrequests::SETTINGS).output_buffer_size;
    let mut source = Source::new(body);
    let mut collected = Vec::new();
    while let Some(next) = source.next(request).await {
        match next {
            Ok(bytes) if collected.len() + bytes.len() <= most => {
                collected.extend_from_slice(&bytes);
            }
            Ok(bytes) => {
                let length = collected.len() + bytes.len();
                log!(request.log(), Error, *request, "too big subrequest response: {}", length);
                return None;
            }
            Err(error) => {
                log!(request.log(), Alert, *request, "{}", error);
                return None;
            }
        }
    }
    Some(collected)
}

fn prepare(parent: &mut Request, uri: &[u8], args: &[u8]) -> Result<Box<Request>, Refused> {
    if parent.depth() == MAX_DEPTH {
        log!(parent.log(), Error, *parent, "subrequests cycle while processing \"{}\"", Text(uri));
        return Err(Refused);
    }
    debug!(parent.log(), Http, *parent, "http subrequest \"{}?{}\"", Text(uri), Text(args));
    Ok(parent.subrequest(uri, args))
}

/// A subrequest that is the same as its parent.
fn stand_in(parent: &mut Request) -> Result<Box<Request>, Refused> {
    if parent.depth() == MAX_DEPTH {
        let uri = Text(&parent.uri);
        log!(parent.log(), Error, *parent, "subrequests cycle while processing \"{}\"", uri);
        return Err(Refused);
    }
    Ok(parent.stand_in())
}

async fn answer(mut request: Box<Request>) -> (Box<Request>, Body) {
    let body = match phases::answer(&mut request, Start::Subrequest).await {
        Answer::Body(body) => body,
        Answer::Hangup => Body::Empty,
    };
    (request, body)
}

fn conclude(request: &mut Request) {
    request.is_complete = true;
    if *request.settings(&subrequests::SETTINGS).logs {
        phases::write_log(request);
    }
}
