//! From an address in the configuration to the group it stands for.

use std::net::ToSocketAddrs;
use std::sync::Arc;

use daemun_core::listen::Address;
use daemun_core::load::Fault;
use daemun_upstream::{Group, Server};

/// The group of `HOST[:PORT]` or `unix:PATH`.
pub fn request_group(host: &str, default_port: u16) -> Result<Arc<Group>, Fault> {
    let addresses = match host.strip_prefix("unix:") {
        Some(path) => vec![Address::Unix(path.into())],
        None => {
            let target =
                if host.contains(':') { host.to_owned() } else { format!("{host}:{default_port}") };
            let found = target
                .to_socket_addrs()
                .map_err(|_| Fault::from(format!("host not found in upstream \"{host}\"")))?;
            found.map(Address::Ip).collect()
        }
    };
    let server = Server { name: host.to_owned(), addresses };
    Ok(Arc::new(Group::implicit(host.to_owned(), vec![server])))
}
