//! `ssl_stapling`: what an authority says of the server's own certificates goes out with them.

use std::sync::{Arc, Mutex, PoisonError};

use daemun_core::log;
use daemun_core::log::Log;
use daemun_tls::context::Context;
use daemun_tls::ocsp::Status;
use daemun_tls::x509::time::Time;

use super::ocsp::{Responder, Subject, now};
use crate::core::resolving;

/// The server's certificates that an authority is asked about.
pub struct Stapling {
    pub certificates: Vec<Certificate>,
    /// `ssl_stapling_verify`
    pub verifies: bool,
}

pub struct Certificate {
    /// Which of the [context's](Context) it is.
    pub place: usize,
    /// As the configuration names it.
    pub name: String,
    pub subject: Subject,
    pub responder: Responder,
    state: Mutex<State>,
}

struct State {
    is_asked: bool,
    /// When to ask again.
    due: Time,
    /// When what is shown is over.
    until: Option<Time>,
}

/// Between two questions, in seconds: after a failure, and at most.
const RETRY: i64 = 300;
const REFRESH: i64 = 3600;

impl Certificate {
    pub fn new(place: usize, name: String, subject: Subject, responder: Responder) -> Certificate {
        let state = Mutex::new(State { is_asked: false, due: Time(0), until: None });
        Certificate { place, name, subject, responder, state }
    }

    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        // Each field is whole by itself.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Stapling {
    /// Has answers fetched that are due; handshakes do not wait for them.
    pub fn refresh(
        self: &Arc<Stapling>,
        context: &Arc<Context>,
        resolving: &'static resolving::Settings,
        log: &Log,
    ) {
        let now = now();
        for (index, certificate) in self.certificates.iter().enumerate() {
            let is_due = certificate.with(|state| {
                if state.until.is_some_and(|until| until < now) {
                    state.until = None;
                    context.staple(certificate.place, None);
                }
                let is_due = !state.is_asked && state.due <= now;
                state.is_asked |= is_due;
                is_due
            });
            if is_due {
                let (stapling, context) = (Arc::clone(self), Arc::clone(context));
                let log = log.clone();
                daemun_event::spawn(async move {
                    stapling.fetch(index, &context, resolving, &log).await;
                });
            }
        }
    }

    async fn fetch(
        &self,
        index: usize,
        context: &Context,
        resolving: &resolving::Settings,
        log: &Log,
    ) {
        let certificate = &self.certificates[index];
        let subject = &certificate.subject;
        let asked = certificate.responder.ask(resolving, subject, self.verifies, now()).await;
        let now = now();
        let mut due = now.0 + RETRY;
        match asked {
            Ok((response, answer)) if answer.status == Status::Good => {
                context.staple(certificate.place, Some(response));
                let until = answer.until.map_or(i64::MAX, |until| until.0);
                due = due.max((until - RETRY).min(now.0 + REFRESH));
                certificate.with(|state| state.until = answer.until);
            }
            Ok((_, answer)) => {
                let name = answer.status.name();
                log!(log, Error, (), "certificate status \"{}\" in the OCSP response", name);
            }
            Err(trouble) => {
                let name = &certificate.name;
                log!(
                    log,
                    Error,
                    (),
                    "{} while requesting certificate status, certificate: \"{}\"",
                    trouble,
                    name
                );
            }
        }
        certificate.with(|state| {
            state.is_asked = false;
            state.due = Time(due);
        });
    }
}
