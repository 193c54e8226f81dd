//! The Debian packages that the tests need.

use std::process::{Command, Stdio};

/// Each with what it is for.
const NEEDED: &[(&str, &str)] = &[
    ("nginx-light", "the judge of the differential tests"),
    ("libpcre2-dev", "the judge of patterns"),
    ("pkg-config", "finds libpcre2"),
    ("php-fpm", "applications behind FastCGI"),
    ("uwsgi-core", "applications behind uwsgi"),
    ("uwsgi-plugin-python3", "the applications themselves, and those behind SCGI"),
    ("memcached", "values that are responses"),
    ("python3-websockets", "a server of WebSockets"),
    ("openssl", "keys with passphrases, and what authorities say of certificates"),
];

/// Installs what is missing, and says so.
pub fn install() -> Result<(), String> {
    let missing: Vec<_> = NEEDED.iter().filter(|(package, _)| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for (package, purpose) in &missing {
        println!("installing the Debian package {package}: {purpose}");
    }
    apt_get(&["update", "--quiet"])?;
    let mut arguments = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    arguments.extend(missing.iter().map(|(package, _)| *package));
    apt_get(&arguments)
}

fn is_installed(package: &str) -> bool {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| output.stdout == b"installed")
}

fn apt_get(arguments: &[&str]) -> Result<(), String> {
    let mut command = match is_root() {
        true => Command::new("apt-get"),
        false => {
            let mut sudo = Command::new("sudo");
            sudo.args(["--preserve-env=DEBIAN_FRONTEND,RUNLEVEL", "apt-get"]);
            sudo
        }
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // Keeps packages from starting their services: nobody asked for an nginx on port 80.
    command.env("RUNLEVEL", "1");
    match command.args(arguments).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("apt-get {arguments:?} ended with {status}")),
        Err(error) => Err(format!("apt-get cannot be run: {error}")),
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}
