//! The life of a check: it goes around its group's peers, and says who is well.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use daemun_core::log;
use daemun_core::log::Log;
use daemun_core::named_pattern::NamedPattern;
use daemun_core::script::{Session, VariableId};
use daemun_event::{Deadline, Peer as Client};
use daemun_http::config::HttpConfig;
use daemun_http::upstream::settings::Settings as Common;
use daemun_pattern::StepLimit;
use daemun_upstream::{Caretaker, Checked, Group};

use super::probe::{self, Failure, Kept, Response};
use super::tests_of_match::Tests;
use super::{Kind, Spec, http2};

/// A check of a group's peers.
pub struct Check {
    /// Its place among the group's checks.
    pub index: usize,
    pub group: Arc<Group>,
    pub spec: Arc<Spec>,
    pub tests: Option<Arc<Tests>>,
    pub config: &'static HttpConfig,
    pub log: Log,
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
    /// Peers are spoken to over TLS, by these settings.
    pub tls: Option<&'static Common>,
    pub is_http2: bool,
}

/// What is known of a peer, by its serial number.
#[derive(Default)]
struct Watched {
    is_busy: bool,
    /// In a row.
    fails: u32,
    passes: u32,
    kept: Option<Kept>,
}

type Everyone = Rc<RefCell<HashMap<i64, Watched>>>;

/// How often this process looks whether it is the one to check.
const GLANCE: Duration = Duration::from_secs(1);

/// Checks for as long as the worker takes requests.
pub async fn run(check: Check, me: Caretaker) {
    let check = Rc::new(check);
    let everyone = Everyone::default();
    let mut next = Deadline::after(Duration::ZERO);
    while !me.is_leaving() {
        let peers = check.group.to_be_checked(&me);
        if next.has_passed() {
            next = Deadline::after(check.spec.interval);
            everyone.borrow_mut().retain(|serial, watched| {
                watched.is_busy || peers.iter().any(|peer| peer.serial == *serial)
            });
            for peer in peers {
                let is_busy = {
                    let mut everyone = everyone.borrow_mut();
                    let watched = everyone.entry(peer.serial).or_default();
                    std::mem::replace(&mut watched.is_busy, true)
                };
                if !is_busy {
                    let (check, everyone) = (Rc::clone(&check), Rc::clone(&everyone));
                    daemun_event::spawn(examine(check, everyone, peer));
                }
            }
        }
        daemun_event::sleep(next.remaining().min(GLANCE)).await;
    }
}

async fn examine(check: Rc<Check>, everyone: Everyone, peer: Checked) {
    let jitter = u64::try_from(check.spec.jitter.as_millis()).unwrap_or(u64::MAX);
    if jitter > 0 {
        let moment = (daemun_event::now(), peer.serial, std::process::id());
        let delay = RandomState::new().hash_one(moment) % (jitter + 1);
        daemun_event::sleep(Duration::from_millis(delay)).await;
    }
    let kept = everyone.borrow_mut().get_mut(&peer.serial).and_then(|peer| peer.kept.take());
    let outcome = probe::probe(&check, &peer, kept).await;
    let outcome = outcome.and_then(|(response, kept)| {
        check.judge(&peer, response.as_ref())?;
        Ok(kept)
    });
    let mut everyone = everyone.borrow_mut();
    let watched = everyone.entry(peer.serial).or_default();
    watched.is_busy = false;
    match outcome {
        Ok(kept) => {
            watched.kept = kept;
            check.pass(watched, &peer);
        }
        Err(failure) => check.fail(watched, &peer, &failure),
    }
}

impl Check {
    fn judge(&self, peer: &Checked, response: Option<&Response>) -> Result<(), Failure> {
        let Some(response) = response else { return Ok(()) };
        let doing = match (&self.spec.kind, &self.tests) {
            (Kind::Grpc(wanted), _) => http2::fault(wanted, response),
            (_, Some(tests)) => {
                let mut answer = Answer { check: self, peer, response };
                tests.fault(response, &mut answer)
            }
            _ if (200..400).contains(&response.status) => None,
            _ => Some("checking status code"),
        };
        doing.map_or(Ok(()), |doing| Err(Failure { doing, error: None }))
    }

    fn pass(&self, watched: &mut Watched, peer: &Checked) {
        watched.fails = 0;
        watched.passes = watched.passes.saturating_add(1);
        let is_first = self.group.awaits_check(self.index, peer);
        if (is_first || watched.passes >= self.spec.passes)
            && self.group.note_health(self.index, peer, true)
        {
            let (name, peer, group) = self.names(peer);
            log!(
                self.log,
                Notice,
                (),
                "peer is healthy, health check \"{}\" of peer {} in upstream \"{}\"",
                name,
                peer,
                group
            );
        }
    }

    fn fail(&self, watched: &mut Watched, peer: &Checked, failure: &Failure) {
        watched.passes = 0;
        watched.fails = watched.fails.saturating_add(1);
        let is_first = self.group.awaits_check(self.index, peer);
        let is_news = (is_first || watched.fails >= self.spec.fails)
            && self.group.note_health(self.index, peer, false);
        let (name, peer, group) = self.names(peer);
        if let Some(error) = &failure.error {
            log!(
                self.log,
                Error,
                (),
                "health check failed while {}, health check \"{}\" of peer {} in upstream \"{}\"",
                failure.doing,
                name,
                peer,
                group;
                error
            );
        }
        if is_news {
            log!(
                self.log,
                Warn,
                (),
                "peer is unhealthy while {}, health check \"{}\" of peer {} in upstream \"{}\"",
                failure.doing,
                name,
                peer,
                group
            );
        }
    }

    fn names<'c>(&'c self, peer: &'c Checked) -> (&'c str, &'c str, &'c str) {
        (self.spec.tests.as_deref().unwrap_or_default(), &peer.name, &self.group.name)
    }
}

/// What variables can tell of a check: there is no request, so most are empty.
struct Answer<'c> {
    check: &'c Check,
    peer: &'c Checked,
    response: &'c Response,
}

impl Session for Answer<'_> {
    fn variable(&mut self, id: VariableId, out: &mut Vec<u8>) -> bool {
        let (name, compute) = self.check.config.variables.apart(id);
        if let Some(compute) = compute {
            return compute(self, out);
        }
        match name {
            "upstream_status" | "status" => {
                out.extend_from_slice(self.response.status.to_string().as_bytes());
                true
            }
            "upstream_addr" => {
                out.extend_from_slice(self.peer.name.as_bytes());
                true
            }
            _ => {
                let Some(field) = name.strip_prefix("upstream_http_") else { return false };
                let field = field.replace('_', "-");
                let value = self.response.field(field.as_bytes());
                out.extend_from_slice(value.unwrap_or_default());
                value.is_some()
            }
        }
    }

    fn capture(&mut self, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }

    fn matches(&mut self, pattern: &NamedPattern, subject: &[u8]) -> Result<bool, StepLimit> {
        pattern.pattern.is_match(subject)
    }

    fn client(&self) -> Client {
        Client::Unix
    }
}
