//! syslog targets of `error_log` and `access_log`: RFC 3164 over UDP or a UNIX datagram socket.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Mutex;

use daemun_sys::{clock, identity};

use super::Level;

/// How much a message matters to syslog: 0 (emergency) to 7 (debug).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Severity(u8);

impl Severity {
    pub fn of(level: Level) -> Severity {
        Severity(level as u8 - 1)
    }
}

/// A syslog server, as `syslog:server=...,facility=...,tag=...,severity=...,nohostname` describes
/// it.
#[derive(Debug)]
pub struct Syslog {
    server: Server,
    facility: u8,
    severity: Severity,
    tag: String,
    hostname: Option<String>,
    socket: Mutex<Option<Socket>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Server {
    Udp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Syslog {
    const PORT: u16 = 514;
    const LOCAL7: u8 = 23;
    const TAG_LIMIT: usize = 32;
    /// nginx's bound for a line of the error log with the header before it.
    const LIMIT: usize = 2400;

    /// Reads the text after `syslog:`. The error is nginx's sentence.
    pub fn parse(parameters: &str) -> Result<Syslog, String> {
        let mut server = None;
        let mut facility = None;
        let mut severity = None;
        let mut tag = None;
        let mut nohostname = false;
        for parameter in parameters.split(',') {
            match parameter.split_once('=') {
                Some(("server", value)) => set_once(&mut server, "server", Server::parse(value)?)?,
                Some(("facility", value)) => {
                    set_once(&mut facility, "facility", facility_of(value)?)?
                }
                Some(("severity", value)) => {
                    set_once(&mut severity, "severity", severity_of(value)?)?
                }
                Some(("tag", value)) => set_once(&mut tag, "tag", tag_of(value)?)?,
                None if parameter == "nohostname" => nohostname = true,
                _ => return Err(format!("unknown syslog parameter \"{parameter}\"")),
            }
        }
        Ok(Syslog {
            server: server.ok_or("no syslog server specified")?,
            facility: facility.unwrap_or(Self::LOCAL7),
            severity: severity.unwrap_or(Severity::of(Level::Info)),
            tag: tag.unwrap_or_else(|| super::program().to_owned()),
            hostname: (!nohostname).then(identity::hostname),
            socket: Mutex::new(None),
        })
    }

    /// Sends a whole message with the configured severity, as an access log does.
    pub fn send_plain(&self, message: &[u8]) {
        self.send_packet(self.severity, message, usize::MAX);
    }

    /// Sends a message, or loses it: a log waits for nobody.
    pub fn send(&self, severity: Severity, message: &[u8]) {
        self.send_packet(severity, message, Self::LIMIT);
    }

    fn send_packet(&self, severity: Severity, message: &[u8], limit: usize) {
        let mut packet = self.header(severity, clock::local(clock::now())).into_bytes();
        packet.extend_from_slice(&message[..message.len().min(limit - packet.len())]);
        let mut socket = self.socket.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if socket.is_none() {
            *socket = self.server.connect().ok();
        }
        let sent = match &*socket {
            Some(Socket::Udp(udp)) => udp.send(&packet),
            Some(Socket::Unix(unix)) => unix.send(&packet),
            None => return,
        };
        // A full buffer passes; any other failure asks for a new socket next time.
        if sent.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            *socket = None;
        }
    }

    fn header(&self, severity: Severity, now: clock::LocalTime) -> String {
        let priority = u16::from(self.facility) * 8 + u16::from(severity.0);
        let month = MONTHS[usize::from(now.month - 1)];
        let clock::LocalTime { day, hour, minute, second, .. } = now;
        let time = format_args!("{month} {day:2} {hour:02}:{minute:02}:{second:02}").to_string();
        match &self.hostname {
            Some(hostname) => format!("<{priority}>{time} {hostname} {}: ", self.tag),
            None => format!("<{priority}>{time} {}: ", self.tag),
        }
    }
}

impl fmt::Display for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Server::Udp(address) => write!(f, "{address}"),
            Server::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Server {
    fn parse(text: &str) -> Result<Server, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(format!("no path in the unix domain socket in syslog server \"{text}\"")),
                path => Ok(Server::Unix(path.into())),
            };
        }
        let (host, port) =
            split_port(text).ok_or_else(|| format!("invalid port in syslog server \"{text}\""))?;
        let mut addresses = (host, port)
            .to_socket_addrs()
            .map_err(|_| format!("host not found in syslog server \"{text}\""))?;
        let first = addresses.next().map(Server::Udp);
        first.ok_or_else(|| format!("host not found in syslog server \"{text}\""))
    }

    fn connect(&self) -> io::Result<Socket> {
        match self {
            Server::Udp(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                    SocketAddr::V6(_) => ([0u16; 8], 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(address)?;
                Ok(Socket::Udp(socket))
            }
            Server::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(path)?;
                Ok(Socket::Unix(socket))
            }
        }
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// RFC 3164's facilities by nginx's names; the place is the number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv",
    "ftp", "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

fn set_once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("duplicate syslog \"{name}\"")),
    }
}

fn facility_of(name: &str) -> Result<u8, String> {
    let place = FACILITIES.iter().position(|facility| *facility == name);
    place.map(|place| place as u8).ok_or_else(|| format!("unknown syslog facility \"{name}\""))
}

fn severity_of(name: &str) -> Result<Severity, String> {
    let level =
        Level::from_name(name).ok_or_else(|| format!("unknown syslog severity \"{name}\""))?;
    Ok(Severity::of(level))
}

fn tag_of(tag: &str) -> Result<String, String> {
    if tag.len() > Syslog::TAG_LIMIT {
        return Err("syslog tag length exceeds 32".to_owned());
    }
    if !tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("syslog \"tag\" only allows alphanumeric characters and underscore".to_owned());
    }
    Ok(tag.to_owned())
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; `None` where the port is no number from 1.
fn split_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let Some(port) = port else {
        return Some((host, Syslog::PORT));
    };
    let port = port.parse().ok().filter(|port| *port > 0)?;
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_with_header_and_priority() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let parameters =
            format!("server={},facility=user,tag=gate,nohostname", server.local_addr().unwrap());
        Syslog::parse(&parameters).unwrap().send(Severity::of(Level::Alert), b"fire");

        let mut packet = [0; 100];
        let length = server.recv(&mut packet).unwrap();
        let text = std::str::from_utf8(&packet[..length]).unwrap();
        assert!(text.starts_with("<9>"), "{text}");
        assert!(text.ends_with(" gate: fire"), "{text}");
        assert_eq!(text.len(), "<9>Nov 22 15:41:49 gate: fire".len());
    }

    #[test]
    fn parameters_are_refused_in_nginx_words() {
        let refused = |parameters: &str| Syslog::parse(parameters).unwrap_err();
        assert_eq!(refused("tag=a"), "no syslog server specified");
        assert_eq!(refused("server=127.0.0.1,server=127.0.0.1"), "duplicate syslog \"server\"");
        assert_eq!(refused("server=127.0.0.1,facility=moon"), "unknown syslog facility \"moon\"");
        assert_eq!(refused("server=127.0.0.1,severity=err"), "unknown syslog severity \"err\"");
        assert_eq!(
            refused("server=127.0.0.1,colour=red"),
            "unknown syslog parameter \"colour=red\""
        );
        assert_eq!(refused("server=127.0.0.1:0"), "invalid port in syslog server \"127.0.0.1:0\"");
        let tag = "x".repeat(33);
        assert_eq!(refused(&format!("server=127.0.0.1,tag={tag}")), "syslog tag length exceeds 32");
    }

    #[test]
    fn addresses_take_the_default_port() {
        for (text, host, port) in
            [("a", "a", 514), ("a:1", "a", 1), ("[::1]", "::1", 514), ("[::1]:2", "::1", 2)]
        {
            assert_eq!(split_port(text), Some((host, port)), "{text}");
        }
    }
}
