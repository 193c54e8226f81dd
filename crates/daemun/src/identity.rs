//! Who the program is. Called `nginx`, by a link or a copy, it is nginx to every user and program;
//! else it is daemun.

use std::ffi::OsStr;
use std::path::Path;

/// Names and places that depend on the program's name.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    /// Before messages, in process titles: `nginx: worker process`.
    pub name: &'static str,
    /// After `version:`, as `-v` prints it.
    pub version: &'static str,
    /// The `Server` header while `server_tokens` is on, and the signature of error pages.
    pub server: &'static str,
    /// The same with `server_tokens off`.
    pub server_without_version: &'static str,
    /// `-p`.
    pub prefix: &'static str,
    /// `-c`.
    pub configuration: &'static str,
    /// `-e`.
    pub error_log: &'static str,
    /// `access_log`.
    pub access_log: &'static str,
    /// `pid`.
    pub pid: &'static str,
    /// `lock_file`, accepted without effect.
    pub lock: &'static str,
    /// Where `client_body_temp` and its kin are made.
    pub temporary: &'static str,
    /// `user`, where the master runs as root: the first of these that exists, with its primary group.
    pub users: &'static [&'static str],
    /// Without a configuration file of its own it serves the current folder, in the foreground.
    pub has_embedded_configuration: bool,
    /// `daemun COMMAND`: nginx takes options only.
    pub has_commands: bool,
}

/// Debian's, Fedora's and Alpine's, and everybody's.
const USERS: [&str; 3] = ["www-data", "nginx", "nobody"];

/// nginx in Debian's layout.
pub static NGINX: Identity = Identity {
    name: "nginx",
    version: concat!("nginx/1.31.5 (daemun/", env!("CARGO_PKG_VERSION"), ")"),
    server: "nginx/1.31.5",
    server_without_version: "nginx",
    prefix: "/usr/share/nginx",
    configuration: "/etc/nginx/nginx.conf",
    error_log: "/var/log/nginx/error.log",
    access_log: "/var/log/nginx/access.log",
    pid: "/run/nginx.pid",
    lock: "/var/lock/nginx.lock",
    temporary: "/var/lib/nginx",
    users: &USERS,
    has_embedded_configuration: false,
    has_commands: false,
};

pub static DAEMUN: Identity = Identity {
    name: "daemun",
    version: concat!("daemun/", env!("CARGO_PKG_VERSION")),
    server: concat!("daemun/", env!("CARGO_PKG_VERSION")),
    server_without_version: "daemun",
    prefix: "/usr/share/daemun",
    configuration: "/etc/daemun/daemun.conf",
    error_log: "/var/log/daemun/error.log",
    access_log: "/var/log/daemun/access.log",
    pid: "/run/daemun.pid",
    lock: "/var/lock/daemun.lock",
    temporary: "/var/lib/daemun",
    users: &USERS,
    has_embedded_configuration: true,
    has_commands: true,
};

impl Identity {
    /// nginx insists on its folder for logs; without one daemun's errors go to the standard error, and requests are
    /// not logged.
    pub fn has_log_folder(&self, exists: impl Fn(&Path) -> bool) -> bool {
        !self.has_embedded_configuration || Path::new(self.error_log).parent().is_some_and(exists)
    }

    /// Decided by the base name that the program was called by.
    pub fn of(program: &OsStr) -> &'static Identity {
        match Path::new(program).file_name() {
            Some(name) if name == NGINX.name => &NGINX,
            _ => &DAEMUN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_name_decides() {
        for name in ["nginx", "/usr/sbin/nginx", "./nginx"] {
            assert_eq!(Identity::of(OsStr::new(name)), &NGINX, "{name}");
        }
        for name in ["daemun", "target/release/daemun", "nginx-debug", "/nginx/daemun", ""] {
            assert_eq!(Identity::of(OsStr::new(name)), &DAEMUN, "{name}");
        }
    }
}
