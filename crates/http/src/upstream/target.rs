//! Whom a request is passed to: a group that the configuration names, or one that the request itself does.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use daemun_core::listen::Address;
use daemun_core::log;
use daemun_upstream::{Group, GroupId, ServerSpec, Url};

use crate::config::HttpConfig;
use crate::core::resolving;
use crate::request::Request;
use crate::status::Status;

/// A group, or an address with variables as it came out for this request.
pub enum Target {
    Group(GroupId),
    Address(Box<Url>),
}

impl Target {
    /// As the configuration, or the request, says it.
    pub fn name(&self, config: &HttpConfig) -> String {
        match self {
            Target::Group(id) => {
                let group = config.upstreams.of(*id);
                match group.port {
                    Some(port) if !group.is_named => format!("{}:{port}", group.name),
                    None if group.name.starts_with('/') => format!("unix:{}", group.name),
                    _ => group.name.clone(),
                }
            }
            Target::Address(url) => match url.port {
                Some(port) => format!("{}:{port}", url.host),
                None => url.host.clone(),
            },
        }
    }
}

/// The group; names are looked up by the location's resolver.
pub async fn find(
    request: &mut Request,
    target: Target,
) -> Result<Cow<'static, Arc<Group>>, Status> {
    let config = request.config;
    let url = match target {
        Target::Group(id) => return Ok(Cow::Borrowed(config.upstreams.of(id))),
        Target::Address(url) => url,
    };
    if let Some(group) = config.upstreams.find(&url) {
        return Ok(Cow::Borrowed(group));
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
    match Box::pin(resolver.lookup(url.host.as_bytes(), *settings.timeout)).await {
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

/// A group that this request alone knows of.
fn implicit(url: &Url, addresses: Vec<Address>) -> Cow<'static, Arc<Group>> {
    let servers = vec![ServerSpec::new(url.host.clone(), addresses)];
    Cow::Owned(Arc::new(Group::implicit(url.host.clone(), servers)))
}
