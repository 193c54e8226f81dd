//! `listen`: the addresses that a virtual server answers on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::address;
use daemun_core::listen::{Address, ListenSpec, TcpKeepalive};
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::{directives, settings};

use crate::module::HttpModule;

/// One address of one server.
#[derive(Clone, Debug)]
pub struct Listen {
    pub spec: ListenSpec,
    pub default_server: bool,
    pub proxy_protocol: bool,
    /// Connections speak TLS.
    pub ssl: bool,
    pub http2: bool,
    /// Socket options, or `bind`, were given: the address gets a socket of its own.
    pub bind: bool,
    /// Anything but the address was set.
    pub has_options: bool,
    pub span: conf::Span,
}

settings! {
    pub struct Settings {
        listens: Own<Vec<Listen>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "listen" in SERVER, AtLeast(1), "*:80", Action::Set(listen),
                "An address, port or UNIX socket on which the server takes requests.";
        },
    },
    ..HttpModule::EMPTY
};

/// The port where `listen` names none.
const DEFAULT_PORT: u16 = 80;

fn listen(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = &directive.args[0];
    let addresses = addresses(word)?;
    let mut options = Listen {
        spec: ListenSpec::new(addresses[0].clone()),
        default_server: false,
        proxy_protocol: false,
        ssl: false,
        http2: false,
        bind: false,
        has_options: false,
        span: word.span,
    };
    for parameter in &directive.args[1..] {
        if parameter == "http2" {
            let sentence = "the \"listen ... http2\" directive is deprecated, use the \"http2\" \
                            directive instead";
            loader.warn(parameter.span, sentence.to_owned());
            options.http2 = true;
            continue;
        }
        read_parameter(&mut options, parameter).map_err(|fault| fault.at(parameter.span))?;
    }
    let listens = &mut loader.settings(&SETTINGS).listens.0;
    for address in addresses {
        if listens.iter().any(|earlier| earlier.spec.address == address) {
            return Err(Fault::from(format!("a duplicate listen {address}")).at(word.span));
        }
        let spec = ListenSpec { address, ..options.spec.clone() };
        listens.push(Listen { spec, ..options.clone() });
    }
    Ok(())
}

/// The server's address where it has no `listen`: port 80 as root, else 8000.
pub fn default_address(is_root: bool) -> Address {
    let port = if is_root { DEFAULT_PORT } else { 8000 };
    Address::Ip(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
}

pub fn default_listen(is_root: bool, span: conf::Span) -> Listen {
    Listen {
        spec: ListenSpec::new(default_address(is_root)),
        default_server: false,
        proxy_protocol: false,
        ssl: false,
        http2: false,
        bind: false,
        has_options: false,
        span,
    }
}

/// What an address stands for: a port range is several.
fn addresses(word: &conf::Word) -> Result<Vec<Address>, Fault> {
    let complain = |reason: &str| {
        Fault::from(format!("{reason} in \"{word}\" of the \"listen\" directive")).at(word.span)
    };
    let text = word.as_str().map_err(|_| complain("invalid address"))?;
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.len() {
            0 => Err(complain("no path in the unix domain socket")),
            108.. => Err(complain("too long path in the unix domain socket")),
            _ => Ok(vec![Address::Unix(path.into())]),
        };
    }
    let (host, ports) = split_port(text).ok_or_else(|| complain("invalid host"))?;
    let (first, last) = match ports {
        None => (DEFAULT_PORT, DEFAULT_PORT),
        Some(ports) => read_ports(ports).map_err(complain)?,
    };
    let hosts = resolve(host).map_err(complain)?;
    let pairs = (first..=last).flat_map(|port| hosts.iter().map(move |host| (*host, port)));
    Ok(pairs.map(|(host, port)| Address::Ip(SocketAddr::new(host, port))).collect())
}

/// Host and port; a word of digits alone is a port on every address.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let end = text.find(']')?;
        let (host, rest) = (&text[1..end], &text[end + 1..]);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None if rest.is_empty() => Some((host, None)),
            None => None,
        };
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return Some(("*", Some(text)));
    }
    Some(match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    })
}

fn read_ports(text: &str) -> Result<(u16, u16), &'static str> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(port),
        _ => Err("invalid port"),
    };
    let Some((first, last)) = text.split_once('-') else {
        let port = port(text)?;
        return Ok((port, port));
    };
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        return Err("invalid port range");
    }
    Ok((first, last))
}

fn resolve(host: &str) -> Result<Vec<IpAddr>, &'static str> {
    if host == "*" {
        return Ok(vec![Ipv4Addr::UNSPECIFIED.into()]);
    }
    if host.is_empty() {
        return Err("no host");
    }
    if host.contains('/') {
        return Err("invalid host");
    }
    if let Some(address) = address::ip(host) {
        return Ok(vec![address]);
    }
    let found = (host, 0).to_socket_addrs().map_err(|_| "host not found")?;
    let mut hosts: Vec<IpAddr> = Vec::new();
    for address in found {
        if !hosts.contains(&address.ip()) {
            hosts.push(address.ip());
        }
    }
    if hosts.is_empty() { Err("host not found") } else { Ok(hosts) }
}

fn read_parameter(listen: &mut Listen, parameter: &conf::Word) -> Result<(), Fault> {
    let invalid = || Fault::from(format!("invalid parameter \"{parameter}\""));
    let text = parameter.as_str().map_err(|_| invalid())?;
    match text {
        "default_server" | "default" => {
            listen.default_server = true;
            return Ok(());
        }
        "ssl" => {
            listen.ssl = true;
            return Ok(());
        }
        "quic" => return Err(missing("quic", "http_v3_module")),
        "proxy_protocol" => {
            listen.proxy_protocol = true;
            return Ok(());
        }
        "multipath" => {
            return Err(invalid().help("nginx has it; daemun does not support it yet"));
        }
        _ => {}
    }
    listen.has_options = true;
    listen.bind = true;
    let is_ip = matches!(listen.spec.address, Address::Ip(_));
    match text.split_once('=') {
        None => match text {
            "bind" => {}
            "deferred" => listen.spec.deferred = true,
            "reuseport" if is_ip => listen.spec.reuseport = true,
            _ => return Err(invalid()),
        },
        Some(("backlog", value)) => {
            listen.spec.backlog = match value.parse() {
                Ok(backlog @ 1..) => backlog,
                Ok(-1) => -1,
                _ => return Err(invalid_value("backlog", parameter)),
            };
        }
        Some(("rcvbuf", value)) => {
            listen.spec.rcvbuf = Some(buffer_size("rcvbuf", value, parameter)?)
        }
        Some(("sndbuf", value)) => {
            listen.spec.sndbuf = Some(buffer_size("sndbuf", value, parameter)?)
        }
        Some(("fastopen", value)) => {
            let queue = value.parse().map_err(|_| invalid_value("fastopen", parameter))?;
            listen.spec.fastopen = Some(queue);
        }
        Some(("setfib", _)) => {
            return Err(invalid()
                .help("only FreeBSD has routing tables by number; leave the parameter out"));
        }
        Some(("accept_filter", _)) => {
            return Err(format!(
                "accept filters \"{parameter}\" are not supported on this platform"
            )
            .into());
        }
        // Without effect on addresses of another family, as in nginx.
        Some(("ipv6only", "on")) => listen.spec.ipv6only = true,
        Some(("ipv6only", "off")) => listen.spec.ipv6only = false,
        Some(("ipv6only", value)) if value.starts_with('o') => {
            return Err(format!("invalid ipv6only flags \"{value}\"").into());
        }
        Some(("so_keepalive", value)) => listen.spec.keepalive = keepalive(value)?,
        Some(_) => return Err(invalid()),
    }
    Ok(())
}

fn missing(parameter: &str, module: &str) -> Fault {
    Fault::from(format!("the \"{parameter}\" parameter requires ngx_{module}"))
        .help("nginx has it; daemun does not support it yet")
}

fn buffer_size(name: &str, value: &str, parameter: &conf::Word) -> Result<usize, Fault> {
    match units::size(value.as_bytes()) {
        Some(size @ 1..) => Ok(size),
        _ => Err(invalid_value(name, parameter)),
    }
}

/// nginx quotes the whole parameter, name and all.
fn invalid_value(name: &str, parameter: &conf::Word) -> Fault {
    Fault::from(format!("invalid {name} \"{parameter}\""))
}

/// `on`, `off`, or `idle:interval:count` with at least one of the three.
fn keepalive(value: &str) -> Result<TcpKeepalive, Fault> {
    let invalid = || Fault::from(format!("invalid so_keepalive value: \"{value}\""));
    match value {
        "on" => {
            return Ok(TcpKeepalive::On { idle: None, interval: None, count: None });
        }
        "off" => return Ok(TcpKeepalive::Off),
        _ => {}
    }
    let mut parts = value.split(':');
    let mut seconds = || match parts.next() {
        None | Some("") => Ok(None),
        Some(text) => match units::seconds(text.as_bytes()) {
            Some(seconds @ 1..) => Ok(Some(Duration::from_secs(seconds))),
            _ => Err(invalid()),
        },
    };
    let (idle, interval) = (seconds()?, seconds()?);
    let count = match parts.next() {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|_| invalid())?),
    };
    if parts.next().is_some() || (idle.is_none() && interval.is_none() && count.is_none()) {
        return Err(invalid());
    }
    Ok(TcpKeepalive::On { idle, interval, count })
}

/// Every address of the family: it takes connections to any address of its port.
pub fn is_wildcard(address: &Address) -> bool {
    match address {
        Address::Ip(SocketAddr::V4(v4)) => v4.ip().is_unspecified(),
        Address::Ip(SocketAddr::V6(v6)) => *v6.ip() == Ipv6Addr::UNSPECIFIED,
        Address::Unix(_) => false,
    }
}
