//! Listening sockets: opened once, kept across generations, passed over exec, shared out among
//! workers.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daemun_core::listen::{Address, ListenSpec, TcpKeepalive};
use daemun_core::log;
use daemun_core::log::Log;
use daemun_sys::descriptor;
use daemun_sys::socket::{self, Name, Setting};

/// One address, and the sockets for it that a worker accepts from.
#[derive(Clone)]
pub struct Listening {
    pub spec: ListenSpec,
    /// One, or with `reuseport` this worker's share, which may hold several where workers became
    /// fewer.
    pub sockets: Vec<Arc<OwnedFd>>,
    /// Other workers accept from the same sockets.
    pub shared: bool,
}

/// The sockets that the master keeps.
#[derive(Default)]
pub(crate) struct Sockets {
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    spec: ListenSpec,
    /// With `reuseport` at least one a worker. A surplus is kept: closing a socket resets what
    /// queues in it.
    sockets: Vec<Arc<OwnedFd>>,
    /// Came with the environment, not from a configuration.
    inherited: bool,
}

/// Which of the two ways to bind: to serve, or to see whether one could.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Serve,
    Test,
}

enum Failed {
    /// EADDRINUSE: worth another try.
    InUse,
    /// Logged; the sentence.
    For(String),
}

impl Sockets {
    const TRIES: usize = 5;
    const PAUSE: Duration = Duration::from_millis(500);

    /// Opens what `specs` ask for and `previous` does not have. On failure all is as it was; the
    /// sentence is logged.
    pub fn open(
        specs: &[ListenSpec],
        previous: &Sockets,
        workers: usize,
        log: &Log,
    ) -> Result<Sockets, String> {
        let mut next = Sockets { entries: specs.iter().map(|spec| previous.kept(spec)).collect() };
        for attempt in 1.. {
            match next.open_missing(workers, log) {
                Ok(()) => break,
                Err(Failed::InUse) if attempt < Self::TRIES => {
                    log!(log, Notice, (), "try again to bind() after 500ms");
                    std::thread::sleep(Self::PAUSE);
                }
                Err(failed) => {
                    next.abandon(previous);
                    return Err(failed.sentence(log));
                }
            }
        }
        for entry in &next.entries {
            entry.configure(previous.entry(&entry.spec.address), log);
        }
        Ok(next)
    }

    /// `-t`: binds and closes at once, and creates no path. An address in use may well be our own
    /// server's.
    pub fn test(specs: &[ListenSpec], log: &Log) -> Result<(), String> {
        for spec in specs {
            let tested = match &spec.address {
                Address::Unix(path) => test_path(path, log),
                Address::Ip(_) => bind(spec, Purpose::Test, log).map(drop),
            };
            match tested {
                Ok(()) | Err(Failed::InUse) => {}
                Err(Failed::For(sentence)) => return Err(sentence),
            }
        }
        Ok(())
    }

    /// Takes the sockets that a running server named in `NGINX=fd;fd;`.
    pub fn inherit(variable: &OsStr, log: &Log) -> Sockets {
        let variable = variable.to_string_lossy();
        log!(log, Notice, (), "using inherited sockets from \"{}\"", variable);
        let mut sockets = Sockets::default();
        let mut seen = HashSet::new();
        let mut rest = &*variable;
        while let Some(end) = rest.find([':', ';']) {
            let Ok(number) = rest[..end].parse::<i32>() else {
                let tail = "ignoring the rest of the variable";
                log!(log, Emerg, (), "{} \"{rest}\" {}, {tail}", INVALID_NUMBER, IN_VARIABLE);
                return sockets;
            };
            rest = &rest[end + 1..];
            if seen.insert(number) {
                sockets.take_over(number, log);
            }
        }
        if !rest.is_empty() {
            log!(log, Emerg, (), "{} \"{rest}\" {}, ignoring", INVALID_NUMBER, IN_VARIABLE);
        }
        sockets
    }

    /// A worker's share, in the order of the specifications: the share `index` of so many. `shared`
    /// says that other workers have the same one.
    pub fn share(&self, index: usize, shares: usize, shared: bool) -> Vec<Listening> {
        let share = |entry: &Entry| {
            let apart = entry.spec.reuseport && entry.sockets.len() >= shares;
            let own = |place: &usize| !apart || place % shares == index;
            let places = (0..entry.sockets.len()).filter(own);
            Listening {
                spec: entry.spec.clone(),
                sockets: places.map(|place| Arc::clone(&entry.sockets[place])).collect(),
                shared: shared || (!apart && shares > 1),
            }
        };
        self.entries.iter().map(share).collect()
    }

    /// Lets go of what `next` does not keep, now that it is in force.
    pub fn retire(self, next: &Sockets, log: &Log) {
        for entry in self.entries {
            if next.entry(&entry.spec.address).is_some() {
                continue;
            }
            if let Address::Unix(path) = &entry.spec.address {
                log!(log, Warn, (), "deleting socket {}", path.display());
                remove(path, log);
            }
        }
    }

    /// Closes all. `last` says that no other process serves these addresses, so that the paths go
    /// too.
    pub fn close(&mut self, last: bool, log: &Log) {
        for entry in std::mem::take(&mut self.entries) {
            if let Address::Unix(path) = &entry.spec.address
                && last
            {
                remove(path, log);
            }
        }
    }

    /// Every socket, for whoever is executed next.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.entries.iter().flat_map(|entry| &entry.sockets).map(|socket| socket.as_fd()).collect()
    }

    fn entry(&self, address: &Address) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.spec.address == *address)
    }

    fn kept(&self, spec: &ListenSpec) -> Entry {
        let sockets =
            self.entry(&spec.address).map_or_else(Vec::new, |entry| entry.sockets.clone());
        Entry { spec: spec.clone(), sockets, inherited: false }
    }

    fn open_missing(&mut self, workers: usize, log: &Log) -> Result<(), Failed> {
        let mut in_use = false;
        for entry in &mut self.entries {
            let wanted = if entry.spec.reuseport { workers.max(1) } else { 1 };
            entry.allow_siblings(wanted, log);
            while entry.sockets.len() < wanted {
                match bind(&entry.spec, Purpose::Serve, log) {
                    Ok(socket) => entry.sockets.push(Arc::new(socket)),
                    Err(Failed::InUse) => {
                        in_use = true;
                        break;
                    }
                    Err(failed) => return Err(failed),
                }
            }
        }
        if in_use { Err(Failed::InUse) } else { Ok(()) }
    }

    /// Undoes a failed opening: paths that were bound just now go.
    fn abandon(self, previous: &Sockets) {
        for entry in self.entries {
            if let Address::Unix(path) = &entry.spec.address
                && !entry.sockets.is_empty()
                && previous.entry(&entry.spec.address).is_none()
            {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn take_over(&mut self, number: i32, log: &Log) {
        let Some(socket) = socket::adopt(number) else {
            let error = io::Error::last_os_error();
            log!(log, Crit, (), "getsockname() of the inherited socket #{} failed", number; error);
            return;
        };
        let address = match socket::local_name(socket.as_fd()) {
            Ok(Name::Ip(address)) => Address::Ip(address),
            Ok(Name::Unix(path)) => Address::Unix(path),
            Err(error) => {
                log!(log, Crit, (), "getsockname() of the inherited socket #{} failed", number; error);
                return;
            }
        };
        let socket = Arc::new(socket);
        match self.entries.iter_mut().find(|entry| entry.spec.address == address) {
            Some(entry) => entry.sockets.push(socket),
            None => {
                let reuseport = socket::value(socket.as_fd(), Setting::ReusePort).unwrap_or(0) != 0;
                let spec = ListenSpec { reuseport, ..ListenSpec::new(address) };
                self.entries.push(Entry { spec, sockets: vec![socket], inherited: true });
            }
        }
    }
}

impl Entry {
    /// A socket without SO_REUSEPORT refuses others beside it, so it gets the option before they
    /// are opened.
    fn allow_siblings(&self, wanted: usize, log: &Log) {
        if wanted <= self.sockets.len() || !self.spec.reuseport {
            return;
        }
        for socket in &self.sockets {
            self.set(socket, Setting::ReusePort, 1, log);
        }
    }

    /// Options that only matter once the socket listens, and may change at a reload.
    fn configure(&self, previous: Option<&Entry>, log: &Log) {
        let spec = &self.spec;
        let (known, before) = match previous {
            Some(entry) => (entry.sockets.len(), Some(&entry.spec)),
            None => (0, None),
        };
        let inherited = previous.is_some_and(|entry| entry.inherited);
        for (place, socket) in self.sockets.iter().enumerate() {
            let before = before.filter(|_| place < known);
            if before == Some(spec) && !inherited {
                continue;
            }
            if before.is_none() && matches!(spec.address, Address::Ip(_)) {
                // Accepted connections inherit it: none has to ask for it on its own.
                self.set(socket, Setting::NoDelay, 1, log);
            }
            if let Some(bytes) = spec.rcvbuf {
                self.set(socket, Setting::ReceiveBuffer, clamp(bytes), log);
            }
            if let Some(bytes) = spec.sndbuf {
                self.set(socket, Setting::SendBuffer, clamp(bytes), log);
            }
            self.configure_keepalive(socket, log);
            if let Some(queue) = spec.fastopen {
                self.set(socket, Setting::FastOpen, clamp(queue as usize), log);
            }
            if before.is_some_and(|before| before.backlog != spec.backlog)
                && let Err(error) = socket::listen(socket.as_fd(), spec.backlog)
            {
                let (address, backlog) = (&spec.address, spec.backlog);
                log!(log, Alert, (), "listen() to {}, backlog {} failed, ignored", address, backlog; error);
            }
            // A second, because nobody knows how long a connection has been in the queue.
            if spec.deferred != before.is_some_and(|before| before.deferred) {
                self.set(socket, Setting::DeferAccept, i32::from(spec.deferred), log);
            }
        }
    }

    fn configure_keepalive(&self, socket: &OwnedFd, log: &Log) {
        match self.spec.keepalive {
            TcpKeepalive::Unset => {}
            TcpKeepalive::Off => self.set(socket, Setting::Keepalive, 0, log),
            TcpKeepalive::On { idle, interval, count } => {
                self.set(socket, Setting::Keepalive, 1, log);
                if let Some(idle) = idle {
                    self.set(socket, Setting::KeepaliveIdle, clamp(idle.as_secs() as usize), log);
                }
                if let Some(interval) = interval {
                    self.set(
                        socket,
                        Setting::KeepaliveInterval,
                        clamp(interval.as_secs() as usize),
                        log,
                    );
                }
                if let Some(count) = count {
                    self.set(socket, Setting::KeepaliveCount, clamp(count as usize), log);
                }
            }
        }
    }

    fn set(&self, socket: &OwnedFd, setting: Setting, value: i32, log: &Log) {
        if let Err(error) = socket::set(socket.as_fd(), setting, value) {
            let (name, address) = (setting.name(), &self.spec.address);
            log!(log, Alert, (), "setsockopt({}, {}) {} failed, ignored", name, value, address; error);
        }
    }
}

impl Failed {
    fn sentence(self, log: &Log) -> String {
        match self {
            Failed::For(sentence) => sentence,
            Failed::InUse => {
                log!(log, Emerg, (), "still could not bind()");
                "still could not bind()".to_owned()
            }
        }
    }
}

const INVALID_NUMBER: &str = "invalid socket number";
const IN_VARIABLE: &str = "in NGINX environment variable";

/// The environment variable's value for these sockets: `3;4;`.
pub(crate) fn variable_for(descriptors: &[BorrowedFd<'_>]) -> String {
    descriptors.iter().map(|descriptor| format!("{};", descriptor.as_raw_fd())).collect()
}

fn bind(spec: &ListenSpec, purpose: Purpose, log: &Log) -> Result<OwnedFd, Failed> {
    let address = &spec.address;
    let name = match address {
        Address::Ip(address) => Name::Ip(*address),
        Address::Unix(path) => Name::Unix(path.clone()),
    };
    let give_up = |call: &str, error: io::Error| {
        let in_use = error.kind() == io::ErrorKind::AddrInUse;
        if !in_use || purpose == Purpose::Serve {
            log!(log, Emerg, (), "{} failed", call; error);
        }
        match in_use {
            true => Failed::InUse,
            false => Failed::For(format!("{call} failed{}", log::Errno(&error))),
        }
    };
    let socket = socket::stream_for(&name)
        .map_err(|error| give_up(&format!("socket() {address}"), error))?;
    let set = |setting: Setting, value| {
        socket::set(socket.as_fd(), setting, value)
            .map_err(|error| give_up(&format!("setsockopt({}) {address}", setting.name()), error))
    };
    set(Setting::ReuseAddress, 1)?;
    if spec.reuseport && purpose == Purpose::Serve {
        set(Setting::ReusePort, 1)?;
    }
    if matches!(address, Address::Ip(ip) if ip.is_ipv6()) {
        set(Setting::Ipv6Only, i32::from(spec.ipv6only))?;
    }
    socket::bind(socket.as_fd(), &name)
        .map_err(|error| give_up(&format!("bind() to {address}"), error))?;
    if let Address::Unix(path) = address
        && let Err(error) = fs::set_permissions(path, Permissions::from_mode(0o666))
    {
        log!(log, Emerg, (), "chmod() \"{}\" failed", path.display(); error);
    }
    socket::listen(socket.as_fd(), spec.backlog).map_err(|error| {
        give_up(&format!("listen() to {address}, backlog {}", spec.backlog), error)
    })?;
    Ok(socket)
}

fn test_path(path: &Path, log: &Log) -> Result<(), Failed> {
    if path.exists() {
        return Err(Failed::InUse);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    descriptor::check_writable(folder.unwrap_or(Path::new("."))).map_err(|error| {
        let call = format!("bind() to unix:{}", path.display());
        log!(log, Emerg, (), "{} failed", call; error);
        Failed::For(format!("{call} failed{}", log::Errno(&error)))
    })
}

fn remove(path: &Path, log: &Log) {
    if let Err(error) = fs::remove_file(path) {
        log!(log, Emerg, (), "unlink() {} failed", path.display(); error);
    }
}

fn clamp(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
