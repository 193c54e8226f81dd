//! `resolve`: the addresses of a group's servers, looked up again and again while the server runs, by one process for
//! all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use daemun_core::log;
use daemun_core::log::Log;
use daemun_event::Millis;
use daemun_resolver::{LookupError, Resolver, Services};

use crate::definition::Resolve;
use crate::group::Group;
use crate::lease::Caretaker;
use crate::shared::{Found, Full};
use crate::state::Now;

/// Milliseconds: as in nginx, no name is asked for more often than once a second.
const SHORTEST: i64 = 1000;

/// Looks a line up for as long as the process takes requests, while it has the lease of the group.
pub(crate) async fn keep_resolved(group: Arc<Group>, line: usize, me: Caretaker) {
    let (Some(resolve), Some((resolver, patience)), Some(shared)) = (
        group.definition.servers[line].resolve.clone(),
        group.definition.resolver.clone(),
        group.shared.get(),
    ) else {
        return;
    };
    let due = || shared.line(line, &group.definition).due.get() - Now::of_turn().millis;
    while !me.is_leaving() {
        // a lease is renewed, and may become free, once a second
        let mut rest = SHORTEST;
        if group.holds_lease(&me) {
            if due() <= 0 {
                let (outcome, next) = look_up(&resolver, &resolve, patience).await;
                take(&group, line, outcome, &resolve);
                let next = Now::of_turn().millis + next.max(SHORTEST);
                shared.line(line, &group.definition).due.set(next);
            }
            rest = due().clamp(1, SHORTEST);
        }
        daemun_event::sleep(Duration::from_millis(rest.cast_unsigned())).await;
    }
}

/// What was found, and in how many milliseconds to ask again.
async fn look_up(
    resolver: &Resolver,
    resolve: &Resolve,
    patience: Duration,
) -> (Result<Vec<Found>, LookupError>, i64) {
    let host = resolve.host.as_bytes();
    let Some(service) = &resolve.service else {
        let found = resolver.lookup(host, patience).await;
        let next =
            found.as_ref().map_or_else(|_| retry(patience), |found| until(found.valid_until));
        let found = found.map(|found| {
            let addresses = found.list.iter().map(|ip| SocketAddr::new(*ip, resolve.port));
            let found =
                addresses.map(|address| Found { address, name: None, weight: 1, is_second: false });
            found.collect()
        });
        return (found, next);
    };
    let found = resolver.lookup_service(service.as_bytes(), host, patience).await;
    let next = found.as_ref().map_or_else(|_| retry(patience), |found| until(found.valid_until));
    (found.map(|found| servers(&found, service, &resolve.host)), next)
}

fn servers(services: &Services, service: &str, host: &str) -> Vec<Found> {
    let log = Log::current();
    for server in &services.unresolved {
        let (name, error) = (&server.name, server.error);
        log!(
            log,
            Error,
            (),
            "{} could not be resolved ({}) while resolving service {} of {}",
            name,
            error,
            service,
            host
        );
    }
    let best = services.list.iter().map(|server| server.priority).min();
    let found = services.list.iter().map(|server| Found {
        address: server.address,
        name: Some(server.name.clone()),
        weight: server.weight.into(),
        is_second: Some(server.priority) != best,
    });
    found.collect()
}

/// Puts what was found in force. As in nginx a name that does not exist any more has no addresses; after any other
/// error those stay that were known.
fn take(group: &Arc<Group>, line: usize, outcome: Result<Vec<Found>, LookupError>, of: &Resolve) {
    let log = Log::current();
    let found = match outcome {
        Ok(found) => found,
        Err(error) => {
            match &of.service {
                Some(service) => log!(
                    log,
                    Error,
                    (),
                    "service {} of {} could not be resolved ({})",
                    service,
                    of.host,
                    error
                ),
                None => log!(log, Error, (), "{} could not be resolved ({})", of.host, error),
            }
            if error != LookupError::HOST_NOT_FOUND {
                return;
            }
            Vec::new()
        }
    };
    let Some(shared) = group.shared.get() else { return };
    if let Err(Full) = shared.update(&group.definition, line, &found) {
        log!(
            log,
            Error,
            (),
            "cannot add new server to upstream \"{}\", memory exhausted",
            group.name
        );
    }
}

fn until(moment: Millis) -> i64 {
    i64::try_from(moment.saturating_sub(daemun_event::now()))
        .unwrap_or(i64::MAX / 4)
        .min(i64::MAX / 4)
}

fn retry(patience: Duration) -> i64 {
    i64::try_from(patience.as_millis()).unwrap_or(i64::MAX / 4)
}
