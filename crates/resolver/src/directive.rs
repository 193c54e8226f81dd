//! `resolver ADDRESS … [valid=TIME] [ipv4=on|off] [ipv6=on|off] [status_zone=ZONE]`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::address;
use daemun_core::load::{Fault, Loader};

use crate::lookup::{Asked, Resolver};
use crate::status::StatusZone;

const DNS_PORT: u16 = 53;

/// Reads the directive's arguments; names of name servers are resolved by the system, now.
pub fn parse(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Resolver, Fault> {
    let mut asked =
        Asked { servers: Vec::new(), valid: None, ipv4: true, ipv6: true, status: None };
    for word in &directive.args {
        let invalid = || Fault::from(format!("invalid parameter: {word}")).at(word.span);
        let text = word.as_str().map_err(|_| invalid())?;
        match text.split_once('=') {
            Some(("valid", time)) => {
                let seconds = units::seconds(time.as_bytes()).ok_or_else(invalid)?;
                asked.valid = (seconds > 0).then(|| Duration::from_secs(seconds));
            }
            Some(("ipv4", switch)) => {
                asked.ipv4 = units::flag(switch.as_bytes()).ok_or_else(invalid)?
            }
            Some(("ipv6", switch)) => {
                asked.ipv6 = units::flag(switch.as_bytes()).ok_or_else(invalid)?
            }
            Some(("status_zone", zone)) if !zone.is_empty() => {
                asked.status = Some(StatusZone::declare(loader, zone, word.span)?);
            }
            _ => {
                let servers = name_servers(text).map_err(|reason| {
                    Fault::from(format!("{reason} in resolver \"{text}\"")).at(word.span)
                })?;
                asked.servers.extend(servers);
            }
        }
    }
    if !asked.ipv4 && !asked.ipv6 {
        return Err("\"ipv4\" and \"ipv6\" cannot both be \"off\"".to_owned().into());
    }
    if asked.servers.is_empty() {
        return Err("no name servers defined".to_owned().into());
    }
    Ok(Resolver::new(asked))
}

/// `HOST[:PORT]`, with an IPv6 address in brackets.
fn name_servers(text: &str) -> Result<Vec<SocketAddr>, &'static str> {
    if text.starts_with("unix:") {
        return Err("invalid host");
    }
    if let Some(inside) = text.strip_prefix('[') {
        let (address, rest) = inside.split_once(']').ok_or("invalid host")?;
        let address = address::v6(address).ok_or("invalid IPv6 address")?;
        let port = rest.strip_prefix(':').map_or(Ok(DNS_PORT), port)?;
        return Ok(vec![(address, port).into()]);
    }
    let (host, port) = match text.split_once(':') {
        Some((host, number)) => (host, port(number)?),
        None => (text, DNS_PORT),
    };
    if host.is_empty() {
        return Err("no host");
    }
    if host.contains('/') {
        return Err("invalid host");
    }
    if let Some(address) = address::v4(host) {
        return Ok(vec![(address, port).into()]);
    }
    let found = (host, port).to_socket_addrs().map_err(|_| "host not found")?;
    Ok(found.collect())
}

fn port(text: &str) -> Result<u16, &'static str> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| is_number && *port > 0);
    port.ok_or("invalid port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_have_a_port_and_a_default() {
        let one = |text: &str| name_servers(text).map(|found| found[0].to_string());
        assert_eq!(one("127.0.0.1").unwrap(), "127.0.0.1:53");
        assert_eq!(one("127.0.0.1:5353").unwrap(), "127.0.0.1:5353");
        assert_eq!(one("[::1]:5353").unwrap(), "[::1]:5353");
        assert_eq!(one("[::1]").unwrap(), "[::1]:53");
        assert_eq!(one(":53"), Err("no host"));
        assert_eq!(one("127.0.0.1:dns"), Err("invalid port"));
        assert_eq!(one("127.0.0.1:70000"), Err("invalid port"));
        // Too long for a name: whatever the machine asks about names, it does not ask about this one.
        assert_eq!(one(&"x".repeat(64)), Err("host not found"));
    }
}
