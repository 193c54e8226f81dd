//! Services: which hosts offer one (SRV), and where those are.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use daemun_event::Millis;

use crate::cache::Subject;
use crate::exchange::Answer;
use crate::lookup::{Addresses, LookupError, Resolver};
use crate::random;

/// Who offers a service: one address at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// In the order of their priority; among equals a server comes first as often as its weight says.
    pub list: Vec<ServiceAddress>,
    /// Servers that could not be resolved.
    pub unresolved: Vec<Unresolved>,
    /// When to ask again, on the reactor's clock.
    pub valid_until: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddress {
    pub address: SocketAddr,
    /// The host of that address.
    pub name: String,
    pub priority: u16,
    pub weight: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    pub name: String,
    pub error: LookupError,
}

/// A server of the service, and what became of its name.
struct Server {
    name: String,
    port: u16,
    priority: u16,
    weight: u16,
    addresses: Result<Addresses, LookupError>,
}

impl Resolver {
    /// The addresses behind a service: `http` is `_http._tcp` of the name, one with a dot stands as it is. Each step may
    /// take `patience`, `resolver_timeout`; zero waits for ever.
    pub async fn lookup_service(
        &self,
        service: &[u8],
        name: &[u8],
        patience: Duration,
    ) -> Result<Services, LookupError> {
        let subject = match service.contains(&b'.') {
            true => [service, b".", name].concat(),
            false => [b"_", service, b"._tcp.", name].concat(),
        };
        let found = self.follow(Subject::Services, &subject, patience).await?;
        let Answer::Services(records) = &*found.answer else {
            return Err(LookupError::HOST_NOT_FOUND);
        };
        let lookups = records.iter().map(|record| self.lookup(&record.target, patience));
        let addresses = all(lookups.collect()).await;
        let servers = records.iter().zip(addresses).map(|(record, addresses)| Server {
            name: String::from_utf8_lossy(&record.target).into_owned(),
            port: record.port,
            priority: record.priority,
            weight: record.weight,
            addresses,
        });
        report(servers.collect(), found.until)
    }
}

fn report(servers: Vec<Server>, until: Millis) -> Result<Services, LookupError> {
    let known = || servers.iter().filter_map(|server| server.addresses.as_ref().ok());
    if known().next().is_none() {
        let errors = || servers.iter().filter_map(|server| server.addresses.as_ref().err());
        let missing = errors().find(|error| **error == LookupError::HOST_NOT_FOUND);
        return Err(*missing.or_else(|| errors().next()).unwrap_or(&LookupError::HOST_NOT_FOUND));
    }
    let valid_until = known().map(|addresses| addresses.valid_until).fold(until, Millis::min);
    let unresolved = servers.iter().filter_map(|server| {
        let error = *server.addresses.as_ref().err()?;
        Some(Unresolved { name: server.name.clone(), error })
    });
    let unresolved = unresolved.collect();
    let mut list = Vec::new();
    for equals in servers.chunk_by(|one, next| one.priority == next.priority) {
        let first = chosen(equals);
        for server in equals[first..].iter().chain(&equals[..first]) {
            list.extend(server.offers());
        }
    }
    Ok(Services { list, unresolved, valid_until })
}

/// One among servers of the same priority, by weight.
fn chosen(servers: &[Server]) -> usize {
    let share = |server: &Server| usize::from(server.weight) * server.offers().count();
    let total: usize = servers.iter().map(share).sum();
    if total == 0 {
        return 0;
    }
    let mut left = random::below(total);
    for (index, server) in servers.iter().enumerate() {
        match left.checked_sub(share(server)) {
            Some(rest) => left = rest,
            None => return index,
        }
    }
    0
}

impl Server {
    fn offers(&self) -> impl Iterator<Item = ServiceAddress> {
        let addresses = self.addresses.iter().flat_map(|addresses| &addresses.list);
        addresses.map(|address| ServiceAddress {
            address: SocketAddr::new(*address, self.port),
            name: self.name.clone(),
            priority: self.priority,
            weight: self.weight,
        })
    }
}

/// Waits for all of them at once.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *output = Some(ready);
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
