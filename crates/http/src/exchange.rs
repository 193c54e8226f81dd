//! What is the same of every exchange, whatever carries it: it is counted, it may panic, and it ends in the log.

use std::io;
use std::time::SystemTime;

use daemun_core::log;
use daemun_shm::{Stage, WorkerSlot};

use crate::h1::panics::Panic;
use crate::phases::{self, Answer};
use crate::request::Request;
use crate::special_response;
use crate::status::Status;

/// Counts a request that is being answered, whatever ends it.
pub(crate) struct Writing<'c>(&'c WorkerSlot);

impl<'c> Writing<'c> {
    pub(crate) fn begin(counters: &'c WorkerSlot) -> Writing<'c> {
        counters.requests();
        Writing::go_on(counters)
    }

    pub(crate) fn go_on(counters: &'c WorkerSlot) -> Writing<'c> {
        counters.writing(1);
        counters.set_stage(Stage::Writing);
        Writing(counters)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.writing(-1);
    }
}

/// Shows a request on the status page.
#[cold]
pub(crate) fn tell(counters: &WorkerSlot, request: &Request) {
    let since = request.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let line = request.head.request_line();
    counters.begin_request(request.peer(), request.server.name(), line, since.as_millis() as u64);
}

/// The answer of a request whose making panicked.
#[cold]
pub(crate) fn after_panic(request: &mut Request, panic: &Panic) -> Answer {
    log!(request.log(), Alert, *request, "a request panicked: {}", panic);
    request.response.reset();
    request.keepalive = false;
    Answer::Body(special_response::build(request, Status::INTERNAL_SERVER_ERROR))
}

/// Ends an exchange whose response was sent, or could not be.
pub(crate) async fn conclude(request: &mut Request, sent: &io::Result<()>, counters: &WorkerSlot) {
    if let Err(error) = sent {
        request.doing = "sending response to client";
        log_send_error(request, error);
        if request.sent == 0 && is_departure(error) {
            request.response.status = Status::CLIENT_CLOSED;
        }
    }
    request.is_complete = sent.is_ok();
    if has_post_action(request) {
        Box::pin(phases::after_answer(request)).await;
    }
    if let Some(record) = &mut request.upstream {
        record.settle_time();
    }
    counters.set_stage(Stage::Logging);
    phases::write_log(request);
}

fn has_post_action(request: &Request) -> bool {
    request.core().post_action.target.is_some()
}

/// Whether the client was seen to leave.
fn is_departure(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionAborted && error.raw_os_error().is_none()
}

fn log_send_error(request: &Request, error: &io::Error) {
    match error.kind() {
        io::ErrorKind::TimedOut => {
            let error = io::Error::from(rustix::io::Errno::TIMEDOUT);
            log!(request.log(), Info, *request, "client timed out"; error);
            if *request.core().connection.reset_timedout {
                request.reset_on_close();
            }
        }
        io::ErrorKind::ConnectionAborted if is_departure(error) => {
            log!(request.log(), Info, *request, "{}", error);
        }
        // The pool of threads has told, or whoever made the body.
        io::ErrorKind::ResourceBusy | io::ErrorKind::InvalidData
            if error.raw_os_error().is_none() => {}
        io::ErrorKind::UnexpectedEof => log!(request.log(), Alert, *request, "{}", error),
        _ => log!(request.log(), Info, *request, "send() failed"; error),
    }
}
