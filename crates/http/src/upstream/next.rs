//! Whether another server is asked: `next_upstream` and its limits.

use daemun_proto::http1::Method;

use super::settings::Failures;
use crate::request::Request;
use crate::status::Status;

/// Why a server's answer is none, or not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Error,
    Timeout,
    InvalidHeader,
    NoLive,
    Answered(Status),
}

impl Failure {
    /// What the client is told where nobody else can be asked.
    pub fn status(self) -> Status {
        match self {
            Failure::Timeout => Status::GATEWAY_TIMEOUT,
            Failure::Error | Failure::InvalidHeader | Failure::NoLive => Status::BAD_GATEWAY,
            Failure::Answered(status) => status,
        }
    }

    /// It says nothing against the server.
    pub fn is_innocent(self) -> bool {
        matches!(self, Failure::Answered(Status::FORBIDDEN | Status::NOT_FOUND))
    }

    pub fn kind(self) -> Failures {
        match self {
            Failure::Error => Failures::ERROR,
            Failure::Timeout => Failures::TIMEOUT,
            Failure::InvalidHeader => Failures::INVALID_HEADER,
            Failure::NoLive => Failures::NO_LIVE,
            Failure::Answered(status) => of_status(status.0).unwrap_or(Failures::NO_LIVE),
        }
    }
}

/// The word of `next_upstream` for a status.
pub fn of_status(status: u16) -> Option<Failures> {
    Some(match status {
        500 => Failures::HTTP_500,
        502 => Failures::HTTP_502,
        503 => Failures::HTTP_503,
        504 => Failures::HTTP_504,
        403 => Failures::HTTP_403,
        404 => Failures::HTTP_404,
        429 => Failures::HTTP_429,
        _ => return None,
    })
}

/// Whether a failure of this kind may be answered by asking another, as far as the request is concerned. `was_sent`: a
/// server may have acted on the request.
pub fn allows(request: &Request, allowed: Failures, kind: Failures, was_sent: bool) -> bool {
    let is_repeatable =
        !matches!(request.head.method(), Method::Post | Method::Lock | Method::Patch);
    let mut needed = kind;
    if was_sent && !is_repeatable {
        needed |= Failures::NON_IDEMPOTENT;
    }
    allowed.contains(needed)
}
