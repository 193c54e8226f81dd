//! Whom a request is passed to: a group that the configuration names, or one that the request itself does.

use std::net::SocketAddr;
use std::sync::Arc;

use daemun_core::listen::Address;
use daemun_core::log;
use daemun_upstream::{Group, GroupId, ServerSpec, Url};

use crate::core::resolving;
use crate::request::Request;
use crate::status::Status;

/// A group, or an address with variables as it came out for this request.
pub enum Target {
    Group(GroupId),
    Address(Url),
}

/// The group; names are looked up by the location's resolver.
pub async fn find(request: &mut Request, target: Target) -> Result<Arc<Group>, Status> {
    let config = request.config;
    match target {
        Target::Group(id) => Ok(Arc::clone(config.upstreams.of(id))),
        // Rare enough that the usual request need not have room for it.
        Target::Address(url) => Box::pin(find_address(request, url)).await,
    }
}

async fn find_address(request: &mut Request, url: Url) -> Result<Arc<Group>, Status> {
    let config = request.config;
    let named_port = url.port.filter(|_| url.has_port);
    if let Some(group) = config.upstreams.find(&url.host, named_port.or(url.port)) {
        return Ok(Arc::clone(group));
    }
    let no_port = |request: &Request| {
        log!(request.log(), Error, *request, "no port in upstream \"{}\"", url.host);
        Status::INTERNAL_SERVER_ERROR
    };
    if let Some(address) = &url.address {
        if matches!(address, Address::Ip(_)) && url.port.is_none() {
            return Err(no_port(request));
        }
        return Ok(implicit(&url, vec![address.clone()]));
    }
    let Some(port) = url.port else { return Err(no_port(request)) };
    let settings = request.settings(&resolving::SETTINGS);
    let Some(resolver) = &*settings.resolver else {
        log!(request.log(), Error, *request, "no resolver defined to resolve {}", url.host);
        return Err(Status::BAD_GATEWAY);
    };
    match resolver.lookup(url.host.as_bytes(), *settings.timeout).await {
        Ok(found) => {
            let found = found.list.into_iter().map(|ip| Address::Ip(SocketAddr::new(ip, port)));
            Ok(implicit(&url, found.collect()))
        }
        Err(error) => {
            let name = &url.host;
            log!(request.log(), Error, *request, "{} could not be resolved ({})", name, error);
            Err(Status::BAD_GATEWAY)
        }
    }
}

fn implicit(url: &Url, addresses: Vec<Address>) -> Arc<Group> {
    let servers = vec![ServerSpec::new(url.host.clone(), addresses)];
    Arc::new(Group::implicit(url.host.clone(), servers))
}
